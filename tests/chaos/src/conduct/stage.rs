//! Engines, nodes and clients as processes, and the networks between them.

mod process;

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::engine::Engines;
use super::{Failure, Rounds, probe};
use crate::clients::{FAMILY, Phase};
use crate::clock::now;
use crate::fault::Fault;
use crate::history::{Entry, Event, Node};
use crate::proxy::Flow;
use process::{ClientsProcess, NodeProcess};

/// All that a round needs. Everything ends when it is dropped.
pub(super) struct Stage {
    engines: Engines,
    nodes: Vec<NodeProcess>,
    clients: Vec<ClientsProcess>,
    /// What the conductor itself has to say.
    notes: Vec<Entry>,
    directory: TempDir,
}

impl Stage {
    /// Starts everything, and waits until all clients are connected. `None` if there is no engine.
    pub(super) async fn start(
        arguments: &Rounds,
        seed: u64,
        watched: bool,
    ) -> Result<Option<Self>, Failure> {
        let Some(engines) = block_in_place(|| Engines::start(watched)) else { return Ok(None) };
        let directory = tempfile::tempdir()?;
        let (nodes, clients, notes) = (Vec::new(), Vec::new(), Vec::new());
        let mut stage = Self { engines, nodes, clients, notes, directory };
        for index in 0..arguments.nodes {
            let history = stage.directory.path().join(format!("node-{index}"));
            let node = NodeProcess::start(arguments, &stage.engines, index, history).await?;
            stage.nodes.push(node);
        }
        let bound = Duration::from_secs(arguments.bound);
        probe::until_it_works(&stage.node_ports(), bound).await?;
        let families = (arguments.clients / FAMILY).div_ceil(arguments.processes);
        let ports: Vec<u16> = stage.nodes.iter().map(|node| node.from_clients.port).collect();
        let mut first = 0;
        while first < arguments.clients {
            let count = (families * FAMILY).min(arguments.clients - first);
            let history = stage.directory.path().join(format!("clients-{first}"));
            let range = first..first + count;
            let clients = ClientsProcess::start(arguments, seed, range, &ports, history)?;
            stage.clients.push(clients);
            first += count;
        }
        if let Some(late) = stage.reach(Phase::Rest, bound).await {
            return Err(format!("clients do not connect: {late}").into());
        }
        Ok(Some(stage))
    }

    pub(super) const fn is_watched(&self) -> bool {
        matches!(self.engines, Engines::Watched(_))
    }

    /// The ports of the nodes themselves, which no network is before.
    pub(super) fn node_ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// Writes down what the conductor does.
    pub(super) fn note(&mut self, event: Event) {
        self.notes.push(Entry { at: now(), event });
    }

    /// Lets all clients do this.
    pub(super) fn tell(&mut self, phase: Phase) {
        self.clients.iter_mut().for_each(|clients| clients.tell(phase));
    }

    /// Lets all clients do this, and waits until all are done. Says what is missing if that takes too long.
    pub(super) async fn reach(&mut self, phase: Phase, bound: Duration) -> Option<String> {
        self.tell(phase);
        let started = Instant::now();
        loop {
            let late = self.clients.iter().find_map(|clients| clients.said().is_missing(phase));
            match late {
                None => return None,
                late if started.elapsed() > bound => return late,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// How many calls clients have made, and how many signals they have heard.
    pub(super) fn counts(&self) -> (u64, u64) {
        let said = self.clients.iter().map(ClientsProcess::said);
        said.fold((0, 0), |(calls, heard), said| (calls + said.calls, heard + said.heard))
    }

    fn histories(&self) -> impl Iterator<Item = &PathBuf> {
        let nodes = self.nodes.iter().map(|node| &node.history);
        nodes.chain(self.clients.iter().map(|clients| &clients.history))
    }

    pub(super) fn clear_histories(&mut self) -> Result<(), Failure> {
        self.notes.clear();
        for history in self.histories() {
            File::options().write(true).open(history)?.set_len(0)?;
        }
        Ok(())
    }

    /// What was seen since it was cleared, by all of them, one after the other.
    pub(super) fn history(&self) -> Result<Vec<Entry>, Failure> {
        let mut entries = self.notes.clone();
        for history in self.histories() {
            let text = std::fs::read_to_string(history)?;
            // The last line may not be whole: its writer was killed, or goes on.
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                entries.push(Entry::read(line)?);
            }
        }
        Ok(entries)
    }

    pub(super) async fn break_it(&mut self, fault: Fault) -> Result<(), Failure> {
        match fault {
            Fault::Nothing => {}
            Fault::KillNode(node) => self.node(node).kill()?,
            Fault::PauseNode(node) => self.node(node).signal(Signal::STOP)?,
            Fault::KillEngine | Fault::EmptyEngine => self.engines.single()?.kill(),
            Fault::PauseEngine => self.engines.single()?.pause(),
            Fault::FailOver => {
                let watched = self.engines.watched()?;
                block_in_place(|| watched.fail_over());
            }
            Fault::CutEngine(node) => self.node(node).to_engine(Flow::Cut),
            Fault::StallEngine(node) => self.node(node).to_engine(Flow::Stalled),
            Fault::CutClients(node) => self.node(node).from_clients.set(Flow::Cut),
            Fault::StallClients(node) => self.node(node).from_clients.set(Flow::Stalled),
        }
        Ok(())
    }

    pub(super) async fn mend(&mut self, fault: Fault) -> Result<(), Failure> {
        match fault {
            Fault::Nothing => {}
            Fault::KillNode(node) => self.node(node).restart()?,
            Fault::PauseNode(node) => self.node(node).signal(Signal::CONT)?,
            Fault::KillEngine => {
                let engine = self.engines.single()?;
                block_in_place(|| engine.restart());
            }
            Fault::EmptyEngine => {
                let engine = self.engines.single()?;
                block_in_place(|| {
                    engine.forget();
                    engine.restart();
                });
            }
            Fault::PauseEngine => self.engines.single()?.resume(),
            Fault::FailOver => {
                let watched = self.engines.watched()?;
                block_in_place(|| watched.mend());
            }
            Fault::CutEngine(node) | Fault::StallEngine(node) => {
                self.node(node).to_engine(Flow::Open);
            }
            Fault::CutClients(node) | Fault::StallClients(node) => {
                self.node(node).from_clients.set(Flow::Open);
            }
        }
        Ok(())
    }

    fn node(&mut self, node: Node) -> &mut NodeProcess {
        &mut self.nodes[usize::from(node)]
    }
}
