//! The clocks of the system, in the form that the machines of the core need.

use core::fmt;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant as SystemInstant, SystemTime};

use futures_lite::future::or;

use wwr::{Instant, UnixTime};

use crate::runtime::{self, Runtime, Timer as _};

/// Waits for this long, from when it is first polled. A duration that the system cannot express never ends.
///
/// Handlers that wait by the runtime's timers, and not by those of a certain runtime, can be tested with
/// virtual time: with the feature `testing`, see `wwr_async::testing`.
///
/// ```
/// use std::time::Duration;
///
/// use wwr_async::server::{Connection, Handler, RequestError};
/// use wwr_async::{Content, Payload, Runtime, sleep};
///
/// struct Patient<R>(R);
///
/// impl<R: Runtime> Handler for Patient<R> {
///     async fn request(&self, _: &Connection, asked: Content) -> Result<Payload, RequestError> {
///         sleep(&self.0, Duration::from_secs(1)).await;
///         Ok(asked.into_payload())
///     }
/// }
/// ```
pub fn sleep<R: Runtime>(
    runtime: &R,
    duration: Duration,
) -> impl Future<Output = ()> + Send + use<R> {
    sleep_by(runtime.timer(), duration)
}

/// Waits for a future, but not longer than this. `None` if it has not ended by then; it is dropped.
pub async fn timeout<R: Runtime, T>(
    runtime: &R,
    duration: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let late = async {
        sleep(runtime, duration).await;
        None
    };
    or(async { Some(future.await) }, late).await
}

/// Waits for this long with a timer of the caller.
pub(crate) async fn sleep_by(mut timer: impl runtime::Timer, duration: Duration) {
    timer.set_after(duration);
    poll_fn(|cx| timer.poll(cx)).await;
}

/// Where a [`Clock`] reads the time, if not from the system: virtual time, for example.
pub trait TimeSource: Send + Sync + 'static {
    /// Returns the time of the monotonic clock.
    fn now(&self) -> SystemInstant;

    /// Returns the time of the wall clock.
    fn system_time(&self) -> SystemTime;
}

/// Reads the clocks of the system, or of a runtime with virtual time, and converts between their times and
/// those of the core.
///
/// The epoch of its [`Instant`]s is the moment when it was made, so instants of different clocks
/// must not be mixed. Clones share their epoch.
///
/// ```
/// use wwr_async::Clock;
///
/// let clock = Clock::new();
/// let earlier = clock.now();
/// assert!(clock.now() >= earlier);
/// ```
#[derive(Clone)]
pub struct Clock {
    epoch: SystemInstant,
    /// `None`: the clocks of the system.
    source: Option<Arc<dyn TimeSource>>,
}

impl Clock {
    /// Creates a clock that starts now.
    pub fn new() -> Self {
        Self::starting_at(SystemInstant::now())
    }

    /// Creates a clock with an epoch that was read before.
    pub const fn starting_at(epoch: SystemInstant) -> Self {
        Self { epoch, source: None }
    }

    /// Creates a clock that starts now, and reads the time from a source.
    pub fn of(source: Arc<dyn TimeSource>) -> Self {
        Self { epoch: source.now(), source: Some(source) }
    }

    /// Returns the time that has passed since the epoch.
    pub fn now(&self) -> Instant {
        self.instant(self.system_now())
    }

    /// Returns the time of the monotonic clock, as the system expresses it.
    pub fn system_now(&self) -> SystemInstant {
        match &self.source {
            None => SystemInstant::now(),
            Some(source) => source.now(),
        }
    }

    /// Converts a moment of the system's monotonic clock. A moment before the epoch becomes the
    /// epoch.
    pub fn instant(&self, moment: SystemInstant) -> Instant {
        Instant::EPOCH + moment.saturating_duration_since(self.epoch)
    }

