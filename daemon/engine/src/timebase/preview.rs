//! The time of a frame that is not decoded yet, without telling the timebase of it.
//!
//! Coded pictures leave the box before the decoder is done with them, under the very key that the decoded frame will have.
//! The estimator is fed by decoded frames alone, in the order of presentation; this only looks at it.

use synoptic_base::{Captured, MediaTime, Mono};

use super::RtpTimebase;

impl RtpTimebase {
    /// Media time that [`RtpTimebase::frame`] will give the frame of RTP time `rtp` whose first packet arrived at
    /// `arrival`, and its capture time by what is known now.
    ///
    /// `None` where only the frame itself decides: before the first frame of a line, and where its stamp is so far from
    /// the line that it may be wrong or begin a new one.
    pub fn preview(&self, rtp: u32, arrival: Mono) -> Option<(MediaTime, Captured)> {
        let first = self.line.first_ticks?;
        let arrival = self.raw.to_raw(arrival);
        let ticks = self.near_expected(rtp, arrival)?;
        let x = self.x(ticks);
        if !self.line.guard.would_fit(x, arrival) {
            return None;
        }
        let media = MediaTime::from_ticks(ticks - first, self.config.clock_rate_hz);
        Some((media, self.moved(x)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timebase::RtpTimebaseConfig;
    use synoptic_base::Span;

    fn timebase() -> RtpTimebase {
        RtpTimebase::new(RtpTimebaseConfig {
            clock_rate_hz: 90_000,
            capture_bias: Span::ZERO,
            capture_bias_error: Span::ZERO,
        })
    }

    fn at(ms: i64) -> Mono {
        Mono::from_nanos(1_000_000_000_000) + Span::from_millis(ms)
    }

    #[test]
    fn what_is_foretold_is_what_the_frame_gets_also_with_b_pictures_and_across_a_wrap() {
        let mut t = timebase();
        let base = u32::MAX - 20 * 3_000;
        assert_eq!(t.preview(base, at(0)), None, "nothing is known yet");
        // Coded order I P B B: the preview comes in that order, three frames before the frame.
        let coded: Vec<i64> = (0..60).flat_map(|g| [g * 3 + 3, g * 3 + 1, g * 3 + 2]).collect();
        let mut foretold = std::collections::BTreeMap::new();
        let rtp = |n: i64| base.wrapping_add((n * 3_000) as u32);
        t.frame(rtp(0), at(100));
        for (i, n) in coded.iter().enumerate() {
            // At the very rate of the stamps: another one would be found, and what is known would move by it.
            let arrival = at(133) + Span::from_micros(i as i64 * 100_000 / 3);
            let (media, captured) = t.preview(rtp(*n), arrival).unwrap();
            foretold.insert(*n, (media, captured, arrival));
            let shown = i as i64 - 2;
            if shown >= 1 {
                let (media, captured, arrival) = foretold[&shown];
                let timed = t.frame(rtp(shown), arrival);
                assert_eq!(timed.media, media, "frame {shown}");
                let apart = (timed.captured.mono - captured.mono).abs();
                // Until the arrivals have settled, what is known moves.
                assert!(
                    shown < 30 || apart < Span::from_millis(50),
                    "frame {shown}: {apart}"
                );
                assert!(!timed.new_epoch && !timed.outlier);
            }
        }
    }

    #[test]
    fn a_stamp_in_doubt_is_not_foretold_until_the_frames_have_decided() {
        let mut t = timebase();
        for n in 0..30 {
            t.frame(n * 3_000, at(i64::from(n) * 33));
        }
        let jump = 90_000 * 60;
        assert_eq!(t.preview(jump, at(1_000)), None, "a minute ahead");
        assert!(t.frame(jump, at(1_000)).outlier);
        assert_eq!(t.preview(31 * 3_000, at(1_033)), None, "strangers were seen");
        assert!(t.frame(jump + 3_000, at(1_033)).outlier);
        let timed = t.frame(jump + 6_000, at(1_066));
        assert!(timed.new_epoch);
        let (media, _) = t.preview(jump + 9_000, at(1_100)).unwrap();
        assert_eq!(media.as_micros(), 33_333);
    }
}
