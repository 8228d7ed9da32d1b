//! The clock of a client, and its one timer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Date;
use wasm_bindgen::prelude::*;
use web_sys::{MessageChannel, MessagePort};
use wwr::Instant;

use crate::browser::{clear_timeout, performance_now, set_timeout};

/// By how much the time of day has to have gone on without the browser's clock until the machine counts as one that has
/// slept, in milliseconds. Less than that may be a time of day that was set right.
const ASLEEP: f64 = 5000.0;

/// How late a timer may be until the page counts as one that has slept.
const SLEPT: f64 = 1000.0;

/// How long a client that has slept reads what had come meanwhile, before it looks at the time. In milliseconds.
const READING: i32 = 50;

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// Returns the time since the page was opened or the worker was started.
pub(crate) fn now() -> Instant {
    // A positive number of milliseconds with fractions; the conversion saturates.
    Instant::from_nanos((milliseconds() * 1e6) as u64)
}

/// The same in milliseconds.
fn milliseconds() -> f64 {
    thread_local! {
        static CLOCK: Cell<Clock> = const { Cell::new(Clock { ahead: f64::NAN, slept: 0.0 }) };
    }
    let mut clock = CLOCK.get();
    let now = clock.read(performance_now(), Date::now());
    CLOCK.set(clock);
    now
}

/// A clock that goes on while the machine sleeps. That of browsers should, but stands still on most systems. The time of
/// day goes on, but may be set.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// How far the time of day was ahead of the browser's clock.
    ahead: f64,
    /// How long the machine has slept without the browser's clock.
    slept: f64,
}

impl Clock {
    /// Reads the browser's clock and the time of day. All of them count milliseconds.
    fn read(&mut self, clock: f64, time_of_day: f64) -> f64 {
        let ahead = time_of_day - clock;
        // At first, this is no number.
        let without = ahead - self.ahead;
        if without >= ASLEEP {
            self.slept += without;
        }
        self.ahead = ahead;
        clock + self.slept
    }
}

/// The timer for the deadlines of the machine. It calls back too early rather than being set anew for each
/// message: that does no harm.
///
/// It calls back in a task of its own, behind that of the browser's timer. A browser counts timers that were set by
/// timers, and delays those of hidden pages that are the fifth or later in such a chain: in Chrome to one a minute,
/// which is too seldom for heartbeats. No timer that is set here belongs to a chain.
pub(crate) struct Timer {
    /// What the browser's timer calls.
    ring: Closure<dyn FnMut()>,
    /// Where the task of a timer that has rung comes from.
    task: Rc<RefCell<Option<MessagePort>>>,
    set: Option<Set>,
}

/// Whether a timer has rung when it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    InTime,
    /// The page has slept: messages that came meanwhile are read first, and the timer calls back once more.
    Late,
}

struct Set {
    timer: JsValue,
    due: Instant,
    /// The same in milliseconds of the clock.
    at: f64,
}

impl Timer {
    pub(crate) fn new(mut handler: impl FnMut() + 'static) -> Self {
        let task = Rc::default();
        let (begun, rung) = (Rc::clone(&task), Rc::clone(&task));
        let run = Closure::<dyn FnMut()>::new(move || {
            close(&begun);
            handler();
        });
        let ring = Closure::new(move || {
            // Every host with WebSockets has channels.
            let Ok(channel) = MessageChannel::new() else { return };
            close(&rung);
            let port = channel.port1();
            port.set_onmessage(Some(run.as_ref().unchecked_ref()));
            *rung.borrow_mut() = Some(port);
            let _ = channel.port2().post_message(&JsValue::NULL);
        });
        Self { ring, task, set: None }
    }

    /// Calls back at this time at the latest, or not at all.
    pub(crate) fn set(&mut self, due: Option<Instant>) {
        match (&self.set, due) {
            (Some(set), Some(due)) if set.due <= due => {}
            (_, due) => {
                self.stop();
                self.set = due.map(|due| {
                    let left = due.as_nanos().saturating_sub(now().as_nanos());
                    let milliseconds = left.div_ceil(MILLISECOND);
                    let milliseconds = i32::try_from(milliseconds).unwrap_or(i32::MAX);
                    let at = self::milliseconds() + f64::from(milliseconds);
                    let timer = set_timeout(self.ring.as_ref().unchecked_ref(), milliseconds);
                    Set { timer, due, at }
                });
            }
        }
    }

    /// Has called back.
    pub(crate) fn rang(&mut self) -> Ring {
        let Some(set) = self.set.take() else { return Ring::InTime };
        // Between ring and call it may have been set anew.
        clear_timeout(&set.timer);
        if milliseconds() - set.at <= SLEPT {
            return Ring::InTime;
        }
        let timer = set_timeout(self.ring.as_ref().unchecked_ref(), READING);
        self.set = Some(Set { timer, due: set.due, at: f64::INFINITY });
        Ring::Late
    }

    fn stop(&mut self) {
        if let Some(set) = self.set.take() {
            clear_timeout(&set.timer);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.stop();
        close(&self.task);
    }
}

/// Closes the port, so that it calls nothing any more. An open one keeps Node running.
fn close(task: &RefCell<Option<MessagePort>>) {
    if let Some(port) = task.take() {
        port.set_onmessage(None);
        port.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_while_the_machine_sleeps_and_does_not_follow_a_time_of_day_that_is_set() {
        let mut clock = Clock { ahead: f64::NAN, slept: 0.0 };
        for (what, browser, time_of_day, read) in [
            ("the first", 10.0, 1_000_000.0, 10.0),
            ("both go on", 1010.0, 1_001_000.0, 1010.0),
            ("the browser's stands still", 1020.0, 1_601_010.0, 601_020.0),
            ("both go on after that", 2020.0, 1_602_010.0, 602_020.0),
            ("a browser whose clock goes on", 60_002_020.0, 61_602_010.0, 60_602_020.0),
            ("set right", 60_003_020.0, 61_607_009.0, 60_603_020.0),
            ("set back", 60_004_020.0, 0.0, 60_604_020.0),
            ("both go on once more", 60_005_020.0, 1000.0, 60_605_020.0),
        ] {
            assert_eq!(clock.read(browser, time_of_day), read, "{what}");
        }
    }
}
