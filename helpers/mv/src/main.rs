//! `synoptic-mv`: motion vectors of an H.264 stream, by FFmpeg.
//!
//! Standard input: access units in Annex B form, in the order of decoding, each behind `u32` its bytes and `i64` its
//! presentation time. Standard output: for each frame that came out, in the order of presentation, `i64` the presentation
//! time that its own access unit had, `u8` its kind (`I`, `P`, `B`, `?`), `u32` the number of its vectors, and ten `i32` for
//! each: source, w, h, src_x, src_y, dst_x, dst_y, motion_x, motion_y, motion_scale. All little endian.
//!
//! A unit that cannot be decoded is passed over. The process ends with its input, or when nobody reads what it writes.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;

use ffmpeg::codec::{self, decoder};
use ffmpeg::frame::side_data::Type;
use ffmpeg::picture;
use ffmpeg_next as ffmpeg;

/// The largest access unit that is believed: four pictures of 8K, uncoded, are less.
const MAX_UNIT: u32 = 256 << 20;
/// Bytes of FFmpeg's `AVMotionVector` (libavutil/motion_vector.h), the same since FFmpeg 3.1 on 64-bit machines.
const AV_MOTION_VECTOR: usize = 40;

fn main() -> ExitCode {
    match run(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("synoptic-mv: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(input: &mut impl Read, output: &mut impl Write) -> Result<(), Box<dyn Error>> {
    ffmpeg::init()?;
    ffmpeg::log::set_level(ffmpeg::log::Level::Fatal);
    let mut decoder = open()?;
    let mut frame = ffmpeg::frame::Video::empty();
    while let Some((time, unit)) = unit(input)? {
        let mut packet = codec::packet::Packet::copy(&unit);
        packet.set_pts(Some(time));
        // A damaged unit is a lost frame, as it is in the daemon's own decoder.
        if decoder.send_packet(&packet).is_ok() {
            drain(&mut decoder, &mut frame, output)?;
        }
    }
    decoder.send_eof()?;
    drain(&mut decoder, &mut frame, output)
}

fn open() -> Result<decoder::Video, Box<dyn Error>> {
    let h264 = decoder::find(codec::Id::H264)
        .ok_or("this FFmpeg has no H.264 decoder: install its libavcodec-extra")?;
    let mut options = ffmpeg::Dictionary::new();
    options.set("flags2", "+export_mvs");
    // One thread: frame threads would hold frames back, and the daemon's decoder needs the other cores.
    options.set("threads", "1");
    let opened = codec::Context::new_with_codec(h264)
        .decoder()
        .open_as_with(h264, options)?;
    Ok(opened.video()?)
}

/// The next access unit; `None` at the end.
fn unit(input: &mut impl Read) -> io::Result<Option<(i64, Vec<u8>)>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_UNIT {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("an access unit of {length} bytes"),
        ));
    }
    let mut time = [0; 8];
    input.read_exact(&mut time)?;
    let mut unit = vec![0; length as usize];
    input.read_exact(&mut unit)?;
    Ok(Some((i64::from_le_bytes(time), unit)))
}

fn drain(
    decoder: &mut decoder::Video,
    frame: &mut ffmpeg::frame::Video,
    output: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    while decoder.receive_frame(frame).is_ok() {
        let Some(time) = frame.pts() else { continue };
        let vectors = frame.side_data(Type::MotionVectors);
        let raw = vectors.as_ref().map_or(&[][..], |v| v.data());
        output.write_all(&record(time, kind(frame.kind()), raw))?;
        output.flush()?;
    }
    Ok(())
}

fn kind(kind: picture::Type) -> u8 {
    match kind {
        picture::Type::I | picture::Type::SI => b'I',
        picture::Type::P | picture::Type::SP => b'P',
        picture::Type::B => b'B',
        _ => b'?',
    }
}

/// A frame as it is written; `raw` are FFmpeg's vectors.
fn record(time: i64, kind: u8, raw: &[u8]) -> Vec<u8> {
    let vectors = raw.chunks_exact(AV_MOTION_VECTOR);
    let mut out = Vec::with_capacity(13 + vectors.len() * 40);
    out.extend(time.to_le_bytes());
    out.push(kind);
    out.extend((vectors.len() as u32).to_le_bytes());
    for v in vectors {
        let i16_at = |at: usize| i32::from(i16::from_ne_bytes([v[at], v[at + 1]]));
        let i32_at = |at: usize| i32::from_ne_bytes([v[at], v[at + 1], v[at + 2], v[at + 3]]);
        let scale = i32::from(u16::from_ne_bytes([v[32], v[33]]));
        // 16 to 23 are flags, of which there are none yet.
        let columns = [
            i32_at(0),
            i32::from(v[4]),
            i32::from(v[5]),
            i16_at(6),
            i16_at(8),
            i16_at(10),
            i16_at(12),
            i32_at(24),
            i32_at(28),
            scale,
        ];
        for column in columns {
            out.extend(column.to_le_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_read_as_ffmpeg_lays_it_out() {
        let mut raw = [0; AV_MOTION_VECTOR];
        raw[..4].copy_from_slice(&(-1_i32).to_ne_bytes());
        raw[4] = 16;
        raw[5] = 8;
        for (i, value) in [-3_i16, 700, 8, 696].iter().enumerate() {
            raw[6 + 2 * i..8 + 2 * i].copy_from_slice(&value.to_ne_bytes());
        }
        raw[24..28].copy_from_slice(&(-44_i32).to_ne_bytes());
        raw[28..32].copy_from_slice(&16_i32.to_ne_bytes());
        raw[32..34].copy_from_slice(&4_u16.to_ne_bytes());
        let out = record(7, b'B', &raw);
        assert_eq!(out[..13], [7, 0, 0, 0, 0, 0, 0, 0, b'B', 1, 0, 0, 0]);
        let numbers: Vec<i32> = out[13..]
            .chunks_exact(4)
            .map(|c| i32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .collect();
        assert_eq!(numbers, [-1, 16, 8, -3, 700, 8, 696, -44, 16, 4]);
    }

    #[test]
    fn nonsense_is_refused_and_the_end_is_the_end() {
        assert!(unit(&mut &[][..]).is_ok_and(|u| u.is_none()));
        assert!(unit(&mut &[0xff; 20][..]).is_err());
        assert!(unit(&mut &[4, 0, 0, 0, 0, 0][..]).is_err());
        let mut out = Vec::new();
        let noise = [&[3, 0, 0, 0][..], &[9; 8], &[1, 2, 3]].concat();
        run(&mut &noise[..], &mut out).expect("a damaged unit is passed over");
        assert!(out.is_empty());
    }
}
