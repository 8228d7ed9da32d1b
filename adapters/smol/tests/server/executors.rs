//! The server on executors of all kinds.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wwr_smol::server::Server;

use crate::support::app::App;
use crate::support::message::{
    SESSION_CLOSED, answer, ask, close_session, empty_reply, restore, special,
};
use crate::support::peer::Peer;
use crate::support::{Running, SAFETY};

/// Many clients at once: requests, pipelined ones, sessions on two connections; then a shutdown.
fn exercise(server: &Running) {
    let address = server.address;
    thread::scope(|scope| {
        for client in 0..8_u64 {
            scope.spawn(move || {
                let mut peer = Peer::connect(address);
                for round in 0..50 {
                    let text = format!("{client} {round}");
                    assert_eq!(peer.ask(round, "echo", &text), answer(round, &text));
                }
                (0..500).for_each(|id| peer.send(&ask(id, "echo", "x")));
                (0..500).for_each(|id| assert_eq!(peer.message(), answer(id, "x")));

                peer.send(&ask(1, "login", "ada"));
                assert_eq!(peer.message()[0], 21);
                let reply = peer.message();
                let key = std::str::from_utf8(&reply[9..]).unwrap();
                let mut second = Peer::connect(address);
                second.send(&restore(2, key));
                assert_eq!(second.message()[..9], special(192, 2));
                for (peer, id) in [(&mut peer, 3), (&mut second, 4)] {
                    peer.send(&close_session(id));
                    assert_eq!(peer.message(), SESSION_CLOSED);
                    assert_eq!(peer.message(), empty_reply(id));
                }
            });
        }
    });
    assert_eq!(server.handle.active_sessions(), 0);
    let mut last = Peer::connect(server.address);
    let done = server.begin_shut_down(SAFETY);
    last.closed_with(1001);
    done.recv_timeout(SAFETY).unwrap();
    server.wait_for_end();
}

#[test]
fn one_thread_serves_many() {
    exercise(&Running::with_threads(Server::builder(App::new().0), 1));
}

#[test]
fn four_threads_serve_many() {
    exercise(&Running::with_threads(Server::builder(App::new().0), 4));
}

#[test]
fn the_global_executor_serves_many() {
    exercise(&Running::on_global_executor(Server::builder(App::new().0)));
}

/// Set in the process that is to serve with an unusual number of threads.
const SERVES: &str = "WWR_TEST_SERVES";

#[test]
fn the_global_executor_serves_with_any_number_of_threads() {
    if std::env::var_os(SERVES).is_some() {
        exercise(&Running::on_global_executor(Server::builder(App::new().0)));
        return;
    }
    for threads in ["0", "-1", "-2147483648", "100000", "2147483647", "abc", "", "2"] {
        let test = "executors::the_global_executor_serves_with_any_number_of_threads";
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(SERVES, "1")
            .env("SMOL_THREADS", threads)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // It would wait without end, or its threads would try to start threads without end.
        let begun = Instant::now();
        let status = loop {
            match process.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() < SAFETY => thread::sleep(Duration::from_millis(10)),
                None => {
                    process.kill().unwrap();
                    process.wait().unwrap();
                    panic!("SMOL_THREADS={threads} does not serve");
                }
            }
        };
        assert!(status.success(), "SMOL_THREADS={threads}");
    }
}

#[test]
fn many_clients_that_come_and_go_leave_nothing() {
    let server = Running::with_threads(Server::builder(App::new().0), 4);
    let address = server.address;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for round in 0..50 {
                    let mut peer = Peer::connect(address);
                    peer.send(&ask(1, "login", "ada"));
                    if round % 2 == 0 {
                        assert_eq!(peer.message()[0], 21);
                    }
                }
            });
        }
    });
    crate::support::until(|| server.handle.connection_count() == 0);
    crate::support::until(|| server.handle.active_sessions() == 0);
    smol::block_on(server.handle.shut_down(Duration::ZERO));
}
