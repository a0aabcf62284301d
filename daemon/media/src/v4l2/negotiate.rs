//! Which mode of a device to take.
//!
//! What the configuration asks for is taken exactly or refused with what there is; the rate is the nearest. Left to
//! itself the choice is: the largest picture up to 1080p that runs at 25 frames a second or more, uncompressed where
//! that rate holds (no decoder, no blocks, no delay), else Motion JPEG, else H.264.

use std::cmp::Reverse;

use synoptic_base::Size;

use super::modes::{Interval, Mode, Rates};
use crate::V4l2Format;

/// Larger pictures are taken only where they are asked for: detection and stitching gain little from them.
const LARGEST: Size = Size::new(1920, 1080);
/// Below this, motion is missed and packets of several cameras spread.
const FLUENT_FPS: f64 = 25.0;
/// Above this, frames only cost.
const ENOUGH_FPS: f64 = 30.0;
/// 29.97 is as good as 30.
const RATE_SLACK: f64 = 0.95;

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub format: Option<V4l2Format>,
    pub size: Option<Size>,
    pub fps: Option<u32>,
}

/// What is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub format: V4l2Format,
    pub fourcc: [u8; 4],
    pub size: Size,
    /// `None` where the driver lists no rates and none is asked for.
    pub interval: Option<Interval>,
}

/// Chooses a mode; the error says what there is instead.
pub(crate) fn choose(modes: &[Mode], wanted: &Wanted) -> Result<Choice, String> {
    if modes.is_empty() {
        return Err(
            "it offers none of the formats that Synoptic reads (YUYV, UYVY, NV12, I420, GREY, MJPEG, H.264, \
                    H.265)"
                .to_owned(),
        );
    }
    let of_format: Vec<&Mode> = modes
        .iter()
        .filter(|m| wanted.format.is_none_or(|f| f == m.format))
        .collect();
    if let (Some(format), true) = (wanted.format, of_format.is_empty()) {
        let mut names: Vec<&str> = modes.iter().map(|m| m.format.key()).collect();
        names.dedup();
        return Err(format!(
            "it has no format `{}`; set `format` to one of: {}",
            format.key(),
            names.join(", ")
        ));
    }
    let of_size: Vec<&Mode> = of_format
        .iter()
        .copied()
        .filter(|m| wanted.size.is_none_or(|s| s == m.size))
        .collect();
    if let (Some(size), true) = (wanted.size, of_size.is_empty()) {
        let mut sizes: Vec<Size> = of_format.iter().map(|m| m.size).collect();
        sizes.sort_by_key(|s| (s.width, s.height));
        sizes.dedup();
        let names: Vec<String> = sizes
            .iter()
            .map(|s| format!("{}x{}", s.width, s.height))
            .collect();
        return Err(format!(
            "it has no size {}x{}{}; set `size` to one of: {}",
            size.width,
            size.height,
            wanted
                .format
                .map_or_else(String::new, |f| format!(" in `{}`", f.key())),
            names.join(", ")
        ));
    }
    let target = wanted.fps.map_or(ENOUGH_FPS, f64::from);
    let needed = wanted.fps.map_or(FLUENT_FPS, f64::from);
    let best = of_size
        .into_iter()
        .map(|mode| (mode, rate(&mode.rates, target, wanted.fps)))
        .max_by_key(|(mode, interval)| {
            let fps = interval.map_or(needed, Interval::fps);
            let enough = fps >= needed * RATE_SLACK;
            let fits = mode.size.width <= LARGEST.width && mode.size.height <= LARGEST.height;
            let area = i64::from(mode.size.width) * i64::from(mode.size.height);
            (
                // Too large beats too slow: a slow camera spoils every packet.
                fits,
                enough,
                // Of what is too slow the fastest, of what is too large the smallest.
                if enough { 0 } else { (fps * 100.0) as i64 },
                if fits { area } else { -area },
                Reverse(preference(mode.format)),
            )
        });
    let Some((mode, interval)) = best else {
        return Err("it offers no mode".to_owned());
    };
    Ok(Choice {
        format: mode.format,
        fourcc: mode.fourcc,
        size: mode.size,
        interval,
    })
}

/// Rank of a format among equals, best first: what costs least from driver to picture.
fn preference(format: V4l2Format) -> u8 {
    match format {
        V4l2Format::Nv12 => 0,
        V4l2Format::I420 => 1,
        V4l2Format::Yuyv => 2,
        V4l2Format::Uyvy => 3,
        V4l2Format::Mjpeg => 4,
        V4l2Format::H264 => 5,
        V4l2Format::H265 => 6,
        V4l2Format::Grey => 7,
    }
}

