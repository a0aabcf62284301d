//! One track as the tracker keeps it: what others see of it, its filter and its votes.

use synoptic_base::{BBox, Detection, FrameMeta, Span, TrackId};

use super::kalman::Kalman;
use super::types::{Look, Track, TrackConfig, TrackState};

/// Labels a track keeps votes for. At the limit the weakest makes room.
const MAX_LABELS: usize = 8;

/// A track and what only the tracker needs of it.
#[derive(Clone, Debug)]
pub(super) struct One {
    /// What others see.
    pub(super) track: Track,
    /// Where it is thought to be.
    filter: Kalman,
    /// Sum of scores by label.
    votes: Vec<(String, f32)>,
    /// Frames since its first sighting, that one counted.
    frames: u64,
    /// Whether the newest frame shows it.
    seen: bool,
}

impl One {
    /// Begins with one detection.
    pub(super) fn new(id: TrackId, meta: &FrameMeta, detection: &Detection, picture_aspect: f64) -> One {
        let look = look(meta, detection);
        One {
            track: Track {
                id,
                state: TrackState::Tentative,
                bbox: detection.bbox,
                velocity: (0.0, 0.0),
                label: detection.label.clone(),
                hits: 1,
                first: look,
                last: look,
                agrees: true,
            },
            filter: Kalman::new(&detection.bbox, picture_aspect),
            votes: vec![(detection.label.clone(), detection.score)],
            frames: 1,
            seen: true,
        }
    }

    /// A new frame, `dt` after the last: moves the box on; unseen until shown otherwise.
    pub(super) fn predict(&mut self, dt: Span, picture_aspect: f64) {
        self.filter.predict(dt, self.seen);
        self.frames += 1;
        self.seen = false;
        self.show(picture_aspect);
    }

    /// Seen in the newest frame.
    pub(super) fn correct(&mut self, meta: &FrameMeta, detection: &Detection, picture_aspect: f64) {
        self.filter.correct(&detection.bbox, picture_aspect);
        self.seen = true;
        self.track.hits += 1;
        self.track.last = look(meta, detection);
        self.vote(&detection.label, detection.score);
        self.track.agrees = self.track.label == detection.label;
        self.show(picture_aspect);
    }

    /// Whether the newest frame shows it.
    pub(super) fn seen(&self) -> bool {
        self.seen
    }

    /// Whether it was ever confirmed.
    pub(super) fn known(&self) -> bool {
        self.track.state != TrackState::Tentative
    }

    /// Share of the frames since its first sighting in which it was seen.
    fn hit_ratio(&self) -> f32 {
        self.track.hits as f32 / self.frames as f32
    }

    /// Whether a tentative track has been seen often and long enough.
    pub(super) fn is_proven(&self, config: &TrackConfig) -> bool {
        let age = self.track.last.captured.mono - self.track.first.captured.mono;
        self.track.hits >= config.confirm_hits
            && age >= config.confirm_after
            && self.hit_ratio() >= config.confirm_ratio
    }

    /// Whether a tentative track, unseen in the frame `meta`, is to be given up.
    pub(super) fn is_flicker(&self, config: &TrackConfig, meta: &FrameMeta) -> bool {
        let now = meta.captured.mono;
        let flickers = self.hit_ratio() < config.confirm_ratio
            && now - self.track.first.captured.mono >= config.confirm_after;
        flickers || now - self.track.last.captured.mono > config.tentative_gap
    }

    /// Box and velocity by the filter.
    fn show(&mut self, picture_aspect: f64) {
        self.track.bbox = self.filter.bbox(picture_aspect);
        self.track.velocity = self.filter.velocity(picture_aspect);
    }

    /// Counts a sighting's score for its label; the label with the most is the track's. A tie keeps the old one.
    fn vote(&mut self, label: &str, score: f32) {
        match self.votes.iter_mut().find(|(l, _)| l == label) {
            Some((_, sum)) => *sum += score,
            None => {
                if self.votes.len() >= MAX_LABELS {
                    let weakest =
                        (0..self.votes.len()).min_by(|&a, &b| self.votes[a].1.total_cmp(&self.votes[b].1));
                    if let Some(weakest) = weakest {
                        self.votes.swap_remove(weakest);
                    }
                }
                self.votes.push((label.to_owned(), score));
            }
        }
        let sum = |label: &str| self.votes.iter().find(|(l, _)| l == label).map_or(0.0, |v| v.1);
        if sum(label) > sum(&self.track.label) {
            label.clone_into(&mut self.track.label);
        }
    }
}

fn look(meta: &FrameMeta, detection: &Detection) -> Look {
    Look {
        frame: meta.key,
        captured: meta.captured,
        bbox: detection.bbox,
        score: detection.score,
    }
}

/// Whether a detection can be tracked: finite numbers and an area.
pub(super) fn is_valid(detection: &Detection) -> bool {
    let BBox { x, y, w, h, .. } = detection.bbox;
    [x, y, w, h, detection.score].iter().all(|v| v.is_finite()) && w > 0.0 && h > 0.0
}
