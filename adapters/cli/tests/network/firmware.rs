//! The programs of `examples/firmware` on a board that QEMU emulates, against the command.
//!
//! They take minutes to build, so that is left to `.ci/run firmware`, which says in `WWR_TEST_FIRMWARE` where
//! they are.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::{env, mem, thread};

use data_encoding::HEXLOWER;

use crate::support::{Relay, SAFETY, Server, run};

/// What `echo` sends over each connection.
const BYTES: usize = 1 << 20;

/// Where the programs are, if they are to be tested.
fn programs() -> Option<PathBuf> {
    let programs = env::var_os("WWR_TEST_FIRMWARE").filter(|directory| !directory.is_empty());
    if programs.is_none() {
        println!("skipped: firmware is tested by .ci/run firmware, which sets WWR_TEST_FIRMWARE");
    }
    programs.map(PathBuf::from)
}

/// 32 random bytes for a program, as hexadecimal digits.
fn seed() -> String {
    let mut seed = [0; 32];
    File::open("/dev/urandom").unwrap().read_exact(&mut seed).unwrap();
    HEXLOWER.encode(&seed)
}

/// A board with a program; QEMU is killed when this is dropped.
struct Board {
    qemu: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Board {
    /// Starts a program, and waits for its first line. A port of this machine leads to one of the board,
    /// if that is given; returns it.
    fn start(program: &str, arguments: &[&str], port: u16) -> Option<(Self, u16)> {
        let file = programs()?.join(program);
        // Others may take the port before QEMU does. Then it ends at once.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut board =
                Self::spawn(&file, arguments, &format!("hostfwd=tcp:127.0.0.1:{free}-:{port}"));
            if board.line().is_some() {
                return Some((board, free));
            }
        }
        panic!("{program} says nothing, or QEMU does not start: see its messages");
    }

    fn spawn(file: &Path, arguments: &[&str], network: &str) -> Self {
        let mut semihosting = "enable=on,target=native".to_owned();
        for argument in [&["firmware"], arguments].concat() {
            semihosting += ",arg=";
            semihosting += argument;
        }
        let mut qemu = Command::new("qemu-system-arm")
            .args([
                "-machine",
                "mps2-an386",
                "-display",
                "none",
                "-monitor",
                "none",
                "-serial",
                "none",
            ])
            .args([
                "-semihosting-config",
                &semihosting,
                "-nic",
                &format!("user,model=lan9118,{network}"),
            ])
            .arg("-kernel")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-system-arm runs: .ci/run firmware has looked");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(qemu.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { qemu, lines, seen: Vec::new() }
    }

    /// The next line; `None` when QEMU has ended.
    fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(SAFETY) {
            Ok(line) => {
                println!("board: {line}");
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the board is silent after {:#?}", self.seen),
        }
    }

    /// Waits for a line.
    fn wait_for(&mut self, text: &str) {
        if self.seen.iter().any(|line| line == text) {
            return;
        }
        while let Some(line) = self.line() {
            if line == text {
                return;
            }
        }
        panic!("no line {text:?} in {:#?}", self.seen);
    }

    /// Waits until the program ends by itself, and returns all lines.
    fn finish(mut self) -> Vec<String> {
        while self.line().is_some() {}
        let status = self.qemu.wait().unwrap();
        assert!(status.success(), "{status}: {:#?}", self.seen);
        mem::take(&mut self.seen)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Sends back so many bytes, then closes.
fn echo(mut stream: TcpStream, bytes: usize) {
    let (mut buffer, mut left) = ([0; 16 * 1024], bytes);
    while left > 0 {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the board has closed {left} bytes too early");
        stream.write_all(&buffer[..read]).unwrap();
        left -= read;
    }
}

#[test]
fn a_megabyte_passes_the_ethernet_controller_unharmed_in_both_directions() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    // Ends with the process, should no board come.
    thread::spawn(move || (0..2).for_each(|_| echo(listener.accept().unwrap().0, BYTES)));
    let Some((mut board, port)) = Board::start("echo", &[&port, &seed()], 7) else { return };
    let sent: Vec<u8> = (0..BYTES).map(|place| (place % 253) as u8).collect();
    for number in 1..=2 {
        board.wait_for(&format!("listening {number}"));
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(SAFETY)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let mut received = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            stream.read_to_end(&mut received).unwrap();
        });
        assert!(received == sent, "{} bytes came back, or others", received.len());
    }
    let lines = board.finish();
    for number in [1, 2] {
        let exchanged = format!("connection {number}: {BYTES} bytes there and back");
        assert!(lines.iter().any(|line| line.starts_with(&exchanged)), "{lines:#?}");
        assert!(lines.contains(&format!("served {number}: {BYTES} bytes")), "{lines:#?}");
    }
}

#[test]
fn a_client_without_an_operating_system_resumes_its_session_after_a_cut() {
    let Some(_) = programs() else { return };
    let (server, relay) = (Server::start(&[]), Relay::start());
    relay.lead_to(Some(server.address));
    let port = relay.address.port().to_string();
    let (mut board, _) = Board::start("client", &[&port, &seed(), "1000"], 1).unwrap();
    board.wait_for("cut me off");
    relay.lead_to(Some(server.address));
    let lines = board.finish();
    let mut told = lines.iter();
    for expected in [
        "connected",
        "session created",
        "logged in",
        "10 signals",
        "1000 requests",
        "cut me off",
        "disconnected",
        "session restored",
        "connected",
        "resumed",
        "10 signals",
        "1000 requests",
    ] {
        assert!(told.any(|line| line.starts_with(expected)), "no {expected:?} next in {lines:#?}");
    }
}

#[test]
fn a_server_without_an_operating_system_answers_the_command() {
    let Some((board, port)) = Board::start("server", &[&seed()], 7777) else { return };
    let url = format!("ws://127.0.0.1:{port}/");
    // More connections than the board has room for at a time.
    for number in 0..10 {
        let hello = format!("hello {number}");
        let ran = run(&["request", &url, "echo", &hello]);
        assert_eq!((ran.code, ran.text(), ran.stderr.as_str()), (Some(0), hello.as_str(), ""));
    }
    let ran = run(&["request", &url, "login", "ada"]);
    assert_eq!((ran.code, ran.text()), (Some(0), "welcome"), "{ran:?}");
    let ran = run(&["request", &url, "whoami"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("NO_SESSION"), "{ran:?}");
    let ran = run(&["request", &url, "stop"]);
    assert_eq!((ran.code, ran.text()), (Some(0), "stops"), "{ran:?}");
    let lines = board.finish();
    assert!(lines.iter().any(|line| line.starts_with("heap ")), "{lines:#?}");
}
