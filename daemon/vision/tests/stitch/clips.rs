//! The rendered rigs of the mirror folder, when there: real pictures, parallax, and mismatched cameras.
//!
//! With SYNOPTIC_LOOK=folder the panoramas are written there as JPEG, to be looked at.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use synoptic_base::{
    Cover, Intrinsics, Lens, Mono, PixelFormat, Projection, Rig, RigCamera, Size, Span, StreamId,
};
use synoptic_engine::stitch::{Director, StitchConfig};
use synoptic_vision::color::rgb8;
use synoptic_vision::panorama::{ComposeOptions, Compositor, StitchSlot, delta_e};
use synoptic_vision::{PictureBuf, jpeg};

use super::world::fitted;
use crate::testing::mirror;

pub(crate) struct Clip(Child, Size);

impl Clip {
    pub(crate) fn open(path: &std::path::Path, size: Size) -> Option<Clip> {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-threads", "1", "-i"])
            .arg(path)
            .args(["-f", "rawvideo", "-pix_fmt", "nv12", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => Some(Clip(child, size)),
            Err(e) => {
                eprintln!("SKIPPED: cannot run ffmpeg ({e}): install it to test on real clips");
                None
            }
        }
    }

    pub(crate) fn next(&mut self) -> Option<PictureBuf> {
        let mut data = vec![0; PictureBuf::bytes(self.1)];
        self.0.stdout.as_mut()?.read_exact(&mut data).ok()?;
        PictureBuf::new(self.1, PixelFormat::Nv12, data).ok()
    }
}

impl Drop for Clip {
    fn drop(&mut self) {
        let _ = self.0.kill(); // Already gone is fine.
        let _ = self.0.wait();
    }
}

/// The rig of a ground truth file, before a surface `distance_m` away.
pub(crate) fn rig(name: &str, distance_m: f64) -> Option<Rig> {
    let path = mirror(&format!("data/rigs/{name}_gt.json"))?;
    let truth: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let size = Size::new(
        truth["size"][0].as_u64().unwrap() as u32,
        truth["size"][1].as_u64().unwrap() as u32,
    );
    let cameras = truth["cams"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(k, cam)| {
            let number = |key: &str| cam[key].as_f64().unwrap();
            // The file's R turns a direction of the camera into one of the world.
            let rotation =
                [0, 1, 2].map(|r: usize| [0, 1, 2].map(|c: usize| cam["R"][c][r].as_f64().unwrap()));
            RigCamera {
                stream: StreamId::new(&format!("cam{k}")).unwrap(),
                intrinsics: Intrinsics {
                    size,
                    fx: number("fx"),
                    fy: number("fx"),
                    cx: number("cx"),
                    cy: number("cy"),
                    lens: Lens::Radial([number("k1"), 0.0, 0.0, 0.0]),
                },
                rotation,
                centre: [0, 1, 2].map(|i: usize| cam["center_m"][i].as_f64().unwrap() / distance_m),
            }
        });
    Some(fitted(cameras.collect(), Projection::Cylindrical, 1024.0))
}

fn look(picture: &PictureBuf, name: &str) {
    if let Some(folder) = std::env::var_os("SYNOPTIC_LOOK") {
        let coded = jpeg::encode(picture, 92).unwrap();
        std::fs::write(PathBuf::from(folder).join(name), coded).unwrap();
    }
}

/// Mean CIEDE2000 of the two cameras' shared, still cells: as they are, and as the plan's gains turn them.
fn mismatch(
    compositor: &Compositor,
    rig: &Rig,
    pictures: &[PictureBuf; 2],
    plan: &synoptic_base::StitchPlan,
) -> f64 {
    // Each camera alone, everywhere.
    let mut alone = Compositor::new(rig, ComposeOptions::default()).unwrap();
    let layout = compositor.layout();
    let both: Vec<Vec<u8>> = (0..2)
        .map(|k| {
            let mut plan = plan.clone();
            plan.revision = k as u64;
            for (i, w) in plan.weights.iter_mut().enumerate() {
                w.fill(if i == k { 255 } else { 0 });
            }
            let mut out = PictureBuf::black(rig.canvas.size).unwrap();
            let slots = [StitchSlot::Live(&pictures[0]), StitchSlot::Live(&pictures[1])];
            alone.render(&slots, &plan, &mut out).unwrap();
            rgb8(&out, None).unwrap()
        })
        .collect();
    let width = rig.canvas.size.width as usize;
    let mut found = Vec::new();
    for cell in
        (0..layout.columns * layout.rows).filter(|i| layout.cover.iter().all(|c| c[*i] >= Cover::Inner))
    {
        let mean = |rgb: &[u8]| {
            let mut sum = [0.0_f32; 3];
            for i in 0..64 {
                let (x, y) = (
                    cell % layout.columns * 8 + i % 8,
                    cell / layout.columns * 8 + i / 8,
                );
                for k in 0..3 {
                    sum[k] += f32::from(rgb[(y * width + x) * 3 + k]) / 64.0;
                }
            }
            delta_e::lab(sum)
        };
        found.push(delta_e::ciede2000(mean(&both[0]), mean(&both[1])));
    }
    found.sort_by(f64::total_cmp);
    found[found.len() / 2]
}

struct Seen {
    /// Median CIEDE2000 of the overlap after the first second.
    steady: f64,
    /// Half a second after the step of exposure.
    absorbed: f64,
}

fn run(name: &str, distance_m: f64) -> Option<Seen> {
    let rig = rig(name, distance_m)?;
    let size = rig.cameras[0].intrinsics.size;
    let mut clips = [0, 1].map(|k| {
        let path = mirror(&format!("data/rigs/{name}_cam{k}.mp4"))?;
        Clip::open(&path, size)
    });
    let mut compositor = Compositor::new(&rig, ComposeOptions::default()).unwrap();
    let mut director = Director::new(compositor.layout().clone(), StitchConfig::default()).unwrap();
    let mut out = PictureBuf::black(rig.canvas.size).unwrap();
    let mut seen = Seen {
        steady: f64::NAN,
        absorbed: f64::NAN,
    };
    let mut n = 0;
    let mut means = Vec::new();
    let mut step = None;
    while let [Some(one), Some(two)] = clips.each_mut().map(|c| c.as_mut().and_then(Clip::next)) {
        let pictures = [one, two];
        let slots = [StitchSlot::Live(&pictures[0]), StitchSlot::Live(&pictures[1])];
        let now = Mono::from_nanos(0) + Span::from_millis(40 * n);
        let report = compositor
            .compose(&slots, &[], &mut director, &mut out, now)
            .unwrap();
        let luma = pictures[0].planes().luma().data;
        let other = pictures[1].planes().luma().data;
        let mean = |d: &[u8]| d.iter().map(|v| u64::from(*v)).sum::<u64>() as f64 / d.len() as f64;
        means.push((mean(luma), mean(other)));
        if let [.., before, now] = means[..]
            && step.is_none()
            && ((now.0 / before.0).ln().abs() > 0.05 || (now.1 / before.1).ln().abs() > 0.05)
        {
            step = Some(n);
        }
        if n == 25 {
            seen.steady = mismatch(&compositor, &rig, &pictures, report.plan);
            look(&out, &format!("{name}_steady.jpg"));
        }
        if step.is_some_and(|s| n == s + 12) {
            seen.absorbed = mismatch(&compositor, &rig, &pictures, report.plan);
            look(&out, &format!("{name}_absorbed.jpg"));
        }
        if n % 20 == 10 {
            look(&out, &format!("{name}_{n:03}.jpg"));
        }
        n += 1;
    }
    eprintln!(
        "{name}: {n} pictures, {} seam moves, canvas {:?}, step of exposure at {step:?}, dE00 {:.2} steady, {:.2} absorbed",
        director.seam_moves(),
        rig.canvas.size,
        seen.steady,
        seen.absorbed
    );
    (n > 0).then_some(seen)
}

#[test]
fn a_far_rig_meets_without_a_seam() {
    if let Some(seen) = run("rig2_static_far", 1e9) {
        assert!(seen.steady < 1.5, "dE00 {:.2}", seen.steady);
    }
}

#[test]
fn mismatched_cameras_before_parallax_agree_and_absorb_a_step() {
    if let Some(seen) = run("rig2_parallax_exposure", 1e9) {
        assert!(seen.steady < 1.5, "dE00 {:.2}", seen.steady);
        assert!(seen.absorbed < 1.5, "dE00 {:.2} after the step", seen.absorbed);
    }
}
