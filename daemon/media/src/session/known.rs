//! What a session is told, and tells, of time beside its frames.

use synoptic_base::{ClockMap, Epoch, MediaTime, Restamp, Span};
use synoptic_engine::timebase::{LearnedDelay, TimeEvent, TimeHealth};

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

    /// Steps of the camera's wall clock since the last call.
    pub fn wall_steps(&self) -> Vec<Span> {
        match &mut *locked(&self.shared.timing) {
            Some(Timing::Rtp { wall_steps, .. }) => std::mem::take(wall_steps),
            _ => Vec::new(),
        }
    }

    /// Time stamp of media time zero of this epoch, as the sender wrote it (32 bits), and ticks a second. `None` where
    /// the source has no such numbering, and before the first frame.
    pub fn numbering(&self) -> Option<(u32, u32)> {
        match &*locked(&self.shared.timing) {
            Some(Timing::Rtp { timebase, .. }) => timebase.numbering(),
            _ => None,
        }
    }

    /// What happened to the camera's time since the last call. Call it about once a second: the box's clocks are
    /// sampled along with it.
    pub fn time_events(&mut self) -> Vec<TimeEvent> {
        match &mut *locked(&self.shared.timing) {
            Some(Timing::Rtp { timebase, .. }) => {
                timebase.box_sample(self.shared.clock.sample());
                std::iter::from_fn(|| timebase.poll()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What there is to say about the camera's time.
    pub fn health(&self) -> TimeHealth {
        match &*locked(&self.shared.timing) {
            Some(Timing::Rtp { timebase, .. }) => timebase.health(),
            Some(Timing::Driver(timing)) => timing.timebase.health(),
            _ => TimeHealth {
                source: self.last_captured.map(|c| c.source),
                rel_error: self.last_captured.map(|c| c.rel_error),
                ..TimeHealth::default()
            },
        }
    }
}