    /// Converts an `instant` to a moment of the system's monotonic clock, for a timer.
    ///
    /// `None` if the moment lies so far ahead that the system cannot express it: it never comes.
    pub fn moment(&self, instant: Instant) -> Option<SystemInstant> {
        self.epoch.checked_add(Duration::from_nanos(instant.as_nanos()))
    }

    /// Reads the wall clock.
    pub fn system_time(&self) -> SystemTime {
        match &self.source {
            None => SystemTime::now(),
            Some(source) => source.system_time(),
        }
    }

    /// Reads the wall clock, for sessions.
    pub fn unix_now(&self) -> UnixTime {
        Self::unix_time(self.system_time())
    }

    /// Converts a time of the system's wall clock, clamped to the range of [`UnixTime`].
    pub fn unix_time(time: SystemTime) -> UnixTime {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => UnixTime::from_parts(seconds(after), after.subsec_nanos()),
            Err(error) => {
                let before = error.duration();
                match before.subsec_nanos() {
                    0 => UnixTime::from_seconds(-seconds(before)),
                    // The fraction counts forward from the whole second below.
                    nanos => UnixTime::from_parts(-seconds(before) - 1, 1_000_000_000 - nanos),
                }
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The one timer of a task, for the deadline of its machine.
///
/// Setting a timer of the system costs a system call, and wakes the thread that waits for it. Most
/// deadlines move away with each message. Then that timer stays as it is: it ends too early, and is
/// set again.
#[derive(Debug)]
pub(crate) struct Timer<T> {
    system: T,
    /// When the timer of the system ends.
    system_at: Option<SystemInstant>,
    /// The deadline, for the machine and for the system; `None` in the latter if it never comes.
    deadline: Option<(Instant, Option<SystemInstant>)>,
}

impl<T: runtime::Timer> Timer<T> {
    /// A timer that is not set, by one of the system that is not either.
    pub(crate) const fn new(system: T) -> Self {
        Self { system, system_at: None, deadline: None }
    }

    /// Sets the timer to a deadline, if that has moved; `None` turns it off.
    pub(crate) fn set(&mut self, at: Option<Instant>, clock: &Clock) {
        if at == self.deadline.map(|(at, _)| at) {
            return;
        }
        self.deadline = at.map(|at| (at, clock.moment(at)));
        if let Some((_, Some(moment))) = self.deadline
            && self.system_at.is_none_or(|system_at| moment < system_at)
        {
            self.set_system(moment);
        }
    }

    /// Becomes ready once, at the deadline.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(system_at) = self.system_at {
            ready!(self.system.poll(cx));
            self.system_at = None;
            match self.deadline {
                Some((_, Some(moment))) if moment > system_at => self.set_system(moment),
                Some((_, Some(_))) => {
                    self.deadline = None;
                    return Poll::Ready(());
                }
                Some((_, None)) | None => {}
            }
        }
        Poll::Pending
    }

    fn set_system(&mut self, moment: SystemInstant) {
        self.system.set(Some(moment));
        self.system_at = Some(moment);
    }
}

/// The timers of a runtime, for the HTTP library.
pub(crate) struct HttpTimer<R>(pub(crate) R);

/// One of them.
struct HttpSleep<T>(T);

impl<R: Runtime> HttpTimer<R> {
    fn sleep_until(&self, at: Option<SystemInstant>) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let mut timer = self.0.timer();
        timer.set(at);
        Box::pin(HttpSleep(timer))
    }
}

impl<R: Runtime> hyper::rt::Timer for HttpTimer<R> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now().checked_add(duration))
    }

    fn sleep_until(&self, at: SystemInstant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(Some(at))
    }

    fn now(&self) -> SystemInstant {
        self.0.clock().system_now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, at: SystemInstant) {
        match sleep.as_mut().downcast_mut_pin::<HttpSleep<R::Timer>>() {
            Some(mut sleep) => sleep.0.set(Some(at)),
            None => *sleep = self.sleep_until(Some(at)),
        }
    }
}

