//! The networks and the window against goldens: tiny networks of random weights, made and run in PyTorch by
//! tools/stitchnet (`python -m stitchnet golden`). Pictures and window inputs are made by the same formulas there.

use std::path::{Path, PathBuf};

use synoptic_base::{Canvas, Intrinsics, Lens, Projection, Rig, RigCamera, Size, StreamId};

use super::model::{self, StitchModelError, StitchOptions};
use super::nets::OnlineStitch;
use super::warp::{LearnedWarp, Placement, Small, overlap_psnr};
use super::window::Window;
use super::{ControlMesh, POINTS, WINDOW, rigid};
use crate::onnx::EngineChoice;

const OPTIONS: StitchOptions = StitchOptions {
    engine: EngineChoice::Rten,
    threads: 1,
};

fn files() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/stitchnet"))
}

fn golden() -> serde_json::Value {
    serde_json::from_str(include_str!("../../golden/stitchnet/golden.json")).unwrap()
}

fn mesh(value: &serde_json::Value) -> ControlMesh {
    let values: Vec<f64> = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(values.len(), 2 * POINTS);
    std::array::from_fn(|i| [values[2 * i], values[2 * i + 1]])
}

fn farthest(a: &ControlMesh, b: &ControlMesh) -> f64 {
    let far = a.iter().zip(b).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
    far.fold(0.0, f64::max)
}

/// The formula of `pattern` in tools/stitchnet/stitchnet/golden.py.
fn fill(stitch: &mut OnlineStitch, frame: usize) {
    let [width, height] = stitch.input();
    for camera in 0..2 {
        for (i, value) in stitch.tensor(camera).iter_mut().enumerate() {
            let (c, y, x) = (i / (width * height), i / width % height, i % width);
            let level = ((x * (3 + c) + y * 5 + frame * 7 + camera * 60) ^ ((x / 8) * (y / 8) * 13)) & 255;
            *value = level as f32 / 127.5 - 1.0;
        }
    }
}

fn taken_in() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let taken = model::import(&files(), folder.path(), OPTIONS).unwrap();
    assert_eq!((taken.width, taken.height, taken.channels), (192, 144, 4));
    let dirs = vec![folder.path().join("none"), folder.path().to_owned()];
    (folder, dirs)
}

#[test]
fn the_networks_answer_online_what_they_answer_in_pytorch() {
    let (_folder, dirs) = taken_in();
    let mut stitch = OnlineStitch::load(&dirs, OPTIONS).unwrap();
    assert_eq!(stitch.engine().name, "rten");
    let golden = &golden()["networks"];
    let mut shown = Vec::new();
    for frame in 0..golden["frames"].as_u64().unwrap() as usize {
        fill(&mut stitch, frame);
        let meshes = stitch.understand().unwrap();
        assert_eq!(meshes.is_some(), frame + 1 >= WINDOW, "frame {frame}");
        shown.extend(meshes);
    }
    let wanted = golden["smoothed"].as_array().unwrap();
    assert_eq!((shown.len(), wanted.len()), (2, 2));
    let mut moved = 0.0_f64;
    for (have, want) in shown.iter().zip(wanted) {
        for camera in 0..2 {
            let far = farthest(&have[camera], &mesh(&want[camera]));
            assert!(far < 0.02, "camera {camera}: {far} px");
            moved = moved.max(farthest(&have[camera], &rigid(192, 144)));
        }
    }
    assert!(moved > 2.0, "the golden bends nothing: {moved} px");
    // A gap begins anew: six frames without an answer.
    stitch.clear();
    fill(&mut stitch, 0);
    assert!(stitch.understand().unwrap().is_none());
}

