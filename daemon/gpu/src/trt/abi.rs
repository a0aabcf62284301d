//! Calls into TensorRT's objects: the one file that trusts the tables of `slots.rs`.

use std::ffi::{CStr, c_char, c_void};

use super::slots::NONE;

/// A pointer to one of TensorRT's objects, or to its `mImpl`.
pub(crate) type Object = *mut c_void;

/// Dimensions at most, `nvinfer1::Dims::MAX_DIMS`.
pub(crate) const MAX_DIMS: usize = 8;

/// `nvinfer1::Dims` of TensorRT 8.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Dims32 {
    pub(crate) count: i32,
    pub(crate) d: [i32; MAX_DIMS],
}

/// `nvinfer1::Dims` (Dims64) since TensorRT 10.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Dims64 {
    pub(crate) count: i32,
    pub(crate) d: [i64; MAX_DIMS],
}

const _: () = assert!(size_of::<Dims32>() == 36);
const _: () = assert!(size_of::<Dims64>() == 72);

/// Whether `object` may be one: some factories return small numbers where they fail without a driver (0x228 by lean
/// 11.4).
pub(crate) fn plausible(object: Object) -> bool {
    (object as usize) >= 1 << 16
}

/// The virtual method `slot` of `object`.
///
/// # Safety
/// `object` must be alive and of a class whose table has at `slot` a method of type `F`.
pub(crate) unsafe fn method<F: Copy>(object: Object, slot: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<*const ()>(), "a function pointer") };
    assert!(slot != NONE, "a method that this version does not have");
    // SAFETY: the first word of an object with virtual methods is its table (Itanium C++ ABI, 2.5.2); the caller says
    // that the table is that long.
    unsafe {
        let table = *object.cast::<*const F>();
        *table.add(slot)
    }
}

/// `mImpl` of an object of TensorRT.
///
/// # Safety
/// `object` must be alive and one of those that have it: all but loggers and parsers.
pub(crate) unsafe fn inner(object: Object) -> Object {
    // SAFETY: `INoCopy` has a table and nothing else; `mImpl` is the first member of each class derived from it.
    unsafe { *object.cast::<Object>().add(1) }
}

/// Ends an object's life.
///
/// # Safety
/// `object` must be alive, never used again, and derived from `INoCopy`, whose only virtual method is its destructor.
pub(crate) unsafe fn delete(object: Object) {
    // SAFETY: slots 0 and 1 are the complete and the deleting destructor (Itanium C++ ABI, 2.5.2).
    unsafe { method::<unsafe extern "C" fn(Object)>(object, 1)(object) }
}

/// A text of TensorRT's, copied; empty for none.
///
/// # Safety
/// `text` must be null or end with a zero.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Sides as TensorRT gives them: -1 is one left open.
pub(crate) fn sides(count: i32, d: impl Iterator<Item = i64>) -> Vec<i64> {
    d.take(usize::try_from(count).unwrap_or(0).min(MAX_DIMS))
        .collect()
}
