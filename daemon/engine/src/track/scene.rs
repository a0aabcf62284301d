//! A small world of known truth, for measuring the tracker: movers, a pillar, a detector that errs. All from a seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synoptic_base::{
    BBox, Captured, Detection, Epoch, FrameKey, FrameKind, FrameMeta, MediaTime, Mono, Seq, Size, Span,
    StreamId, TimeSource,
};

/// Share of a box that must be hidden for it to count as out of sight, for truth and detector alike.
const HIDDEN: f32 = 0.7;
/// Share hidden from which the detector is unsure.
const HALF_HIDDEN: f32 = 0.25;

/// How far outside the picture a passer-by turns back into a new one, in widths of the picture.
const OUTSIDE: f32 = 0.15;

/// A box on a straight way across.
#[derive(Clone, Debug)]
pub(crate) struct Mover {
    pub(crate) label: &'static str,
    /// Centre at time 0.
    pub(crate) start: (f32, f32),
    /// Fractions of the picture a second.
    pub(crate) velocity: (f32, f32),
    /// Width and height.
    pub(crate) size: (f32, f32),
    /// Turns round on the spot at the picture's edge, instead of leaving while somebody else enters opposite.
    pub(crate) turns: bool,
}

/// Back and forth within 0..`span`.
fn fold(along: f32, span: f32) -> f32 {
    let along = along.rem_euclid(2.0 * span);
    along.min(2.0 * span - along)
}

impl Mover {
    /// Which person that is by now (a new number with each pass), and where.
    fn at(&self, t: f32) -> (i32, BBox) {
        let (w, h) = self.size;
        let along = self.start.0 + self.velocity.0 * t;
        let (person, cx) = if self.turns {
            (0, w / 2.0 + fold(along - w / 2.0, 1.0 - w))
        } else {
            let way = 1.0 + 2.0 * OUTSIDE;
            let passes = (along + OUTSIDE).div_euclid(way);
            (passes as i32, along - passes * way)
        };
        let cy = h / 2.0 + fold(self.start.1 + self.velocity.1 * t - h / 2.0, 1.0 - h);
        (person, BBox::new(cx - w / 2.0, cy - h / 2.0, w, h))
    }
}

/// Who: number of the mover and of the pass.
pub(crate) type Who = (usize, i32);

/// What the world is like and how the detector errs.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// The first is nearest to the camera and hides the others.
    pub(crate) movers: Vec<Mover>,
    /// Stands before all.
    pub(crate) pillar: Option<BBox>,
    pub(crate) seconds: f32,
    /// Frame intervals are drawn evenly from this range, in ms.
    pub(crate) interval_ms: (i64, i64),
    /// Chance that a visible object is not detected in a frame.
    pub(crate) miss: f64,
    /// Standard deviation of each edge, in sizes of the box.
    pub(crate) noise: f32,
    /// Mean number of false boxes a frame.
    pub(crate) clutter: f64,
    pub(crate) seed: u64,
}

/// One frame of it.
#[derive(Clone, Debug)]
pub(crate) struct SceneFrame {
    pub(crate) meta: FrameMeta,
    /// Who is in sight, and where.
    pub(crate) truth: Vec<(Who, BBox)>,
    pub(crate) detections: Vec<Detection>,
}

/// Metadata of a 1280x720 frame of `cam`, captured `at`, arrived 50 ms later.
pub(crate) fn meta(epoch: u32, seq: u64, at: Mono) -> FrameMeta {
    FrameMeta {
        key: FrameKey {
            stream: StreamId::new("cam").unwrap(),
            epoch: Epoch(epoch),
            media_us: MediaTime::from_micros(at.as_nanos() / 1000),
        },
        seq: Seq(seq),
        arrival: at + Span::from_millis(50),
        captured: Captured {
            mono: at,
            rel_error: Span::from_millis(3),
            source: TimeSource::SenderReport,
        },
        size: Size::new(1280, 720),
        kind: FrameKind::P,
    }
}

pub(crate) fn detection(label: &str, score: f32, bbox: BBox) -> Detection {
    Detection {
        bbox,
        label: label.to_owned(),
        score,
    }
}

