//! One street scene seen by overlapping virtual cameras, with known truth.
//!
//! The picture of camera i at an instant is a pure function of seed, size, number of cameras and UTC. So
//! whoever reads the barcode of a picture can compute what stood where in it ([`Scene::truth`]), in any
//! process.

mod movers;
mod picture;
mod world;

use synoptic_base::{BBox, Size, Span, Utc};

use crate::barcode::{self, BARCODE_REGION, Code};
use crate::font;

pub use movers::Kind;
pub use picture::Picture;
use picture::{Colour, NEUTRAL};

/// The strip at the top that changes with every frame: the barcode, and right of it the clock as text.
pub const OVERLAY_REGION: BBox = BBox::new(0.0, 0.0, 1.0, BARCODE_REGION.h);

/// How much of a camera's view the next one sees too.
pub const OVERLAP: f32 = 0.3;
/// Most cameras of one scene.
pub const MAX_CAMERAS: usize = 16;

/// An object in one camera's picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// The same in all cameras, for one appearance.
    pub id: u64,
    /// What it is.
    pub kind: Kind,
    /// The part of its box inside the picture.
    pub bbox: BBox,
    /// How much of the box is inside the picture, 0 to 1. What other objects hide is not subtracted.
    pub visible: f32,
}

/// Why there is no such scene.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SceneError {
    /// A size that cannot be coded without padding, or is out of limits.
    #[error(
        "a picture of {0}x{1} cannot be made: use a width of 160 to 4096 in steps of 8 and an even height of \
         90 to 2304"
    )]
    Size(u32, u32),
    /// None or too many.
    #[error("a scene has 1 to {MAX_CAMERAS} cameras, not {0}")]
    Cameras(usize),
}

/// The scene, for pictures of one size.
#[derive(Debug)]
pub struct Scene {
    seed: u64,
    size: Size,
    cameras: usize,
    background: Picture,
}

impl Scene {
    /// Paints the background for `cameras` views of `size` pixels. Takes some 10 ms for three of 640x360.
    pub fn new(seed: u64, size: Size, cameras: usize) -> Result<Scene, SceneError> {
        let ok = (160..=4096).contains(&size.width)
            && (90..=2304).contains(&size.height)
            && size.width.is_multiple_of(8)
            && size.height.is_multiple_of(2);
        if !ok {
            return Err(SceneError::Size(size.width, size.height));
        }
        if !(1..=MAX_CAMERAS).contains(&cameras) {
            return Err(SceneError::Cameras(cameras));
        }
        let width = view_left(size, cameras - 1) + size.width as usize;
        let background = world::paint(seed, Size::new(width as u32, size.height));
        Ok(Scene {
            seed,
            size,
            cameras,
            background,
        })
    }

    /// The same scene in another size.
    pub fn resized(&self, size: Size) -> Result<Scene, SceneError> {
        Scene::new(self.seed, size, self.cameras)
    }

    /// Size of a picture.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Number of cameras.
    pub fn cameras(&self) -> usize {
        self.cameras
    }

    /// After this time all that moves begins again, as new objects.
    pub fn period(&self) -> Span {
        movers::period(self.world())
    }

    /// What camera `camera` sees at `at`, with barcode and clock. An index past the last is the last.
    pub fn render(&self, camera: usize, at: Utc, name: &str) -> Picture {
        let left = self.left(camera);
        let mut picture = self.background.window(left, self.size);
        for mover in movers::movers(self.world(), at) {
            mover.paint(&mut picture, left as f32, self.size.height as f32);
        }
        overlay(&mut picture, Code::new(at, camera.min(255) as u8), name);
        picture
    }

    /// What camera `camera` has in view at `at`, far objects first. An index past the last is the last.
    pub fn truth(&self, camera: usize, at: Utc) -> Vec<Truth> {
        let unit = self.size.height as f32;
        let (left, width) = (self.left(camera) as f32 / unit, self.size.width as f32 / unit);
        movers::movers(self.world(), at)
            .filter_map(|m| {
                let whole = BBox::new((m.left - left) / width, m.top, m.width / width, m.height);
                let bbox = whole.clamped();
                let visible = bbox.area() / whole.area();
                (visible > 0.0).then_some(Truth {
                    id: m.id,
                    kind: m.kind,
                    bbox,
                    visible,
                })
            })
            .collect()
    }

    /// Width of the world in heights of the view.
    fn world(&self) -> f32 {
        self.background.size().width as f32 / self.size.height as f32
    }

    /// Left edge of a camera's view in the scene, in pixels of its picture. An index past the last is the last.
    pub fn left(&self, camera: usize) -> usize {
        view_left(self.size, camera.min(self.cameras - 1))
    }
}

/// Left edge of a camera's view in the world, in pixels; even, for the chroma's sake.
fn view_left(size: Size, camera: usize) -> usize {
    (camera as f32 * size.width as f32 * (1.0 - OVERLAP) / 2.0).round() as usize * 2
}

