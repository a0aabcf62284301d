//! The cases, as rows with asserted outcomes. A row that fails prints its seed and how to run it alone.
//!
//! Numbers are those of the list of nasty cases in the project's notes on time: faults that real cameras, networks
//! and players have shown. Cases about decoders, files and browsers have a row with what the engine can prove of
//! them, or a line in [`ELSEWHERE`] that names the place.

mod defects;
mod groups;
mod reports;
mod streams;

use std::collections::BTreeSet;

use synoptic_base::{Span, TimeSource};

use super::{BoxClock, Camera, Engine, Score, camera, run};

/// Share of frames whose truth must lie within their bound.
const COVERAGE: f64 = 0.999;
/// Every row runs with each of these.
const SEEDS: [u64; 3] = [1, 2, 3];

/// One case and what must come of it.
struct Row {
    case: u32,
    says: &'static str,
    camera: Camera,
    clock: BoxClock,
    length: Span,
    judged_from: Span,
    source: Option<TimeSource>,
    largest_error: Option<Span>,
    epochs: Option<u32>,
    wall_steps: Option<Vec<Span>>,
    bad_reports: bool,
}

/// A row: by default two minutes, and nothing asked but true bounds.
fn row(case: u32, says: &'static str, camera: Camera) -> Row {
    Row {
        case,
        says,
        camera,
        clock: BoxClock::default(),
        length: Span::from_secs(120),
        judged_from: Span::ZERO,
        source: None,
        largest_error: None,
        epochs: None,
        wall_steps: None,
        bad_reports: false,
    }
}

impl Row {
    fn on(mut self, clock: BoxClock) -> Row {
        self.clock = clock;
        self
    }
    fn for_secs(mut self, s: i64) -> Row {
        self.length = Span::from_secs(s);
        self
    }
    /// What was captured before is not judged.
    fn judged_from(mut self, s: i64) -> Row {
        self.judged_from = Span::from_secs(s);
        self
    }
    /// The last frame is timed so.
    fn ends_by(mut self, source: TimeSource) -> Row {
        self.source = Some(source);
        self
    }
    /// No frame is ever further off.
    fn never_off_by_ms(mut self, ms: i64) -> Row {
        self.largest_error = Some(Span::from_millis(ms));
        self
    }
    fn epochs(mut self, n: u32) -> Row {
        self.epochs = Some(n);
        self
    }
    /// These steps of the camera's wall clock are reported, to 20 ms, and no other.
    fn tells_steps(mut self, seconds: &[f64]) -> Row {
        self.wall_steps = Some(seconds.iter().map(|s| Span::from_secs_f64(*s)).collect());
        self
    }
    /// Some of its reports are counted as bad.
    fn tells_bad_reports(mut self) -> Row {
        self.bad_reports = true;
        self
    }

    fn run(&self, seed: u64) -> (Engine, Score) {
        let mut engine = Engine::new(&self.camera);
        let score = run(&mut engine, &self.camera, &self.clock, self.length, seed);
        (engine, score)
    }

    /// What of the outcome is not as asserted.
    fn failures(&self, seed: u64) -> Vec<String> {
        let (engine, score) = self.run(seed);
        let score = score.since(self.judged_from);
        let health = engine.health();
        let mut found = Vec::new();
        if score.judged.is_empty() {
            found.push("no frame was timed".to_owned());
        }
        if score.coverage() < COVERAGE {
            found.push(format!(
                "coverage {:.2} %: {} of {} frames outside their bound, error p99 {}, bound p50 {}",
                score.coverage() * 100.0,
                score.wrong(),
                score.judged.len(),
                score.error(0.99),
                score.bound(0.5)
            ));
        }
        if let Some(source) = self.source.filter(|s| score.last_source() != Some(*s)) {
            found.push(format!("source {:?}, not {}", score.last_source(), source.name()));
        }
        let largest = score.error(1.0);
        if let Some(limit) = self.largest_error.filter(|limit| largest > *limit) {
            found.push(format!("largest error {largest}, not {limit}"));
        }
        if let Some(epochs) = self.epochs.filter(|e| engine.epochs() != *e) {
            found.push(format!("epochs {}, not {epochs}", engine.epochs()));
        }
        if let Some(wanted) = &self.wall_steps {
            let got = engine.steps();
            let near = |(g, w): (&Span, &Span)| (*g - *w).abs() <= Span::from_millis(20);
            if got.len() != wanted.len() || !got.iter().zip(wanted).all(near) {
                let list = |s: &[Span]| s.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                found.push(format!("wall steps [{}], not [{}]", list(got), list(wanted)));
            }
        }
        if self.bad_reports && health.bad_reports == 0 {
            found.push("bad reports 0".to_owned());
        }
        found
    }
}

fn rows() -> Vec<Row> {
    let mut rows = reports::rows();
    rows.extend(streams::rows());
    rows
}

/// Cases that the engine cannot show, and where they are shown.
const ELSEWHERE: [(u32, &str); 4] = [
    (
        30,
        "V4L2 stamps: the driver's flags are read in media; the engine takes the stamp as it is",
    ),
    (
        35,
        "clip files: container times are read in media (source kind `file`)",
    ),
    (
        36,
        "SEI that breaks a browser's decoder: the page's player and its tests",
    ),
    (
        2,
        "which stamp a decoded picture has: media's ledger, and the barcode proof of this crate (packets_tests)",
    ),
];

#[test]
fn every_row_has_its_outcome() {
    let only = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let (case, seed) = (only("CASE"), only("SEED"));
    let mut failures = Vec::new();
    for row in rows()
        .iter()
        .filter(|r| case.is_none_or(|c| c == u64::from(r.case)))
    {
        if case.is_none() && defects::known(row.case, row.says) {
            continue;
        }
        for s in SEEDS.iter().filter(|s| seed.is_none_or(|only| only == **s)) {
            for failure in row.failures(*s) {
                failures.push(format!(
                    "case {} \"{}\", seed {s}: {failure}\n  again: CASE={} SEED={s} cargo test -p synoptic-sim \
                     every_row_has_its_outcome",
                    row.case, row.says, row.case
                ));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn every_case_has_a_row_or_a_place() {
    let mut there: BTreeSet<u32> = rows().iter().map(|r| r.case).collect();
    there.extend(groups::CASES);
    there.extend(ELSEWHERE.iter().map(|e| e.0));
    let missing: Vec<u32> = (1..=36).filter(|c| !there.contains(c)).collect();
    assert!(missing.is_empty(), "cases without a row: {missing:?}");
}

#[test]
fn the_same_seed_gives_the_same_feed() {
    let camera = camera().losing(0.1).late_reports(0.3, 300, 1_700);
    let feed =
        |seed| super::Feed::new(&camera, &BoxClock::default(), Span::from_secs(20), seed).collect::<Vec<_>>();
    assert_eq!(feed(5), feed(5));
    assert_ne!(feed(5), feed(6));
}
