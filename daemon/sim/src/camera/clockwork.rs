//! The camera's two clocks: the wall clock that its sender reports tell, and the media clock that counts RTP
//! time and paces its pictures. Both are functions of the box's clocks.

use synoptic_base::{ClockSample, Mono, Span, Utc};

/// RTP ticks a second of video (RFC 3551, section 5).
pub(crate) const RTP_RATE_HZ: i64 = 90_000;

/// Clocks of one camera.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clockwork {
    /// When the camera was switched on.
    pub origin: Mono,
    /// Wall clock minus the box's at `origin`, with all steps since.
    pub wall_offset: Span,
    pub wall_drift_ppm: f64,
    pub media_drift_ppm: f64,
    /// RTP time at `origin`.
    pub rtp_base: u32,
}

impl Clockwork {
    /// What the camera's wall clock shows.
    pub(crate) fn wall(&self, now: ClockSample) -> Utc {
        now.realtime + self.wall_offset + scaled(now.mono - self.origin, self.wall_drift_ppm)
    }

    /// RTP time of an instant, modulo 2^32.
    pub(crate) fn rtp_ticks(&self, at: Mono) -> u32 {
        let media = self.media(at);
        let ticks = i128::from(media.as_nanos()) * i128::from(RTP_RATE_HZ) / 1_000_000_000;
        self.rtp_base.wrapping_add(ticks as u32)
    }

    /// When the media clock has run for `media` since the start.
    pub(crate) fn instant(&self, media: Span) -> Mono {
        // 1 / (1 + d) = 1 - d / (1 + d)
        let back = -self.media_drift_ppm / (1.0 + self.media_drift_ppm * 1e-6);
        self.origin + media + scaled(media, back)
    }

    /// What the media clock shows: time since the start at its own rate.
    pub(crate) fn media(&self, at: Mono) -> Span {
        let real = at - self.origin;
        real + scaled(real, self.media_drift_ppm)
    }
}

fn scaled(span: Span, ppm: f64) -> Span {
    Span::from_nanos((span.as_nanos() as f64 * ppm * 1e-6).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clockwork() -> Clockwork {
        Clockwork {
            origin: Mono::from_nanos(1_000),
            wall_offset: Span::from_millis(-350),
            wall_drift_ppm: 20.0,
            media_drift_ppm: -30.0,
            rtp_base: u32::MAX - 9,
        }
    }

    #[test]
    fn the_wall_clock_is_off_and_drifts() {
        let clocks = clockwork();
        let hour = Span::from_secs(3_600);
        let sample = ClockSample {
            mono: clocks.origin + hour,
            raw: clocks.origin,
            realtime: Utc::from_nanos(7),
            width: Span::ZERO,
        };
        let off = clocks.wall(sample) - sample.realtime;
        assert_eq!(off, Span::from_millis(-350 + 72));
    }

    #[test]
    fn rtp_time_wraps_and_runs_at_the_media_rate() {
        let clocks = clockwork();
        assert_eq!(clocks.rtp_ticks(clocks.origin), u32::MAX - 9);
        let day = Span::from_secs(86_400);
        let ticks = 90_000_i64 * 86_400 * 999_970 / 1_000_000;
        assert_eq!(
            clocks.rtp_ticks(clocks.origin + day),
            (u32::MAX - 9).wrapping_add(ticks as u32)
        );
    }

    #[test]
    fn instant_is_the_inverse_of_media() {
        let clocks = clockwork();
        let media = Span::from_secs(100_000);
        assert!((clocks.media(clocks.instant(media)) - media).abs() < Span::from_nanos(100));
    }
}
