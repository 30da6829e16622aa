//! Memory for what a call needs: small blocks in lists by their size, each taken or given back in a dozen instructions.
//!
//! wasi-libc's allocator takes 200 instructions for a block and as many to take it back, and a hook needs five to twenty
//! blocks: that was half of what simple plugins cost. So from the end of `configure` on, blocks of up to [`LARGEST`] bytes
//! come from [`ARENA`] bytes that are set aside for calls, as long as there are any; all others come from wasi-libc as before, and
//! where a block lies tells whom it goes back to. What is configured lies outside, so that calls touch few pages of memory.
//!
//! A plugin with an allocator of its own turns the feature `allocator` off.

#![allow(unsafe_code, reason = "an allocator is made of pointers; each step says why it may be taken")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

/// The largest block that comes from the arena, in bytes.
const LARGEST: usize = 512;
/// Blocks have whole multiples of this size, and begin at multiples of it.
const GRAIN: usize = 16;
/// Bytes of the arena.
const ARENA: usize = 32 << 10;

#[global_allocator]
static ALLOCATOR: Allocator =
    Allocator(UnsafeCell::new(State { used: ARENA, free: [ptr::null_mut(); LARGEST / GRAIN], within: false }));

/// Apart from the state, and never looked at as a whole: its bytes belong to those who have the blocks.
static BLOCKS: Arena = Arena(UnsafeCell::new([0; ARENA]));

struct Allocator(UnsafeCell<State>);

// SAFETY: a component without threads (this module is not compiled for those that have them) has nobody to share with.
unsafe impl Sync for Allocator {}

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; ARENA]>);

// SAFETY: the same.
unsafe impl Sync for Arena {}

struct State {
    /// Bytes at the beginning of the arena that have been made blocks: as if it were all of them until calls begin.
    used: usize,
    /// For each size, the blocks that were given back: each holds the address of the next one.
    free: [*mut u8; LARGEST / GRAIN],
    /// Whether one is running.
    within: bool,
}

/// The plugin is configured, and calls begin.
pub(crate) fn configured() {
    // SAFETY: as in `Allocator::state`.
    unsafe { (*ALLOCATOR.0.get()).used = 0 }
}

/// A call runs. What the host hands over until its end answers the guest's own questions.
pub(crate) fn within<R>(run: impl FnOnce() -> R) -> R {
    // SAFETY: as in `Allocator::state`. A panic ends the instance, so that nobody sees it left at true.
    unsafe { (*ALLOCATOR.0.get()).within = true };
    let result = run();
    // SAFETY: the same.
    unsafe { (*ALLOCATOR.0.get()).within = false };
    result
}

impl Allocator {
    /// SAFETY for callers: the reference must be gone before anything else is called that allocates. There are no threads,
    /// and nothing here calls what would come back.
    #[expect(clippy::mut_from_ref, reason = "of a cell, which nobody else looks into meanwhile")]
    unsafe fn state(&self) -> &mut State {
        // SAFETY: by what callers promise, it is the only one.
        unsafe { &mut *self.0.get() }
    }

    /// A block that nobody had yet, or one of wasi-libc's. Apart, so that the way of most blocks stays a short one.
    ///
    /// SAFETY for callers: as for [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn first(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= GRAIN {
            // SAFETY: `cut` allocates nothing.
            if let Some(block) = unsafe { self.state() }.cut(layout.size()) {
                return block;
            }
        }
        // SAFETY: by what our caller promises.
        unsafe { System.alloc(layout) }
    }
}

/// Gives a block of wasi-libc's back.
///
/// SAFETY for callers: it is one, with this layout.
#[cold]
#[inline(never)]
unsafe fn elsewhere(block: *mut u8, layout: Layout) {
    // SAFETY: by what our caller promises.
    unsafe { System.dealloc(block, layout) }
}

impl State {
    /// A block of the arena that was given back; none where there is none of this size.
    #[inline(always)]
    fn again(&mut self, size: usize) -> Option<*mut u8> {
        let list = self.free.get_mut(class(size))?;
        let first = *list;
        if first.is_null() {
            return None;
        }
        // SAFETY: a block on a list is of nobody else, at least as large as an address, aligned for one, and holds the
        // address that `give` wrote there.
        *list = unsafe { first.cast::<*mut u8>().read() };
        Some(first)
    }

    /// A block of what is left of the arena; none where that is too little.
    fn cut(&mut self, size: usize) -> Option<*mut u8> {
        let class = class(size);
        if class >= LARGEST / GRAIN {
            return None;
        }
        let end = self.used + (class + 1) * GRAIN;
        if end > ARENA {
            return None;
        }
        // SAFETY: the block ends within the arena.
        let block = unsafe { arena().add(self.used) };
        self.used = end;
        Some(block)
    }

    fn give(&mut self, block: *mut u8, size: usize) {
        let list = &mut self.free[class(size)];
        // SAFETY: whoever had the block gave it back; it is at least as large as an address, and aligned for one.
        unsafe { block.cast::<*mut u8>().write(*list) };
        *list = block;
    }
}

fn arena() -> *mut u8 {
    BLOCKS.0.get().cast()
}

/// Whether a block is of the arena.
fn ours(block: *mut u8) -> bool {
    block.addr().wrapping_sub(arena().addr()) < ARENA
}

/// Which size a block of so many bytes has.
fn class(size: usize) -> usize {
    // Nobody asks for none: that would be the largest of all.
    size.wrapping_sub(1) / GRAIN
}

// SAFETY: a block of the arena is at least as large as its layout and aligned to a grain, no two that are in use overlap
// (each is cut off once, and on a list only while it is free), and the same size leads to the same list. All others are
// wasi-libc's, which gets back what it gave.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= GRAIN {
            // SAFETY: `again` allocates nothing.
            if let Some(block) = unsafe { self.state() }.again(layout.size()) {
                return block;
            }
        }
        // SAFETY: by what our caller promises.
        unsafe { self.first(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if ours(block) {
            // SAFETY: `give` allocates nothing.
            unsafe { self.state() }.give(block, layout.size());
        } else {
            // SAFETY: it is not ours, and so wasi-libc's.
            unsafe { elsewhere(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !ours(block) {
            // SAFETY: it is not ours, and so wasi-libc's.
            return unsafe { System.realloc(block, layout, size) };
        }
        if class(layout.size()) == class(size) {
            return block;
        }
        // SAFETY: by what our caller promises, the size is one of a layout with this alignment; both blocks are in use and
        // have as many bytes as are copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// Where the host puts what it hands over: in the place of wasi-libc's own function, which is a weak one.
///
/// Before a call, that is what the hook takes: it becomes values of Rust, which come back to [`Allocator::dealloc`]. Within
/// a call, and before all calls, it may be for wasi-libc's own C code, which frees it by itself.
///
/// # Safety
/// The host keeps to the canonical ABI: `old` is a block of `old_size` bytes of this function, or both are zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
    if size == 0 {
        return ptr::without_provenance_mut(align);
    }
    // SAFETY: alignments of the canonical ABI are 1, 2, 4 and 8, and no memory is so large that rounding up overflows. A
    // block that is moved goes to whom it came from.
    let block = unsafe {
        let layout = Layout::from_size_align_unchecked(size, align);
        if old_size > 0 {
            ALLOCATOR.realloc(old, Layout::from_size_align_unchecked(old_size, align), size)
        } else if ALLOCATOR.state().within {
            System.alloc(layout)
        } else {
            ALLOCATOR.alloc(layout)
        }
    };
    if block.is_null() {
        std::process::abort();
    }
    block
}
