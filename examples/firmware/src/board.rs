//! The board: time, sleep, arguments and the end of the program.

use core::panic::PanicInfo;
use core::ptr::with_exposed_provenance_mut;

use cortex_m::Peripherals;
use cortex_m::peripheral::{NVIC, SCB, SYST, syst};
use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::{debug, hprintln, nr, syscall1};

/// Of the processor and of the timers, in Hz.
const FREQUENCY: u32 = 25_000_000;
const TICKS_OF_A_MICROSECOND: u64 = FREQUENCY as u64 / 1_000_000;

/// A dual timer of ARM (SP804 and its like); its first timer counts down.
const TIMER: *mut u32 = with_exposed_provenance_mut(0x4000_2000);
/// Word offsets of registers: the value from which it counts, its current value, control.
const TIMER_LOAD: usize = 0;
const TIMER_VALUE: usize = 1;
const TIMER_CONTROL: usize = 2;
/// Enabled, free-running, 32 bits.
const FREE_RUNNING: u32 = 1 << 7 | 1 << 1;

/// The bytes of arguments that are kept.
const ARGUMENTS: usize = 512;

/// The interrupt of the Ethernet controller.
#[derive(Clone, Copy)]
struct Ethernet;

// SAFETY: the board has no other interrupt of this number.
unsafe impl cortex_m::interrupt::InterruptNumber for Ethernet {
    fn number(self) -> u16 {
        13
    }
}

/// The board. There is one.
pub struct Board {
    systick: SYST,
    /// The last value of the timer.
    last: u32,
    ticks: u64,
}

impl Board {
    /// Takes the board over: starts the clock, and makes the controller's interrupt wake the processor.
    ///
    /// # Panics
    ///
    /// If the board was taken before.
    #[must_use]
    pub fn take() -> Self {
        let peripherals = Peripherals::take().expect("the board is taken once");
        // From here on interrupts only end a sleep; none is handled.
        cortex_m::interrupt::disable();
        let mut systick = peripherals.SYST;
        systick.set_clock_source(syst::SystClkSource::Core);
        systick.enable_interrupt();
        // SAFETY: no handler runs, so no critical section depends on this mask.
        unsafe { NVIC::unmask(Ethernet) };
        // SAFETY: registers of the timer, which nothing else uses.
        unsafe {
            TIMER.add(TIMER_LOAD).write_volatile(u32::MAX);
            TIMER.add(TIMER_CONTROL).write_volatile(FREE_RUNNING);
        }
        Self { systick, last: u32::MAX, ticks: 0 }
    }

    /// The time since the start in microseconds. Has to be asked more often than every 171 s, when the timer
    /// wraps around; [`sleep`](Self::sleep) takes less.
    pub fn now(&mut self) -> u64 {
        // SAFETY: a register of the timer, which nothing else uses.
        let value = unsafe { TIMER.add(TIMER_VALUE).read_volatile() };
        self.ticks += u64::from(self.last.wrapping_sub(value));
        self.last = value;
        self.ticks / TICKS_OF_A_MICROSECOND
    }

    /// Sleeps until `deadline` in microseconds, an interrupt, or for half a second, whatever comes first.
    /// `idle` is asked when an interrupt can no longer be missed, and says whether nothing has arrived.
    pub fn sleep(&mut self, deadline: Option<u64>, idle: impl FnOnce() -> bool) {
        // The longest that SysTick counts, with its 24 bits.
        let longest = u64::from(FREQUENCY / 2);
        let now = self.now();
        let ticks = deadline.map_or(longest, |deadline| {
            deadline.saturating_sub(now).saturating_mul(TICKS_OF_A_MICROSECOND).min(longest)
        });
        let Ok(reload @ 1..) = u32::try_from(ticks) else { return };
        SCB::clear_pendst();
        NVIC::unpend(Ethernet);
        self.systick.set_reload(reload);
        self.systick.clear_current();
        self.systick.enable_counter();
        if idle() {
            // Returns at once if an interrupt is pending, although none is handled.
            cortex_m::asm::wfi();
        }
        self.systick.disable_counter();
    }
}

/// Ends the program with the exit code 0, or 1 if it failed. On a board without a debugger it stands still.
pub fn exit(result: Result<(), ()>) -> ! {
    loop {
        debug::exit(result);
    }
}

/// For the panic handler of programs: says what happened and ends with the exit code 1.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    exit(Err(()))
}

/// A panic ends here if it was built to abort without a word, and everything that the processor refuses.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    hprintln!("fault at {:#010x}", frame.pc());
    exit(Err(()))
}

/// What the program was started with: words with blanks between them. Stands in for settings that a product
/// has in its flash.
pub struct CommandLine {
    bytes: [u8; ARGUMENTS],
    length: usize,
}

impl CommandLine {
    /// Asks the host for it. Empty if the host does not know one, or one of more than 511 bytes.
    #[must_use]
    pub fn get() -> Self {
        let mut bytes = [0; ARGUMENTS];
        // Where to, and how much fits; the host replaces the second with the length.
        let mut block = [bytes.as_mut_ptr().expose_provenance(), ARGUMENTS];
        // SAFETY: the host writes at most as many bytes as it was told, and their number into the block.
        let failed = unsafe { syscall1(nr::GET_CMDLINE, block.as_mut_ptr().expose_provenance()) };
        let [_, length] = block;
        Self { bytes, length: if failed == 0 && length < ARGUMENTS { length } else { 0 } }
    }

    /// The word at an index; the first is the name of the program.
    #[must_use]
    pub fn word(&self, index: usize) -> Option<&str> {
        str::from_utf8(&self.bytes[..self.length]).ok()?.split_ascii_whitespace().nth(index)
    }
}