#[test]
fn paths_are_those_of_the_reference() {
    let golden = golden();
    let mut window = Window::new(480, 360);
    let still = rigid(480, 360);
    for frame in 0..WINDOW + 2 {
        let wave = |camera: usize, i: usize, k: usize| {
            (0.7 * frame as f64 + 0.31 * i as f64 + 1.3 * k as f64 + 2.1 * camera as f64).sin()
        };
        let push = |camera: usize, i: usize, k: usize| {
            (0.5 * frame as f64 + 0.17 * i as f64 + 0.9 * k as f64 + camera as f64).cos()
        };
        let meshes = [0, 1].map(|camera| -> ControlMesh {
            std::array::from_fn(|i| [0, 1].map(|k| still[i][k] + 6.0 * wave(camera, i, k)))
        });
        let motions = [0, 1].map(|camera| -> ControlMesh {
            std::array::from_fn(|i| [0, 1].map(|k| 2.0 * push(camera, i, k)))
        });
        assert!(window.push(meshes, motions));
    }
    for camera in 0..2 {
        let [_, path] = window.inputs(camera);
        let newest = &path[(WINDOW - 1) * POINTS * 2..];
        let have: ControlMesh = std::array::from_fn(|i| [0, 1].map(|k| f64::from(newest[2 * i + k])));
        let far = farthest(&have, &mesh(&golden["window"]["paths"][camera]));
        assert!(far < 1e-3, "camera {camera}: {far} px");
    }
}

#[test]
fn a_model_that_is_none_is_refused_and_the_one_there_stays() {
    let (folder, dirs) = taken_in();
    let from = tempfile::tempdir().unwrap();
    let copy = |name: &str, to: &str| {
        std::fs::copy(files().join(name), from.path().join(to)).unwrap();
    };
    let import = || {
        let error = model::import(from.path(), folder.path(), OPTIONS).unwrap_err();
        // Whatever was wrong with the new one, the old one still runs.
        model::verify(&folder.path().join(model::FOLDER), OPTIONS).unwrap();
        error.to_string()
    };
    assert!(import().contains("spatial.onnx"), "a file is missing");
    copy("temporal.onnx", "spatial.onnx");
    copy("temporal.onnx", "temporal.onnx");
    copy("smooth.onnx", "smooth.onnx");
    assert!(import().contains("no input `reference`"));
    copy("spatial.onnx", "spatial.onnx");
    copy("spatial.onnx", "temporal.onnx");
    assert!(import().contains("no input `previous`"));
    copy("temporal.onnx", "temporal.onnx");
    copy("temporal.onnx", "smooth.onnx");
    assert!(import().contains("mesh_reference, path_reference"));
    std::fs::write(from.path().join("smooth.onnx"), b"no model").unwrap();
    assert!(import().contains("the engine cannot load it"));
    std::fs::write(from.path().join("smooth.onnx"), b"").unwrap();
    assert!(import().contains("0 bytes"));

    let stored = dirs[1].join("stitch/smooth.onnx");
    let mut bytes = std::fs::read(&stored).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&stored, bytes).unwrap();
    let refused = OnlineStitch::load(&dirs, OPTIONS).err();
    assert!(
        matches!(refused, Some(StitchModelError::Changed { .. })),
        "{refused:?}"
    );
    assert!(matches!(
        OnlineStitch::load(&dirs[..1], OPTIONS).err(),
        Some(StitchModelError::Missing { .. })
    ));
}

#[test]
fn a_manifest_lists_its_three_files() {
    let (folder, _) = taken_in();
    let place = folder.path().join(model::FOLDER);
    let path = place.join(model::MANIFEST);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("smooth.onnx", "other.onnx")).unwrap();
    let said = model::read(&place).unwrap_err().to_string();
    assert!(
        said.contains("in this order") && said.contains("models import stitch"),
        "{said}"
    );
    std::fs::write(&path, text.replace("width", "breadth")).unwrap();
    assert!(model::read(&place).unwrap_err().to_string().contains("breadth"));
    assert!(model::locate(&[Path::new("nowhere").to_owned()]).is_err());
}

/// Two cameras of 480 x 360 before a plane, the second 240 pixels further right.
fn side_by_side() -> Rig {
    let size = Size::new(480, 360);
    let camera = |name: &str, shift: f64| RigCamera {
        stream: StreamId::new(name).unwrap(),
        intrinsics: Intrinsics {
            size,
            fx: 400.0,
            fy: 400.0,
            cx: 239.5 - shift,
            cy: 179.5,
            lens: Lens::PINHOLE,
        },
        rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        centre: [0.0; 3],
    };
    Rig {
        cameras: vec![camera("left", 0.0), camera("right", 240.0)],
        canvas: Canvas {
            size: Size::new(736, 368),
            projection: Projection::Rectilinear,
            focal: 400.0,
            cx: 247.5,
            cy: 183.5,
        },
    }
}

