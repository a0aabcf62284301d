//! What the box knows of UTC: the clock map and its versions.

use std::sync::Arc;

use synoptic_base::{BootId, Clock, ClockMap, Span};

use crate::chrony::Chrony;

/// A change of (UTC − monotonic) beyond this is a new version of the map: NTP slews by less in the time between two
/// looks, a step is more.
const NEW_VERSION: Span = Span::from_millis(5);

/// Keeps the clock map up to date. Look at it about once a second.
pub struct BoxClock {
    clock: Arc<dyn Clock>,
    map: ClockMap,
    chrony: Chrony,
}

impl BoxClock {
    /// The map as it is now, version 1.
    pub fn new(clock: Arc<dyn Clock>, boot_id: BootId) -> BoxClock {
        let map = ClockMap {
            boot_id,
            version: 1,
            utc_minus_mono: offset(&*clock),
            error: kernel_error(),
        };
        BoxClock {
            clock,
            map,
            chrony: Chrony::default(),
        }
    }

    /// The map.
    pub fn map(&self) -> ClockMap {
        self.map
    }

    /// Looks at the clocks. Returns the step if UTC stepped against the monotonic clock since the last version.
    pub fn look(&mut self) -> Option<Span> {
        let offset = offset(&*self.clock);
        let chrony = self.chrony.error(self.clock.now());
        // chrony's bound counts only while the kernel holds the clock for synchronised.
        let error = kernel_error().map(|kernel| chrony.map_or(kernel, |c| c.min(kernel)));
        let step = offset - self.map.utc_minus_mono;
        let stepped = step.abs() > NEW_VERSION;
        if stepped || error.is_some() != self.map.error.is_some() {
            self.map.version += 1;
            self.map.utc_minus_mono = offset;
        }
        // A step that is too small for a version is part of the error.
        self.map.error = error.map(|e| if stepped { e } else { e + step.abs() });
        stepped.then_some(step)
    }
}

fn offset(clock: &dyn Clock) -> Span {
    let sample = clock.sample();
    Span::from_nanos(sample.realtime.as_nanos()) - Span::from_nanos(sample.mono.as_nanos())
}

/// The kernel's bound of its UTC error (`maxerror` of adjtimex(2)), kept by whatever disciplines the clock (chrony,
/// systemd-timesyncd, ntpd, phc2sys); `None` while nothing does.
fn kernel_error() -> Option<Span> {
    // SAFETY: `timex` is plain data for which all zeros is valid; `modes = 0` makes adjtimex read only.
    #[allow(unsafe_code)]
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex)
    };
    let unsynchronised = state < 0 || state == libc::TIME_ERROR || timex.status & libc::STA_UNSYNC != 0;
    (!unsynchronised).then(|| Span::from_micros(timex.maxerror))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use synoptic_base::{ClockSample, Mono, Utc};

    use super::*;

    struct Fake(Mutex<ClockSample>);
    impl Clock for Fake {
        fn now(&self) -> Mono {
            self.0.lock().unwrap().mono
        }
        fn sample(&self) -> ClockSample {
            *self.0.lock().unwrap()
        }
    }

    #[test]
    fn a_step_is_a_new_version_and_slewing_is_not() {
        let sample = ClockSample {
            mono: Mono::from_nanos(0),
            raw: Mono::from_nanos(0),
            realtime: Utc::from_nanos(1_000),
            width: Span::ZERO,
        };
        let fake = Arc::new(Fake(Mutex::new(sample)));
        let mut clock = BoxClock::new(fake.clone(), BootId(uuid::Uuid::nil()));
        fake.0.lock().unwrap().realtime += Span::from_millis(1);
        assert_eq!((clock.look(), clock.map().version), (None, 1));
        fake.0.lock().unwrap().realtime += Span::from_secs(3);
        let step = clock.look().unwrap();
        assert!((step - Span::from_secs(3)).abs() < Span::from_millis(5), "{step}");
        assert_eq!(clock.map().version, 2);
    }
}
