//! The clock of a client, and its one timer.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::prelude::*;
use web_sys::{MessageChannel, MessagePort};
use wwr::Instant;

use crate::browser::{clear_timeout, performance_now, set_timeout};

/// How late a timer may be until the page counts as one that has slept.
const SLEPT: f64 = 1000.0;

/// How long a client that has slept reads what had come meanwhile, before it looks at the time. In milliseconds.
const READING: i32 = 50;

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// Returns the time since the page was opened or the worker was started.
pub(crate) fn now() -> Instant {
    // A positive number of milliseconds with fractions; the conversion saturates.
    Instant::from_nanos((performance_now() * 1e6) as u64)
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
                    let at = performance_now() + f64::from(milliseconds);
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
        if performance_now() - set.at <= SLEPT {
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
