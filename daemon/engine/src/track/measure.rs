//! How good tracks are against the truth: identity switches and MOTA (CLEAR MOT, Bernardin and Stiefelhagen 2008),
//! IDF1 (Ristani et al. 2016, arXiv 1609.01775). A box is right at IoU 0.5 or more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;

use synoptic_base::{BBox, TrackId};

use super::assign::assign;
use super::scene::{Scene, Who};
use super::{TrackConfig, TrackIds, TrackInput, TrackOutput, TrackState, Tracker};

const RIGHT_IOU: f32 = 0.5;
/// Frames within which a switch that is undone has done no harm: a third of a second in most scenes.
const HEAL_FRAMES: usize = 5;

/// Counts that add up over scenes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    pub(crate) truth: u64,
    pub(crate) told: u64,
    pub(crate) missed: u64,
    pub(crate) false_boxes: u64,
    /// A right box carries another id than the one before it did (CLEAR MOT's identity switches).
    pub(crate) switches: u64,
    /// Of these, those after which the old id did not come back within [`HEAL_FRAMES`].
    pub(crate) lasting: u64,
    pub(crate) right_by_identity: u64,
    pub(crate) false_tracks: u64,
    pub(crate) people: u64,
}

impl Score {
    pub(crate) fn mota(&self) -> f64 {
        1.0 - (self.missed + self.false_boxes + self.switches) as f64 / self.truth as f64
    }
    pub(crate) fn idf1(&self) -> f64 {
        2.0 * self.right_by_identity as f64 / (self.truth + self.told) as f64
    }
}

impl AddAssign for Score {
    fn add_assign(&mut self, o: Score) {
        self.truth += o.truth;
        self.told += o.told;
        self.missed += o.missed;
        self.false_boxes += o.false_boxes;
        self.switches += o.switches;
        self.lasting += o.lasting;
        self.right_by_identity += o.right_by_identity;
        self.false_tracks += o.false_tracks;
        self.people += o.people;
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "people {:4}  switches {:2}, lasting {:2}  MOTA {:.3}  IDF1 {:.3}  false tracks {:2}",
            self.people,
            self.switches,
            self.lasting,
            self.mota(),
            self.idf1(),
            self.false_tracks
        )
    }
}

/// Tracks a scene and scores the confirmed boxes of every frame.
pub(crate) fn run(scene: &Scene, config: &TrackConfig) -> Score {
    let frames = scene.frames();
    let mut tracker = Tracker::new(frames[0].meta.key.stream, TrackIds::default(), config.clone());
    let mut score = Score::default();
    let mut partner: BTreeMap<Who, TrackId> = BTreeMap::new();
    let mut shared: BTreeMap<(Who, TrackId), u64> = BTreeMap::new();
    let mut carried: BTreeMap<Who, Vec<TrackId>> = BTreeMap::new();
    let mut told_ids = BTreeSet::new();
    let mut people = BTreeSet::new();
    for frame in &frames {
        people.extend(frame.truth.iter().map(|t| t.0));
        tracker.handle(
            frame.meta.arrival,
            TrackInput::Frame {
                meta: &frame.meta,
                detections: &frame.detections,
            },
        );
        while let Some(output) = tracker.poll() {
            let TrackOutput::Frame(tracked) = output else {
                continue;
            };
            let told: Vec<(TrackId, BBox)> = tracked
                .tracks
                .iter()
                .filter(|t| t.state == TrackState::Confirmed)
                .map(|t| (t.id, t.bbox))
                .collect();
            told_ids.extend(told.iter().map(|t| t.0));
            for (i, bbox) in &frame.truth {
                for (id, other) in &told {
                    *shared.entry((*i, *id)).or_default() += u64::from(bbox.iou(other) >= RIGHT_IOU);
                }
            }
            // Whom a truth was with stays, if still right; CLEAR MOT matches only the rest anew.
            let matched = assign(frame.truth.len(), told.len(), 2.0, |i, t| {
                let (truth, bbox) = &frame.truth[i];
                let iou = bbox.iou(&told[t].1);
                let stays = partner.get(truth) == Some(&told[t].0);
                (iou >= RIGHT_IOU).then_some(if stays { 0.0 } else { 1.0 } + (1.0 - iou) * 0.01)
            });
            score.truth += frame.truth.len() as u64;
            score.told += told.len() as u64;
            score.missed += (frame.truth.len() - matched.len()) as u64;
            score.false_boxes += (told.len() - matched.len()) as u64;
            for (i, t) in matched {
                let before = partner.insert(frame.truth[i].0, told[t].0);
                carried.entry(frame.truth[i].0).or_default().push(told[t].0);
                score.switches += u64::from(before.is_some_and(|id| id != told[t].0));
            }
        }
    }
    let ids: Vec<TrackId> = told_ids.into_iter().collect();
    let people: Vec<Who> = people.into_iter().collect();
    let together = |i: usize, t: usize| shared.get(&(people[i], ids[t])).copied().unwrap_or(0);
    let most = frames.len() as f32;
    score.right_by_identity = assign(people.len(), ids.len(), most + 1.0, |i, t| {
        Some(most - together(i, t) as f32)
    })
    .into_iter()
    .map(|(i, t)| together(i, t))
    .sum();
    let is_false = |t: &usize| (0..people.len()).all(|i| together(i, *t) == 0);
    score.false_tracks = (0..ids.len()).filter(is_false).count() as u64;
    score.lasting = carried.values().map(|ids| lasting_switches(ids)).sum();
    score.people = people.len() as u64;
    score
}

/// Switches in the ids one person carried that were not undone soon.
fn lasting_switches(ids: &[TrackId]) -> u64 {
    let mut count = 0;
    let mut own = ids[0];
    for at in 1..ids.len() {
        let soon = &ids[at..ids.len().min(at + HEAL_FRAMES)];
        if ids[at] != own && !soon.contains(&own) {
            count += 1;
            own = ids[at];
        }
    }
    count
}

/// Scores of one kind of scene over `seeds` seeds, all together.
pub(crate) fn over_seeds(seeds: u64, config: &TrackConfig, scene: impl Fn(u64) -> Scene) -> Score {
    let mut sum = Score::default();
    for seed in 0..seeds {
        sum += run(&scene(seed), config);
    }
    sum
}
