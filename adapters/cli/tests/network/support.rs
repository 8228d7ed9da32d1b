//! Running the commands, and a network to cut.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{io, thread};

/// How long anything may take before a test gives up. Never decides whether one passes.
pub(crate) const SAFETY: Duration = Duration::from_secs(60);

/// The command, without the environment of the user that runs the tests.
pub(crate) fn wwr() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwr"));
    for name in ["WWR_LOG", "WWR_REDIS", "WWR_SESSION", "WWR_USER", "SMOL_THREADS"] {
        command.env_remove(name);
    }
    for scheme in ["ws", "wss", "http", "https", "all", "no"] {
        let name = format!("{scheme}_proxy");
        command.env_remove(&name).env_remove(name.to_uppercase());
    }
    command
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// Runs a command to its end, with nothing on standard input.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, b"")
}

pub(crate) fn run_with(arguments: &[&str], stdin: &[u8]) -> Ran {
    let mut running = Running::start(arguments);
    running.child.stdin.take().unwrap().write_all(stdin).unwrap();
    running.finish()
}

/// A command that runs; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Output<ChildStdout>,
    stderr: Output<ChildStderr>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(wwr().args(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Output::new(child.stdout.take());
        let stderr = Output::new(child.stderr.take());
        Self { child, stdout, stderr }
    }

    /// The next line of standard output; none at its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.stdout.line()
    }

    /// Reads standard output up to a line that contains this, and returns that line.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        self.stdout.line_with(text)
    }

    /// Reads standard error up to a line that contains this, and returns that line.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        self.stderr.line_with(text)
    }

    /// The number of its process.
    #[cfg(unix)]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end, and returns what was not read yet.
    pub(crate) fn finish(mut self) -> Ran {
        drop(self.child.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        thread::scope(|scope| {
            let (out, err) = (self.stdout.0.as_mut().unwrap(), self.stderr.0.as_mut().unwrap());
            scope.spawn(|| err.read_to_string(&mut stderr).unwrap());
            out.read_to_end(&mut stdout).unwrap();
        });
        Ran { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An output of a command. Nothing is read before a test asks for it, so a command may have to wait.
struct Output<R>(Option<BufReader<R>>);

impl<R: io::Read + Send + 'static> Output<R> {
    fn new(output: Option<R>) -> Self {
        Self(output.map(BufReader::new))
    }

    /// The next line; none at the end.
    fn line(&mut self) -> Option<String> {
        self.search(None).1
    }

    /// The next line that contains this.
    fn line_with(&mut self, text: &str) -> String {
        let (seen, line) = self.search(Some(text.to_owned()));
        line.unwrap_or_else(|| panic!("no line with {text:?} in {seen:#?}"))
    }

    /// The next line, or the next one that contains this, and those before it.
    fn search(&mut self, text: Option<String>) -> (Vec<String>, Option<String>) {
        let mut from = self.0.take().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (found, result) = mpsc::channel();
        let (seen_there, wanted) = (seen.clone(), text.clone());
        // A thread that waits for ever ends when the command is killed.
        thread::spawn(move || {
            let line = loop {
                let Some(line) = next_line(&mut from) else { break None };
                if wanted.as_ref().is_none_or(|text| line.contains(text)) {
                    break Some(line);
                }
                seen_there.lock().unwrap().push(line);
            };
            let _ = found.send((from, line));
        });
        let Ok((from, line)) = result.recv_timeout(SAFETY) else {
            let seen = seen.lock().unwrap();
            panic!("no line with {text:?} for {SAFETY:?}, only {seen:#?}");
        };
        self.0 = Some(from);
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        (seen, line)
    }
}

fn next_line(from: &mut impl io::BufRead) -> Option<String> {
    let mut line = String::new();
    let length = from.read_line(&mut line).unwrap();
    (length > 0).then(|| line.trim_end().to_owned())
}

/// A server that runs; it is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// `wwr serve` with more arguments, on a port that the system chooses.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Self::running(Running::start(&all))
    }

    /// The same, started by another program to which the command is given as further arguments.
    #[cfg(unix)]
    pub(crate) fn start_in(program: &[&str], arguments: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command.env_remove("WWR_LOG").args(&program[1..]).arg(env!("CARGO_BIN_EXE_wwr"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::running(Running::spawn(&mut command))
    }

    pub(crate) fn running(mut running: Running) -> Self {
        let line = running.line().expect("the address");
        let address = line.strip_prefix("listening on http://").unwrap().parse().unwrap();
        Self { running, address }
    }

    pub(crate) fn url(&self) -> String {
        url(self.address)
    }

    /// The result of `wwr request` to this server, with more arguments.
    pub(crate) fn request(&self, arguments: &[&str]) -> Ran {
        let url = self.url();
        let mut all = vec!["request", url.as_str()];
        all.extend(arguments);
        run(&all)
    }

    /// The reply to a request that succeeds.
    pub(crate) fn reply(&self, arguments: &[&str]) -> String {
        let ran = self.request(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        ran.text().to_owned()
    }

    /// The code of a request that the playground refuses.
    pub(crate) fn error(&self, arguments: &[&str]) -> String {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let ran = self.request(&all);
        assert_eq!(ran.code, Some(1), "{arguments:?}: {ran:?}");
        let object: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        object["code"].as_str().or(object["error"].as_str()).unwrap().to_owned()
    }
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("ws://{address}/")
}

/// Passes connections on to a server, or hangs up on them while there is none.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    server: Option<SocketAddr>,
    open: Vec<TcpStream>,
}

impl Relay {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        // Ends with the process: it does no harm in the meantime.
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut state = shared.lock().unwrap();
                if let Some(server) = state.server {
                    let server = TcpStream::connect(server).unwrap();
                    pump(client.try_clone().unwrap(), server.try_clone().unwrap());
                    pump(server.try_clone().unwrap(), client.try_clone().unwrap());
                    state.open.extend([client, server]);
                }
            }
        });
        Self { address, state }
    }

    /// Lets new connections through to this server, and keeps the existing ones.
    #[cfg(unix)]
    pub(crate) fn send_new_to(&self, server: SocketAddr) {
        self.state.lock().unwrap().server = Some(server);
    }

    /// Lets connections through to this server, or to none, and cuts the existing ones.
    pub(crate) fn lead_to(&self, server: Option<SocketAddr>) {
        let mut state = self.state.lock().unwrap();
        state.server = server;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // However it ends, so does the other direction.
        let _ = io::copy(&mut from, &mut to);
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}