impl<T: runtime::Timer> hyper::rt::Sleep for HttpSleep<T> {}

impl<T: runtime::Timer> Future for HttpSleep<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Simulation;

    #[test]
    fn instants_count_from_the_epoch_and_back() {
        let epoch = SystemInstant::now();
        let clock = Clock::starting_at(epoch);
        let moment = epoch + Duration::from_nanos(1_500_000_001);
        assert_eq!(clock.instant(epoch), Instant::EPOCH);
        assert_eq!(clock.instant(moment), Instant::from_nanos(1_500_000_001));
        assert_eq!(clock.moment(clock.instant(moment)), Some(moment));
    }

    #[test]
    fn a_moment_before_the_epoch_is_the_epoch() {
        let earlier = SystemInstant::now();
        let clock = Clock::starting_at(earlier + Duration::from_secs(1));
        assert_eq!(clock.instant(earlier), Instant::EPOCH);
    }

    #[test]
    fn the_far_future_neither_panics_nor_comes_early() {
        let clock = Clock::new();
        let moment = clock.moment(Instant::from_nanos(u64::MAX));
        assert!(moment.is_none_or(|moment| clock.instant(moment).as_nanos() == u64::MAX));
    }

    #[test]
    fn a_timer_ends_at_its_deadline_when_that_moves() {
        let simulation = Simulation::new(1);
        let (runtime, clock) = (simulation.runtime(), simulation.runtime().clock());
        let mut timer = Timer::new(runtime.timer());
        let in_millis = |millis| clock.now() + Duration::from_millis(millis);
        // Away, nearer, off and on again, and to where the timer ended already.
        for deadlines in [&[1, 20][..], &[60_000, 5], &[5, 60_000, 10], &[60_000, 1], &[1]] {
            for at in deadlines {
                timer.set(Some(in_millis(*at)), &clock);
                timer.set(None, &clock);
                timer.set(Some(in_millis(*at)), &clock);
            }
            let (deadline, _) = timer.deadline.unwrap();
            simulation.run(poll_fn(|cx| timer.poll(cx)));
            assert_eq!(clock.now(), deadline, "{deadlines:?}");
            let hour = Duration::from_secs(3600);
            let once = simulation.run(simulation.timeout(hour, poll_fn(|cx| timer.poll(cx))));
            assert!(once.is_none(), "it is ready once");
        }
    }

    #[test]
    fn the_timer_of_the_system_is_left_alone_while_the_deadline_moves_away() {
        let runtime = Simulation::new(1).runtime();
        let (clock, mut timer) = (runtime.clock(), Timer::new(runtime.timer()));
        let hour = Instant::EPOCH + Duration::from_secs(3600);
        timer.set(Some(hour), &clock);
        for second in 1..100 {
            timer.set(Some(hour + Duration::from_secs(second)), &clock);
            timer.set(None, &clock);
            assert_eq!(timer.system_at, clock.moment(hour));
        }
        timer.set(Some(Instant::EPOCH + Duration::from_secs(60)), &clock);
        assert_eq!(timer.system_at, clock.moment(Instant::EPOCH + Duration::from_secs(60)));
    }

    #[test]
    fn wall_clock_times_are_exact_on_both_sides_of_1970() {
        let half = Duration::from_millis(500);
        for (time, text) in [
            (SystemTime::UNIX_EPOCH, "1970-01-01T00:00:00Z"),
            (SystemTime::UNIX_EPOCH + half, "1970-01-01T00:00:00.5Z"),
            (SystemTime::UNIX_EPOCH - half, "1969-12-31T23:59:59.5Z"),
            (SystemTime::UNIX_EPOCH - 2 * half, "1969-12-31T23:59:59Z"),
            (SystemTime::UNIX_EPOCH - 3 * half, "1969-12-31T23:59:58.5Z"),
        ] {
            assert_eq!(Clock::unix_time(time).to_string(), text);
        }
    }
}
