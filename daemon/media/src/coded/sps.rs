//! The sequence parameter set of H.264: what a stream is, read; and that it has no B pictures, written.
//!
//! Hardware decoders hold pictures back until they know that none is to be shown before (w3c/webcodecs#528). What tells
//! them is `max_num_reorder_frames` in the VUI, which most cameras leave out (ITU-T H.264 section E.2.1).

use synoptic_base::Size;
use synoptic_engine::timebase::wire::{escape_into, unescaped};

use super::bits::{BitReader, BitWriter};

/// Profiles whose parameter sets say more of the chroma (section 7.3.2.1.1).
const HIGH: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// aspect_ratio_idc with a ratio of its own (table E-1).
const EXTENDED_SAR: u32 = 255;
/// Longest cycle of picture order counts (section 7.4.2.1.1).
const MAX_CYCLE: u32 = 255;

/// What a sequence parameter set says.
#[derive(Clone, Debug, PartialEq)]
pub struct Sps {
    /// profile_idc, constraint flags, level_idc: as they stand in a codec string.
    pub profile: [u8; 3],
    /// Size of the shown picture.
    pub size: Size,
    /// Pictures a second by the VUI's timing; `None` where it has none.
    pub fps: Option<f64>,
    /// Pictures that may be shown after one that was decoded later; `None` where it does not say.
    pub max_reorder: Option<u32>,
    /// Pictures are shown in the order in which they are decoded, by picture order count type 2.
    pub in_order: bool,
    max_refs: u32,
    /// Where `vui_parameters_present_flag` stands, in bits.
    vui_at: usize,
    /// Where `bitstream_restriction_flag` stands; `None` without VUI.
    restriction_at: Option<usize>,
    rbsp: Vec<u8>,
}

impl Sps {
    /// Reads a NAL unit of type 7, without start code; `None` when it is not one, or broken.
    pub fn read(nal: &[u8]) -> Option<Sps> {
        let (header, payload) = nal.split_first()?;
        if header & 0x1f != 7 {
            return None;
        }
        let rbsp = unescaped(payload);
        let mut bits = BitReader::new(&rbsp);
        let profile = [bits.take(8)? as u8, bits.take(8)? as u8, bits.take(8)? as u8];
        bits.ue()?; // seq_parameter_set_id
        let chroma = if HIGH.contains(&u32::from(profile[0])) {
            chroma(&mut bits)?
        } else {
            1
        };
        bits.ue()?; // log2_max_frame_num_minus4
        let order_type = order(&mut bits)?;
        let max_refs = bits.ue()?;
        bits.take(1)?; // gaps_in_frame_num_value_allowed_flag
        let (width_mbs, height_units) = (bits.ue()?.checked_add(1)?, bits.ue()?.checked_add(1)?);
        let frames_only = bits.take(1)? == 1;
        if !frames_only {
            bits.take(1)?; // mb_adaptive_frame_field_flag
        }
        bits.take(1)?; // direct_8x8_inference_flag
        let fields = if frames_only { 1 } else { 2 };
        // Section 7.4.2.1.1, CropUnitX and CropUnitY.
        let (unit_x, unit_y) = match chroma {
            1 => (2, 2 * fields),
            2 => (2, fields),
            _ => (1, fields),
        };
        let mut crop = [0; 4];
        if bits.take(1)? == 1 {
            for side in &mut crop {
                *side = bits.ue()?;
            }
        }
        let [left, right, top, bottom] = crop;
        let width = width_mbs
            .checked_mul(16)?
            .checked_sub(left.checked_add(right)?.checked_mul(unit_x)?)?;
        let height = height_units.checked_mul(16 * fields)?;
        let height = height.checked_sub(top.checked_add(bottom)?.checked_mul(unit_y)?)?;
        let vui_at = bits.at();
        let vui = if bits.take(1)? == 1 {
            Some(vui(&mut bits)?)
        } else {
            None
        };
        Some(Sps {
            profile,
            size: Size::new(width, height),
            fps: vui.as_ref().and_then(|v| v.fps),
            max_reorder: vui.as_ref().and_then(|v| v.max_reorder),
            in_order: order_type == 2,
            max_refs,
            vui_at,
            restriction_at: vui.map(|v| v.restriction_at),
            rbsp,
        })
    }

    /// The codec string of RFC 6381 section 3.3, as browsers want it: `avc1.64001f`.
    pub fn rfc6381(&self) -> String {
        let [profile, constraints, level] = self.profile;
        format!("avc1.{profile:02x}{constraints:02x}{level:02x}")
    }

    /// The NAL unit that says that no picture is shown out of order. Everything else stays as it was.
    pub fn without_reordering(&self) -> Vec<u8> {
        let mut out = BitWriter::default();
        let kept = self.restriction_at.unwrap_or(self.vui_at);
        out.copy(&self.rbsp, kept);
        if self.restriction_at.is_none() {
            out.put(1, 1); // vui_parameters_present_flag
            // Aspect ratio, overscan, video signal, chroma location, timing, two HRDs, pic_struct: not said.
            out.put(0, 8);
        }
        out.put(1, 1); // bitstream_restriction_flag
        out.put(1, 1); // motion_vectors_over_pic_boundaries_flag
        // What is inferred where it is not said (section E.2.1).
        for value in [2, 1, 16, 16, 0, self.max_refs] {
            out.ue(value);
        }
        out.put(1, 1); // rbsp_stop_one_bit
        let mut nal = vec![0x67];
        escape_into(&mut nal, &out.finish());
        nal
    }
}

