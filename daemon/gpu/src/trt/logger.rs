//! The logger that TensorRT is given: an object of ours with a virtual table of the shape it expects.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, PoisonError};

use super::abi;
use super::slots::Table;
use crate::library::Library;

/// Lines kept for error messages.
const KEPT: usize = 20;

/// `nvinfer1::InterfaceInfo`.
#[repr(C)]
struct InterfaceInfo {
    kind: *const c_char,
    major: i32,
    minor: i32,
}

/// A virtual table with what lies before it (Itanium C++ ABI, 2.5.2).
#[repr(C)]
struct VirtualTable {
    offset_to_top: isize,
    type_info: *const c_void,
    methods: [*const c_void; 5],
}

/// A `std::type_info` of a class without bases.
#[repr(C)]
struct TypeInfo {
    table: *const c_void,
    name: *const c_char,
}

/// `nvinfer1::ILogger`, and what it heard last.
#[repr(C)]
pub(crate) struct Logger {
    table: *const *const c_void,
    heard: Mutex<VecDeque<String>>,
}

// SAFETY: the table never changes; the rest is locked.
unsafe impl Send for Logger {}
// SAFETY: as above.
unsafe impl Sync for Logger {}

extern "C" fn log(this: *const Logger, severity: i32, message: *const c_char) {
    // SAFETY: TensorRT hands back the logger it was given, which is never freed, and a text that ends with a zero.
    let (logger, message) = unsafe { (&*this, abi::text(message)) };
    match severity {
        ..=1 => log::error!("TensorRT: {message}"),
        2 => log::warn!("TensorRT: {message}"),
        3 => log::debug!("TensorRT: {message}"),
        _ => log::trace!("TensorRT: {message}"),
    }
    if severity <= 2 {
        let mut heard = logger.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() == KEPT {
            heard.pop_front();
        }
        heard.push_back(message);
    }
}

extern "C" fn destroy(_: *const Logger) {
    // Never freed: TensorRT keeps the first logger it sees for good.
}

extern "C" fn language(_: *const Logger) -> i32 {
    0 // nvinfer1::APILanguage::kCPP
}

extern "C" fn info(_: *const Logger) -> InterfaceInfo {
    InterfaceInfo {
        kind: c"ILogger".as_ptr(),
        major: 1,
        minor: 0,
    }
}

impl Logger {
    /// A logger for `library`, of the shape that its version expects; lives as long as the process.
    pub(crate) fn leak(library: &Library, table: Table) -> &'static Logger {
        // SAFETY: only the address is used; the symbol is that of the C++ run-time library that TensorRT itself uses.
        let class: Option<*const c_void> =
            unsafe { library.function("_ZTVN10__cxxabiv117__class_type_infoE") }.ok();
        let type_info = class.map_or(std::ptr::null(), |class| {
            let info = Box::leak(Box::new(TypeInfo {
                // Past the two words before the methods.
                table: class.cast::<*const c_void>().wrapping_add(2).cast(),
                name: c"15SynopticLogger_".as_ptr(),
            }));
            std::ptr::from_ref(info).cast()
        });
        let (log, destroy) = (log as *const c_void, destroy as *const c_void);
        let (language, info) = (language as *const c_void, info as *const c_void);
        let methods = match table {
            Table::V8 | Table::V10 => [log, destroy, destroy, destroy, destroy],
            // IVersionedInterface comes first since 11.
            Table::V11 | Table::Rtx => [language, info, destroy, destroy, log],
        };
        let table = Box::leak(Box::new(VirtualTable {
            offset_to_top: 0,
            type_info,
            methods,
        }));
        Box::leak(Box::new(Logger {
            table: table.methods.as_ptr(),
            heard: Mutex::new(VecDeque::new()),
        }))
    }

    /// Warnings and errors since the last call, for a message.
    pub(crate) fn take(&self) -> String {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = heard.drain(..).collect();
        if lines.is_empty() {
            "it did not say why".to_owned()
        } else {
            lines.join("; ")
        }
    }
}

// SAFETY: nothing in it changes, and what it points to lives as long as the process.
unsafe impl Sync for VirtualTable {}
