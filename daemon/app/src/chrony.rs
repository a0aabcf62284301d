//! chrony's own bound of the box's UTC error: tighter than the kernel's, which grows by 500 ppm between updates.

use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use synoptic_base::{Mono, Span};

/// chrony updates its estimate every 16 s at the fastest default poll; asking costs a process.
const ASK_EVERY: Span = Span::from_secs(16);
/// An answer older than this is not used: chrony went away.
const LIFE: Span = Span::from_secs(60);

/// Asks `chronyc` in the background, where it is installed.
#[derive(Default)]
pub(crate) struct Chrony {
    asked: Option<Mono>,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    busy: bool,
    missing: bool,
    answer: Option<(Mono, Span)>,
}

impl Chrony {
    /// The latest bound, if it is fresh. Asks anew when it is time to; never waits.
    pub(crate) fn error(&mut self, now: Mono) -> Option<Span> {
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = self.asked.is_none_or(|at| now - at >= ASK_EVERY);
        if due && !state.busy && !state.missing {
            self.asked = Some(now);
            self.ask(now);
        }
        state
            .answer
            .filter(|(at, _)| now - *at <= LIFE)
            .map(|(_, error)| error)
    }

    fn ask(&self, now: Mono) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).busy = true;
        let shared = self.state.clone();
        let asking = move || {
            let output = Command::new("chronyc")
                .args(["-c", "tracking"])
                .stdin(Stdio::null())
                .output();
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.busy = false;
            match output {
                Ok(output) => {
                    let answer = bound(&String::from_utf8_lossy(&output.stdout));
                    state.answer = answer.map(|error| (now, error));
                }
                Err(error) => {
                    state.missing = error.kind() == ErrorKind::NotFound;
                    log::debug!("chronyc does not run: {error}");
                }
            }
        };
        if let Err(error) = std::thread::Builder::new()
            .name("chrony".to_owned())
            .spawn(asking)
        {
            log::warn!("no thread to ask chrony: {error}");
            self.state.lock().unwrap_or_else(PoisonError::into_inner).busy = false;
        }
    }
}

/// The bound in a line of `chronyc -c tracking`: |offset| + root dispersion + root delay / 2 (chronyc(1), tracking).
/// `None` when chrony is not synchronised, or this is not its line.
fn bound(line: &str) -> Option<Span> {
    let fields: Vec<&str> = line.trim().split(',').collect();
    let &[
        _,
        _,
        stratum,
        _,
        offset,
        _,
        _,
        _,
        _,
        _,
        root_delay,
        root_dispersion,
        _,
        leap,
    ] = fields.as_slice()
    else {
        return None;
    };
    if stratum == "0" || leap == "Not synchronised" {
        return None;
    }
    let seconds = |text: &str| text.parse::<f64>().ok().filter(|s| s.is_finite());
    let error = seconds(offset)?.abs() + seconds(root_dispersion)? + seconds(root_delay)? / 2.0;
    Some(Span::from_secs_f64(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_bound_of_a_tracking_line() {
        let line = "A29FC87B,162.159.200.123,4,1795255200.1,-0.000012,0.000031,0.00004,-12.1,0.002,0.05,0.0123,0.0008,64.9,Normal\n";
        let error = bound(line).unwrap();
        assert!(
            (error - Span::from_micros(6_962)).abs() <= Span::from_micros(1),
            "{error}"
        );
        assert_eq!(bound(&line.replace("Normal", "Not synchronised")), None);
        for bad in [
            "",
            "506 Cannot talk to daemon",
            "a,b,c",
            &line.replace("0.0123", "x"),
            &line.replace("0.0123", "nan"),
        ] {
            assert_eq!(bound(bad), None, "{bad}");
        }
    }
}
