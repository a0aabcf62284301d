//! Clock timestamps of H.264 (ITU-T H.264 D.1.3, pic_timing): a time of day on each picture, as some encoders and studio
//! cameras burn it in.
//!
//! How wide its fields are stands in the VUI of the sequence parameter set (7.3.2.1.1, E.1.1), so that is read first.

use synoptic_base::Span;

use super::sei::unescaped;

/// Profiles whose parameter sets say more of colour (7.3.2.1.1).
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// aspect_ratio_idc of a ratio that is written out (table E-1).
const EXTENDED_SAR: u32 = 255;
/// NumClockTS by pic_struct (table D-1).
const CLOCKS: [u32; 9] = [1, 1, 1, 2, 2, 3, 3, 2, 3];

/// What a sequence parameter set says of the pictures' timing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpsTiming {
    /// Length of `cpb_removal_delay` and `dpb_output_delay`, where pic_timing has them.
    delays: Option<(u32, u32)>,
    time_offset_bits: u32,
    pic_struct: bool,
    /// Units of a tick, and ticks a second.
    ticks: Option<(u32, u32)>,
}

/// A time of day, in the sender's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockTime {
    /// 0 to 23.
    pub hours: u8,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// Within the second.
    pub fraction: Span,
}

/// Reads bits, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn u(&mut self, n: u32) -> Option<u32> {
        let mut value = 0_u32;
        for _ in 0..n {
            let byte = self.bytes.get(self.at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(value)
    }
    fn flag(&mut self) -> Option<bool> {
        Some(self.u(1)? == 1)
    }
    /// ue(v), 9.1.
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1_u64 << zeros) - 1 + u64::from(self.u(zeros)?)) as u32)
    }
    /// se(v), 9.1.1.
    fn se(&mut self) -> Option<i32> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -(code / 2)
        } as i32)
    }
}

