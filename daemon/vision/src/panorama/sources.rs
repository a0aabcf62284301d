//! What can be sampled of a picture: its luma, and its chroma as pairs.

use synoptic_base::{Planes, Size};

use super::warp::Source;
use crate::picture::chroma_size;

/// Luma and chroma of planes that [`crate::picture::check`] accepted for `size`; `None` of a picture too small or too large
/// to be sampled. Chroma of its own planes is interleaved into `room`.
pub(super) fn sources<'a>(
    planes: &Planes<'a>,
    size: Size,
    room: &'a mut Vec<u8>,
) -> Option<(Source<'a>, Source<'a>)> {
    let (w, h) = (size.width as usize, size.height as usize);
    let (cw, ch) = chroma_size(size);
    let chroma: (&'a [u8], usize) = match *planes {
        Planes::Nv12 { uv, .. } => (uv.data, uv.stride),
        Planes::I420 { u, v, .. } => {
            room.resize(2 * cw * ch, 0);
            for (y, row) in room.chunks_exact_mut(2 * cw).enumerate() {
                let (u, v) = (&u.data[y * u.stride..][..cw], &v.data[y * v.stride..][..cw]);
                for ((pair, u), v) in row.chunks_exact_mut(2).zip(u).zip(v) {
                    pair[0] = *u;
                    pair[1] = *v;
                }
            }
            (room, 2 * cw)
        }
    };
    let luma = planes.luma();
    Source::new(luma.data, luma.stride, w, h, false).zip(Source::new(chroma.0, chroma.1, cw, ch, true))
}
