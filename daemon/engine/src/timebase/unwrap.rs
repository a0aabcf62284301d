//! 32-bit RTP timestamps to 64 bits (RFC 3550 section 5.1: they start anywhere and wrap).

/// Unwraps RTP timestamps: each is read as the value nearest to the one before.
#[derive(Clone, Debug, Default)]
pub struct RtpUnwrapper {
    last: Option<i64>,
}

impl RtpUnwrapper {
    /// Ticks since the start of the epoch's numbering, for a timestamp off the wire.
    ///
    /// The first timestamp keeps its value. At 90 kHz a gap or a step back of up to 6.6 hours is read right.
    pub fn unwrap(&mut self, rtp: u32) -> i64 {
        let ticks = self.peek(rtp);
        self.last = Some(ticks);
        ticks
    }

    /// As [`RtpUnwrapper::unwrap`], but leaves no trace: for timestamps that may be nonsense.
    pub fn peek(&self, rtp: u32) -> i64 {
        match self.last {
            None => i64::from(rtp),
            Some(last) => last + i64::from(rtp.wrapping_sub(last as u32) as i32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_and_steps_back() {
        let mut u = RtpUnwrapper::default();
        assert_eq!(u.unwrap(u32::MAX - 10), i64::from(u32::MAX) - 10);
        assert_eq!(u.unwrap(5), (1 << 32) + 5);
        assert_eq!(u.unwrap(u32::MAX), i64::from(u32::MAX));
        assert_eq!(u.peek(7), (1 << 32) + 7);
        assert_eq!(u.unwrap(6), (1 << 32) + 6);
    }

    #[test]
    fn a_report_older_than_the_frame_is_not_thirteen_hours_off() {
        // mv-extractor's uint32 underflow: any frame older than the report jumps 13 h 15 min.
        let mut u = RtpUnwrapper::default();
        assert_eq!(u.unwrap(900_000), 900_000);
        assert_eq!(u.peek(810_000), 810_000);
    }
}
