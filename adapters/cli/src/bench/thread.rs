//! One thread: some of the connections, from opening them to adding up their counts.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::Poll;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use smol::channel::Receiver;
use smol::future::or;
use smol::{Executor, Timer};
use wwr::client::Status;

use super::connection::{Common, Connection};
use super::plan::{Course, Plan, Progress, Spoken};
use super::system::thread_time;
use super::tally::Tally;
use crate::failure::Failure;

/// How many connections a thread opens at a time.
const OPENING: usize = 64;

/// How long messages in flight may take after the end of the run.
const GRACE: Duration = Duration::from_secs(1);

/// How late a message may be sent that was due before the end.
const SLACK: Duration = Duration::from_millis(20);

/// How often a thread checks for open connections, while it waits for the last replies.
const LOOK: Duration = Duration::from_millis(50);

/// One of the threads, on the way to run.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) number: u64,
    pub(super) plan: Arc<Plan>,
    pub(super) course: Arc<Course>,
    pub(super) reports: Sender<Report>,
    /// Sends when the run begins; closed if it does not.
    pub(super) start: Receiver<Instant>,
    /// Closed when the run has to end early.
    pub(super) halt: Receiver<()>,
}

/// The messages of a thread to the one that started it.
#[derive(Debug)]
pub(super) enum Report {
    /// All connections were tried.
    Ready {
        /// How many are open.
        connected: u64,
        /// What the server speaks.
        spoken: Option<Spoken>,
        /// Why the first failed connection failed.
        failure: Option<Failure>,
    },
    /// The run is over.
    Done(Box<Tally>),
}

impl Thread {
    pub(super) fn run(self) {
        let executor = Arc::new(Executor::new());
        smol::block_on(executor.run(self.work(&executor)));
    }

    async fn work(&self, executor: &Arc<Executor<'static>>) {
        let plan = &*self.plan;
        let unseen = Progress::default();
        let common = Common {
            plan,
            course: &self.course,
            progress: self.course.progress_of(self.number).unwrap_or(&unseen),
            tally: RefCell::new(Tally::new()),
            in_flight: Cell::new(0),
            began: Cell::new(Instant::now()),
        };
        let mut connections = Vec::new();
        let mut number = self.number;
        while number < plan.schedule.connections {
            let Some(client) = plan.client(number, executor.clone()) else { break };
            match client {
                Ok(client) => connections.push(Connection::new(&common, client, number)),
                Err(failure) => {
                    return self.tell(Report::Ready {
                        connected: 0,
                        spoken: None,
                        failure: Some(failure),
                    });
                }
            }
            number += plan.threads;
        }
        self.tell(open(&connections).await);
        let Ok(began) = self.start.recv().await else { return };
        common.began.set(began);
        self.load(&common, &connections).await;
        let now = Instant::now();
        connections.iter().for_each(|connection| connection.finish(now));
        common.finish();
        close(&connections).await;
        drop(connections);
        self.tell(Report::Done(Box::new(common.tally.into_inner())));
    }

    /// Sends, and then waits for what is in flight.
    async fn load(&self, common: &Common<'_>, connections: &[Connection<'_>]) {
        let mut running: FuturesUnordered<_> = connections.iter().map(Connection::run).collect();
        let (start, time) = (Instant::now(), thread_time());
        let end = common.began.get().checked_add(self.course.end().saturating_add(SLACK));
        let too_late = async {
            end.map_or_else(Timer::never, Timer::at).await;
        };
        let all = async { while running.next().await.is_some() {} };
        or(all, or(too_late, self.halted())).await;
        if let Some((before, after)) = time.zip(thread_time()) {
            let busy = (after - before).as_secs_f64() / start.elapsed().as_secs_f64();
            common.tally.borrow_mut().busy.push(busy);
        }

        let answered = poll_fn(|cx| {
            loop {
                match running.poll_next_unpin(cx) {
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending if common.in_flight.get() == 0 => return Poll::Ready(()),
                    Poll::Ready(Some(())) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let given_up = or(
            async {
                Timer::after(self.plan.timeout).await;
            },
            async {
                self.halted().await;
                Timer::after(GRACE).await;
            },
        );
        let deserted = async {
            while connections.iter().any(|one| one.client.status() == Status::Connected) {
                Timer::after(LOOK).await;
            }
        };
        or(answered, or(given_up, deserted)).await;
    }

    async fn halted(&self) {
        // Nothing is ever sent on it.
        let _ = self.halt.recv().await;
    }

    fn tell(&self, report: Report) {
        // If the receiver has gone, it has ended with an error of its own.
        let _ = self.reports.send(report);
    }
}

/// Opens all connections.
async fn open(connections: &[Connection<'_>]) -> Report {
    let opening = stream::iter(connections).map(Connection::open).buffer_unordered(OPENING);
    let mut opening = pin!(opening);
    let (mut connected, mut failure) = (0, None);
    while let Some(opened) = opening.next().await {
        match opened {
            Ok(()) => connected += 1,
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let one = connections.iter().find(|one| one.client.status() == Status::Connected);
    Report::Ready { connected, spoken: one.map(|one| Spoken::with(&one.client)), failure }
}

/// Closes all connections at once, with a short timeout.
async fn close(connections: &[Connection<'_>]) {
    let mut closing: FuturesUnordered<_> =
        connections.iter().map(|connection| connection.client.close()).collect();
    let closed = async { while closing.next().await.is_some() {} };
    or(closed, async {
        Timer::after(GRACE).await;
    })
    .await;
}