/// Paints the strip: the barcode, and the name and the time for people.
fn overlay(picture: &mut Picture, code: Code, name: &str) {
    let size = picture.size();
    let (width, strip) = (size.width as f32, OVERLAY_REGION.h * size.height as f32);
    picture.fill_rect(0.0, 0.0, width, strip, Colour(16, NEUTRAL, NEUTRAL));
    barcode::write(picture.luma_mut(), size.width as usize, size, code);
    let scale = (strip as usize / font::HEIGHT).max(1);
    let left = (BARCODE_REGION.w * width) as usize + 2 * scale;
    let room = (size.width as usize - left) / ((font::WIDTH + 1) * scale);
    let clock = code.utc.to_rfc3339();
    // "2026-11-21T10:00:00.250001Z": hours to milliseconds.
    let clock = clock.get(11..23).unwrap_or_default();
    let name: String = name.chars().take(room.saturating_sub(clock.len() + 1)).collect();
    for (i, c) in format!("{clock} {name}").chars().take(room).enumerate() {
        let x = left + i * (font::WIDTH + 1) * scale;
        for (row, bits) in font::glyph(c).into_iter().enumerate() {
            for column in (0..font::WIDTH).filter(|c| bits >> (font::WIDTH - 1 - c) & 1 == 1) {
                for (dy, dx) in (0..scale * scale).map(|p| (p / scale, p % scale)) {
                    picture.set_pixel(
                        x + column * scale + dx,
                        1 + row * scale + dy,
                        Colour(220, NEUTRAL, NEUTRAL),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(640, 360);

    fn scene() -> Scene {
        Scene::new(7, SIZE, 3).unwrap()
    }

    /// Seconds into the play.
    fn at(scene: &Scene, s: f64) -> Utc {
        Utc::from_nanos(scene.period().as_nanos() * 1000) + Span::from_secs_f64(s)
    }

    #[test]
    fn the_same_seed_gives_the_same_pictures_and_another_one_others() {
        let (a, b) = (scene(), scene());
        let t = at(&a, 9.0);
        assert_eq!(a.render(1, t, "x"), b.render(1, t, "x"));
        let other = Scene::new(8, SIZE, 3).unwrap();
        assert_ne!(a.render(1, t, "x"), other.render(1, t, "x"));
    }

    #[test]
    fn a_picture_carries_its_time_and_its_camera() {
        let scene = scene();
        let t = at(&scene, 3.210_987);
        let picture = scene.render(2, t, "cam-right");
        assert_eq!(
            barcode::read(picture.planes().luma(), SIZE),
            Some(Code::new(t, 2))
        );
    }

    #[test]
    fn neighbours_see_the_same_in_their_overlap() {
        let scene = scene();
        let t = at(&scene, 9.0);
        let (a, b) = (scene.render(0, t, ""), scene.render(1, t, ""));
        let shift = view_left(SIZE, 1);
        for y in (16..360).step_by(7) {
            let row = |p: &Picture| p.planes().luma().data[y * 640..(y + 1) * 640].to_vec();
            assert_eq!(row(&a)[shift..], row(&b)[..640 - shift]);
        }
    }

    #[test]
    fn truth_is_where_the_pixels_change() {
        let scene = scene();
        let empty = scene.render(1, at(&scene, 0.0), "");
        let mut seen = 0;
        for tenth in (10..300).step_by(5) {
            let t = at(&scene, f64::from(tenth) / 10.0);
            let picture = scene.render(1, t, "");
            let truth = scene.truth(1, t);
            let (now, before) = (picture.planes().luma().data, empty.planes().luma().data);
            let mut inside = vec![0; truth.len()];
            for (i, _) in now
                .iter()
                .zip(before)
                .enumerate()
                .filter(|(_, (a, b))| a.abs_diff(**b) > 12)
            {
                let (x, y) = ((i % 640) as f32 + 0.5, (i / 640) as f32 + 0.5);
                if y < 17.0 {
                    continue;
                }
                let mut any = false;
                for (count, b) in inside.iter_mut().zip(truth.iter().map(|t| t.bbox)) {
                    let hit = x > b.x * 640.0 - 1.5
                        && x < b.right() * 640.0 + 1.5
                        && y > b.y * 360.0 - 1.5
                        && y < b.bottom() * 360.0 + 1.5;
                    *count += u32::from(hit);
                    any |= hit;
                }
                assert!(any, "changed pixel {x},{y} in no box at {tenth}");
            }
            for (truth, count) in truth.iter().zip(inside).filter(|(t, _)| t.visible > 0.9) {
                let area = truth.bbox.area() * (640.0 * 360.0);
                assert!(count as f32 > 0.25 * area, "{truth:?} has {count} of {area}");
                seen += 1;
            }
        }
        assert!(seen > 10);
    }

    #[test]
    fn odd_sizes_and_no_cameras_are_refused() {
        assert_eq!(
            Scene::new(1, Size::new(642, 360), 3).unwrap_err(),
            SceneError::Size(642, 360)
        );
        assert_eq!(Scene::new(1, SIZE, 0).unwrap_err(), SceneError::Cameras(0));
        assert!(scene().resized(Size::new(1280, 720)).is_ok());
    }
}
