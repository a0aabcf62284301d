//! The one line of the live view, and the verdict at the end.

use std::collections::BTreeMap;
use std::fmt::Write;

use synoptic_base::Span;

use super::Outcome;
use super::look::{Look, Status};

/// What was seen of one camera over the whole run.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tally {
    state: String,
    looks: u64,
    /// Looks with a known truth outside the claimed bound.
    outside: u64,
    /// Looks outside the bound that are not held against the daemon: the simulator itself was late.
    invalid: u64,
    unknown: u64,
    worst: Span,
    last_key: String,
}

/// Keeps count of what is seen.
#[derive(Debug, Default)]
pub(super) struct Report {
    cameras: BTreeMap<String, Tally>,
    /// Cameras whose pictures carry the truth.
    with_truth: Vec<String>,
}

/// One camera at one time.
pub(super) struct Seen {
    pub id: String,
    pub look: Option<Look>,
    /// Whether the simulator was late since the last time.
    pub late: bool,
}

impl Report {
    /// `with_truth` are the cameras whose true error must be known and within the bound.
    pub(super) fn new(cameras: impl Iterator<Item = String>, with_truth: Vec<String>) -> Report {
        Report {
            cameras: cameras.map(|id| (id, Tally::default())).collect(),
            with_truth,
        }
    }

    /// Takes in one round and gives the line that shows it.
    pub(super) fn line(&mut self, status: &Status, seen: &[Seen]) -> String {
        let mut line = String::new();
        for group in &status.groups {
            if !line.is_empty() {
                line += ", ";
            }
            line += &group.state;
            if let Some(spread) = &group.spread_ms {
                let _ = write!(line, " spread {:.0} ms", spread.p50);
            }
            if let Some(ratio) = group.complete_ratio {
                let _ = write!(line, " {:.0}%", ratio * 100.0);
            }
        }
        for seen in seen {
            let camera = status.cameras.iter().find(|c| c.id == seen.id);
            let tally = self.cameras.entry(seen.id.clone()).or_default();
            let state = camera.map_or("unknown", |c| c.status.state.as_str());
            tally.state = state.to_owned();
            let _ = write!(line, " | {}", seen.id);
            let shown = camera
                .is_some_and(|c| c.status.state == "online")
                .then_some(seen.look.as_ref())
                .flatten();
            match shown {
                Some(look) => {
                    tally.count(look, seen.late);
                    let _ = write!(line, " ±{:.1}", look.bound.as_millis_f64());
                    let _ = match (look.error, look.holds()) {
                        (Some(e), Some(true)) => write!(line, " true {:+.1}", e.as_millis_f64()),
                        (Some(e), _) if seen.late => {
                            write!(line, " true {:+.1} (sim late)", e.as_millis_f64())
                        }
                        (Some(e), _) => write!(line, " true {:+.1} OUTSIDE", e.as_millis_f64()),
                        (None, _) => write!(line, " true ?"),
                    };
                }
                None => {
                    let _ = write!(line, " {state}");
                    if let Some(why) = camera.and_then(|c| c.status.reason.as_deref()) {
                        let short: String = why.chars().take(40).collect();
                        let _ = write!(line, " ({short})");
                    }
                }
            }
            if let Some(offset) = camera.and_then(|c| c.time.offset_ms) {
                let _ = write!(line, " clock {offset:+.0}");
            }
        }
        line
    }

    /// The summary, and how it all ended.
    pub(super) fn verdict(&self) -> (String, Outcome) {
        let mut text = String::new();
        let mut outcome = Outcome::Passed;
        for (id, t) in &self.cameras {
            let truth = self.with_truth.contains(id);
            let judged = t.looks - t.invalid - t.unknown;
            let there = t.state == "online" && t.looks > 0;
            let (word, of_camera) = if !there || (truth && (t.outside > 0 || t.unknown > 0)) {
                ("FAIL", Outcome::Failed)
            } else if truth && judged == 0 {
                ("????", Outcome::Invalid)
            } else {
                ("ok  ", Outcome::Passed)
            };
            if outcome != Outcome::Failed && of_camera != Outcome::Passed {
                outcome = of_camera;
            }
            let _ = write!(text, "{word} {id}: {}, {} pictures", t.state, t.looks);
            if truth {
                let _ = write!(
                    text,
                    ", {judged} judged, {} outside the claimed bound, worst true error {:.1} ms",
                    t.outside,
                    t.worst.as_millis_f64()
                );
                for (count, what) in [
                    (t.invalid, "not judged: the simulator itself was late"),
                    (t.unknown, "without a readable barcode"),
                ] {
                    if count > 0 {
                        let _ = write!(text, ", {count} {what}");
                    }
                }
            }
            text.push('\n');
        }
        (text, outcome)
    }
}

impl Tally {
    fn count(&mut self, look: &Look, late: bool) {
        if look.key == self.last_key {
            return;
        }
        self.last_key.clone_from(&look.key);
        self.looks += 1;
        match (look.error, look.holds()) {
            (Some(_), Some(false)) if late => self.invalid += 1,
            (Some(error), Some(holds)) => {
                self.outside += u64::from(!holds);
                self.worst = self.worst.max(error.abs());
            }
            _ => self.unknown += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str) -> Status {
        let text = format!(
            r#"{{"cameras":[{{"id":"a","status":{{"state":"{state}","reason":null,"since":""}},
                "time":{{"offset_ms":-350.2}}}}],
                "groups":[{{"state":"locked","spread_ms":{{"p50":12.1,"p95":1,"max":1}},"complete_ratio":0.98}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn seen(key: &str, error_ms: Option<i64>, late: bool) -> Vec<Seen> {
        let look = Look {
            key: key.to_owned(),
            bound: Span::from_millis(15),
            error: error_ms.map(Span::from_millis),
        };
        vec![Seen {
            id: "a".to_owned(),
            look: Some(look),
            late,
        }]
    }

    fn report() -> Report {
        let a = || "a".to_owned();
        Report::new([a()].into_iter(), vec![a()])
    }

    #[test]
    fn claimed_and_true_stand_side_by_side() {
        let line = report().line(&status("online"), &seen("1", Some(-3), false));
        assert_eq!(line, "locked spread 12 ms 98% | a ±15.0 true -3.0 clock -350");
    }

    #[test]
    fn the_verdict_is_strict_but_fair() {
        let mut report = report();
        assert_eq!(report.verdict().1, Outcome::Failed, "nothing seen is no success");
        report.line(&status("online"), &seen("0", Some(99), true));
        assert_eq!(
            report.verdict().1,
            Outcome::Invalid,
            "a late simulator proves nothing"
        );
        report.line(&status("online"), &seen("1", Some(3), true));
        assert_eq!(
            report.verdict().1,
            Outcome::Passed,
            "what holds all the same counts"
        );
        report.line(&status("online"), &seen("1", Some(99), false));
        assert_eq!(
            report.verdict().1,
            Outcome::Passed,
            "the same picture counts once"
        );
        report.line(&status("online"), &seen("3", Some(16), false));
        assert_eq!(report.verdict().1, Outcome::Failed);
    }

    #[test]
    fn a_camera_that_is_gone_or_unreadable_fails() {
        let mut gone = report();
        gone.line(&status("online"), &seen("1", Some(0), false));
        gone.line(&status("offline"), &seen("1", Some(0), false));
        assert_eq!(gone.verdict().1, Outcome::Failed);
        let mut unreadable = report();
        unreadable.line(&status("online"), &seen("1", None, false));
        assert_eq!(unreadable.verdict().1, Outcome::Failed);
    }
}
