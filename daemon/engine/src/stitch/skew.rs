//! How far apart in time two cameras really are, from what moves where both see.
//!
//! A mover passes a cell of the overlap at one instant of the world. Each camera's luma of that cell over its own capture
//! times is one curve; by how much the second curve lags behind the first is the skew that the stamps do not know of,
//! and what parallax adds.
//!
//! **Parallax.** A mover nearer than the canvas's surface stands at two places. Two cameras b apart see somebody who walks
//! along their baseline at v metres a second as if they were b / v apart in time, at whatever distance he walks: 100 ms for
//! 10 cm and 1 m/s. No picture of him tells the one from the other as long as he goes on alike. But it has the sign of his
//! direction. So lags are measured apart for each heading (`lag.rs`): of those who go right and of those who go left (or
//! down and up) one is too large and one too small, and the truth is between. Nothing is told before movers of opposite
//! headings were seen.
//!
//! **Where between.** b / v of two walkers is as the inverse of their speeds. Those are known in heights of their own a second,
//! from how fast and how high they are in the picture, at whatever distance. If all are of one height the lags divide the
//! way between them in that ratio; the bound is how far that moves when one is `ALIKE` times as high as the other. Where
//! heights are not seen (who is cut off by the edge of the overlap) the middle is told, and all between is its bound.

use std::collections::VecDeque;

use synoptic_base::{CellSeen, Cover, Mono, Span, StitchLayout};

use super::lag::{Heading, Look, Memory, Passage, Sample};

/// Cells of a pair that are watched at most.
const MOST_CELLS: usize = 1200;
/// Pictures remembered: 3 s at 25 a second.
const MEMORY: usize = 75;
/// Pictures that somebody needs to pass a cell: half a second at 25 a second. Stretches of so many are looked at.
const STRETCH: usize = 15;
/// Pictures at both ends that are read only for lags: 0.3 s at 25 a second.
const MARGIN: usize = 8;
/// A cell in which luma varies by less (standard deviation) in either camera has no motion.
const MIN_MOTION: f32 = 3.0;
/// Passages of a heading without which its lag is not measured.
const FEWEST_PASSAGES: usize = 12;
/// Groups of passages whose lags are compared for the standard deviation.
const GROUPS: usize = 4;
/// How often lags are measured.
const EVERY: Span = Span::from_secs(1);
/// How long a lag counts: who comes back by then tells the other side.
const REMEMBERED: Span = Span::from_secs(60);
/// People, cars and bicycles are between 1.2 and 2.2 m high: none more than so many times as high as another.
const ALIKE: f64 = 2.0;
/// Of the rows in which something passes, the part that is left out at either end: leaves, and what a gust moves.
const STRAY: f64 = 0.03;
/// Rows of cells that something must fill for its height to be known: 32 canvas pixels.
const LEAST_ROWS: usize = 4;
/// What a lag without parallax may be off by for all that: the test of this file finds 2 ms at the most.
const LEAST_ERROR_S: f64 = 1e-3;

/// A skew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skew {
    /// By how much the second camera's frames were captured later than their stamps say, against the first's.
    pub skew: Span,
    /// The truth is no farther from `skew`, for movers of whatever distance.
    pub error: Span,
}

/// A lag of one heading.
#[derive(Clone, Copy, Debug)]
struct Lag {
    at: Mono,
    seconds: f64,
    sd: f64,
    /// Heights of its own a second that it goes, where they are seen.
    pace: Option<f64>,
}

/// Watches two cameras.
pub struct SkewWatch {
    cameras: [usize; 2],
    /// Of each place the cell, and its neighbours left, right, above and below.
    places: Vec<[usize; 5]>,
    /// Cells in a row of the canvas, and the first and the last row with a place.
    columns: usize,
    edges: [usize; 2],
    memory: Memory,
    due: Option<Mono>,
    /// Of each heading, oldest first.
    lags: [VecDeque<Lag>; Heading::ALL.len()],
    newest: Option<Skew>,
}

