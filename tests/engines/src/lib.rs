//! Engines on ports of their own, for tests: started, paused, killed, and started again.
#![cfg(unix)]

mod watched;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::{Client, Cmd, Connection, FromRedisValue, Value, cmd};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use watched::{Watched, until};

/// How long anything may take before a test gives up. Never decides whether one passes.
pub const SAFETY: Duration = Duration::from_secs(60);

/// A program that is an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
}

impl Program {
    /// Its file: what this variable says, or one of this name in the path. If the variable is set, the program has to
    /// be there.
    const fn found(self) -> (&'static str, &'static str) {
        match self {
            Self::Redis => ("WWR_TEST_REDIS", "redis-server"),
            Self::Valkey => ("WWR_TEST_VALKEY", "valkey-server"),
        }
    }

    /// Returns the file of the program. `None` if it is missing: then the test is skipped, and standard error says so.
    pub fn file(self) -> Option<String> {
        let (variable, name) = self.found();
        let required = std::env::var(variable).ok();
        let file = match required.as_deref() {
            None | Some("" | "1") => name.to_string(),
            Some(file) => file.to_string(),
        };
        let error = match Command::new(&file).arg("--version").output() {
            Ok(output) if output.status.success() => return Some(file),
            Ok(output) => output.status.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(required.is_none(), "{variable} is set, but {file}: {error}");
        // The test harness hides what the macros print in tests that pass.
        let skipped = format!("skipped: a test that needs {name}: {error}\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        None
    }
}

/// An engine that runs. Killed when it is dropped.
pub struct Engine {
    /// The port that it listens on, or did.
    pub port: u16,
    file: String,
    arguments: Vec<String>,
    /// Where it has its files.
    pub directory: TempDir,
    child: Child,
}

impl Engine {
    /// Starts an engine. `None` if the program is missing.
    pub fn start(program: Program) -> Option<Self> {
        Self::with(program, |_, _| Vec::new())
    }

    /// Starts an engine with arguments that depend on its port and directory. `None` if the program is missing.
    pub fn with(
        program: Program,
        arguments: impl Fn(u16, &TempDir) -> Vec<String>,
    ) -> Option<Self> {
        let file = program.file()?;
        // Another process may take the port in between.
        for _ in 0..20 {
            let port = free_port();
            let directory = tempfile::tempdir().unwrap();
            let more = arguments(port, &directory);
            let place = directory.path().to_str().unwrap().to_string();
            let mut arguments: Vec<String> = Vec::new();
            // The file of a sentinel comes first.
            if !more.iter().any(|argument| argument == "--sentinel") {
                let port = port.to_string();
                let own = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir", &place];
                arguments.extend(own.map(str::to_string));
            }
            arguments.extend(more);
            let child = spawn(&file, &arguments);
            let mut engine = Self { port, file: file.clone(), arguments, directory, child };
            if engine.comes_up() {
                return Some(engine);
            }
        }
        panic!("{file} does not start");
    }

    fn comes_up(&mut self) -> bool {
        let started = Instant::now();
        loop {
            // It answers when it has all of its sockets, one way or the other.
            if self.answers().is_ok() {
                return self.child.try_wait().unwrap().is_none();
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(started.elapsed() < SAFETY, "{} does not listen", self.file);
            sleep(Duration::from_millis(10));
        }
    }

    fn answers(&self) -> std::io::Result<()> {
        let mut socket = TcpStream::connect(self.address())?;
        socket.set_read_timeout(Some(SAFETY))?;
        socket.write_all(b"PING\r\n")?;
        socket.read_exact(&mut [0])
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Makes it a replica of the engine on this port when it starts again.
    fn set_master(&mut self, port: &str) {
        if let Some(at) = self.arguments.iter().position(|argument| argument == "--replicaof") {
            self.arguments.drain(at..at + 3);
        }
        self.arguments.extend(["--replicaof", "127.0.0.1", port].map(str::to_string));
    }

    /// Removes all of its files. For one that is dead.
    pub fn forget(&self) {
        for entry in std::fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            let _ = if path.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends it without giving it time for anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port: without data, unless its arguments are to keep them.
    pub fn restart(&mut self) {
        let started = Instant::now();
        loop {
            self.child = spawn(&self.file, &self.arguments);
            if self.comes_up() {
                return;
            }
            assert!(started.elapsed() < SAFETY, "{} does not start again", self.file);
            sleep(Duration::from_millis(50));
        }
    }

    /// Lets it answer nothing any more.
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// A connection for what tests do to it themselves.
    pub fn connection(&self) -> Connection {
        Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// Lets it do this. Words are separated by spaces.
    pub fn tell(&self, command: &str) -> Value {
        tell(&mut self.connection(), command)
    }

    /// Returns what it answers.
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        redis::from_redis_value(self.tell(command))
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// What it answers to this, or why it does not: it may just be changing its part.
    pub fn asked(&self, command: &str) -> String {
        let connection = Client::open(self.url()).and_then(|client| client.get_connection());
        match connection.and_then(|mut connection| words(command).query::<Value>(&mut connection)) {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// The names of all values.
    pub fn names(&self) -> Vec<String> {
        cmd("KEYS").arg("*").query(&mut self.connection()).unwrap()
    }

    /// The name of the only value.
    pub fn only_name(&self) -> String {
        let names = self.names();
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Also if it is stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets the engine of this connection do this. Words are separated by spaces.
pub fn tell(connection: &mut Connection, command: &str) -> Value {
    words(command).query(connection).unwrap_or_else(|error| panic!("{command}: {error}"))
}

fn words(command: &str) -> Cmd {
    let mut words = command.split(' ');
    let mut told = cmd(words.next().unwrap_or_default());
    for word in words {
        told.arg(word);
    }
    told
}

fn spawn(file: &str, arguments: &[String]) -> Child {
    Command::new(file)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns a port that was free just now, below those that the system gives to clients and to port 0: so that an
/// engine gets its port again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 100) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 2000;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return port,
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => panic!("{error}"),
        }
    }
}
