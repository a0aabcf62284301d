//! On the rigs of ../shared, when they and ffmpeg are there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use synoptic_base::{Intrinsics, Lens, Rig, RigCamera, Size, StreamId};

use super::*;

/// Frames taken of each clip.
const FRAMES: usize = 7;

fn rigs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/rigs")
}

/// The stills of both cameras of a rig; `None`, said aloud, when they cannot be had.
fn stills(name: &str, size: Size, every: usize) -> Option<Vec<Still>> {
    (0..2)
        .map(|camera| {
            let path = rigs().join(format!("{name}_cam{camera}.mp4"));
            if !path.exists() {
                eprintln!("skipped: there is no {}", path.display());
                return None;
            }
            let out = Command::new("ffmpeg")
                .args(["-v", "error", "-i"])
                .arg(&path)
                .args(["-vf", &format!("select=not(mod(n\\,{every}))"), "-vsync", "0"])
                .args([
                    "-frames:v",
                    &FRAMES.to_string(),
                    "-f",
                    "rawvideo",
                    "-pix_fmt",
                    "gray",
                    "-",
                ])
                .stdin(Stdio::null())
                .output();
            let Ok(out) = out else {
                eprintln!("skipped: there is no ffmpeg");
                return None;
            };
            let (width, height) = (size.width as usize, size.height as usize);
            let mut collector = Collector::new(StreamId::new(&format!("cam{camera}")).unwrap(), size);
            for frame in out.stdout.chunks_exact(width * height) {
                let data = frame.iter().map(|v| f32::from(*v)).collect();
                assert!(collector.add(&Gray { width, height, data }, &[]));
            }
            assert_eq!(
                collector.len(),
                FRAMES,
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
            collector.finish()
        })
        .collect()
}

/// What the simulator says. Its R takes the camera's directions into the world.
fn truth(name: &str, canvas: synoptic_base::Canvas) -> Rig {
    let text = std::fs::read(rigs().join(format!("{name}_gt.json"))).unwrap();
    let truth: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let number = |v: &serde_json::Value| v.as_f64().unwrap();
    let cameras = truth["cams"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(i, cam)| RigCamera {
            stream: StreamId::new(&format!("cam{i}")).unwrap(),
            intrinsics: Intrinsics {
                size: Size::new(1280, 720),
                fx: number(&cam["fx"]),
                fy: number(&cam["fx"]),
                cx: number(&cam["cx"]),
                cy: number(&cam["cy"]),
                lens: Lens::Radial([number(&cam["k1"]), 0.0, 0.0, 0.0]),
            },
            rotation: [0, 1, 2].map(|r| [0, 1, 2].map(|c| number(&cam["R"][c][r]))),
            centre: [0.0; 3],
        });
    Rig {
        cameras: cameras.collect(),
        canvas,
    }
}

#[test]
fn a_far_rig_meets_the_truth() {
    let Some(stills) = stills("rig2_static_far", Size::new(1280, 720), 14) else {
        return;
    };
    let found = calibrate(&stills, &Options::default(), |_| ()).unwrap();
    let off = difference(&truth("rig2_static_far", found.rig.canvas), &found.rig).unwrap();
    assert!(off.overlap_px <= 0.05 && off.full_px <= 0.2, "{off:?}");
    assert!(off.focal_percent < 0.1 && off.turn_degrees < 0.01, "{off:?}");
}

#[test]
fn a_road_without_texture_is_refused() {
    let Some(stills) = stills("split_cars", Size::new(640, 564), 40) else {
        return;
    };
    let refused = calibrate(&stills, &Options::default(), |_| ()).unwrap_err();
    assert!(
        matches!(refused, Refusal::Texture { .. } | Refusal::Apart { .. }),
        "{refused}"
    );
}