impl SkewWatch {
    /// For cameras `cameras` of `layout`; `None` where they share no cell.
    pub fn new(layout: &StitchLayout, cameras: [usize; 2]) -> Option<SkewWatch> {
        let columns = layout.columns;
        let whole = |i: usize| cameras.iter().all(|k| layout.cover[*k][i] >= Cover::Whole);
        let inside = |i: &usize| {
            let (x, y) = (i % columns, i / columns);
            x > 0 && x + 1 < columns && y > 0 && y + 1 < layout.rows
        };
        let all: Vec<[usize; 5]> = (0..columns * layout.rows)
            .filter(inside)
            .map(|i| [i, i - 1, i + 1, i - columns, i + columns])
            .filter(|cells| cells.iter().all(|i| whole(*i)))
            .collect();
        let n = all.len();
        let places = if n <= MOST_CELLS {
            all
        } else {
            (0..MOST_CELLS).map(|i| all[i * n / MOST_CELLS]).collect()
        };
        let row = |cells: &[usize; 5]| cells[0] / columns;
        let edges = [places.iter().map(row).min()?, places.iter().map(row).max()?];
        Some(SkewWatch {
            cameras,
            places,
            columns,
            edges,
            memory: Memory::default(),
            due: None,
            lags: Default::default(),
            newest: None,
        })
    }

    /// The two cameras.
    pub fn cameras(&self) -> [usize; 2] {
        self.cameras
    }

    /// Takes in a picture: the cells of all cameras, and when each camera's frame was captured; `None` for a camera
    /// without a live frame.
    pub fn see(&mut self, cells: &[Vec<CellSeen>], captured: &[Option<Mono>]) {
        let [a, b] = self.cameras;
        let (Some(Some(at_a)), Some(Some(at_b))) = (captured.get(a), captured.get(b)) else {
            return;
        };
        let (Some(one), Some(two)) = (cells.get(a), cells.get(b)) else {
            return;
        };
        let luma = |seen: &[CellSeen], i: usize| seen.get(i).map(|cell| cell.luma);
        let looks: Option<Vec<Look>> = self
            .places
            .iter()
            .map(|[cell, left, right, above, below]| {
                Some(Look {
                    both: [luma(one, *cell)?, luma(two, *cell)?],
                    around: [
                        luma(one, *left)?,
                        luma(one, *right)?,
                        luma(one, *above)?,
                        luma(one, *below)?,
                    ],
                })
            })
            .collect();
        let Some(looks) = looks else {
            return;
        };
        let at = [*at_a, *at_b];
        self.memory.push(Sample { at, looks }, MEMORY);
        let now = at[0];
        if self.due.is_none_or(|due| now >= due) {
            self.due = Some(now + EVERY);
            self.measure(now);
            self.newest = self.between();
        }
    }

    /// The newest estimate; `None` before movers of opposite headings were seen, and a minute after.
    pub fn skew(&self) -> Option<Skew> {
        self.newest
    }

    /// Measures the lag of each heading over what is remembered.
    fn measure(&mut self, now: Mono) {
        let mut passages: [Vec<Passage>; Heading::ALL.len()] = Default::default();
        let mut apart: [Vec<f64>; Heading::ALL.len()] = Default::default();
        let last = self.memory.len().saturating_sub(MARGIN);
        let stretches = (MARGIN..last)
            .step_by(STRETCH)
            .filter(|start| start + STRETCH <= last);
        for start in stretches {
            for place in 0..self.places.len() {
                let passage = Passage {
                    place,
                    samples: start..start + STRETCH,
                };
                if self.memory.motion(place, &passage.samples) < MIN_MOTION {
                    continue;
                }
                if let Some((heading, pictures)) = self.memory.heading(&passage) {
                    passages[heading as usize].push(passage);
                    apart[heading as usize].push(pictures);
                }
            }
        }
        for heading in Heading::ALL {
            let passages = &passages[heading as usize];
            let found = lag_of(&self.memory, passages).map(|(seconds, sd)| Lag {
                at: now,
                seconds,
                sd,
                pace: self.pace(heading, passages, &mut apart[heading as usize]),
            });
            let lags = &mut self.lags[heading as usize];
            lags.extend(found);
            while lags.front().is_some_and(|lag| now - lag.at > REMEMBERED) {
                lags.pop_front();
            }
        }
    }

