//! How late each camera's stamps are against another's, from a light that all of them see go on.
//!
//! A frame that is lit for the fraction `f` of its exposure shows `f` of the rise: the light went on at
//! `t + e·(½ − f)`, `t` the middle of the exposure, `e` its length. That is unknown, but not longer than the frame
//! interval, so each camera gives an **interval** that holds the flash, and the difference of two such intervals holds
//! the difference of the two biases. Flashes fall differently on the shutters each time: what most of them have in common
//! is narrow (Marzullo 1984). The width is a bound, not a deviation.
//!
//! What a flash cannot tell is the bias that all cameras share: one of them is the reference and keeps its own.

use synoptic_base::{Mono, Span};

use super::hull::median;

/// Frames before a rise that say how bright it was and how much that trembles.
const BEFORE: usize = 8;
/// A rise of fewer luma steps (of 255) is no flash.
const LEAST_RISE: f32 = 6.0;
/// ... nor one that does not stand out from the trembling by this factor.
const STANDS_OUT: f32 = 6.0;
/// A frame that shows less than this of the rise, or all but this, may not be cut by it at all: codecs smear.
const EDGE: f64 = 0.12;
/// Luma is a power of light of about 1/2.2 (BT.709 with the camera's own curve): the fraction lies between both readings.
const GAMMA: f64 = 2.2;
/// Two rises nearer than this are one flash.
const APART: Span = Span::from_millis(400);
/// Biases of two cameras differ by less than this.
const SAME_FLASH: Span = Span::from_millis(300);
/// What stamps scatter by beside their bias, each way.
const SCATTER: Span = Span::from_millis(1);
/// Fewer flashes are no measurement ...
pub const LEAST_FLASHES: usize = 4;
/// ... and so many of ten must agree.
const AGREE_OF_TEN: usize = 7;

/// How bright a frame was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Light {
    /// When it was captured, by the camera's present bias.
    pub captured: Mono,
    /// Mean luma, 0 to 255.
    pub luma: f32,
}

/// Within this the light went on, as one camera has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onset {
    /// Not before.
    pub from: Mono,
    /// Not after.
    pub to: Mono,
}

/// How a camera's stamps lie against the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BiasDifference {
    /// How much later its stamps are (positive: its bias is larger).
    pub later: Span,
    /// How far that may be off.
    pub error: Span,
    /// Flashes that both cameras saw.
    pub flashes: usize,
    /// Those of them that agree.
    pub agreeing: usize,
}

/// Why there is no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlashError {
    /// Too few flashes were seen by both.
    #[error(
        "only {0} flashes were seen by it and by the reference; switch a light on and off {LEAST_FLASHES} times or more, a \
         second apart, where both see it"
    )]
    TooFew(usize),
    /// They contradict each other.
    #[error(
        "{agreeing} of {flashes} flashes agree: the cameras see different lights, or one of them loses frames; try again \
         with a single light in a dark room"
    )]
    Disagree {
        /// Flashes seen by both.
        flashes: usize,
        /// Most that agree.
        agreeing: usize,
    },
}

/// The sudden rises of light in the frames of one camera, in the order of capture.
pub fn onsets(frames: &[Light]) -> Vec<Onset> {
    let mut found: Vec<Onset> = Vec::new();
    let mut gaps: Vec<Span> = frames.windows(2).map(|w| w[1].captured - w[0].captured).collect();
    let Some(interval) = median(&mut gaps) else {
        return found;
    };
    for k in BEFORE..frames.len() {
        let (before, here) = (&frames[k - BEFORE..k], frames[k]);
        let (base, trembling) = level(before);
        let rise = here.luma - base;
        let least = LEAST_RISE.max(trembling * STANDS_OUT);
        let last = frames[k - 1];
        // The rise begins here: the frame before shows nothing of it.
        if rise * (1.0 - EDGE as f32) < least * EDGE as f32
            || (last.luma - base).abs() > least.min(rise) / 2.0
        {
            continue;
        }
        // The first frame after this one is lit for all of its exposure.
        let Some(after) = frames.get(k + 1) else { break };
        let full = f64::from(after.luma.max(here.luma) - base);
        let lost = here.captured - last.captured > interval * 3 / 2
            || after.captured - here.captured > interval * 3 / 2;
        let doubled = found.last().is_some_and(|o| here.captured - o.to < APART);
        if full < f64::from(least) || lost || doubled {
            continue;
        }
        let part = (f64::from(rise) / full).clamp(0.0, 1.0);
        if part < EDGE {
            continue; // a smear of what comes: the next frame is the one
        }
        let at = |f: f64| here.captured + Span::from_nanos(((0.5 - f) * interval.as_nanos() as f64) as i64);
        let onset = if part > 1.0 - EDGE {
            Onset {
                from: last.captured,
                to: here.captured,
            }
        } else {
            // An exposure of no length puts it at the middle, one of a whole interval furthest from it.
            let ends = [here.captured, at(part), at(part.powf(GAMMA))];
            Onset {
                from: ends.into_iter().min().unwrap_or(here.captured),
                to: ends.into_iter().max().unwrap_or(here.captured),
            }
        };
        found.push(onset);
    }
    found
}

