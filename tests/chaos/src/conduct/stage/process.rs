//! Nodes and clients as processes.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use wwr_engines::free_port;

use crate::clients::Phase;
use crate::conduct::engine::Engines;
use crate::conduct::{Failure, Rounds};
use crate::history::{Client, Node};
use crate::proxy::{Flow, Proxy};

/// A process that is killed when this is dropped.
struct Process(Child);

impl Process {
    /// Starts one that ends when its standard input does.
    fn start(command: &mut Command, logs: bool) -> io::Result<Self> {
        command.stdin(Stdio::piped());
        if !logs {
            command.stderr(Stdio::null());
        }
        command.spawn().map(Self)
    }

    fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also if it is stopped.
        let _ = self.kill();
    }
}

/// A node, with the networks to its engine and from its clients.
pub(super) struct NodeProcess {
    command: Command,
    process: Process,
    logs: bool,
    pub(super) port: u16,
    /// None to engines that a sentinel finds.
    to_engine: Option<Proxy>,
    pub(super) from_clients: Proxy,
    pub(super) history: PathBuf,
}

impl NodeProcess {
    pub(super) async fn start(
        arguments: &Rounds,
        engines: &Engines,
        index: Node,
        history: PathBuf,
    ) -> Result<Self, Failure> {
        let (port, logs) = (free_port(), arguments.logs);
        let from_clients = Proxy::start(port).await?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", "--index", &index.to_string(), "--port", &port.to_string()]);
        command.args(["--lease", &arguments.promised.lease.to_string()]);
        command.args(["--limit", &arguments.promised.limit.to_string()]);
        command.arg("--history").arg(&history);
        command.args(arguments.resume_signals.then_some("--keeps-signals"));
        let to_engine = match engines {
            Engines::Single(engine) => {
                let proxy = Proxy::start(engine.port).await?;
                command.args(["--engine", &format!("redis://127.0.0.1:{}", proxy.port)]);
                Some(proxy)
            }
            Engines::Watched(watched) => {
                command.args(["--sentinel", &watched.sentinel()]);
                None
            }
        };
        let process = Process::start(&mut command, logs)?;
        Ok(Self { command, process, logs, port, to_engine, from_clients, history })
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Starts it again.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.process = Process::start(&mut self.command, self.logs)?;
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.process.0), signal)?)
    }

    pub(super) fn to_engine(&self, flow: Flow) {
        if let Some(proxy) = &self.to_engine {
            proxy.set(flow);
        }
    }
}

/// A process of clients.
pub(super) struct ClientsProcess {
    process: Process,
    pub(super) history: PathBuf,
    said: Arc<Mutex<Said>>,
}

/// What such a process has said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    phase: String,
    there: usize,
    of: usize,
    pub(super) calls: u64,
    pub(super) heard: u64,
    late: String,
}

impl Said {
    fn read(line: &str) -> Self {
        let mut words = line.splitn(6, ' ');
        let mut word = || words.next().unwrap_or_default().to_string();
        let phase = word();
        let mut number = || word().parse().unwrap_or_default();
        let [there, of] = [number(), number()].map(|number| usize::try_from(number).unwrap_or(0));
        let (calls, heard) = (number(), number());
        Self { phase, there, of, calls, heard, late: word() }
    }

    /// Says what is missing until all are done with this.
    pub(super) fn is_missing(&self, phase: Phase) -> Option<String> {
        let Self { phase: of, there, of: all, late, .. } = self;
        let is_there = of == phase.name() && there == all && *all > 0;
        (!is_there).then(|| format!("{there} of {all} have done it; {late}"))
    }
}

impl ClientsProcess {
    pub(super) fn start(
        arguments: &Rounds,
        seed: u64,
        clients: Range<Client>,
        ports: &[u16],
        history: PathBuf,
    ) -> Result<Self, Failure> {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let rate = (arguments.rate / f64::from(arguments.clients)).min(5.0);
        let (first, count) = (clients.start.to_string(), clients.len().to_string());
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["clients", "--first", &first, "--count", &count]);
        command.args(["--seed", &seed.to_string(), "--rate", &rate.to_string()]);
        command.args(["--ports", &ports.join(",")]).arg("--history").arg(&history);
        command.args(arguments.resume_signals.then_some("--resume-signals"));
        command.stdout(Stdio::piped());
        let mut process = Process::start(&mut command, arguments.logs)?;
        let said: Arc<Mutex<Said>> = Arc::default();
        if let Some(lines) = process.0.stdout.take() {
            let said = said.clone();
            thread::spawn(move || listen(lines, &said));
        }
        Ok(Self { process, history, said })
    }

    pub(super) fn said(&self) -> Said {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn tell(&mut self, phase: Phase) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).phase.clear();
        // One that has gone says nothing, which is noticed.
        if let Some(input) = &mut self.process.0.stdin {
            let _ = writeln!(input, "{}", phase.name());
        }
    }
}

fn listen(lines: impl Read, said: &Mutex<Said>) {
    for line in BufReader::new(lines).lines().map_while(Result::ok) {
        *said.lock().unwrap_or_else(PoisonError::into_inner) = Said::read(&line);
    }
}