    /// How fast what goes sideways goes, in heights of its own a second.
    fn pace(&self, heading: Heading, passages: &[Passage], apart: &mut [f64]) -> Option<f64> {
        if !matches!(heading, Heading::Right | Heading::Left) {
            return None;
        }
        let mut rows: Vec<usize> = passages
            .iter()
            .map(|p| self.places[p.place][0] / self.columns)
            .collect();
        rows.sort_unstable();
        let stray = (rows.len() as f64 * STRAY) as usize;
        let (top, bottom) = (*rows.get(stray)?, *rows.get(rows.len().checked_sub(stray + 1)?)?);
        let height = bottom - top + 1;
        if height < LEAST_ROWS || top <= self.edges[0] + 1 || bottom + 1 >= self.edges[1] {
            return None;
        }
        apart.sort_unstable_by(f64::total_cmp);
        let pictures = *apart.get(apart.len() / 2)?;
        // Neighbours are two cells apart.
        let cells_a_second = 2.0 / (pictures * self.memory.interval_s()?);
        Some(cells_a_second / height as f64)
    }

    /// What lies between the lags of opposite headings, where it is known best.
    fn between(&self) -> Option<Skew> {
        let side = |heading: Heading| Side::of(&self.lags[heading as usize]);
        [(Heading::Right, Heading::Left), (Heading::Down, Heading::Up)]
            .into_iter()
            .filter_map(|(one, two)| Some(between(&side(one)?, &side(two)?)))
            .min_by_key(|skew| skew.error)
    }
}

/// All lags of a heading.
struct Side {
    lag: f64,
    sd: f64,
    pace: Option<f64>,
}

impl Side {
    /// Medians: of those whose pace is known, where there are any.
    fn of(lags: &VecDeque<Lag>) -> Option<Side> {
        let paced = lags.iter().any(|lag| lag.pace.is_some());
        let of = || lags.iter().filter(|lag| lag.pace.is_some() == paced);
        let median = |values: &mut Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(Side {
            lag: median(&mut of().map(|lag| lag.seconds).collect())?,
            sd: median(&mut of().map(|lag| lag.sd).collect())?,
            pace: median(&mut of().filter_map(|lag| lag.pace).collect()),
        })
    }
}

fn between(one: &Side, two: &Side) -> Skew {
    // Where on the way from the one to the other: by how much parallax adds to each.
    let share = |alike: f64| match (one.pace, two.pace) {
        (Some(a), Some(b)) => alike * b / (alike * b + a),
        _ => alike / (alike + 1.0),
    };
    let at = |share: f64| one.lag + share * (two.lag - one.lag);
    let ends = match (one.pace, two.pace) {
        (Some(_), Some(_)) => [at(share(1.0 / ALIKE)), at(share(ALIKE))],
        _ => [one.lag, two.lag],
    };
    let skew = at(share(1.0));
    let widest = ends.iter().map(|end| (end - skew).abs()).fold(0.0, f64::max);
    Skew {
        skew: Span::from_secs_f64(skew),
        error: Span::from_secs_f64(widest + 2.0 * one.sd.max(two.sd) + LEAST_ERROR_S),
    }
}

