//! Rows about several cameras: packets.

use synoptic_base::Span;
use synoptic_engine::align::AlignConfig;

use crate::scenario::{BoxClock, Camera, GroupScore, Member, camera, percentile, run_group};

/// Nasty cases that have a row here.
pub(super) const CASES: [u32; 4] = [26, 27, 28, 31];
const MAX_WAIT: Span = Span::from_millis(250);
const SEEDS: [u64; 3] = [1, 2, 3];

struct Row {
    case: u32,
    says: &'static str,
    cameras: Vec<Camera>,
    length: Span,
    /// Least share of packets with a frame of every camera.
    complete: f64,
    /// Packets, from and to.
    packets: (usize, usize),
    /// Longest time between two packets.
    longest_gap: Span,
}

fn ms(ms: i64) -> Span {
    Span::from_millis(ms)
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            case: 26,
            says: "15, 25 and 29.97 fps: the slowest paces",
            cameras: vec![
                camera().at_fps(15.0),
                camera().at_fps(25.0).phased(11.0),
                camera().at_fps(29.97),
            ],
            length: Span::from_secs(60),
            complete: 0.97,
            packets: (880, 915),
            longest_gap: ms(250),
        },
        Row {
            case: 26,
            says: "30 and 29.97 fps slip through each other",
            cameras: vec![camera().at_fps(30.0), camera().at_fps(29.97)],
            length: Span::from_secs(120),
            complete: 0.97,
            packets: (3_540, 3_680),
            longest_gap: ms(250),
        },
        Row {
            case: 27,
            says: "a camera is dark for 20 s in mid packet, and returns",
            cameras: vec![
                camera(),
                camera().phased(20.0),
                camera().phased(40.0).dark(20.0, 20.0),
            ],
            length: Span::from_secs(80),
            complete: 0.70,
            packets: (1_170, 1_230),
            longest_gap: MAX_WAIT + ms(67),
        },
        Row {
            case: 27,
            says: "all cameras are dark for 10 s, and return",
            cameras: vec![camera().dark(20.0, 10.0), camera().phased(30.0).dark(20.0, 10.0)],
            length: Span::from_secs(60),
            complete: 0.95,
            packets: (735, 765),
            longest_gap: ms(10_350),
        },
        Row {
            case: 28,
            says: "wall clocks 28.7 s apart, and hours",
            cameras: vec![
                camera(),
                camera().wall_off(28.7).phased(15.0),
                camera().wall_off(-7_200.0).phased(30.0),
            ],
            length: Span::from_secs(60),
            complete: 0.98,
            packets: (890, 910),
            longest_gap: ms(250),
        },
        Row {
            case: 31,
            says: "one of three stands still for 2 s, again and again",
            cameras: vec![
                camera(),
                camera().phased(20.0),
                camera().phased(40.0).stalls(20.0, 2.0).stalls(40.0, 2.0),
            ],
            length: Span::from_secs(60),
            complete: 0.90,
            packets: (885, 920),
            longest_gap: MAX_WAIT + ms(67),
        },
        Row {
            case: 20,
            says: "one frame in twenty is lost",
            cameras: vec![camera().losing(0.05), camera().phased(20.0)],
            length: Span::from_secs(60),
            complete: 0.92,
            packets: (885, 915),
            longest_gap: ms(300),
        },
    ]
}

fn failures(row: &Row, score: &GroupScore) -> Vec<String> {
    let mut found: Vec<String> = score.violations.iter().take(3).cloned().collect();
    let complete = score.complete as f64 / score.packets.max(1) as f64;
    if complete < row.complete {
        found.push(format!(
            "{:.1} % of packets complete, not {:.1}",
            complete * 100.0,
            row.complete * 100.0
        ));
    }
    if score.packets < row.packets.0 || score.packets > row.packets.1 {
        found.push(format!("{} packets, not {:?}", score.packets, row.packets));
    }
    if score.longest_gap > row.longest_gap {
        found.push(format!("a gap of {}, not {}", score.longest_gap, row.longest_gap));
    }
    found
}

#[test]
fn every_group_has_its_outcome() {
    let mut all = Vec::new();
    for row in rows() {
        let members: Vec<Member> = row.cameras.iter().cloned().map(Member::of).collect();
        for seed in SEEDS {
            let config = |cameras| AlignConfig {
                max_wait: MAX_WAIT,
                ..AlignConfig::new(cameras)
            };
            let score = run_group(&members, config, &BoxClock::default(), row.length, seed);
            for failure in failures(&row, &score) {
                let p95 = percentile(&mut score.spreads.clone(), 0.95);
                all.push(format!(
                    "case {} \"{}\", seed {seed}: {failure} (spread p95 {p95}, slots {:?})",
                    row.case, row.says, score.slots
                ));
            }
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}
