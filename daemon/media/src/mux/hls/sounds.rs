//! The sound that goes with the pictures of a part.

use std::collections::VecDeque;
use std::sync::Arc;

use synoptic_base::Epoch;

use crate::coded::{CodedSound, SoundFormat};
use crate::mux::fmp4::Sample;

/// Frames that wait for their pictures: 20 s of AAC at 48 kHz.
const MAX_WAITING: usize = 1_024;
/// A track whose sound stays away for so long is taken out of the stream: players play no longer than the shortest track.
const SILENT_US: i64 = 4_000_000;

pub(super) struct Sounds {
    /// What comes.
    wanted: Option<Arc<SoundFormat>>,
    /// What the initialization segment says.
    told: Option<Arc<SoundFormat>>,
    waiting: VecDeque<Arc<CodedSound>>,
    /// Where the last frame was, or the track began.
    last: Option<(Epoch, i64)>,
}

impl Sounds {
    pub(super) fn new(wanted: Option<Arc<SoundFormat>>) -> Sounds {
        Sounds {
            wanted,
            told: None,
            waiting: VecDeque::new(),
            last: None,
        }
    }

    pub(super) fn push(&mut self, sound: Arc<CodedSound>) {
        if self.wanted.as_ref() != Some(&sound.format) {
            self.wanted = Some(sound.format.clone());
        }
        self.last = Some((sound.epoch, sound.media_us + sound.duration.as_micros_floor()));
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(sound);
    }

    /// Whether the track must be told of anew, with a picture at this time.
    pub(super) fn has_changed(&mut self, epoch: Epoch, decode_us: i64) -> bool {
        let silent = self
            .last
            .is_some_and(|(of, at)| of == epoch && decode_us - at > SILENT_US);
        if silent {
            self.wanted = None;
        }
        self.told != self.wanted
    }

    /// Whether sound of before `until_us` may still come.
    pub(super) fn is_behind(&self, epoch: Epoch, until_us: i64) -> bool {
        self.wanted.is_some()
            && self
                .last
                .is_none_or(|(of, at)| of < epoch || of == epoch && at < until_us)
    }

    /// An initialization segment is made: what it says of sound.
    pub(super) fn begin(&mut self, epoch: Epoch, begin_us: i64) -> Option<Arc<SoundFormat>> {
        self.told.clone_from(&self.wanted);
        // Nobody sees what sounded before.
        let before = |s: &Arc<CodedSound>| {
            s.epoch < epoch || s.epoch == epoch && s.media_us + s.duration.as_micros_floor() <= begin_us
        };
        while self.waiting.front().is_some_and(before) {
            self.waiting.pop_front();
        }
        if self.last.is_none_or(|(of, _)| of != epoch) {
            self.last = Some((epoch, begin_us));
        }
        self.told.clone()
    }

    /// What sounds before `until_us` of an epoch and was not taken yet.
    pub(super) fn take(&mut self, epoch: Epoch, until_us: i64) -> Vec<Sample> {
        let mut out = Vec::new();
        while let Some(next) = self.waiting.front() {
            if next.epoch > epoch || next.epoch == epoch && next.media_us >= until_us {
                break;
            }
            let Some(next) = self.waiting.pop_front() else {
                break;
            };
            if next.epoch == epoch && self.told.as_ref() == Some(&next.format) {
                out.push(Sample {
                    decode_us: next.media_us,
                    offset_us: 0,
                    duration_us: next.duration.as_micros_floor().max(0) as u32,
                    sync: true,
                    data: next.data.to_vec(),
                });
            }
        }
        // The next one's begin is exact, a length in samples is not in microseconds.
        for n in 1..out.len() {
            let step = out[n].decode_us - out[n - 1].decode_us;
            out[n - 1].duration_us = step.clamp(1, i64::from(u32::MAX)) as u32;
        }
        out
    }
}