fn chroma(bits: &mut BitReader<'_>) -> Option<u32> {
    let chroma = bits.ue()?;
    if chroma == 3 && bits.take(1)? == 1 {
        return scaling(bits, 12).map(|()| 0); // separate planes: as monochrome
    }
    scaling(bits, if chroma == 3 { 12 } else { 8 })?;
    Some(chroma)
}

fn scaling(bits: &mut BitReader<'_>, lists: usize) -> Option<()> {
    bits.ue()?; // bit_depth_luma_minus8
    bits.ue()?; // bit_depth_chroma_minus8
    bits.take(1)?; // qpprime_y_zero_transform_bypass_flag
    if bits.take(1)? == 0 {
        return Some(());
    }
    for list in 0..lists {
        if bits.take(1)? == 0 {
            continue;
        }
        // Section 7.3.2.1.1.1.
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()? + 256) % 256;
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

/// Returns pic_order_cnt_type.
fn order(bits: &mut BitReader<'_>) -> Option<u32> {
    let kind = bits.ue()?;
    match kind {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.take(1)?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue()?;
            if cycle > MAX_CYCLE {
                return None;
            }
            for _ in 0..cycle {
                bits.se()?;
            }
        }
        _ => {}
    }
    Some(kind)
}

struct Vui {
    fps: Option<f64>,
    max_reorder: Option<u32>,
    restriction_at: usize,
}

/// Section E.1.1.
fn vui(bits: &mut BitReader<'_>) -> Option<Vui> {
    if bits.take(1)? == 1 && bits.take(8)? == EXTENDED_SAR {
        bits.take(32)?;
    }
    if bits.take(1)? == 1 {
        bits.take(1)?; // overscan_appropriate_flag
    }
    if bits.take(1)? == 1 {
        bits.take(4)?; // video_format, video_full_range_flag
        if bits.take(1)? == 1 {
            bits.take(24)?; // colour description
        }
    }
    if bits.take(1)? == 1 {
        bits.ue()?; // chroma_sample_loc_type, top and bottom
        bits.ue()?;
    }
    let mut fps = None;
    if bits.take(1)? == 1 {
        let (tick, scale) = (bits.take(32)?, bits.take(32)?);
        bits.take(1)?; // fixed_frame_rate_flag
        // A tick is a field (section E.2.1).
        fps = (tick > 0 && scale > 0).then(|| f64::from(scale) / f64::from(tick) / 2.0);
    }
    let mut reference_decoder = false;
    for _ in 0..2 {
        if bits.take(1)? == 1 {
            reference_decoder = true;
            hrd(bits)?;
        }
    }
    if reference_decoder {
        bits.take(1)?; // low_delay_hrd_flag
    }
    bits.take(1)?; // pic_struct_present_flag
    let restriction_at = bits.at();
    let mut max_reorder = None;
    if bits.take(1)? == 1 {
        bits.take(1)?; // motion_vectors_over_pic_boundaries_flag
        for _ in 0..4 {
            bits.ue()?;
        }
        max_reorder = Some(bits.ue()?);
    }
    Some(Vui {
        fps,
        max_reorder,
        restriction_at,
    })
}

/// Section E.1.2.
fn hrd(bits: &mut BitReader<'_>) -> Option<()> {
    let count = bits.ue()?;
    if count > 31 {
        return None;
    }
    bits.take(8)?; // bit_rate_scale, cpb_size_scale
    for _ in 0..=count {
        bits.ue()?;
        bits.ue()?;
        bits.take(1)?;
    }
    bits.take(20)?; // four lengths
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x264, 640x360, High 2.2, 15/s, VUI with timing and bitstream_restriction, two reordered pictures.
    const X264_B: &str = "67640016acd940a02ff970110000030001000003001e0f162d96";
    /// Baseline 2.1, 320x240, without VUI.
    const NO_VUI: &str = "67420015da0507e4";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn reads_what_a_stream_is() {
        let sps = Sps::read(&bytes(X264_B)).unwrap();
        assert_eq!(sps.rfc6381(), "avc1.640016");
        assert_eq!(sps.size, Size::new(640, 360));
        assert_eq!(sps.fps, Some(15.0));
        assert_eq!(sps.max_reorder, Some(2));
        assert!(!sps.in_order);
        let sps = Sps::read(&bytes(NO_VUI)).unwrap();
        assert_eq!(
            (sps.size, sps.fps, sps.max_reorder),
            (Size::new(320, 240), None, None)
        );
    }

    #[test]
    fn the_rewritten_set_says_no_reordering_and_all_else_as_before() {
        for hex in [X264_B, NO_VUI] {
            let before = Sps::read(&bytes(hex)).unwrap();
            let after = Sps::read(&before.without_reordering()).unwrap();
            assert_eq!(after.max_reorder, Some(0));
            assert_eq!((after.profile, after.size), (before.profile, before.size));
            assert_eq!((after.fps, after.in_order), (before.fps, before.in_order));
            assert_eq!(after.without_reordering(), before.without_reordering());
        }
    }

    #[test]
    fn rubbish_is_refused() {
        let whole = bytes(X264_B);
        for n in 0..whole.len() - 1 {
            if let Some(sps) = Sps::read(&whole[..n]) {
                sps.without_reordering();
            }
        }
        assert_eq!(Sps::read(&[0x68, 1, 2, 3]), None);
        assert_eq!(Sps::read(&[0x67; 3]), None);
        assert_eq!(Sps::read(&[0x67, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
