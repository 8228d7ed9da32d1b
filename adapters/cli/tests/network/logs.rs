//! Logs that are read too slowly, or not at all, do not affect clients.

use std::io::{BufRead as _, BufReader, PipeWriter, Read as _, Write as _, pipe};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::hand::Hand;
use crate::support::{SAFETY, Server, wwr};

/// More than the log lines of a pipe and of the queue before it.
const CROWD: usize = 1500;

/// Connections that come and go; returns the longest time that one of them took.
fn come_and_go(address: SocketAddr, count: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..count {
        let start = Instant::now();
        Hand::open(address, "/").is_served();
        longest = longest.max(start.elapsed());
    }
    longest
}

/// Serves some connections and is ended, with standard error being this. Returns what it says on
/// standard output after its address.
#[cfg(target_os = "linux")]
fn output_of_a_server_with(stderr: impl Into<Stdio>) -> String {
    let mut child = wwr()
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "debug", "--playground", "off"])
        .stderr(stderr)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").unwrap().parse().unwrap();
    come_and_go(address, 10);
    terminate(&child);
    assert_eq!(ends(&mut child).code(), Some(0));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    rest
}

/// Ends a server that does not, so that a test fails instead of hanging.
fn ends(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > SAFETY {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end");
        }
        sleep(Duration::from_millis(10));
    }
}

fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

/// An address of which no other test has one.
fn address_of_its_own() -> SocketAddr {
    TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap()
}

/// Waits until the server listens.
fn wait_for(address: SocketAddr) {
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < SAFETY, "nobody listens");
        sleep(Duration::from_millis(10));
    }
}

/// A pipe that takes nothing more, as long as the reader is not read.
fn full_pipe() -> (std::io::PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    // As much as pipes of Linux hold.
    writer.write_all(&[b'\n'; 64 * 1024]).unwrap();
    (reader, writer)
}

/// The number at the end of a log, of lines that were dropped.
fn dropped_in_all(log: &str) -> u64 {
    let last = log.lines().last().unwrap();
    let number =
        last.strip_prefix("wwr: ").and_then(|rest| rest.split_once(" log lines were dropped"));
    let (number, rest) = number.unwrap_or_else(|| panic!("{last}"));
    assert!(rest.starts_with(" in all"), "{last}");
    number.parse().unwrap()
}

#[test]
fn an_unread_log_does_not_block_the_server_and_counts_lost_lines() {
    let server = Server::start(&["--log", "debug"]);
    println!("the longest took {:?}", come_and_go(server.address, CROWD));
    server.running.signal(Signal::TERM);
    // From here on the log is read.
    let ran = server.running.finish();
    assert_eq!(ran.code, Some(0));
    let dropped = dropped_in_all(&ran.stderr);
    let count = ran.stderr.lines().filter(|line| line.contains(" connected ")).count();
    assert!(dropped > 0 && (1..CROWD).contains(&count), "{dropped} dropped, {count} told of");
}

#[test]
fn lines_come_again_when_the_log_is_read_again() {
    let mut server = Server::start(&["--log", "debug"]);
    come_and_go(server.address, CROWD);
    // Room is made by reading, and used by the next connection.
    let mut told = String::new();
    while !told.contains("log lines were dropped here") {
        told = server.running.wait_for_log("");
        if told.contains(": connected ") {
            come_and_go(server.address, 1);
        }
    }
    let number = told.strip_prefix("wwr: ").unwrap().split(' ').next().unwrap();
    assert!(number.parse::<u64>().unwrap() > 0, "{told}");
    come_and_go(server.address, 1);
    server.running.wait_for_log(": connected ");
}

#[cfg(target_os = "linux")]
#[test]
fn lost_log_lines_are_reported_on_standard_output() {
    let (reader, writer) = full_pipe();
    let rest = output_of_a_server_with(writer);
    let (number, why) = rest.split_once(' ').unwrap();
    assert!(number.parse::<u64>().unwrap() >= 20, "{rest}");
    assert_eq!(why, "log lines were dropped: standard error does not take them\n");
    drop(reader);
}

