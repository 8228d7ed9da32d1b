//! One connection under load.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::future::{pending, poll_fn};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use smol::Timer;
use smol::future::or;
use wwr::Payload;
use wwr::client::{DisconnectReason, Status};
use wwr_smol::client::{Client, Event, Events};

use super::plan::{Course, Plan, Progress};
use super::schedule::{Kind, Share, Turn};
use super::tally::Tally;
use crate::deadline::OutOfTime;
use crate::failure::Failure;

/// How long a message waits after the connection was lost.
const PAUSE: Duration = Duration::from_millis(10);

/// What the connections of one thread have in common.
#[derive(Debug)]
pub(super) struct Common<'a> {
    pub(super) plan: &'a Plan,
    pub(super) course: &'a Course,
    pub(super) progress: &'a Progress,
    pub(super) tally: RefCell<Tally>,
    /// Measured messages without an outcome.
    pub(super) in_flight: Cell<u64>,
    /// The beginning of the run.
    pub(super) began: Cell<Instant>,
}

impl Common<'_> {
    /// How long the run has lasted.
    fn elapsed(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.began.get())
    }

    fn is_over(&self, moment: Instant) -> bool {
        self.elapsed(moment) >= self.course.end()
    }

    /// Counts the signals that were never written, once all connections are finished.
    pub(super) fn finish(&self) {
        let mut tally = self.tally.borrow_mut();
        tally.unwritten = self.in_flight.get().saturating_sub(tally.unanswered);
    }
}

