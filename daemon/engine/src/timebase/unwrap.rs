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

    /// As [`RtpUnwrapper::unwrap`], but nearest to what the time that passed makes one expect: right even after a
    /// silence of more than half a wrap.
    pub fn unwrap_near(&mut self, rtp: u32, expected: i64) -> i64 {
        let ticks = near(rtp, expected);
        self.last = Some(ticks);
        ticks
    }

    /// As [`RtpUnwrapper::unwrap`], but leaves no trace: for timestamps that may be nonsense.
    pub fn peek(&self, rtp: u32) -> i64 {
        match self.last {
            None => i64::from(rtp),
            Some(last) => near(rtp, last),
        }
    }

    /// The newest value.
    pub(super) fn newest(&self) -> Option<i64> {
        self.last
    }

    /// Takes a value as the newest, after [`RtpUnwrapper::peek`] found it good.
    pub(super) fn accept(&mut self, ticks: i64) {
        self.last = Some(ticks);
    }
}

/// The 64-bit value nearest to `to` whose low 32 bits are `rtp`.
pub(super) fn near(rtp: u32, to: i64) -> i64 {
    to + i64::from(rtp.wrapping_sub(to as u32) as i32)
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
    fn a_silence_of_more_than_half_a_wrap_is_bridged_by_the_time_that_passed() {
        let mut u = RtpUnwrapper::default();
        assert_eq!(u.unwrap(1000), 1000);
        let ten_hours = 36_000 * 90_000_i64;
        let rtp = (1000 + ten_hours) as u32;
        assert_eq!(u.unwrap_near(rtp, ten_hours + 5), 1000 + ten_hours);
    }

    #[test]
    fn a_report_older_than_the_frame_is_not_thirteen_hours_off() {
        // mv-extractor's uint32 underflow: any frame older than the report jumps 13 h 15 min.
        let mut u = RtpUnwrapper::default();
        assert_eq!(u.unwrap(900_000), 900_000);
        assert_eq!(u.peek(810_000), 810_000);
    }
}
