//! What a coded stream is, as decoders and players need to know it.

use synoptic_base::Size;

use super::Sps;

/// A video codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
    /// Motion JPEG.
    Mjpeg,
}

/// The format of coded pictures. It holds until another one stands in a [`CodedFrame`](super::CodedFrame).
#[derive(Clone, Debug, PartialEq)]
pub struct CodedFormat {
    /// The codec.
    pub codec: VideoCodec,
    /// RFC 6381 string, as in `avc1.64001f`.
    pub rfc6381: String,
    /// Size of the shown picture in pixels.
    pub size: Size,
    /// Pictures a second as the stream says.
    pub fps: Option<f64>,
    /// Pictures are decoded in another order than they are shown.
    pub b_frames: bool,
    /// Why the box coded them anew; `None`: as the camera sent them.
    pub transcoded: Option<&'static str>,
    /// Sequence parameter sets as they are sent, without start codes.
    pub sps: Vec<Vec<u8>>,
    /// Picture parameter sets, likewise.
    pub pps: Vec<Vec<u8>>,
}

impl CodedFormat {
    /// The format of an H.264 stream by its parameter sets; `None` when they cannot be read.
    ///
    /// Where no picture is shown out of order (`b_frames` is false), the sequence parameter sets that are sent say so.
    pub(crate) fn h264(
        sps: &[Vec<u8>],
        pps: &[Vec<u8>],
        b_frames: bool,
        transcoded: Option<&'static str>,
    ) -> Option<CodedFormat> {
        let read: Vec<Sps> = sps.iter().filter_map(|nal| Sps::read(nal)).collect();
        let first = read.first()?;
        let sent = if b_frames {
            sps.to_vec()
        } else {
            read.iter().map(Sps::without_reordering).collect()
        };
        Some(CodedFormat {
            codec: VideoCodec::H264,
            rfc6381: first.rfc6381(),
            size: first.size,
            fps: first.fps,
            b_frames,
            transcoded,
            sps: sent,
            pps: pps.to_vec(),
        })
    }
}
