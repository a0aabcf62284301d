//! Fuzz targets: each takes any bytes, and panics where something does not hold that must.
//!
//! On stable Rust, in CI: a test mutates real samples for a second a target; `SYNOPTIC_FUZZ_S=600` makes it ten minutes
//! each, `SYNOPTIC_FUZZ_SEED` another run of it. With a nightly toolchain the same targets run under libFuzzer, guided by
//! coverage: `fuzz/` at the root of the repository, `cargo +nightly fuzz run TARGET`.

mod machines;
mod mutate;
mod parsers;
mod samples;
#[cfg(test)]
mod tests;

pub use mutate::mutated;
pub use samples::samples;

/// A target: what it is called, and what it does with bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also that of its libFuzzer binary.
    pub name: &'static str,
    /// Feeds it; panics where an invariant does not hold.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 12] = [
    Target {
        name: "flv",
        run: parsers::flv,
    },
    Target {
        name: "flv_script",
        run: parsers::flv_script,
    },
    Target {
        name: "ts",
        run: parsers::ts,
    },
    Target {
        name: "m3u8",
        run: parsers::m3u8,
    },
    Target {
        name: "sei",
        run: parsers::sei,
    },
    Target {
        name: "hdrext",
        run: parsers::hdrext,
    },
    Target {
        name: "refclk",
        run: parsers::refclk,
    },
    Target {
        name: "rtcp",
        run: synoptic_media::session::fuzz::rtcp,
    },
    Target {
        name: "nal",
        run: synoptic_media::session::fuzz::nal,
    },
    Target {
        name: "rtp_timebase",
        run: machines::rtp_timebase,
    },
    Target {
        name: "driver_timebase",
        run: machines::driver_timebase,
    },
    Target {
        name: "align",
        run: machines::align,
    },
];

/// Runs the target of that name, if there is one.
pub fn run(name: &str, data: &[u8]) {
    if let Some(target) = TARGETS.iter().find(|t| t.name == name) {
        (target.run)(data);
    }
}
