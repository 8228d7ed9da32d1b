//! A client without an operating system.
//!
//! `client PORT SEED REQUESTS`, the seed as 64 hexadecimal digits: connects to `wwr serve` at the host's port,
//! logs in, sends so many requests, and gets signals. Then it says that it may be cut off, waits until it has
//! been and has its session back, does the same again, and ends. It fails if anything went otherwise, or
//! if the second half has taken memory that the first one did not.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::panic::PanicInfo;
use core::time::Duration;

use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use wwr::client::{Config, Event, RequestId};
use wwr::{Content, Name, Payload};
use wwr_firmware::board::{Board, CommandLine, exit, panicked};
use wwr_firmware::client::Client;
use wwr_firmware::memory::{self, Usage};
use wwr_firmware::network::Network;
use wwr_firmware::random::Random;
use wwr_socket::client::{ClientEvent, Target};

/// How many requests are under way at a time.
const WINDOW: usize = 8;
/// After so many requests, one asks for a signal.
const SIGNAL_EVERY: u32 = 100;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}

#[entry]
fn main() -> ! {
    memory::init();
    exit(run().map_err(|why| hprintln!("failed: {}", why)))
}

fn run() -> Result<(), &'static str> {
    let arguments = CommandLine::get();
    let port = arguments.word(1).and_then(|word| word.parse().ok()).ok_or("no port")?;
    let mut random = arguments.word(2).and_then(Random::from_hex).ok_or("no seed")?;
    let requests = arguments.word(3).and_then(|word| word.parse().ok()).ok_or("no number")?;
    let network = Network::new(Board::take(), random.number()).map_err(|_| "no Ethernet")?;
    let target = Target::parse("ws://10.0.2.2/").map_err(|_| "the URL is wrong")?;
    let mut client = Client::new(network, random, &config()?, target, port);

    wait_for(&mut client, |event| matches!(event, Event::Connected))?;
    log_in(&mut client)?;

    let took = exchange(&mut client, requests)?;
    let first = Usage::now();
    hprintln!("{} requests in {} ms; {}", requests, took.as_millis(), first);

    hprintln!("cut me off");
    let is_disconnected = |event: &Event| matches!(event, Event::Disconnected { .. });
    wait_for(&mut client, is_disconnected)?;
    wait_for(&mut client, |event| matches!(event, Event::SessionRestored(_)))?;
    wait_for(&mut client, |event| matches!(event, Event::Connected))?;
    is_known(&mut client)?;

    let took = exchange(&mut client, requests)?;
    let second = Usage::now();
    hprintln!("{} requests in {} ms; {}", requests, took.as_millis(), second);
    client.close();
    while client.event(Duration::from_millis(100)).is_some() {}
    if second.heap > first.heap { Err("the heap has grown") } else { Ok(()) }
}

// What follows are functions of their own so that each reply is dropped: it is a part of the memory into which
// it was received, 2 KiB, which is free again when all of it is.

fn log_in(client: &mut Client) -> Result<(), &'static str> {
    let key = ask(client, "login", Payload::utf8_static("{\"name\":\"board\"}"))?;
    let session = client.machine().client().session().ok_or("no session")?;
    if !key.text().is_ok_and(|key| key == session.key.as_str()) {
        return Err("the session has another key");
    }
    hprintln!("logged in");
    Ok(())
}

/// Asks the server for the session.
fn is_known(client: &mut Client) -> Result<(), &'static str> {
    let session = ask(client, "whoami", Payload::EMPTY)?;
    if !session.text().is_ok_and(|session| session.contains("\"board\"")) {
        return Err("the session is another one");
    }
    hprintln!("resumed");
    Ok(())
}

/// Settings of a client that has little memory.
fn config() -> Result<wwr::Valid<Config>, &'static str> {
    let mut config = Config::default();
    config.max_message_size = 4096;
    config.max_pending_requests = 2 * WINDOW;
    config.max_queued_bytes = 4096;
    config.max_open_questions = 1;
    config.initial_backoff = Duration::from_millis(100);
    config.validate().map_err(|_| "the settings are wrong")
}