/// Sum of twelve even draws less 6: near enough to a normal one.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

/// Share of `of` that lies behind `front`.
fn hidden(of: &BBox, front: &BBox) -> f32 {
    let w = of.right().min(front.right()) - of.x.max(front.x);
    let h = of.bottom().min(front.bottom()) - of.y.max(front.y);
    w.max(0.0) * h.max(0.0) / of.area()
}

impl Scene {
    /// Two people who walk towards each other and pass, again and again.
    pub(crate) fn crossing(seed: u64) -> Scene {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xc405);
        let mut person = |x: f32, direction: f32| Mover {
            label: "person",
            start: (x, 0.5 + rng.random_range(-0.05..0.05)),
            velocity: (
                direction * rng.random_range(0.12..0.2),
                rng.random_range(-0.01..0.01),
            ),
            size: (0.08, 0.4),
            turns: false,
        };
        Scene {
            movers: vec![person(0.2, 1.0), person(0.8, -1.0)],
            pillar: None,
            seconds: 20.0,
            interval_ms: (66, 67),
            miss: 0.1,
            noise: 0.02,
            clutter: 0.1,
            seed,
        }
    }

    /// People going about everywhere.
    pub(crate) fn crowd(people: usize, seed: u64) -> Scene {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xc0de);
        let movers = (0..people)
            .map(|_| Mover {
                label: "person",
                start: (rng.random_range(0.05..0.95), rng.random_range(0.3..0.7)),
                velocity: (rng.random_range(-0.15..0.15), rng.random_range(-0.04..0.04)),
                size: (rng.random_range(0.05..0.08), rng.random_range(0.25..0.35)),
                turns: false,
            })
            .collect();
        Scene {
            movers,
            ..Scene::crossing(seed)
        }
    }

    /// All frames in order.
    pub(crate) fn frames(&self) -> Vec<SceneFrame> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let begin = Mono::from_nanos(1_000_000_000_000);
        let mut at = begin;
        let mut frames = Vec::new();
        while (at - begin).as_secs_f64() < f64::from(self.seconds) {
            let t = (at - begin).as_secs_f64() as f32;
            let now: Vec<(i32, BBox)> = self.movers.iter().map(|m| m.at(t)).collect();
            let mut truth = Vec::new();
            let mut detections = Vec::new();
            for (i, &(pass, whole)) in now.iter().enumerate() {
                let covered = now[..i]
                    .iter()
                    .map(|(_, front)| front)
                    .chain(&self.pillar)
                    .map(|front| hidden(&whole, front))
                    .fold(0.0, f32::max);
                let bbox = whole.clamped();
                if covered >= HIDDEN || bbox.area() < (1.0 - HIDDEN) * whole.area() {
                    continue;
                }
                truth.push(((i, pass), bbox));
                let score = if covered < HALF_HIDDEN {
                    rng.random_range(0.6..0.95)
                } else {
                    rng.random_range(0.15..0.6)
                };
                let (dx, dy) = (bbox.w * self.noise, bbox.h * self.noise);
                let seen = BBox::from_edges(
                    bbox.x + dx * normal(&mut rng),
                    bbox.y + dy * normal(&mut rng),
                    bbox.right() + dx * normal(&mut rng),
                    bbox.bottom() + dy * normal(&mut rng),
                );
                if !rng.random_bool(self.miss) {
                    detections.push(detection(self.movers[i].label, score, seen));
                }
            }
            if rng.random_bool(self.clutter.min(1.0)) {
                let (x, y) = (rng.random_range(0.0..0.9), rng.random_range(0.0..0.7));
                detections.push(detection(
                    "person",
                    rng.random_range(0.1..0.9),
                    BBox::new(x, y, 0.08, 0.25),
                ));
            }
            frames.push(SceneFrame {
                meta: meta(1, frames.len() as u64, at),
                truth,
                detections,
            });
            let (low, high) = self.interval_ms;
            at += Span::from_millis(rng.random_range(low..=high));
        }
        frames
    }
}
