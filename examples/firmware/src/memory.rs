//! A heap that knows how much of it is used, and the peak of the stack.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicUsize, Ordering};

use cortex_m_rt::STACK_PAINT_VALUE;
use embedded_alloc::LlffHeap;

/// The heap, in bytes.
pub const HEAP: usize = 96 * 1024;

struct Counted {
    heap: LlffHeap,
    peak: AtomicUsize,
    allocations: AtomicUsize,
}

// SAFETY: all blocks are those of the heap.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        let block = unsafe { self.heap.alloc(layout) };
        self.peak.fetch_max(self.heap.used(), Ordering::Relaxed);
        self.allocations.fetch_add(1, Ordering::Relaxed);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { self.heap.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted {
    heap: LlffHeap::empty(),
    peak: AtomicUsize::new(0),
    allocations: AtomicUsize::new(0),
};

/// Makes the heap usable. Nothing can be allocated before.
///
/// # Panics
///
/// If it was called before.
pub fn init() {
    static mut MEMORY: MaybeUninit<[u8; HEAP]> = MaybeUninit::uninit();
    // SAFETY: nothing else refers to the memory, and the heap refuses to be initialized twice.
    unsafe { ALLOCATOR.heap.init((&raw mut MEMORY).expose_provenance(), HEAP) };
}

/// How much memory is used, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of the heap, now.
    pub heap: usize,
    /// Of the heap, at most.
    pub heap_peak: usize,
    /// How often something was allocated, moved ones included.
    pub allocations: usize,
    /// Of the stack, at most.
    pub stack_peak: usize,
}

impl Usage {
    /// That of now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            heap: ALLOCATOR.heap.used(),
            heap_peak: ALLOCATOR.peak.load(Ordering::Relaxed),
            allocations: ALLOCATOR.allocations.load(Ordering::Relaxed),
            stack_peak: stack_peak(),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { heap, heap_peak, allocations, stack_peak } = self;
        write!(
            f,
            "heap {heap} of {HEAP} B, peak {heap_peak} B, {allocations} allocations; stack peak {stack_peak} B"
        )
    }
}

/// From the start of the stack down to the last word that is no longer as it was painted.
fn stack_peak() -> usize {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let (start, end) = ((&raw const _stack_start).addr(), (&raw const _stack_end).addr());
    let painted = (end..start).step_by(size_of::<u32>()).take_while(|address| {
        // SAFETY: a word of the stack, below what is in use. The linker says where it lies.
        unsafe { with_exposed_provenance::<u32>(*address).read_volatile() == STACK_PAINT_VALUE }
    });
    start - end - painted.count() * size_of::<u32>()
}