/// Sends requests, several at a time, and compares each reply; takes the signals for which it has asked.
fn exchange(client: &mut Client, requests: u32) -> Result<Duration, &'static str> {
    let began = client.now();
    let mut under_way = Vec::with_capacity(WINDOW);
    let (mut next, mut signals) = (0, 0);
    while next < requests || !under_way.is_empty() || signals < requests / SIGNAL_EVERY {
        while next < requests && under_way.len() < WINDOW {
            next += 1;
            let name = if next % SIGNAL_EVERY == 0 { "signal-me" } else { "echo" };
            under_way.push((send(client, name, text(next))?, next));
        }
        match client.event(PATIENCE).ok_or("nothing has happened for too long")? {
            ClientEvent::Done { id, outcome } => {
                let place = under_way.iter().position(|(sent, _)| *sent == id);
                let (_, number) = under_way.swap_remove(place.ok_or("an unknown request")?);
                let reply = outcome.map_err(|_| "a request has failed")?;
                if number % SIGNAL_EVERY != 0 && reply.as_bytes() != text(number).as_bytes() {
                    return Err("a wrong reply");
                }
            }
            ClientEvent::Event(Event::Signal(content)) => {
                signals += 1;
                if !is_signal(&content, signals * SIGNAL_EVERY) {
                    return Err("a wrong signal");
                }
            }
            _ => return Err("something else has happened"),
        }
    }
    hprintln!("{} signals", signals);
    Ok(client.now().saturating_since(began))
}

fn is_signal(content: &Content, number: u32) -> bool {
    content.name() == b"signal-me" && content.payload() == text(number).as_bytes()
}

/// What is sent with a request: 32 bytes that no other one has.
fn text(number: u32) -> Payload {
    let text = alloc::format!("request {number:>10} of the board ..");
    debug_assert_eq!(text.len(), 32);
    Payload::utf8(text)
}

fn send(client: &mut Client, name: &str, payload: Payload) -> Result<RequestId, &'static str> {
    let name = Name::new(name).map_err(|_| "a name that is too long")?;
    client.request(name, payload).map_err(|_| "a request cannot be sent")
}

/// Sends a request and waits for its reply; prints what else happens.
fn ask(client: &mut Client, name: &str, payload: Payload) -> Result<Payload, &'static str> {
    let asked = send(client, name, payload)?;
    loop {
        match client.event(PATIENCE).ok_or("no reply")? {
            ClientEvent::Done { id, outcome } if id == asked => {
                return outcome.map_err(|_| "a request has failed");
            }
            event => tell(&event),
        }
    }
}

/// Waits for an event, and prints all until then.
fn wait_for(client: &mut Client, is_it: impl Fn(&Event) -> bool) -> Result<(), &'static str> {
    loop {
        let event = client.event(PATIENCE).ok_or("nothing has happened for too long")?;
        tell(&event);
        if let ClientEvent::Event(event) = event
            && is_it(&event)
        {
            return Ok(());
        }
    }
}

/// Prints an event by its name: to format all that is in it would take more flash.
fn tell(event: &ClientEvent) {
    let name = match event {
        ClientEvent::Event(Event::Connected) => "connected",
        ClientEvent::Event(Event::Disconnected { .. }) => "disconnected",
        ClientEvent::Event(Event::ConnectFailed { .. }) => "cannot connect",
        ClientEvent::Event(Event::SessionCreated(_)) => "session created",
        ClientEvent::Event(Event::SessionRestored(_)) => "session restored",
        ClientEvent::Event(Event::SessionLost(_)) => "session lost",
        ClientEvent::Redirected { .. } => "redirected",
        _ => "something else",
    };
    hprintln!("{}", name);
}