/// One connection, with what it still has to send.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    common: &'a Common<'a>,
    pub(super) client: Client,
    events: RefCell<Events>,
    is_known: Cell<bool>,
    share: RefCell<Share>,
    /// How many measured messages were sent.
    sent: Cell<u64>,
    /// How many messages are sent before the connection is closed.
    quota: Cell<u64>,
    /// One entry for each message in flight: since when a measured request has been waiting.
    lanes: Vec<Cell<Option<Instant>>>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(common: &'a Common<'a>, client: Client, number: u64) -> Self {
        let plan = common.plan;
        Self {
            common,
            events: RefCell::new(client.events()),
            client,
            is_known: Cell::new(false),
            share: RefCell::new(Share::new(plan.schedule, number)),
            sent: Cell::new(0),
            quota: Cell::new(u64::MAX),
            lanes: (0..plan.depth).map(|_| Cell::new(None)).collect(),
        }
    }

    /// Connects, and returns the result. The client keeps trying if that may help.
    pub(super) async fn open(&self) -> Result<(), Failure> {
        let start = Instant::now();
        let timeout = self.common.plan.timeout;
        let connected = async { self.client.connect().await.map_err(Failure::from) };
        let too_late = async {
            Timer::after(timeout).await;
            Err(OutOfTime::connecting(timeout).into())
        };
        or(connected, too_late).await?;
        self.common.tally.borrow_mut().links.connecting.record(start.elapsed());
        Ok(())
    }

    /// Sends until there is nothing more to send.
    pub(super) async fn run(&self) {
        or(self.work(), self.listen()).await;
    }

    async fn work(&self) {
        let churn = self.common.plan.churn;
        loop {
            if churn.is_some() && self.client.session().is_none() {
                self.log_in().await;
            }
            self.quota.set(churn.unwrap_or(u64::MAX));
            let mut lanes: FuturesUnordered<_> =
                self.lanes.iter().map(|waiting| self.send(waiting)).collect();
            while lanes.next().await.is_some() {}
            if self.quota.get() > 0 || self.has_nothing_left() {
                return;
            }
            self.client.close().await;
            while self.open().await.is_err() {
                if self.common.is_over(Instant::now()) || self.is_given_up() {
                    return;
                }
                Timer::after(PAUSE).await;
            }
        }
    }

    fn has_nothing_left(&self) -> bool {
        let now = Instant::now();
        let next = self.share.borrow().clone().take(self.common.elapsed(now));
        next.is_none() || self.common.is_over(now)
    }

    async fn log_in(&self) {
        let login = self.common.plan.login.clone();
        if let Err(error) = self.client.request(login, Payload::EMPTY).await {
            self.common.tally.borrow_mut().fail_link(error.into());
        }
    }

    /// Returns whether the client does not try to connect any more.
    fn is_given_up(&self) -> bool {
        match self.client.status() {
            Status::Idle | Status::Closed => true,
            Status::Connecting | Status::Connected | Status::Waiting => false,
        }
    }

    /// Sends one message after another.
    async fn send(&self, waiting: &Cell<Option<Instant>>) {
        let mut now = Instant::now();
        while let Some(turn) = self.take(now) {
            let mut start = now;
            if let Some(due) = turn.due {
                start = self.common.began.get() + due;
                if start > now {
                    Timer::at(start).await;
                    // Unless the run ended early, the message was due in time, however late it is
                    // now.
                    if due >= self.common.course.end() {
                        return;
                    }
                }
            }
            let outcome = self.exchange(turn, start, waiting).await;
            now = Instant::now();
            let is_lost = matches!(&outcome, Err(failure) if !failure.is_of_the_server());
            if turn.is_measured {
                self.record(turn.kind, outcome, start, now);
            }
            if is_lost {
                if self.is_given_up() {
                    return;
                }
                Timer::after(PAUSE).await;
                now = Instant::now();
            }
        }
    }

    fn take(&self, now: Instant) -> Option<Turn> {
        let quota = self.quota.get();
        if quota == 0 || self.common.is_over(now) {
            return None;
        }
        let turn = self.share.borrow_mut().take(self.common.elapsed(now))?;
        self.quota.set(quota - 1);
        Some(turn)
    }

    /// Sends a message and waits for its reply, if it has one. Returns the length of the reply.
    async fn exchange(
        &self,
        turn: Turn,
        start: Instant,
        waiting: &Cell<Option<Instant>>,
    ) -> Result<usize, Failure> {
        let common = self.common;
        let (name, payload) = (common.plan.name.clone(), common.plan.payload.clone());
        if turn.is_measured {
            common.tally.borrow_mut().messages(turn.kind).sent += 1;
            common.in_flight.set(common.in_flight.get() + 1);
            self.sent.set(self.sent.get() + 1);
        }
        match turn.kind {
            Kind::Request => {
                waiting.set(turn.is_measured.then_some(start));
                let reply = self.client.request(name, payload).await;
                waiting.set(None);
                Ok(reply?.len())
            }
            Kind::Signal => {
                self.client.signal(name, payload).await?;
                Ok(0)
            }
        }
    }

    fn record(&self, kind: Kind, outcome: Result<usize, Failure>, start: Instant, now: Instant) {
        let common = self.common;
        common.in_flight.set(common.in_flight.get() - 1);
        let elapsed = common.elapsed(now);
        let is_in_time = elapsed < common.course.end();
        let moment = elapsed.saturating_sub(common.plan.schedule.warmup);
        let mut tally = common.tally.borrow_mut();
        let is_done = outcome.is_ok();
        let is_answered = match outcome {
            Ok(received) => {
                if is_in_time {
                    tally.bytes_sent += common.plan.payload.len() as u64;
                    tally.bytes_received += received as u64;
                }
                let messages = tally.messages(kind);
                messages.done += 1;
                messages.done_in_time += u64::from(is_in_time);
                true
            }
            Err(failure) => {
                // Messages that were given up have waited, too.
                let is_answered = failure.is_of_the_server() || failure.is_out_of_time();
                if failure.is_of_the_caller() {
                    common.course.fail(failure);
                } else {
                    tally.fail(kind, failure);
                }
                is_answered
            }
        };
        if is_answered && kind == Kind::Request {
            tally.latency.record(now.saturating_duration_since(start));
        }
        if is_in_time {
            tally.last = tally.last.max(moment);
            let step = tally.timeline.at(moment);
            step.done += u64::from(is_done);
            step.failed += u64::from(!is_done);
        }
        let done = tally.requests.done + tally.signals.done;
        common.progress.show(done, tally.requests.failed + tally.signals.failed);
    }

    /// Counts the events of the client.
    async fn listen(&self) {
        poll_fn(|cx| self.poll_events(cx)).await;
        pending().await
    }

    fn poll_events(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.events.borrow_mut().poll_next_unpin(cx) {
                Poll::Ready(Some(event)) => self.count(event),
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn count(&self, event: Event) {
        let mut tally = self.common.tally.borrow_mut();
        match event {
            Event::Connected if self.is_known.replace(true) => tally.links.reconnected += 1,
            Event::Connected => tally.links.connected += 1,
            Event::Disconnected { reason: DisconnectReason::Closed, .. } => {}
            Event::Disconnected { .. } => tally.links.lost += 1,
            Event::ConnectFailed { error, .. } => tally.fail_link(error.into()),
            Event::Signal(_) => tally.signals_received += 1,
            Event::Missed(events) => tally.signals_received += events,
            Event::SessionCreated(_) => tally.links.logins += 1,
            Event::SessionRestored(_) => tally.links.restored += 1,
            Event::SessionLost(_) => tally.links.sessions_lost += 1,
            _ => {}
        }
    }

    /// Counts what was still open at this moment, the end of the run.
    pub(super) fn finish(&self, now: Instant) {
        // Takes what is ready, and waits for nothing.
        let _ = self.poll_events(&mut Context::from_waker(Waker::noop()));
        let common = self.common;
        let mut tally = common.tally.borrow_mut();
        for waiting in &self.lanes {
            if let Some(start) = waiting.take() {
                tally.unanswered += 1;
                tally.latency.record(now.saturating_duration_since(start));
            }
        }
        let share = self.share.borrow();
        // No message is due after the last one.
        let unsent = share.unsent(self.sent.get(), common.course.end().min(common.elapsed(now)));
        tally.unsent += unsent.count();
        for (wait, count) in unsent.waits() {
            tally.latency.record_many(wait, count);
        }
    }
}
