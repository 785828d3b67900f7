//! The module's allocator: free lists of blocks by size, over the one of the standard library.
//!
//! A request takes some thirty small blocks and gives all of them back. The general allocator searches and merges at each
//! of these steps; here a step is the head of a list. Blocks are of 16, 32, ... 4096 bytes; larger ones, and strictly
//! aligned ones, are left to the standard library. A block that is given back stays in its list: the module keeps, for each
//! size, the most that was ever in use at once.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

#[global_allocator]
static ALLOCATOR: Lists = Lists { heads: [const { Cell::new(ptr::null_mut()) }; SIZES] };

/// The free blocks by size. The first word of a free block points to the next one.
struct Lists {
    heads: [Cell<*mut Free>; SIZES],
}

struct Free {
    next: *mut Free,
}

// SAFETY: `wasm32-wasip1` has one thread.
#[cfg(not(target_feature = "atomics"))]
unsafe impl Sync for Lists {}

/// The sizes of blocks: 16 << 0 to 16 << 8.
const SIZES: usize = 9;
const SMALLEST: usize = 16;
const ALIGNMENT: usize = 16;
/// So much is taken from the standard library at once, at least one block.
const SLAB: usize = 8192;

/// The list that serves `layout`, if one does. It depends on the layout alone, so a block goes back whence it came.
fn list_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(SMALLEST);
    if layout.align() > ALIGNMENT || size > SMALLEST << (SIZES - 1) {
        return None;
    }
    // 1..=16 is list 0, 17..=32 list 1, and so on.
    Some((usize::BITS - (size - 1).leading_zeros()) as usize - SMALLEST.trailing_zeros() as usize)
}

impl Lists {
    /// Takes a slab for `list`, keeps all blocks of it but one, and returns that one; null if there is no memory.
    #[cold]
    fn refill(&self, list: usize, head: &Cell<*mut Free>) -> *mut u8 {
        let block = SMALLEST << list;
        let Ok(layout) = Layout::from_size_align(SLAB, ALIGNMENT) else { return ptr::null_mut() };
        // SAFETY: the size is not zero.
        let slab = unsafe { System.alloc(layout) };
        if slab.is_null() {
            return slab;
        }
        for at in (block..SLAB).step_by(block) {
            // SAFETY: SLAB is a multiple of every block size, so the block lies within the slab; it is aligned for a pointer.
            unsafe {
                let free = slab.add(at).cast::<Free>();
                free.write(Free { next: head.get() });
                head.set(free);
            }
        }
        slab
    }
}

// SAFETY: every block comes from a slab or from `System`, `list_of` sends it back to the same, and a list holds no block
// that is in use.
unsafe impl GlobalAlloc for Lists {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((list, head)) = list_of(layout).and_then(|list| Some((list, self.heads.get(list)?))) else {
            // SAFETY: the caller's layout.
            return unsafe { System.alloc(layout) };
        };
        let free = head.get();
        if free.is_null() {
            return self.refill(list, head);
        }
        // SAFETY: a block in a list is free, and its first word was written when it came there.
        head.set(unsafe { (*free).next });
        free.cast()
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match list_of(layout).and_then(|list| self.heads.get(list)) {
            Some(head) => {
                let free = block.cast::<Free>();
                // SAFETY: the caller gives back a block of this list: it is large enough and aligned for a pointer.
                unsafe { free.write(Free { next: head.get() }) };
                head.set(free);
            }
            // SAFETY: the block is of `System`, with this layout.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller sees to it that `size` with this alignment is a layout.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (list_of(layout), list_of(new)) {
            // SAFETY: the block is of `System`, with this layout.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (before, after) if before == after => block,
            _ => {
                // SAFETY: both blocks are as large as their layouts, and are two.
                unsafe {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}
