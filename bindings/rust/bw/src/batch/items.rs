//! Items in the memory of the library: how they get there, what is seen of them, how they leave it.
//!
//! They lie there as their bytes. One whose alignment is more than the library's blocks have is boxed, and its pointer
//! lies there.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, needs_drop};
use std::ptr::NonNull;

use libc::iovec;

use crate::panic::Parked;

/// The largest `item_align`.
const MAX_ALIGN: usize = 4096;

pub(super) const fn is_boxed<T>() -> bool {
    align_of::<T>() > MAX_ALIGN && size_of::<T>() > 0
}

/// How many bytes of an item lie in the library.
pub(super) const fn stored_size<T>() -> usize {
    if is_boxed::<T>() { size_of::<*mut T>() } else { size_of::<T>() }
}

/// What they are aligned to.
pub(super) const fn stored_align<T>() -> usize {
    if is_boxed::<T>() { align_of::<*mut T>() } else { align_of::<T>() }
}

/// Lets a call copy an item. If it gives 0 the library owns the item from then on; else the item comes back, with the
/// answer.
pub(super) fn hand_over<T>(item: T, copy: impl FnOnce(*const c_void, usize) -> c_int) -> Result<(), (T, c_int)> {
    if is_boxed::<T>() {
        let pointer = Box::into_raw(Box::new(item));
        match copy((&raw const pointer).cast(), size_of::<*mut T>()) {
            0 => Ok(()),
            // SAFETY: made of a box above, and the library has not got it.
            answer => Err((*unsafe { Box::from_raw(pointer) }, answer)),
        }
    } else {
        let item = ManuallyDrop::new(item);
        match copy((&raw const item).cast(), size_of::<T>()) {
            0 => Ok(()),
            answer => Err((ManuallyDrop::into_inner(item), answer)),
        }
    }
}

/// Items as the library shows them: an array of pieces, one for each item.
pub(super) struct Items<'a, T> {
    pieces: *const iovec,
    count: usize,
    _items: PhantomData<&'a [T]>,
}

impl<'a, T> Items<'a, T> {
    /// # Safety
    ///
    /// During `'a`, `pieces` points to `count` pieces which hold what [`hand_over`] has copied, in the order in which
    /// they lie in memory; nobody changes or drops them but through this.
    pub(super) unsafe fn new(pieces: *const iovec, count: usize) -> Items<'a, T> {
        Items { pieces, count, _items: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        // SAFETY: the item is there, and is only looked at while `self` is borrowed.
        (index < self.count).then(|| unsafe { &*self.pointer(index) })
    }

    /// All of them, if they lie as one array.
    pub(super) fn as_slice(&self) -> Option<&[T]> {
        // SAFETY: pointer() is that of an array of `count` items.
        self.are_whole().then(|| unsafe { std::slice::from_raw_parts(self.pointer(0), self.count) })
    }

    fn are_whole(&self) -> bool {
        if size_of::<T>() == 0 || self.count == 0 {
            return true;
        }
        // They lie in order: if the last one is as far from the first as in an array, so are those between.
        let distance = self.base(self.count - 1).addr().wrapping_sub(self.base(0).addr());
        !is_boxed::<T>() && distance == (self.count - 1) * size_of::<T>()
    }

    fn base(&self, index: usize) -> *mut c_void {
        debug_assert!(index < self.count);
        // SAFETY: there are `count` pieces.
        unsafe { (*self.pieces.add(index)).iov_base }
    }

    fn pointer(&self, index: usize) -> *mut T {
        if size_of::<T>() == 0 {
            NonNull::dangling().as_ptr()
        } else if is_boxed::<T>() {
            // SAFETY: the piece holds the pointer of a box.
            unsafe { *self.base(index).cast() }
        } else {
            self.base(index).cast()
        }
    }
}

/// Items that the library has given up: whoever has this owns them.
pub(super) struct Settled<'a, T>(Items<'a, T>);

