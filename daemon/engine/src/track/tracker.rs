//! The tracker of one stream: ByteTrack's rounds of association, and the life of tracks around them.

use std::collections::VecDeque;

use synoptic_base::{Detection, EndReason, Epoch, FrameMeta, Mono, Span, StreamId, TrackId};

use super::assign::assign;
use super::one::{One, is_valid};
use super::types::{
    Ignored, Track, TrackConfig, TrackCounts, TrackIds, TrackInput, TrackOutput, TrackState, TrackedFrame,
};

/// How far a capture time may lie ahead of now. Estimates err by milliseconds; one frame stamped hours ahead
/// would make all that follow it look late.
const AHEAD: Span = Span::from_secs(1);
/// Frames out of order in a row after which it is the stream's time that stepped back, not the frames that are
/// late: a second or two of video. Reordered frames come singly.
const LATE_IN_A_ROW: u32 = 30;

/// Follows the objects of one stream.
#[derive(Debug)]
pub struct Tracker {
    stream: StreamId,
    config: TrackConfig,
    ids: TrackIds,
    /// Epoch of the newest frame, and when that was captured.
    newest: Option<(Epoch, Mono)>,
    /// Frames out of order since the newest.
    late: u32,
    /// By id, as they began.
    tracks: Vec<One>,
    outputs: VecDeque<TrackOutput>,
    counts: TrackCounts,
}

/// One frame while its detections are shared out.
struct Round<'a> {
    meta: &'a FrameMeta,
    picture_aspect: f64,
    detections: &'a [Detection],
    /// The track of each detection, so far.
    ids: Vec<Option<TrackId>>,
}

impl Tracker {
    /// A tracker for `stream` that takes its ids from `ids`.
    pub fn new(stream: StreamId, ids: TrackIds, config: TrackConfig) -> Tracker {
        Tracker {
            stream,
            config,
            ids,
            newest: None,
            late: 0,
            tracks: Vec::new(),
            outputs: VecDeque::new(),
            counts: TrackCounts::default(),
        }
    }

    /// Takes one input at `now`. Drain [`Tracker::poll`] after it.
    pub fn handle(&mut self, now: Mono, input: TrackInput<'_>) {
        match input {
            TrackInput::Frame { meta, detections } => self.frame(now, meta, detections),
            TrackInput::Time => self.end_silent(now),
            TrackInput::CameraLost => self.end_all(EndReason::CameraLost),
        }
    }

    /// The next output, in the order in which things happened.
    pub fn poll(&mut self) -> Option<TrackOutput> {
        self.outputs.pop_front()
    }

    /// When to call with [`TrackInput::Time`], should no frame come before.
    pub fn deadline(&self) -> Option<Mono> {
        self.tracks.iter().map(|t| self.gone_at(t)).min()
    }