/// Median luma, and the median distance from it.
fn level(frames: &[Light]) -> (f32, f32) {
    let middle = |mut all: Vec<f32>| {
        all.sort_by(f32::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(0.0)
    };
    let base = middle(frames.iter().map(|f| f.luma).collect());
    let off = middle(frames.iter().map(|f| (f.luma - base).abs()).collect());
    (base, off)
}

/// How much later one camera's stamps are than the reference's.
///
/// # Errors
/// Too few flashes were seen by both, or they contradict each other.
pub fn bias_difference(reference: &[Onset], other: &[Onset]) -> Result<BiasDifference, FlashError> {
    let middle = |o: &Onset| o.from + (o.to - o.from) / 2;
    let mut ranges = Vec::new();
    for o in other {
        let near = reference
            .iter()
            .map(|r| ((middle(r) - middle(o)).abs(), r))
            .min_by_key(|(off, _)| *off);
        if let Some((_, r)) = near.filter(|(off, _)| *off <= SAME_FLASH) {
            ranges.push((o.from - r.to - SCATTER * 2, o.to - r.from + SCATTER * 2));
        }
    }
    let flashes = ranges.len();
    if flashes < LEAST_FLASHES {
        return Err(FlashError::TooFew(flashes));
    }
    let (agreeing, from, to) = most_common(&ranges);
    if agreeing * 10 < flashes * AGREE_OF_TEN {
        return Err(FlashError::Disagree { flashes, agreeing });
    }
    let half = (to - from) / 2;
    Ok(BiasDifference {
        later: from + half,
        error: half,
        flashes,
        agreeing,
    })
}

/// What most intervals have in common (Marzullo): how many, and its ends.
fn most_common(ranges: &[(Span, Span)]) -> (usize, Span, Span) {
    // An end that coincides with a beginning still shares that point.
    let mut ends: Vec<(Span, i32)> = ranges.iter().flat_map(|(a, b)| [(*a, -1), (*b, 1)]).collect();
    ends.sort_unstable();
    let (mut open, mut best) = (0_i32, (0, Span::ZERO, Span::ZERO));
    for (i, (at, kind)) in ends.iter().enumerate() {
        open -= kind;
        if open > best.0
            && let Some((until, _)) = ends.get(i + 1)
        {
            best = (open, *at, *until);
        }
    }
    (best.0.unsigned_abs() as usize, best.1, best.2)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A camera of `fps` whose stamps are `late_ms` late, exposing for `exposure` of an interval, before a lamp that goes on
    /// for 0.6 s at each of `flashes` (in ms), under a curve of `gamma`.
    fn film(
        fps: f64,
        late_ms: f64,
        exposure: f64,
        flashes: &[f64],
        gamma: f64,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Light> {
        let interval = 1e3 / fps;
        let phase = rng.random_range(0.0..interval);
        let e = interval * exposure;
        (0..(30.0 * fps) as i64)
            .map(|i| {
                let middle = phase + i as f64 * interval;
                let (open, close) = (middle - e / 2.0, middle + e / 2.0);
                let lit: f64 = flashes
                    .iter()
                    .map(|on| (close.min(on + 600.0) - open.max(*on)).max(0.0))
                    .sum();
                let light = 0.02 + 0.5 * lit / e;
                let stamp = middle + late_ms + rng.random_range(-0.3..0.3);
                Light {
                    captured: Mono::from_nanos((stamp * 1e6) as i64),
                    luma: (255.0 * light.powf(1.0 / gamma) + rng.random_range(-0.4..0.4)) as f32,
                }
            })
            .collect()
    }

    fn flashes(rng: &mut ChaCha8Rng) -> Vec<f64> {
        (0..20)
            .map(|i| 1_500.0 + 1_400.0 * f64::from(i) + rng.random_range(0.0..80.0))
            .collect()
    }

    #[test]
    fn the_difference_of_two_biases_lies_inside_its_bound_and_the_bound_is_narrow() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut widest = Span::ZERO;
        for _ in 0..60 {
            let on = flashes(&mut rng);
            let (late, gamma) = (rng.random_range(-60.0..60.0), rng.random_range(1.0..2.2));
            let exposures = [rng.random_range(0.05..1.0), rng.random_range(0.05..1.0)];
            let a = onsets(&film(25.0, 10.0, exposures[0], &on, gamma, &mut rng));
            let b = onsets(&film(15.0, 10.0 + late, exposures[1], &on, gamma, &mut rng));
            let found = bias_difference(&a, &b).unwrap();
            let off = (found.later - Span::from_secs_f64(late / 1e3)).abs();
            assert!(off <= found.error, "{late} ms: {found:?}");
            assert!(found.flashes >= 14, "{found:?}");
            widest = widest.max(found.error);
        }
        // Half a frame of the slower camera is 33 ms.
        assert!(widest < Span::from_millis(25), "{widest}");
    }

    #[test]
    fn other_lights_and_few_flashes_are_no_measurement() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let on = flashes(&mut rng);
        let a = onsets(&film(25.0, 0.0, 0.4, &on, 1.0, &mut rng));
        let few = onsets(&film(15.0, 0.0, 0.4, &on[..3], 1.0, &mut rng));
        assert_eq!(bias_difference(&a, &few), Err(FlashError::TooFew(3)));
        // Another lamp, on at times of its own.
        let others: Vec<f64> = on.iter().map(|t| t + rng.random_range(-240.0..240.0)).collect();
        let b = onsets(&film(15.0, 0.0, 0.4, &others, 1.0, &mut rng));
        assert!(matches!(
            bias_difference(&a, &b),
            Err(FlashError::Disagree { .. })
        ));
        assert_eq!(onsets(&[]), []);
    }

    #[test]
    fn a_slow_change_of_light_is_no_flash() {
        let frames: Vec<Light> = (0..400)
            .map(|i| Light {
                captured: Mono::from_nanos(i * 40_000_000),
                luma: 40.0 + i as f32 * 0.4,
            })
            .collect();
        assert_eq!(onsets(&frames), []);
    }
}
