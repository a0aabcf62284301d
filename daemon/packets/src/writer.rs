//! Writes a packet into a block.

use synoptic_base::{ClockMap, FramePacket, Mono, Surface};
use synoptic_vision::bgr;
use synoptic_vision::color::Matrix;

use crate::Pixels;
use crate::layout::{self, HEADER, PixelLayout, Place, SLOT};
use crate::motion::MotionAnswer;

/// Writes it all; `block` holds what [`layout::places`] asked for. Returns why frames could not be written, if any: they
/// are read errors then.
pub(crate) fn write(
    block: &mut [u8],
    packet: &FramePacket<Pixels>,
    (places, used): (&[Place], usize),
    (pixels, motion): (PixelLayout, &[MotionAnswer]),
    map: &ClockMap,
    now: impl FnOnce() -> Mono,
) -> Vec<String> {
    let mut failed = Vec::new();
    for (i, (((camera, slot), place), motion)) in packet.slots.iter().zip(places).zip(motion).enumerate() {
        let mut unread = false;
        if let Some(frame) = slot.frame() {
            let out = &mut block[place.pixels..][..place.pixel_bytes];
            if let Err(why) = picture(out, &*frame.pixels, pixels) {
                failed.push(format!("frame {}: {why}", frame.meta.key));
                unread = true;
            }
            layout::vectors(&mut block[place.vectors..], motion);
        }
        let out = &mut block[HEADER + SLOT * i..][..SLOT];
        layout::slot(out, *camera, slot, unread, (pixels, *place, motion), map);
    }
    layout::header(block, packet, map, used, now());
    failed
}

fn picture(out: &mut [u8], surface: &dyn Surface, pixels: PixelLayout) -> Result<(), String> {
    let size = surface.size();
    let mut done = Err("the surface gave no planes".to_owned());
    surface
        .with_planes(&mut |planes| {
            done = match pixels {
                PixelLayout::Bgr => bgr::write_bgr8(&planes, size, Matrix::guess(size), out),
                PixelLayout::Nv12 => bgr::write_nv12(&planes, size, pixels.stride(size), out),
            }
            .map_err(|e| e.to_string());
        })
        .map_err(|e| e.to_string())?;
    done
}
