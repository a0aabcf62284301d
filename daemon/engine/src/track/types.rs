//! What the tracker takes, what it knows and what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use synoptic_base::{BBox, Captured, Detection, EndReason, FrameKey, FrameMeta, Span, TrackId};

/// Gives out the track ids of one stream, from 1, each once. Clones share the counter: the shell keeps one a
/// stream and hands it to every tracker it makes for it, so ids stay unique over reloads.
#[derive(Clone, Debug, Default)]
pub struct TrackIds(Arc<AtomicU64>);

impl TrackIds {
    /// The next id.
    pub fn next_id(&self) -> TrackId {
        TrackId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// How tracks are made, kept and dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackConfig {
    /// Detections from here on are matched first. ByteTrack `track_thresh`.
    pub high_score: f32,
    /// Detections below are not looked at. ByteTrack: 0.1.
    pub low_score: f32,
    /// Detections from here on may begin a track. ByteTrack: `track_thresh` + 0.1.
    pub new_score: f32,
    /// Cost limit (1 − IoU x score) of high-score detections with known tracks. ByteTrack `match_thresh`.
    pub first_cost: f32,
    /// Cost limit (1 − IoU) of low-score detections with the tracks still unmatched.
    pub second_cost: f32,
    /// Cost limit (1 − IoU x score) of the detections then left with tentative tracks.
    pub tentative_cost: f32,
    /// Cost limit (1 − IoU) for a detection of another class than the track's: the same object, named differently.
    pub relabel_cost: f32,
    /// Sightings that make a track worth telling.
    pub confirm_hits: u64,
    /// Least time from its first sighting to that.
    pub confirm_after: Span,
    /// Least share of the frames since its first sighting in which it was seen.
    pub confirm_ratio: f32,
    /// A tentative track missed in a frame this long after its last sighting is dropped.
    pub tentative_gap: Span,
    /// A confirmed track unseen for longer is over.
    pub lost_after: Span,
    /// No frame for this long on top of `lost_after`: the camera is gone, and its tracks with it. Must exceed the
    /// longest way from capture to here.
    pub silence: Span,
    /// Tracks of all states at once. At the limit no new one begins until an old one ends.
    pub max_tracks: usize,
    /// Detections looked at in one frame, the surest first; the others get no track.
    pub max_detections: usize,
}

impl Default for TrackConfig {
    /// Costs and scores are those of ByteTrack's code (`tools/demo_track.py`, `yolox/tracker/byte_tracker.py`);
    /// times are ours: docs/design/tracking.md.
    fn default() -> TrackConfig {
        TrackConfig {
            high_score: 0.5,
            low_score: 0.1,
            new_score: 0.6,
            first_cost: 0.8,
            second_cost: 0.5,
            tentative_cost: 0.7,
            relabel_cost: 0.4,
            confirm_hits: 3,
            confirm_after: Span::from_millis(300),
            confirm_ratio: 0.5,
            tentative_gap: Span::from_millis(300),
            lost_after: Span::from_millis(1500),
            silence: Span::from_secs(2),
            max_tracks: 256,
            max_detections: 512,
        }
    }
}

impl TrackConfig {
    /// For a detector whose results from `threshold` on are believed: such a detection may begin a track, a
    /// weaker one only continues it.
    pub fn for_threshold(threshold: f32) -> TrackConfig {
        let defaults = TrackConfig::default();
        TrackConfig {
            high_score: threshold,
            new_score: threshold,
            low_score: defaults.low_score.min(threshold),
            ..defaults
        }
    }
}

impl TrackConfig {
    /// For a detector that looks only every `interval`: a track may miss two looks, as it may miss frames otherwise.
    #[must_use]
    pub fn for_interval(self, interval: Span) -> TrackConfig {
        let gap = interval * 5 / 2;
        TrackConfig {
            tentative_gap: self.tentative_gap.max(gap),
            lost_after: self.lost_after.max(gap),
            silence: self.silence.max(gap),
            ..self
        }
    }
}

/// Where a track stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackState {
    /// Seen too few times to be told of.
    Tentative,
    /// Known, and seen in the newest frame.
    Confirmed,
    /// Known, but not seen in the newest frame; its box is predicted.
    Lost,
}

/// A detection that belongs to a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// The frame.
    pub frame: FrameKey,
    /// When it was captured.
    pub captured: Captured,
    /// Where the detector saw it.
    pub bbox: BBox,
    /// How sure the detector was, 0 to 1.
    pub score: f32,
}

/// One object over time, as known after the newest frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its id.
    pub id: TrackId,
    /// Where it stands.
    pub state: TrackState,
    /// Where it is: smoothed, predicted while lost. May reach beyond the picture.
    pub bbox: BBox,
    /// How its centre moves, in fractions of the picture (x, y) a second.
    pub velocity: (f32, f32),
    /// Class: the one with the greatest sum of scores over its sightings.
    pub label: String,
    /// Frames it was seen in.
    pub hits: u64,
    /// First sighting.
    pub first: Look,
    /// Last sighting.
    pub last: Look,
    /// Whether the detector called it by `label` in the last sighting.
    pub agrees: bool,
}

/// What a tracker is told.
#[derive(Clone, Copy, Debug)]
pub enum TrackInput<'a> {
    /// A frame and all that was found in it.
    Frame {
        /// The frame.
        meta: &'a FrameMeta,
        /// What the detector found.
        detections: &'a [Detection],
    },
    /// Nothing but time passed.
    Time,
    /// The camera is known to be gone.
    CameraLost,
}

/// Why a frame was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// Captured no later than one already used, or of an epoch that is over.
    OutOfOrder,
    /// Said to be captured after it came, by more than a second: its time stamp is wrong.
    InFuture,
    /// It belongs to another stream.
    OtherStream,
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedFrame {
    /// The frame.
    pub meta: FrameMeta,
    /// For each detection, in order, the track it belongs to, tentative ones too.
    pub ids: Vec<Option<TrackId>>,
    /// Every track after this frame, by id; empty when the frame was ignored.
    pub tracks: Vec<Track>,
    /// Set when the frame was not used.
    pub ignored: Option<Ignored>,
}

/// What a tracker says.
#[derive(Clone, Debug, PartialEq)]
pub enum TrackOutput {
    /// What became of a frame: one for each handed in.
    Frame(TrackedFrame),
    /// A track that was confirmed once is over. Tentative ones vanish without a word.
    Ended {
        /// As it was last; its id is never used again.
        track: Track,
        /// Why.
        reason: EndReason,
    },
}

/// What a tracker counts, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackCounts {
    /// Frames used.
    pub frames: u64,
    /// Frames ignored because they came out of order.
    pub out_of_order: u64,
    /// Frames ignored because they claim to be from the future.
    pub in_future: u64,
    /// Times the stream's capture time stepped back for good; every track ended.
    pub steps_back: u64,
    /// Frames ignored because they belong to another stream.
    pub other_stream: u64,
    /// Detections ignored because their box or score is no number or has no area.
    pub invalid: u64,
    /// Detections ignored because the frame had more than `max_detections`.
    pub too_many: u64,
    /// Detections that began no track because there were `max_tracks`.
    pub refused: u64,
    /// Tracks that were confirmed.
    pub confirmed: u64,
    /// Tentative tracks that came to nothing.
    pub dropped: u64,
}
