//! `wwr demo`: a server, a client and a bad network, in one process.

mod relay;
mod stage;
mod story;
mod tap;

use core::num::NonZeroU16;
use core::time::Duration;
use std::io;
use std::process::ExitCode;

use smol::Timer;
use smol::future::or;

use crate::text::one_line;
use crate::{runtime, stderr};
use stage::{Stage, StoryError};

/// Something did not go as the story says.
const NOT_AS_TOLD: u8 = 1;

/// The story takes a few seconds. If it takes this long, it is stuck.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn run() -> io::Result<ExitCode> {
    let tasks = runtime::start(NonZeroU16::MIN)?;
    let stuck = async {
        Timer::after(TIMEOUT).await;
        Err(StoryError::NotAsTold(format!("nothing happens, after {} s", TIMEOUT.as_secs())))
    };
    match smol::block_on(or(story::tell(&mut Stage::new(), &tasks), stuck)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(StoryError::Output(error)) => Err(error),
        Err(story_error @ StoryError::NotAsTold(_)) => {
            stderr::say(&format!("wwr demo: not as told: {}", one_line(&story_error.to_string())));
            Ok(ExitCode::from(NOT_AS_TOLD))
        }
    }
}
