//! Times of a file's pictures, in the order in which they are shown.
//!
//! A file with B pictures stores them in decoding order: the presentation time says when each is shown, and a file that
//! lacks it, or carries nonsense, is read by decoding times instead: whichever of the two ran backwards less often is
//! believed (FFmpeg's rule, libavcodec `guess_correct_pts`). Where neither is there, the video clock goes on: by the frame
//! interval, and half of it more for each repeat of a field (`repeat_pict`), as in ffplay.

use synoptic_base::Span;

/// What a file says of a decoded picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilePicture {
    /// Presentation time.
    pub pts: Option<Span>,
    /// Decoding time.
    pub dts: Option<Span>,
    /// How often half of it is shown again: 1 for a repeated field (3:2 pulldown), 2 for a doubled frame.
    pub repeats: u8,
}

/// The video clock of a file.
#[derive(Clone, Debug)]
pub struct FileClock {
    interval: Span,
    /// When the next picture is due if nothing says so.
    next: Option<Span>,
    last_shown: Option<Span>,
    last_pts: Option<Span>,
    last_dts: Option<Span>,
    faulty_pts: u64,
    faulty_dts: u64,
    /// Pictures whose own time was not used.
    predicted: u64,
}

impl FileClock {
    /// The clock of a file whose pictures are `interval` apart as it declares.
    pub fn new(interval: Span) -> FileClock {
        FileClock {
            interval: interval.max(Span::from_nanos(1)),
            next: None,
            last_shown: None,
            last_pts: None,
            last_dts: None,
            faulty_pts: 0,
            faulty_dts: 0,
            predicted: 0,
        }
    }

    /// Another declared interval, from the next picture on.
    pub fn set_interval(&mut self, interval: Span) {
        self.interval = interval.max(Span::from_nanos(1));
    }

    /// When a picture is shown. Pictures come in the order in which the decoder gives them out; their times never run
    /// backwards.
    pub fn show(&mut self, picture: FilePicture) -> Span {
        let best = self.best(picture);
        let own = best.filter(|time| self.last_shown.is_none_or(|last| *time > last));
        let shown = own.or(self.next).unwrap_or_default();
        self.predicted += u64::from(own.is_none());
        self.next = Some(shown + self.interval + self.interval * i64::from(picture.repeats) / 2);
        self.last_shown = Some(shown);
        shown
    }

    /// Pictures whose time was counted on, for want of a usable one.
    pub fn predicted(&self) -> u64 {
        self.predicted
    }

    /// The better of the two times, by which ran backwards less often.
    fn best(&mut self, picture: FilePicture) -> Option<Span> {
        if let Some(dts) = picture.dts {
            self.faulty_dts += u64::from(self.last_dts.is_some_and(|last| dts <= last));
            self.last_dts = Some(dts);
        } else if picture.pts.is_some() {
            self.last_dts = picture.pts;
        }
        if let Some(pts) = picture.pts {
            self.faulty_pts += u64::from(self.last_pts.is_some_and(|last| pts <= last));
            self.last_pts = Some(pts);
        } else if picture.dts.is_some() {
            self.last_pts = picture.dts;
        }
        match (picture.pts, picture.dts) {
            (Some(pts), Some(_)) if self.faulty_pts <= self.faulty_dts => Some(pts),
            (Some(pts), None) => Some(pts),
            (_, dts) => dts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Span = Span::from_millis(40);

    fn picture(pts_ms: Option<i64>, dts_ms: Option<i64>, repeats: u8) -> FilePicture {
        FilePicture {
            pts: pts_ms.map(Span::from_millis),
            dts: dts_ms.map(Span::from_millis),
            repeats,
        }
    }

    fn shown(pictures: &[FilePicture]) -> (Vec<i64>, u64) {
        let mut clock = FileClock::new(FRAME);
        let times = pictures.iter().map(|p| clock.show(*p).as_nanos() / 1_000_000);
        let times = times.collect();
        (times, clock.predicted())
    }

    #[test]
    fn presentation_times_of_a_file_with_b_pictures_are_believed() {
        // I B B P: shown in order, decoded 0 40 80 120 as P comes second.
        let file = [(0, 0), (40, 80), (80, 120), (120, 40), (160, 200)];
        let file: Vec<_> = file.iter().map(|(p, d)| picture(Some(*p), Some(*d), 0)).collect();
        assert_eq!(shown(&file), (vec![0, 40, 80, 120, 160], 0));
    }

    #[test]
    fn missing_times_are_counted_on_with_half_a_frame_for_each_repeat() {
        // 3:2 pulldown: every second picture shows a field again.
        let film: Vec<_> = (0..5)
            .map(|i| picture((i == 0).then_some(1_000), None, (i % 2) as u8))
            .collect();
        assert_eq!(shown(&film), (vec![1_000, 1_040, 1_100, 1_140, 1_200], 4));
        assert_eq!(
            shown(&[picture(None, None, 2), picture(None, None, 0)]).0,
            [0, 80]
        );
    }

    #[test]
    fn whichever_ran_backwards_less_is_believed() {
        // AVI with packed B pictures: presentation times are those of decoding, out of order.
        let file: Vec<_> = (0..8)
            .map(|i| picture(Some(if i % 2 == 0 { 500 } else { 10 }), Some(i * 40), 0))
            .collect();
        let (times, _) = shown(&file);
        assert!(times.windows(2).all(|w| w[1] > w[0]), "{times:?}");
        let last = times[7] - times[6];
        assert_eq!(last, 40, "{times:?}");
    }

    #[test]
    fn a_time_that_stands_still_is_counted_on_and_a_jump_is_followed() {
        let file = [Some(0), Some(0), Some(0), Some(5_000), Some(5_040)];
        let file: Vec<_> = file.iter().map(|p| picture(*p, None, 0)).collect();
        assert_eq!(shown(&file), (vec![0, 40, 80, 5_000, 5_040], 2));
    }
}