impl<'a, T> Settled<'a, T> {
    /// # Safety
    ///
    /// As for [`Items::new`]; also, the library shows the items for the last time.
    pub(super) unsafe fn new(pieces: *const iovec, count: usize) -> Settled<'a, T> {
        // SAFETY: the caller's promise.
        Settled(unsafe { Items::new(pieces, count) })
    }

    /// Drops all of them, also if some panic; the first panic is parked.
    pub(super) fn drop_each(self, parked: &Parked) {
        if needs_drop::<T>() || is_boxed::<T>() {
            for index in 0..self.0.count {
                // SAFETY: each is read once.
                parked.catch((), || drop(unsafe { self.read(index) }));
            }
        }
    }

    /// Moves all of them out.
    pub(super) fn into_vec(self) -> Vec<T> {
        let count = self.0.count;
        let mut items = Vec::<T>::with_capacity(count);
        if self.0.are_whole() {
            // SAFETY: an array of `count` items, which nobody reads again; there is room for them.
            unsafe {
                items.as_mut_ptr().copy_from_nonoverlapping(self.0.pointer(0), count);
                items.set_len(count);
            }
        } else {
            // SAFETY: each is read once.
            items.extend((0..count).map(|index| unsafe { self.read(index) }));
        }
        items
    }

    /// # Safety
    ///
    /// Each item is read once.
    unsafe fn read(&self, index: usize) -> T {
        let pointer = self.0.pointer(index);
        if is_boxed::<T>() {
            // SAFETY: hand_over() has made it of a box.
            *unsafe { Box::from_raw(pointer) }
        } else {
            // SAFETY: a valid item, or one of size zero.
            unsafe { pointer.read() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use super::*;

    /// Memory as the library's: what was handed over, side by side.
    struct Block<T> {
        items: Vec<T>,
    }

    impl<T> Block<T> {
        fn of(items: impl IntoIterator<Item = T>) -> Block<T> {
            let mut block = Block { items: Vec::with_capacity(16) };
            for item in items {
                let end = block.items.spare_capacity_mut().as_mut_ptr();
                let accepted = hand_over(item, |bytes, length| {
                    assert_eq!(length, size_of::<T>());
                    // SAFETY: there is room.
                    unsafe { end.cast::<u8>().copy_from_nonoverlapping(bytes.cast(), length) };
                    0
                });
                assert!(accepted.is_ok());
                // SAFETY: the item is there.
                unsafe { block.items.set_len(block.items.len() + 1) };
            }
            block
        }

        /// Pieces of those at `indices`; the block forgets all its items.
        fn pieces(&mut self, indices: impl IntoIterator<Item = usize>) -> Vec<iovec> {
            // SAFETY: none is more than its capacity.
            unsafe { self.items.set_len(0) };
            let base = self.items.as_mut_ptr();
            let piece = |index| iovec { iov_base: base.wrapping_add(index).cast(), iov_len: size_of::<T>() };
            indices.into_iter().map(piece).collect()
        }
    }

    #[test]
    fn an_array_is_a_slice_and_leaves_as_a_vec() {
        let mut block = Block::of(["a", "b", "c"].map(String::from));
        let pieces = block.pieces(0..3);
        // SAFETY: they lie in the block.
        let items = unsafe { Items::<String>::new(pieces.as_ptr(), 3) };
        assert_eq!(items.as_slice().unwrap(), ["a", "b", "c"]);
        assert_eq!(items.get(1).unwrap(), "b");
        assert!(items.get(3).is_none());
        // SAFETY: the block has forgotten them.
        let settled = unsafe { Settled::<String>::new(pieces.as_ptr(), 3) };
        assert_eq!(settled.into_vec(), ["a", "b", "c"]);
    }

    #[test]
    fn items_with_a_gap_are_no_slice() {
        let mut block = Block::of(["a", "b", "c"].map(String::from));
        let pieces = block.pieces([0, 2, 1]);
        // SAFETY: two of them, in order.
        let items = unsafe { Items::<String>::new(pieces.as_ptr(), 2) };
        assert!(items.as_slice().is_none());
        assert_eq!(items.get(1).unwrap(), "c");
        // SAFETY: the block has forgotten them.
        let (gap, rest) =
            unsafe { (Settled::new(pieces.as_ptr(), 2), Settled::<String>::new(&raw const pieces[2], 1)) };
        assert_eq!((gap.into_vec(), rest.into_vec()), (vec!["a".to_string(), "c".to_string()], vec!["b".to_string()]));
    }

    #[test]
    fn an_item_that_is_refused_comes_back() {
        assert_eq!(hand_over("a".to_string(), |_, _| -11), Err(("a".to_string(), -11)));
    }

    #[test]
    fn a_drop_that_panics_does_not_keep_the_others() {
        struct Bomb(Rc<Cell<u32>>, bool);
        impl Drop for Bomb {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
                assert!(!self.1, "bomb");
            }
        }
        let (drops, parked) = (Rc::new(Cell::new(0)), Parked::default());
        let mut block = Block::of((0..5).map(|index| Bomb(drops.clone(), index % 2 == 0)));
        let pieces = block.pieces(0..5);
        // SAFETY: the block has forgotten them.
        unsafe { Settled::<Bomb>::new(pieces.as_ptr(), 5) }.drop_each(&parked);
        assert_eq!(drops.get(), 5);
        assert!(catch_unwind(AssertUnwindSafe(|| parked.resume())).is_err());
    }

    #[test]
    fn items_without_a_size_are_counted() {
        thread_local!(static DROPS: Cell<u32> = const { Cell::new(0) });
        #[repr(align(8192))]
        struct Nothing;
        impl Drop for Nothing {
            fn drop(&mut self) {
                DROPS.set(DROPS.get() + 1);
            }
        }
        let pieces = [iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 4];
        for _ in 0..4 {
            assert!(hand_over(Nothing, |_, length| length as c_int).is_ok());
        }
        assert_eq!(DROPS.get(), 0);
        // SAFETY: four were handed over.
        let items = unsafe { Settled::<Nothing>::new(pieces.as_ptr(), 4) }.into_vec();
        assert_eq!((items.len(), DROPS.get()), (4, 0));
        drop(items);
        assert_eq!(DROPS.get(), 4);
    }

    #[test]
    fn an_alignment_that_the_library_has_not_is_boxed() {
        #[repr(align(8192))]
        struct Wide(String);
        let mut stored = Vec::new();
        for text in ["a", "b"] {
            let accepted = hand_over(Wide(text.to_string()), |bytes, length| {
                assert_eq!(length, stored_size::<Wide>());
                // SAFETY: a pointer lies there.
                stored.push(unsafe { bytes.cast::<*mut Wide>().read() });
                0
            });
            assert!(accepted.is_ok());
        }
        let piece =
            |pointer: &mut *mut Wide| iovec { iov_base: (&raw mut *pointer).cast(), iov_len: size_of::<*mut Wide>() };
        let pieces: Vec<iovec> = stored.iter_mut().map(piece).collect();
        // SAFETY: both were handed over, here and below.
        let items = unsafe { Items::<Wide>::new(pieces.as_ptr(), 2) };
        assert!(items.as_slice().is_none());
        let wide = items.get(1).unwrap();
        assert_eq!((&raw const *wide as usize % 8192, &*wide.0), (0, "b"));
        // SAFETY: as above.
        let settled = unsafe { Settled::<Wide>::new(pieces.as_ptr(), 2) };
        let texts: Vec<String> = settled.into_vec().into_iter().map(|wide| wide.0).collect();
        assert_eq!(texts, ["a", "b"]);
    }
}