/// The lag of some passages and its standard deviation, in seconds.
fn lag_of(memory: &Memory, passages: &[Passage]) -> Option<(f64, f64)> {
    if passages.len() < FEWEST_PASSAGES {
        return None;
    }
    let whole = memory.lag(&passages.iter())?;
    let parts: Vec<f64> = (0..GROUPS)
        .filter_map(|g| memory.lag(&passages.iter().skip(g).step_by(GROUPS)))
        .collect();
    if parts.len() < GROUPS {
        return None;
    }
    let mean = parts.iter().sum::<f64>() / parts.len() as f64;
    let variance = parts.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / (parts.len() - 1) as f64;
    Some((whole, (variance / parts.len() as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Cover, Size};

    use super::*;

    const COLUMNS: usize = 40;
    const ROWS: usize = 20;

    fn layout() -> StitchLayout {
        StitchLayout {
            size: Size::new(320, 160),
            columns: COLUMNS,
            rows: ROWS,
            cover: vec![vec![Cover::Inner; COLUMNS * ROWS]; 2],
            kr_kb: (0.299, 0.114),
        }
    }

    /// Cells when somebody 40 pixels wide stands at `left` pixels, in `rows`.
    fn cells(left: f64, rows: &std::ops::Range<usize>) -> Vec<CellSeen> {
        (0..COLUMNS * ROWS)
            .map(|i| {
                let x = (i % COLUMNS) as f64 * 8.0;
                let left = if rows.contains(&(i / COLUMNS)) {
                    left
                } else {
                    -99.0
                };
                let covered = ((left + 40.0).min(x + 8.0) - left.max(x)).clamp(0.0, 8.0) / 8.0;
                CellSeen {
                    luma: (90.0 + 5.0 * (i % 7) as f64 + 80.0 * covered) as f32,
                    ..CellSeen::UNSEEN
                }
            })
            .collect()
    }

    /// Somebody who walks in front of two cameras.
    struct Walk {
        /// Where he is at a time in seconds, in pixels.
        left: fn(f64) -> f64,
        /// By how much farther right the second camera sees him: he is nearer than the canvas's surface.
        parallax: f64,
        seconds: f64,
        /// Rows of cells from his head to his feet.
        rows: std::ops::Range<usize>,
    }

    /// To and fro at 90 pixels a second.
    const TO_AND_FRO: Walk = Walk {
        left: |t| 140.0 + 90.0 * (t * 1.1).sin(),
        parallax: 0.0,
        seconds: 6.0,
        rows: 0..ROWS,
    };

    /// What is found when the second camera is late by `skew_ms`, `fps` pictures a second; one walk after the other.
    fn found_of(walks: &[Walk], skew_ms: f64, fps: f64, phase_ms: f64) -> Option<Skew> {
        let mut watch = SkewWatch::new(&layout(), [0, 1]).unwrap();
        let mut before = 0.0;
        for walk in walks {
            for i in 0..(walk.seconds * fps) as i32 {
                let t = f64::from(i) / fps;
                let stamp = |t: f64| Mono::from_nanos(5_000_000_000) + Span::from_secs_f64(before + t);
                let captured = [Some(stamp(t)), Some(stamp(t + phase_ms / 1e3))];
                let late = t + (phase_ms + skew_ms) / 1e3;
                let second = cells((walk.left)(late) + walk.parallax, &walk.rows);
                watch.see(&[cells((walk.left)(t), &walk.rows), second], &captured);
            }
            before += walk.seconds;
        }
        watch.skew()
    }

    fn found(walk: &Walk, skew_ms: f64, fps: f64, phase_ms: f64) -> Option<Skew> {
        found_of(std::slice::from_ref(walk), skew_ms, fps, phase_ms)
    }

    #[test]
    fn a_skew_is_found_within_two_milliseconds_also_between_frames() {
        for (skew, fps, phase) in [
            (40.0, 25.0, 0.0),
            (-33.0, 25.0, 11.0),
            (7.0, 15.0, 20.0),
            (0.0, 30.0, 0.0),
        ] {
            let found = found(&TO_AND_FRO, skew, fps, phase).unwrap();
            let off = found.skew.as_millis_f64() - skew;
            assert!(
                off.abs() < 2.0,
                "{skew} ms at {fps} fps: off by {off:.2} ms, {found:?}"
            );
            assert!(found.error < Span::from_millis(6), "{found:?}");
            assert!(off.abs() <= found.error.as_millis_f64(), "{found:?}");
        }
    }

    #[test]
    fn the_bound_holds_the_truth_whatever_parallax_adds() {
        for (skew, parallax) in [(40.0, 9.0), (-20.0, -7.0), (0.0, 12.0)] {
            let walk = Walk {
                parallax,
                ..TO_AND_FRO
            };
            let found = found(&walk, skew, 25.0, 0.0).unwrap();
            let off = Span::from_secs_f64(skew / 1e3) - found.skew;
            assert!(off.abs() <= found.error, "{skew} ms, {parallax} px: {found:?}");
            // 9 px at 90 px/s are 100 ms: less would be luck.
            assert!(found.error > Span::from_millis(50), "{found:?}");
            assert!(found.error < Span::from_millis(220), "{found:?}");
        }
    }

    #[test]
    fn who_is_seen_from_head_to_feet_tells_how_far_parallax_reaches() {
        // Alike in height, 6 % of it is the baseline: 64 pixels high at 96 pixels a second, then half as high and half as
        // far apart, and twice as fast for his height.
        let near = Walk {
            left: |t| -60.0 + 96.0 * t,
            parallax: 0.06 * 64.0,
            seconds: 4.5,
            rows: 5..13,
        };
        let far = Walk {
            left: |t| 360.0 - 96.0 * t,
            parallax: 0.06 * 32.0,
            seconds: 4.5,
            rows: 8..12,
        };
        let walks = [near, far];
        for skew in [40.0, -25.0] {
            let found = found_of(&walks, skew, 25.0, 0.0).unwrap();
            let off = found.skew.as_millis_f64() - skew;
            // The middle would be 10 ms off, and 30 ms its bound.
            assert!(off.abs() < 4.0, "{skew} ms: off by {off:.2} ms, {found:?}");
            assert!(off.abs() <= found.error.as_millis_f64(), "{found:?}");
            assert!(found.error < Span::from_millis(20), "{found:?}");
        }
    }

    #[test]
    fn nothing_is_said_while_all_go_one_way() {
        let one_way = |left| Walk {
            left,
            parallax: 9.0,
            seconds: 5.0,
            rows: 0..ROWS,
        };
        let right = one_way(|t| 10.0 + 60.0 * t);
        assert_eq!(found(&right, 40.0, 25.0, 0.0), None);
        let left = one_way(|t| 300.0 - 60.0 * t);
        assert_eq!(found(&left, 40.0, 25.0, 0.0), None);
    }

    #[test]
    fn a_lag_is_forgotten_after_a_minute() {
        let walk = Walk {
            left: |t| {
                if t < 6.0 {
                    140.0 + 90.0 * (t * 1.1).sin()
                } else {
                    10.0
                }
            },
            parallax: 0.0,
            seconds: 72.0,
            rows: 0..ROWS,
        };
        assert_eq!(found(&walk, 40.0, 25.0, 0.0), None);
        assert!(
            found(
                &Walk {
                    seconds: 30.0,
                    ..walk
                },
                40.0,
                25.0,
                0.0
            )
            .is_some()
        );
    }

    #[test]
    fn nothing_is_said_where_nothing_moves() {
        let mut watch = SkewWatch::new(&layout(), [0, 1]).unwrap();
        for i in 0..70 {
            let at = Mono::from_nanos(0) + Span::from_millis(40 * i);
            watch.see(
                &[cells(100.0, &(0..ROWS)), cells(100.0, &(0..ROWS))],
                &[Some(at), Some(at)],
            );
        }
        assert_eq!(watch.skew(), None);
    }
}
