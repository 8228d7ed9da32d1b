//! Links `wwr` and `wwr-socket` into a program without the standard library and uses them.
//!
//! The exit code is 0, or the number of the step that went wrong. The C runtime is there to start
//! the program and to copy memory, nothing else.
#![no_std]
#![no_main]

mod bytes;
mod memory;
mod steps;

use core::ffi::{c_char, c_int};
use core::panic::PanicInfo;

/// The exit code of a panic.
const PANICKED: c_int = 101;

// What core needs on this target: memcpy and its like, and the entry point that calls `main`.
#[link(name = "c")]
unsafe extern "C" {
    fn _exit(code: c_int) -> !;
}

/// The functions of core were compiled to unwind, and refer to this; nothing here ever does.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Like the above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: ends the process whatever its state.
    unsafe { _exit(PANICKED) }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: ends the process whatever its state.
    unsafe { _exit(PANICKED) }
}

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    for (number, step) in (1..).zip(steps::STEPS) {
        if step().is_none() {
            return number;
        }
    }
    0
}
