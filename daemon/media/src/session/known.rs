//! What a session is told, and tells, of time beside its frames.

use synoptic_base::{ClockMap, Epoch, MediaTime, Restamp, Span};
use synoptic_engine::timebase::LearnedDelay;

use super::{Session, Timing, locked};

/// What the daemon knows of the box and of the camera: for timings that are made when the stream is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub map: Option<ClockMap>,
    pub learned: Option<LearnedDelay>,
}

impl Session {
    /// Takes what the box knows of UTC: stamps of cameras that are synchronised on their own are placed by it.
    pub fn clock_map(&mut self, map: ClockMap) {
        locked(&self.shared.known).map = Some(map);
        if let Some(Timing::Rtp { timebase, .. }) = &mut *locked(&self.shared.timing) {
            timebase.clock_map(map);
        }
    }

    /// Takes what an earlier connection to the same camera learned of its delay; call it before the first frame.
    pub fn recall(&mut self, learned: LearnedDelay) {
        locked(&self.shared.known).learned = Some(learned);
        if let Some(Timing::Rtp { timebase, .. }) = &mut *locked(&self.shared.timing) {
            timebase.recall(learned);
        }
    }

    /// What a [`TimeEvent::Better`] of this session's present epoch means for its frames.
    pub fn restamp(&self, epoch: Epoch, since: MediaTime, moved: Span) -> Option<Restamp> {
        match &*locked(&self.shared.timing) {
            Some(Timing::Rtp { timebase, .. }) => timebase.restamp(epoch, since, moved),
            _ => None,
        }
    }
}
