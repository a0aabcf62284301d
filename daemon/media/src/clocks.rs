//! The one file that reads the system's clocks (see clippy.toml); all else takes a [`Clock`].

use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};
use synoptic_base::{BootId, Clock, ClockSample, Mono, Span, Utc};

/// The box's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// As a shared trait object.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

/// Attempts at reading the clocks close together; the narrowest wins.
const SAMPLE_TRIES: usize = 5;

fn read(id: ClockId) -> i64 {
    // clock_gettime fails only for a clock the kernel lacks; these three exist since Linux 2.6.28.
    clock_gettime(id).map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec())
}

impl Clock for SystemClock {
    fn now(&self) -> Mono {
        Mono::from_nanos(read(ClockId::CLOCK_MONOTONIC))
    }

    fn sample(&self) -> ClockSample {
        let once = || {
            let before = read(ClockId::CLOCK_MONOTONIC);
            let raw = read(ClockId::CLOCK_MONOTONIC_RAW);
            let realtime = read(ClockId::CLOCK_REALTIME);
            let after = read(ClockId::CLOCK_MONOTONIC);
            ClockSample {
                mono: Mono::from_nanos(before + (after - before) / 2),
                raw: Mono::from_nanos(raw),
                realtime: Utc::from_nanos(realtime),
                width: Span::from_nanos(after - before),
            }
        };
        let mut best = once();
        for _ in 1..SAMPLE_TRIES {
            let next = once();
            if next.width < best.width {
                best = next;
            }
        }
        best
    }
}

/// Reads the id of this boot.
pub fn boot_id() -> std::io::Result<BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.trim().parse().map(BootId).map_err(std::io::Error::other)
}