/// The interval for a target: the slowest that reaches it, else the fastest there is.
fn rate(rates: &Rates, target: f64, asked: Option<u32>) -> Option<Interval> {
    match rates {
        Rates::Unknown => asked.and_then(|fps| Interval::new(1, fps)),
        Rates::Listed(all) => {
            let reaches = |i: &&Interval| i.fps() >= target * RATE_SLACK;
            let by_fps = |a: &&Interval, b: &&Interval| a.fps().total_cmp(&b.fps());
            all.iter()
                .filter(reaches)
                .min_by(by_fps)
                .or_else(|| all.iter().max_by(by_fps))
                .copied()
        }
        Rates::Between(short, long) => Some(if target >= short.fps() {
            *short
        } else if target <= long.fps() {
            *long
        } else {
            Interval {
                numerator: 1,
                denominator: target.round() as u32,
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(format: V4l2Format, width: u32, height: u32, fps: &[u32]) -> Mode {
        Mode {
            format,
            fourcc: *b"test",
            size: Size::new(width, height),
            rates: if fps.is_empty() {
                Rates::Unknown
            } else {
                Rates::Listed(fps.iter().filter_map(|f| Interval::new(1, *f)).collect())
            },
        }
    }

    /// A common USB 2 webcam: uncompressed is slow when it is large.
    fn webcam() -> Vec<Mode> {
        use V4l2Format::{H264, Mjpeg, Yuyv};
        vec![
            mode(Mjpeg, 1920, 1080, &[30, 24, 15]),
            mode(Mjpeg, 1280, 720, &[60, 30]),
            mode(H264, 1920, 1080, &[30]),
            mode(Yuyv, 2304, 1536, &[2]),
            mode(Yuyv, 1920, 1080, &[5]),
            mode(Yuyv, 1280, 720, &[10, 5]),
            mode(Yuyv, 640, 480, &[30, 15]),
        ]
    }

    fn chosen(modes: &[Mode], wanted: Wanted) -> String {
        match choose(modes, &wanted) {
            Ok(c) => {
                let fps = c.interval.map_or("?".to_owned(), |i| i.to_string());
                format!("{} {}x{}@{fps}", c.format.key(), c.size.width, c.size.height)
            }
            Err(why) => why,
        }
    }

    #[test]
    fn alone_it_takes_the_largest_fluent_picture_up_to_1080p() {
        let free = Wanted::default();
        assert_eq!(chosen(&webcam(), free), "mjpeg 1920x1080@30");
        // A USB 3 camera holds the rate uncompressed.
        let mut usb3 = webcam();
        usb3.push(mode(V4l2Format::Yuyv, 1920, 1080, &[60, 30]));
        usb3.push(mode(V4l2Format::Nv12, 3840, 2160, &[30]));
        assert_eq!(chosen(&usb3, free), "yuyv 1920x1080@30");
        usb3.push(mode(V4l2Format::Nv12, 1920, 1080, &[30]));
        assert_eq!(chosen(&usb3, free), "nv12 1920x1080@30");
    }

    #[test]
    fn where_nothing_is_good_it_takes_the_least_bad() {
        let free = Wanted::default();
        let slow = [
            mode(V4l2Format::Yuyv, 1600, 1200, &[5]),
            mode(V4l2Format::Yuyv, 1280, 960, &[9]),
        ];
        assert_eq!(chosen(&slow, free), "yuyv 1280x960@9");
        let large = [
            mode(V4l2Format::Nv12, 3840, 2160, &[30]),
            mode(V4l2Format::Nv12, 2560, 1440, &[30]),
        ];
        assert_eq!(chosen(&large, free), "nv12 2560x1440@30");
        assert_eq!(
            chosen(&[mode(V4l2Format::Yuyv, 720, 576, &[])], free),
            "yuyv 720x576@?"
        );
    }

    #[test]
    fn what_is_asked_for_is_taken_exactly_and_the_rate_nearest() {
        let ask = |format, size: Option<(u32, u32)>, fps| Wanted {
            format,
            size: size.map(|(w, h)| Size::new(w, h)),
            fps,
        };
        let yuyv = Some(V4l2Format::Yuyv);
        let cam = webcam();
        assert_eq!(chosen(&cam, ask(yuyv, None, None)), "yuyv 640x480@30");
        assert_eq!(
            chosen(&cam, ask(yuyv, Some((1280, 720)), None)),
            "yuyv 1280x720@10"
        );
        assert_eq!(
            chosen(&cam, ask(None, Some((1280, 720)), None)),
            "mjpeg 1280x720@30"
        );
        assert_eq!(
            chosen(&cam, ask(None, Some((1280, 720)), Some(60))),
            "mjpeg 1280x720@60"
        );
        assert_eq!(chosen(&cam, ask(None, None, Some(15))), "mjpeg 1920x1080@15");
        assert_eq!(
            chosen(&cam, ask(None, Some((640, 480)), Some(50))),
            "yuyv 640x480@30"
        );
        assert_eq!(
            chosen(&cam, ask(None, Some((2304, 1536)), None)),
            "yuyv 2304x1536@2"
        );
        let range = Rates::Between(Interval::new(1, 120).unwrap(), Interval::new(1, 1).unwrap());
        let any = [Mode {
            rates: range,
            ..mode(V4l2Format::Grey, 1280, 720, &[])
        }];
        assert_eq!(chosen(&any, Wanted::default()), "grey 1280x720@30");
        assert_eq!(chosen(&any, ask(None, None, Some(200))), "grey 1280x720@120");
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_what_there_is() {
        let format = Wanted {
            format: Some(V4l2Format::Nv12),
            ..Wanted::default()
        };
        assert_eq!(
            chosen(&webcam(), format),
            "it has no format `nv12`; set `format` to one of: mjpeg, h264, yuyv"
        );
        let size = Wanted {
            format: Some(V4l2Format::Mjpeg),
            size: Some(Size::new(640, 480)),
            fps: None,
        };
        assert_eq!(
            chosen(&webcam(), size),
            "it has no size 640x480 in `mjpeg`; set `size` to one of: 1280x720, 1920x1080"
        );
        assert!(chosen(&[], Wanted::default()).contains("none of the formats"));
    }
}
