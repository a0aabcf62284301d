//! When a stream began: what turns its relative time stamps into UTC.

use serde::{Deserialize, Serialize};

use crate::{Epoch, MediaTime, Span, StreamId, TimeSource, Utc};

/// How a stream numbers its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbering {
    /// The sender's own time stamp of media time zero, modulo 2^32.
    pub first: u32,
    /// Ticks a second: 1000 in RTMP and FLV, 90000 in RTP and MPEG-TS.
    pub clock_rate_hz: u32,
}

/// When an epoch of a stream began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamStart {
    /// The stream.
    pub stream: StreamId,
    /// The epoch.
    pub epoch: Epoch,
    /// UTC of the capture of what has media time zero.
    pub utc: Utc,
    /// The truth lies in `utc ± error`; `None` while the box's own clock is not synchronised.
    pub error: Option<Span>,
    /// How it is known.
    pub source: TimeSource,
    /// How the sender numbers; `None` for devices and files.
    pub numbering: Option<Numbering>,
    /// How much faster the media clock runs than the box's, where that was measured.
    pub drift_ppm: Option<f64>,
}

impl StreamStart {
    /// UTC of a media time of this epoch.
    pub fn utc_of_media(&self, media: MediaTime) -> Utc {
        self.after(media.since_zero())
    }

    /// UTC of a sender's time stamp, the one nearest to `near`: stamps of 32 bits come again. `None` without numbering.
    pub fn utc_of_timestamp(&self, stamp: u32, near: Utc) -> Option<Utc> {
        let numbering = self.numbering?;
        let rate = i128::from(numbering.clock_rate_hz.max(1));
        let nanos = |ticks: i128| {
            i64::try_from(ticks * 1_000_000_000 / rate)
                .ok()
                .map(Span::from_nanos)
        };
        let ticks = i128::from(stamp.wrapping_sub(numbering.first));
        let turn = 1_i128 << 32;
        let passed = i128::from((near - self.utc).as_nanos()) * rate / 1_000_000_000;
        let turns = (passed - ticks + turn / 2).div_euclid(turn);
        Some(self.after(nanos(ticks + turns * turn)?))
    }

    fn after(&self, media: Span) -> Utc {
        let Some(drift) = self.drift_ppm else {
            return self.utc + media;
        };
        self.utc + Span::from_nanos((media.as_nanos() as f64 / (1.0 + drift * 1e-6)).round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_become_utc_also_after_they_turned_over() {
        let utc = Utc::from_nanos(1_790_000_000_000_000_000);
        let start = StreamStart {
            stream: StreamId::new("cam").unwrap(),
            epoch: Epoch(3),
            utc,
            error: Some(Span::from_millis(5)),
            source: TimeSource::InBand,
            numbering: Some(Numbering {
                first: u32::MAX - 999,
                clock_rate_hz: 1_000,
            }),
            drift_ppm: None,
        };
        assert_eq!(start.utc_of_timestamp(0, utc), Some(utc + Span::from_secs(1)));
        assert_eq!(
            start.utc_of_timestamp(u32::MAX - 1_999, utc),
            Some(utc - Span::from_secs(1))
        );
        let fifty_days = utc + Span::from_secs(50 * 86_400);
        let turned = start.utc_of_timestamp(0, fifty_days).unwrap();
        assert_eq!(turned - utc, Span::from_millis((1 << 32) + 1_000));
        assert_eq!(
            start.utc_of_media(MediaTime::from_micros(7)),
            utc + Span::from_micros(7)
        );
        let fast = StreamStart {
            drift_ppm: Some(100.0),
            ..start
        };
        let after = fast.utc_of_media(MediaTime::from_micros(10_000_000_000)) - utc;
        assert!(
            (after - Span::from_secs(9_999)).abs() < Span::from_millis(1),
            "{after}"
        );
    }
}
