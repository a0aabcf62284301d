//! The modes of a device: every format, size and rate that it offers and that can be decoded here.

use std::fmt;

use synoptic_base::{Size, Span};
use v4l::FourCC;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::{FrameSizeEnum, Stepwise};
use v4l::video::Capture;

use crate::V4l2Format;

/// Sizes tried where a device takes any size within a range, beside its largest.
const COMMON_SIZES: [(u32, u32); 6] = [
    (1920, 1080),
    (1280, 960),
    (1280, 720),
    (640, 480),
    (640, 360),
    (320, 240),
];

/// Time from frame to frame, as the fraction of a second that drivers count in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub numerator: u32,
    pub denominator: u32,
}

impl Interval {
    pub(crate) fn new(numerator: u32, denominator: u32) -> Option<Interval> {
        (numerator > 0 && denominator > 0).then_some(Interval {
            numerator,
            denominator,
        })
    }
    pub(crate) fn fps(self) -> f64 {
        f64::from(self.denominator) / f64::from(self.numerator)
    }
    pub(crate) fn span(self) -> Span {
        Span::from_nanos(i64::from(self.numerator) * 1_000_000_000 / i64::from(self.denominator))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fps = (self.fps() * 100.0).round() / 100.0;
        write!(f, "{fps}")
    }
}

/// The rates of a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rates {
    /// The driver does not say.
    Unknown,
    /// These.
    Listed(Vec<Interval>),
    /// Anything between the shortest and the longest.
    Between(Interval, Interval),
}

/// One format in one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    pub format: V4l2Format,
    pub fourcc: [u8; 4],
    pub size: Size,
    pub rates: Rates,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.size.width, self.size.height)?;
        match &self.rates {
            Rates::Unknown => Ok(()),
            Rates::Listed(all) => {
                let rates: Vec<String> = all.iter().map(Interval::to_string).collect();
                write!(f, "@{}", rates.join("/"))
            }
            Rates::Between(short, long) => write!(f, "@{long}..{short}"),
        }
    }
}

/// Every mode of a device that can be decoded here. `asked` is tried where the device takes any size in a range.
pub(crate) fn read(device: &v4l::Device, asked: Option<Size>) -> std::io::Result<Vec<Mode>> {
    let mut modes = Vec::new();
    for description in device.enum_formats()? {
        let Some(format) = V4l2Format::from_fourcc(&description.fourcc.repr) else {
            continue;
        };
        for size in sizes(device, description.fourcc, asked) {
            modes.push(Mode {
                format,
                fourcc: description.fourcc.repr,
                size,
                rates: rates(device, description.fourcc, size),
            });
        }
    }
    Ok(modes)
}

fn sizes(device: &v4l::Device, fourcc: FourCC, asked: Option<Size>) -> Vec<Size> {
    let Ok(listed) = device.enum_framesizes(fourcc) else {
        // A driver without a list has one size at a time: the one that is set.
        return match device.format() {
            Ok(current) => asked
                .into_iter()
                .chain([Size::new(current.width, current.height)])
                .collect(),
            Err(_) => asked.into_iter().collect(),
        };
    };
    let mut all: Vec<Size> = Vec::new();
    for size in listed {
        match size.size {
            FrameSizeEnum::Discrete(one) => all.push(Size::new(one.width, one.height)),
            FrameSizeEnum::Stepwise(range) => all.extend(within(&range, asked)),
        }
    }
    all.dedup();
    all
}

/// The sizes of a range that are worth naming.
fn within(range: &Stepwise, asked: Option<Size>) -> Vec<Size> {
    let fits = |value: u32, min: u32, max: u32, step: u32| {
        (min..=max).contains(&value) && (value - min).is_multiple_of(step.max(1))
    };
    let common = COMMON_SIZES.iter().map(|(w, h)| Size::new(*w, *h));
    let mut sizes: Vec<Size> = asked
        .into_iter()
        .chain(common)
        .filter(|s| {
            fits(s.width, range.min_width, range.max_width, range.step_width)
                && fits(s.height, range.min_height, range.max_height, range.step_height)
        })
        .collect();
    let largest = Size::new(range.max_width, range.max_height);
    if !sizes.contains(&largest) {
        sizes.push(largest);
    }
    sizes
}

fn rates(device: &v4l::Device, fourcc: FourCC, size: Size) -> Rates {
    let Ok(listed) = device.enum_frameintervals(fourcc, size.width, size.height) else {
        return Rates::Unknown;
    };
    let mut all = Vec::new();
    for one in listed {
        match one.interval {
            FrameIntervalEnum::Discrete(i) => all.extend(Interval::new(i.numerator, i.denominator)),
            FrameIntervalEnum::Stepwise(range) => {
                let short = Interval::new(range.min.numerator, range.min.denominator);
                let long = Interval::new(range.max.numerator, range.max.denominator);
                if let (Some(short), Some(long)) = (short, long) {
                    return Rates::Between(short, long);
                }
            }
        }
    }
    if all.is_empty() {
        Rates::Unknown
    } else {
        Rates::Listed(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_sizes_offers_the_asked_the_common_and_the_largest() {
        let range = Stepwise {
            min_width: 32,
            max_width: 2592,
            step_width: 16,
            min_height: 32,
            max_height: 1944,
            step_height: 8,
        };
        let sizes = within(&range, Some(Size::new(800, 600)));
        assert_eq!(sizes.first(), Some(&Size::new(800, 600)));
        assert!(sizes.contains(&Size::new(1280, 720)) && sizes.contains(&Size::new(2592, 1944)));
        // 1080 and 801 are no multiples of the step.
        assert!(
            !sizes.contains(&Size::new(1920, 1084))
                && !within(&range, Some(Size::new(801, 600))).contains(&Size::new(801, 600))
        );
    }
}