#[test]
fn a_server_without_readers_of_output_and_log_goes_on_and_ends_well() {
    let (reader, writer) = pipe().unwrap();
    let mut command = wwr();
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", "debug"]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut lines = BufReader::new(reader).lines();
    let address = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(address) = line.strip_prefix("listening on http://") {
            break address.parse().unwrap();
        }
    };
    // As `head` does.
    drop(lines);
    come_and_go(address, 50);
    terminate(&child);
    assert_eq!(ends(&mut child).code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_serves_before_its_output_is_read() {
    for both in [false, true] {
        let (reader, writer) = full_pipe();
        let address = address_of_its_own();
        let mut command = wwr();
        command.args(["serve", "--listen", &address.to_string()]);
        command.stderr(if both { writer.try_clone().unwrap().into() } else { Stdio::null() });
        let mut child = command.stdout(writer).spawn().unwrap();
        drop(command);
        wait_for(address);
        come_and_go(address, 10);
        terminate(&child);
        assert_eq!(ends(&mut child).code(), Some(0));
        drop(reader);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn listen_and_bench_can_be_ended_while_their_output_is_not_read() {
    let server = Server::start(&[]);
    let url = server.url();
    for (arguments, code) in [
        (&["listen", &url][..], 0),
        (&["bench", "--count", "10", "--html", "/dev/null", &url], 143),
    ] {
        let (reader, writer) = full_pipe();
        let mut child = wwr().args(arguments).stdin(Stdio::null()).stdout(writer).spawn().unwrap();
        // It may be caught before it has come to its output, which changes nothing.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(700) {
            assert!(child.try_wait().unwrap().is_none(), "{arguments:?} waits for its reader");
            sleep(Duration::from_millis(10));
        }
        terminate(&child);
        assert_eq!(ends(&mut child).code(), Some(code), "{arguments:?}");
        drop(reader);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn commands_end_in_time_although_their_errors_are_not_read() {
    for (arguments, code) in [
        (&["request", "--timeout", "2s", "ws://127.0.0.1:1/", "echo"][..], 3),
        (&["request", "--timeout", "soon", "ws://127.0.0.1:1/", "echo"], 2),
        (&["serve", "--allow-origin", "*"], 2),
        (&["nonsense"], 2),
        (&[], 2),
        (&["encode", "nonsense"], 2),
    ] {
        let (reader, writer) = full_pipe();
        let mut child = wwr().args(arguments).stderr(writer).spawn().unwrap();
        assert_eq!(ends(&mut child).code(), Some(code), "{arguments:?}");
        drop(reader);
    }
}

#[test]
fn errors_of_arguments_contain_no_hidden_characters() {
    let ran = wwr().args(["serve", "--allow-origin", "a\u{202e}\u{9b}"]).output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.starts_with("error: invalid value 'a\\u{202e}\\u{9b}' for "), "{said}");
    assert!(said.ends_with("try '--help'.\n"), "{said}");
}

#[test]
fn a_line_for_each_connection_is_for_debugging() {
    for (level, expected) in [("info", 0), ("debug", 3)] {
        let server = Server::start(&["--log", level]);
        come_and_go(server.address, 3);
        server.running.signal(Signal::TERM);
        let ran = server.running.finish();
        let lines = ran.stderr.lines().filter(|line| line.contains(": connected ")).count();
        assert_eq!((ran.code, lines), (Some(0), expected), "{}", ran.stderr);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_for_logs_does_not_stop_the_server() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let rest = output_of_a_server_with(full());
    assert!(rest.contains("log lines were dropped: standard error does not take them"), "{rest}");

    // What is printed is the purpose of the others.
    let server = Server::start(&[]);
    let ran = wwr().args(["request", &server.url(), "echo", "x"]).stdout(full()).output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.starts_with("wwr: standard output: "), "{said}");
}