#[test]
fn a_plane_is_laid_on_the_canvas_and_a_mesh_bends_both_ways() {
    let rig = side_by_side();
    let net = [240, 180];
    // The plane lies half-way: turned, half as large, 60 network pixels to each side.
    let still = rigid(net[0], net[1]);
    let meshes = [-60.0, 60.0].map(|dx| still.map(|p| [p[0] + dx + 0.5 * p[1], p[1] - 0.5 * p[0]]));
    let placement = Placement::fit(&rig, net, &meshes).unwrap();
    let shifted = [-60.0, 60.0].map(|dx| still.map(|p| [p[0] + dx, p[1]]));
    let exact = Placement::fit(&rig, net, &shifted).unwrap();
    assert!(exact.miss_px < 1e-6, "{exact:?}");
    assert!(placement.miss_px > exact.miss_px);

    let size = Size::new(480, 360);
    let mut bent = shifted;
    for (i, p) in bent[1].iter_mut().enumerate() {
        p[1] += 3.0 * (i as f64 * 0.4).sin();
    }
    let warps = [0, 1].map(|k| LearnedWarp::new(&bent[k], net, (size, size), &exact).unwrap());
    // The left camera is shown as it is calibrated.
    let there = warps[0].canvas_from_camera([100.0, 50.0]);
    assert!((there[0] - 108.0).hypot(there[1] - 54.0) < 1e-3, "{there:?}");
    // Control points come from where they are in the picture, and go back.
    for (i, p) in still.iter().enumerate().step_by(5) {
        let on_canvas = warps[1].mesh()[i];
        let pixel = warps[1].camera_from_canvas(on_canvas).unwrap();
        let want = [p[0] * 2.0 - 0.5, p[1] * 2.0 - 0.5];
        assert!(
            (pixel[0] - want[0]).hypot(pixel[1] - want[1]) < 1e-3,
            "{pixel:?} {want:?}"
        );
        let back = warps[1].canvas_from_camera(pixel);
        assert!((back[0] - on_canvas[0]).hypot(back[1] - on_canvas[1]) < 1e-3);
    }
    assert!(warps[0].camera_from_canvas([730.0, 100.0]).is_none());
    let flat = [[5.0, 5.0]; POINTS];
    assert!(LearnedWarp::new(&flat, net, (size, size), &exact).is_none());
}

#[test]
fn the_better_warp_has_the_higher_psnr() {
    let rig = side_by_side();
    let (size, net) = (Size::new(480, 360), [240, 180]);
    let world = |x: f64, y: f64| 128.0 + 60.0 * (x * 0.05).sin() + 50.0 * (y * 0.07 + x * 0.02).cos();
    // Network pixels are two camera pixels; the second camera stands 120 network pixels further right, and is brighter.
    let luma = |k: usize| -> Vec<f32> {
        (0..net[0] * net[1])
            .map(|i| (world((i % net[0] + 120 * k) as f64, (i / net[0]) as f64) + 10.0 * k as f64) as f32)
            .collect()
    };
    let lumas = [luma(0), luma(1)];
    let flat = vec![50.0; net[0] * net[1]];
    let still = rigid(net[0], net[1]);
    let psnr_of = |off: f64, lumas: [&Vec<f32>; 2]| {
        let meshes = [-60.0, 60.0 + off].map(|dx| still.map(|p| [p[0] + dx, p[1]]));
        let placement = Placement::fit(
            &rig,
            net,
            &[-60.0, 60.0].map(|dx| still.map(|p| [p[0] + dx, p[1]])),
        );
        let grids = meshes.map(|m| {
            LearnedWarp::new(&m, net, (size, size), &placement.unwrap())
                .unwrap()
                .grid(rig.canvas.size)
        });
        let small = |k: usize| Small {
            luma: lumas[k],
            size: net,
            camera: size,
        };
        overlap_psnr([&grids[0], &grids[1]], [small(0), small(1)])
    };
    let psnr = |off: f64| psnr_of(off, [&lumas[0], &lumas[1]]);
    let (good, near, far) = (psnr(0.0).unwrap(), psnr(2.0).unwrap(), psnr(20.0).unwrap());
    assert!(
        good > 45.0 && good > near + 5.0 && near > far + 5.0,
        "{good} {near} {far}"
    );
    assert_eq!(psnr(400.0), None);
    // Where one of them sees nothing, any warp would fit.
    assert_eq!(psnr_of(0.0, [&lumas[0], &flat]), None);
}