    /// The stream it follows.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Every track there is, by id.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().map(|t| &t.track)
    }

    /// What was counted since the tracker was made.
    pub fn counts(&self) -> TrackCounts {
        self.counts
    }

    fn frame(&mut self, now: Mono, meta: &FrameMeta, detections: &[Detection]) {
        let ignored = self.why_ignored(now, meta);
        if let Some(why) = ignored {
            match why {
                Ignored::OutOfOrder => {
                    self.counts.out_of_order += 1;
                    self.late += u32::from(self.newest.is_some_and(|n| n.0 == meta.key.epoch));
                }
                Ignored::InFuture => self.counts.in_future += 1,
                Ignored::OtherStream => self.counts.other_stream += 1,
            }
            self.outputs.push_back(TrackOutput::Frame(TrackedFrame {
                meta: *meta,
                ids: vec![None; detections.len()],
                tracks: Vec::new(),
                ignored: Some(why),
            }));
            return;
        }
        let captured = meta.captured.mono;
        match self.newest {
            Some((epoch, _)) if epoch != meta.key.epoch => self.end_all(EndReason::CameraLost),
            Some((_, newest)) if captured <= newest => {
                self.counts.steps_back += 1;
                self.end_all(EndReason::CameraLost);
            }
            Some(_) => self.end_silent(captured),
            None => {}
        }
        self.late = 0;
        let mut round = Round {
            meta,
            picture_aspect: f64::from(meta.size.width.max(1)) / f64::from(meta.size.height.max(1)),
            detections,
            ids: vec![None; detections.len()],
        };
        if let Some((_, before)) = self.newest {
            for one in &mut self.tracks {
                one.predict(captured - before, round.picture_aspect);
            }
        }
        self.newest = Some((meta.key.epoch, captured));
        self.counts.frames += 1;

        let usable = self.usable(detections);
        self.associate(&mut round, &usable);
        self.age(meta);
        self.begin(&mut round, &usable);
        self.outputs.push_back(TrackOutput::Frame(TrackedFrame {
            meta: *meta,
            ids: round.ids,
            tracks: self.tracks.iter().map(|t| t.track.clone()).collect(),
            ignored: None,
        }));
    }

    fn why_ignored(&self, now: Mono, meta: &FrameMeta) -> Option<Ignored> {
        if meta.key.stream != self.stream {
            return Some(Ignored::OtherStream);
        }
        if meta.captured.mono > now + AHEAD {
            return Some(Ignored::InFuture);
        }
        let (epoch, newest) = self.newest?;
        if meta.key.epoch < epoch {
            return Some(Ignored::OutOfOrder);
        }
        let late = meta.key.epoch == epoch && meta.captured.mono <= newest;
        (late && self.late < LATE_IN_A_ROW).then_some(Ignored::OutOfOrder)
    }

    /// The rounds of section 3 of the paper: sure detections with known tracks, unsure ones with those just seen,
    /// then what is left with tracks of another class and with tentative tracks.
    fn associate(&mut self, round: &mut Round<'_>, usable: &[usize]) {
        let config = self.config.clone();
        let (high, low): (Vec<usize>, Vec<usize>) = usable
            .iter()
            .partition(|&&d| round.detections[d].score >= config.high_score);
        let same = |one: &One, d: &Detection| one.track.label == d.label;
        let iou = |one: &One, d: &Detection| 1.0 - one.track.bbox.iou(&d.bbox);
        // ByteTrack `fuse_score`: of two overlapping detections the surer one wins.
        let fused = |one: &One, d: &Detection| 1.0 - one.track.bbox.iou(&d.bbox) * d.score.clamp(0.0, 1.0);

        self.pair(round, &high, config.first_cost, One::known, |one, d| {
            same(one, d).then(|| fused(one, d))
        });
        let was_seen = |one: &One| one.track.state == TrackState::Confirmed;
        self.pair(round, &low, config.second_cost, was_seen, |one, d| {
            same(one, d).then(|| iou(one, d))
        });
        self.pair(round, &high, config.relabel_cost, was_seen, |one, d| {
            Some(iou(one, d))
        });
        let tentative = |one: &One| !one.known();
        self.pair(round, &high, config.tentative_cost, tentative, |one, d| {
            same(one, d).then(|| fused(one, d))
        });
    }

    /// Detections that are looked at: valid, not below the lowest score, at most `max_detections`.
    fn usable(&mut self, detections: &[Detection]) -> Vec<usize> {
        let valid: Vec<usize> = (0..detections.len())
            .filter(|&d| is_valid(&detections[d]))
            .collect();
        self.counts.invalid += (detections.len() - valid.len()) as u64;
        let score = |d: usize| detections[d].score;
        let mut usable: Vec<usize> = valid
            .into_iter()
            .filter(|&d| score(d) >= self.config.low_score)
            .collect();
        if usable.len() > self.config.max_detections {
            usable.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
            self.counts.too_many += (usable.len() - self.config.max_detections) as u64;
            usable.truncate(self.config.max_detections);
            usable.sort_unstable();
        }
        usable
    }

    /// Gives the still free detections among `of` to the still unseen tracks that `takes_part` admits.
    fn pair(
        &mut self,
        round: &mut Round<'_>,
        of: &[usize],
        limit: f32,
        takes_part: impl Fn(&One) -> bool,
        cost: impl Fn(&One, &Detection) -> Option<f32>,
    ) {
        let free: Vec<usize> = of.iter().copied().filter(|&d| round.ids[d].is_none()).collect();
        let waiting: Vec<usize> = (0..self.tracks.len())
            .filter(|&t| !self.tracks[t].seen() && takes_part(&self.tracks[t]))
            .collect();
        let matched = assign(waiting.len(), free.len(), limit, |t, d| {
            cost(&self.tracks[waiting[t]], &round.detections[free[d]])
        });
        for (t, d) in matched {
            let one = &mut self.tracks[waiting[t]];
            one.correct(round.meta, &round.detections[free[d]], round.picture_aspect);
            round.ids[free[d]] = Some(one.track.id);
        }
    }

    /// Confirms, loses, drops and ends tracks by what the frame showed.
    fn age(&mut self, meta: &FrameMeta) {
        let (config, counts, outputs) = (&self.config, &mut self.counts, &mut self.outputs);
        self.tracks.retain_mut(|one| {
            match (one.known(), one.seen()) {
                (true, true) => one.track.state = TrackState::Confirmed,
                (false, true) => {
                    if one.is_proven(config) {
                        one.track.state = TrackState::Confirmed;
                        counts.confirmed += 1;
                    }
                }
                (false, false) => {
                    let dropped = one.is_flicker(config, meta);
                    counts.dropped += u64::from(dropped);
                    return !dropped;
                }
                (true, false) => {
                    one.track.state = TrackState::Lost;
                    if meta.captured.mono - one.track.last.captured.mono > config.lost_after {
                        outputs.push_back(TrackOutput::Ended {
                            track: one.track.clone(),
                            reason: EndReason::Lost,
                        });
                        return false;
                    }
                }
            }
            true
        });
    }

    /// Begins a track for each detection that is sure enough and still free.
    fn begin(&mut self, round: &mut Round<'_>, usable: &[usize]) {
        let mut free: Vec<usize> = usable
            .iter()
            .copied()
            .filter(|&d| round.ids[d].is_none() && round.detections[d].score >= self.config.new_score)
            .collect();
        // The surest first, should there not be room for all.
        free.sort_by(|&a, &b| {
            round.detections[b]
                .score
                .total_cmp(&round.detections[a].score)
                .then(a.cmp(&b))
        });
        for d in free {
            if self.tracks.len() >= self.config.max_tracks {
                self.counts.refused += 1;
                continue;
            }
            let id = self.ids.next_id();
            round.ids[d] = Some(id);
            self.tracks.push(One::new(
                id,
                round.meta,
                &round.detections[d],
                round.picture_aspect,
            ));
        }
    }

    /// When a track is over, should no frame come any more.
    fn gone_at(&self, one: &One) -> Mono {
        one.track.last.captured.mono + self.config.lost_after + self.config.silence
    }

    /// Ends the tracks for which no frame came in time. They were not lost from view: the view was lost.
    fn end_silent(&mut self, now: Mono) {
        let silent = |tracker: &Tracker, one: &One| now >= tracker.gone_at(one);
        if !self.tracks.iter().any(|one| silent(self, one)) {
            return;
        }
        let tracks = std::mem::take(&mut self.tracks);
        let (gone, kept): (Vec<One>, Vec<One>) = tracks.into_iter().partition(|one| silent(self, one));
        self.tracks = kept;
        self.end(gone, EndReason::CameraLost);
    }

    fn end_all(&mut self, reason: EndReason) {
        let tracks = std::mem::take(&mut self.tracks);
        self.end(tracks, reason);
    }

    fn end(&mut self, ended: Vec<One>, reason: EndReason) {
        for one in ended {
            if one.known() {
                self.outputs.push_back(TrackOutput::Ended {
                    track: one.track,
                    reason,
                });
            } else {
                self.counts.dropped += 1;
            }
        }
    }

    /// Panics when something that must hold does not.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        assert!(self.tracks.len() <= self.config.max_tracks);
        assert!(self.outputs.is_empty(), "drain poll first");
        for pair in self.tracks.windows(2) {
            assert!(pair[0].track.id < pair[1].track.id, "by id, each once");
        }
        let newest = self.newest.map(|n| n.1);
        for Track {
            first,
            last,
            hits,
            bbox,
            ..
        } in self.tracks()
        {
            assert!(first.captured.mono <= last.captured.mono && Some(last.captured.mono) <= newest);
            assert!(*hits >= 1 && bbox.w > 0.0 && bbox.h > 0.0 && bbox.x.is_finite() && bbox.y.is_finite());
        }
    }
}