impl SpsTiming {
    /// From a sequence parameter set NAL unit, header byte and all; `None` of something else or a cut one.
    pub fn parse(nal: &[u8]) -> Option<SpsTiming> {
        let (header, payload) = nal.split_first()?;
        if header & 0x1f != 7 {
            return None;
        }
        let rbsp = unescaped(&payload[..payload.len().min(1024)]);
        let mut b = Bits { bytes: &rbsp, at: 0 };
        let profile = b.u(8)?;
        b.u(16)?;
        b.ue()?;
        if HIGH_PROFILES.contains(&profile) {
            let chroma = b.ue()?;
            if chroma == 3 {
                b.flag()?;
            }
            b.ue()?;
            b.ue()?;
            b.flag()?;
            if b.flag()? {
                for i in 0..if chroma == 3 { 12 } else { 8 } {
                    if b.flag()? {
                        scaling_list(&mut b, if i < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        b.ue()?;
        match b.ue()? {
            0 => {
                b.ue()?;
            }
            1 => {
                b.flag()?;
                b.se()?;
                b.se()?;
                for _ in 0..b.ue()?.min(255) {
                    b.se()?;
                }
            }
            _ => {}
        }
        b.ue()?;
        b.flag()?;
        b.ue()?;
        b.ue()?;
        if !b.flag()? {
            b.flag()?; // frame_mbs_only_flag, mb_adaptive_frame_field_flag
        }
        b.flag()?;
        if b.flag()? {
            for _ in 0..4 {
                b.ue()?;
            }
        }
        if b.flag()? {
            vui(&mut b)
        } else {
            Some(SpsTiming::default())
        }
    }

    /// The first clock timestamp of a pic_timing payload (payloadType 1); `None` where it has none that says the time of day.
    pub fn clock(&self, payload: &[u8]) -> Option<ClockTime> {
        let mut b = Bits {
            bytes: payload,
            at: 0,
        };
        if let Some((cpb, dpb)) = self.delays {
            b.u(cpb)?;
            b.u(dpb)?;
        }
        if !self.pic_struct {
            return None;
        }
        let clocks = *CLOCKS.get(b.u(4)? as usize)?;
        for _ in 0..clocks {
            if !b.flag()? {
                continue;
            }
            b.u(2)?;
            let fields = b.u(1)?;
            b.u(5)?;
            let full = b.flag()?;
            b.u(2)?; // discontinuity, dropped count
            let frames = b.u(8)?;
            let (mut s, mut m, mut h) = (None, None, None);
            if full {
                (s, m, h) = (Some(b.u(6)?), Some(b.u(6)?), Some(b.u(5)?));
            } else if b.flag()? {
                s = Some(b.u(6)?);
                if b.flag()? {
                    m = Some(b.u(6)?);
                    if b.flag()? {
                        h = Some(b.u(5)?);
                    }
                }
            }
            let bits = self.time_offset_bits;
            let offset = if bits > 0 { signed(b.u(bits)?, bits) } else { 0 };
            let (Some(s), Some(m), Some(h)) = (s, m, h) else {
                return None;
            };
            if h > 23 || m > 59 || s > 59 {
                return None;
            }
            // clockTimestamp = (…)·time_scale + nFrames·(num_units_in_tick·(1 + nuit_field_based_flag)) + tOffset, D.2.3.
            let fraction = match self.ticks {
                Some((units, scale)) if scale > 0 => {
                    let ticks = i64::from(frames) * i64::from(units) * i64::from(1 + fields) + offset;
                    Span::from_nanos((i128::from(ticks) * 1_000_000_000 / i128::from(scale)) as i64)
                }
                _ => Span::ZERO,
            };
            return (Span::ZERO..Span::from_secs(1))
                .contains(&fraction)
                .then_some(ClockTime {
                    hours: h as u8,
                    minutes: m as u8,
                    seconds: s as u8,
                    fraction,
                });
        }
        None
    }
}

fn signed(value: u32, bits: u32) -> i64 {
    let value = i64::from(value);
    if value >> (bits - 1) == 1 {
        value - (1 << bits)
    } else {
        value
    }
}

fn scaling_list(b: &mut Bits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..size {
        if next != 0 {
            next = (last + b.se()? + 256) % 256;
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// E.1.1.
fn vui(b: &mut Bits<'_>) -> Option<SpsTiming> {
    if b.flag()? && b.u(8)? == EXTENDED_SAR {
        b.u(32)?;
    }
    if b.flag()? {
        b.flag()?;
    }
    if b.flag()? {
        b.u(4)?;
        if b.flag()? {
            b.u(24)?;
        }
    }
    if b.flag()? {
        b.ue()?;
        b.ue()?;
    }
    let mut found = SpsTiming::default();
    if b.flag()? {
        found.ticks = Some((b.u(32)?, b.u(32)?));
        b.flag()?;
    }
    for _ in 0..2 {
        if b.flag()? {
            let (cpb, dpb, offset) = hrd(b)?;
            found.delays = Some((cpb, dpb));
            found.time_offset_bits = offset;
        }
    }
    if found.delays.is_some() {
        b.flag()?;
    }
    found.pic_struct = b.flag()?;
    Some(found)
}

/// E.1.2: lengths of the two delays and of time_offset.
fn hrd(b: &mut Bits<'_>) -> Option<(u32, u32, u32)> {
    let count = b.ue()?.min(31) + 1;
    b.u(8)?;
    for _ in 0..count {
        b.ue()?;
        b.ue()?;
        b.flag()?;
    }
    b.u(5)?;
    Some((b.u(5)? + 1, b.u(5)? + 1, b.u(5)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits.
    #[derive(Default)]
    struct Writer(Vec<bool>);
    impl Writer {
        fn u(&mut self, n: u32, value: u32) -> &mut Writer {
            self.0.extend((0..n).rev().map(|i| value >> i & 1 == 1));
            self
        }
        fn ue(&mut self, value: u32) -> &mut Writer {
            let bits = 32 - (value + 1).leading_zeros();
            self.u(bits - 1, 0).u(bits, value + 1)
        }
        fn bytes(&self) -> Vec<u8> {
            let byte = |c: &[bool]| {
                c.iter()
                    .enumerate()
                    .fold(0, |v, (i, bit)| v | u8::from(*bit) << (7 - i))
            };
            self.0.chunks(8).map(byte).collect()
        }
    }

    /// Baseline, 640x480, timing of 25 fps, HRD as said, pic_struct.
    fn sps(with_hrd: bool) -> Vec<u8> {
        let mut w = Writer::default();
        w.u(8, 66).u(16, 0x001e).ue(0).ue(0).ue(2).ue(1).u(1, 0);
        w.ue(39).ue(29).u(1, 1).u(1, 1).u(1, 0).u(1, 1);
        w.u(1, 0).u(1, 0).u(1, 0).u(1, 0);
        w.u(1, 1).u(32, 1).u(32, 50).u(1, 1);
        w.u(1, u32::from(with_hrd));
        if with_hrd {
            w.ue(0)
                .u(8, 0)
                .ue(9)
                .ue(9)
                .u(1, 0)
                .u(5, 23)
                .u(5, 9)
                .u(5, 11)
                .u(5, 8);
        }
        w.u(1, 0);
        if with_hrd {
            w.u(1, 0);
        }
        w.u(1, 1).u(1, 0).u(1, 1);
        let mut nal = vec![0x67];
        let mut zeros = 0;
        for byte in w.bytes() {
            if zeros == 2 && byte <= 3 {
                nal.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            nal.push(byte);
        }
        nal
    }

    fn timing(with_hrd: bool, hours: u32) -> Vec<u8> {
        let mut w = Writer::default();
        if with_hrd {
            w.u(10, 5).u(12, 7);
        }
        // Field based, full, frame 12 of 25.
        w.u(4, 0).u(1, 1).u(2, 0).u(1, 1).u(5, 0).u(1, 1).u(2, 0).u(8, 12);
        w.u(6, 58).u(6, 59).u(5, hours);
        if with_hrd {
            w.u(8, 0xff); // one tick less
        }
        w.bytes()
    }

    #[test]
    fn a_clock_timestamp_is_read_by_the_widths_of_its_parameter_set() {
        for with_hrd in [false, true] {
            let sps = SpsTiming::parse(&sps(with_hrd)).unwrap();
            let clock = sps.clock(&timing(with_hrd, 23)).unwrap();
            assert_eq!((clock.hours, clock.minutes, clock.seconds), (23, 59, 58));
            // 12 frames of 2 ticks of 20 ms; with time_offset one tick less.
            let ticks = if with_hrd { 23 } else { 24 };
            assert_eq!(clock.fraction, Span::from_millis(ticks * 20));
            assert_eq!(sps.clock(&timing(with_hrd, 24)), None, "no such hour");
        }
    }

    #[test]
    fn cut_and_foreign_bytes_say_nothing() {
        let whole = sps(true);
        for n in 0..whole.len() {
            SpsTiming::parse(&whole[..n]);
        }
        assert_eq!(SpsTiming::parse(&[0x68, 1, 2]), None);
        assert_eq!(SpsTiming::parse(&[0x67; 2]), None);
        let sps = SpsTiming::parse(&whole).unwrap();
        let payload = timing(true, 1);
        for n in 0..payload.len() - 1 {
            assert_eq!(sps.clock(&payload[..n]), None);
        }
        assert_eq!(SpsTiming::default().clock(&payload), None);
    }
}
