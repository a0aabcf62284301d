//! What changes from picture to picture: exposure, movers, cameras that fail.

use synoptic_base::{Lens, Mono, Projection, Rig, STITCH_CELL, Size, Span};
use synoptic_engine::stitch::{Director, StitchConfig};
use synoptic_vision::PictureBuf;
use synoptic_vision::color::rgb8;
use synoptic_vision::panorama::{ComposeOptions, Compositor, StitchSlot, boxes, delta_e};

use super::world::{Mover, World, psnr, row};

const SIZE: Size = Size::new(480, 270);

fn at(ms: i64) -> Mono {
    Mono::from_nanos(0) + Span::from_millis(ms)
}

struct Bench {
    rig: Rig,
    compositor: Compositor,
    director: Director,
    out: PictureBuf,
}

impl Bench {
    fn new(n: usize) -> Bench {
        let rig = row(
            n,
            SIZE,
            Lens::Radial([-0.04, 0.0, 0.0, 0.0]),
            Projection::Cylindrical,
        );
        let compositor = Compositor::new(&rig, ComposeOptions::default()).unwrap();
        let director = Director::new(compositor.layout().clone(), StitchConfig::default()).unwrap();
        Bench {
            out: PictureBuf::black(rig.canvas.size).unwrap(),
            rig,
            compositor,
            director,
        }
    }

    fn compose(
        &mut self,
        slots: &[StitchSlot<'_>],
        boxes: &[synoptic_base::BBox<synoptic_base::InPanorama>],
        now: Mono,
    ) -> synoptic_base::StitchPlan {
        self.compositor
            .compose(slots, boxes, &mut self.director, &mut self.out, now)
            .unwrap()
            .plan
            .clone()
    }

    /// Mean CIEDE2000 between the strips of 24 pixels left and right of the first seam, each measured against the
    /// truth, so that what the scene itself changes from left to right does not count.
    fn step_at_seam(&self, plan: &synoptic_base::StitchPlan, truth: &PictureBuf) -> f64 {
        let (got, want) = (rgb8(&self.out, None).unwrap(), rgb8(truth, None).unwrap());
        let width = self.rig.canvas.size.width as usize;
        let (mut sum, mut n) = (0.0, 0.0);
        for (line, at) in plan.seams[0].at.iter().enumerate().step_by(2) {
            let Some(at) = at else { continue };
            let mean = |picture: &[u8], from: usize| {
                let mut rgb = [0.0_f32; 3];
                for y in line * STITCH_CELL..(line + 1) * STITCH_CELL {
                    for x in from..from + 24 {
                        for k in 0..3 {
                            rgb[k] +=
                                f32::from(picture[(y * width + x) * 3 + k]) / (24.0 * STITCH_CELL as f32);
                        }
                    }
                }
                rgb
            };
            // The ratio of got to want, right of the seam against left, applied to a mid grey.
            let (l, r) = (*at as usize - 24 - 12, *at as usize + 12);
            let ratio = |from: usize| {
                let (g, w) = (mean(&got, from), mean(&want, from));
                [0, 1, 2].map(|k| 118.0 * g[k] / w[k].max(1.0))
            };
            sum += delta_e::ciede2000(delta_e::lab(ratio(l)), delta_e::lab(ratio(r)));
            n += 1.0;
        }
        sum / n
    }
}

#[test]
fn a_step_of_exposure_and_white_balance_is_absorbed_in_half_a_second() {
    let world = World::default();
    let mut bench = Bench::new(2);
    let truth = world.truth(&bench.rig);
    let one = world.seen_by(&bench.rig, 0, [1.0; 3]);
    let before = world.seen_by(&bench.rig, 1, [0.92, 0.88, 0.8]);
    let after = world.seen_by(&bench.rig, 1, [0.7, 0.66, 0.6]);
    let mut plan = None;
    for i in 0..10 {
        plan = Some(bench.compose(
            &[StitchSlot::Live(&one), StitchSlot::Live(&before)],
            &[],
            at(40 * i),
        ));
    }
    let steady = bench.step_at_seam(&plan.unwrap(), &truth);
    let mut first = 0.0;
    let mut last = None;
    for i in 10..23 {
        let plan = bench.compose(
            &[StitchSlot::Live(&one), StitchSlot::Live(&after)],
            &[],
            at(40 * i),
        );
        if i == 10 {
            first = bench.step_at_seam(&plan, &truth);
        }
        last = Some(plan);
    }
    let absorbed = bench.step_at_seam(&last.unwrap(), &truth);
    eprintln!("dE00 at the seam: {steady:.2} before, {first:.2} at the step, {absorbed:.2} after 0.48 s");
    assert!(first > 4.0, "the step itself is seen: {first:.2}");
    assert!(
        steady < 1.5 && absorbed < 1.5,
        "{steady:.2} before and {absorbed:.2} after 0.48 s"
    );
}

#[test]
fn a_mover_that_crosses_is_not_cut_and_the_seam_rests_before_and_after() {
    let mut bench = Bench::new(2);
    let mut still = None;
    // The overlap is 18 degrees (0.31 radian) wide; the mover a third of it.
    for i in 0..60 {
        let left = -0.5 + 0.9 * f64::from(i) / 60.0;
        let mover = Mover {
            left,
            right: left + 0.1,
            top: -0.12,
            bottom: 0.15,
            rgb: [230.0, 40.0, 30.0],
        };
        let world = World { movers: vec![mover] };
        let pictures = [0, 1].map(|k| world.seen_by(&bench.rig, k, [1.0; 3]));
        let found: Vec<_> = (0..2)
            .filter_map(|k| boxes::on_canvas(&bench.rig, k, &world.bbox(&bench.rig, k, 0)?))
            .collect();
        let slots = [StitchSlot::Live(&pictures[0]), StitchSlot::Live(&pictures[1])];
        let plan = bench.compose(&slots, &found, at(40 * i64::from(i)));
        assert_eq!(plan.seams[0].cut_cells, 0, "picture {i}");
        // The mover on the canvas is as it should be: neither cut nor doubled.
        let truth = world.truth(&bench.rig);
        let canvas = bench.rig.canvas;
        let x = |u: f64| (canvas.focal * u + canvas.cx) as usize;
        let y = |v: f64| (canvas.focal * v.tan() + canvas.cy) as usize;
        let (xs, ys) = (
            x(mover.left) - 4..x(mover.right) + 4,
            y(mover.top) - 4..y(mover.bottom) + 4,
        );
        let got = psnr(&bench.out, &truth, |x, y| xs.contains(&x) && ys.contains(&y));
        assert!(
            got > 27.0,
            "the mover in picture {i} is {got:.1} dB from the truth"
        );
        if i < 8 {
            // Still far from the seam.
            let seam = plan.seams[0].at.clone();
            assert!(
                still.is_none_or(|s: Vec<_>| s == seam),
                "the seam moved in picture {i} without reason"
            );
            still = Some(seam);
        }
    }
    let world = World::default();
    let pictures = [0, 1].map(|k| world.seen_by(&bench.rig, k, [1.0; 3]));
    let slots = [StitchSlot::Live(&pictures[0]), StitchSlot::Live(&pictures[1])];
    for i in 60..110 {
        bench.compose(&slots, &[], at(40 * i));
    }
    let (rested, moves) = (bench.director.plan().seams.clone(), bench.director.seam_moves());
    for i in 110..160 {
        bench.compose(&slots, &[], at(40 * i));
    }
    assert_eq!(
        (bench.director.plan().seams.clone(), bench.director.seam_moves()),
        (rested, moves)
    );
}

#[test]
fn a_camera_lost_gives_way_to_its_neighbours_and_returns_on_the_same_canvas() {
    let world = World::default();
    let mut bench = Bench::new(3);
    let pictures: Vec<_> = (0..3).map(|k| world.seen_by(&bench.rig, k, [1.0; 3])).collect();
    let truth = world.truth(&bench.rig);
    let live: Vec<_> = pictures.iter().map(|p| StitchSlot::Live(p)).collect();
    let mut lost = live.clone();
    lost[1] = StitchSlot::Held(&pictures[1]);
    let canvas = bench.rig.canvas;
    let middle = canvas.size.height as usize / 2;
    let pixel = |bench: &Bench, u: f64| {
        let x = (canvas.focal * u + canvas.cx) as usize;
        bench.out.planes().luma().data[middle * canvas.size.width as usize + x]
    };
    // 12 pixels from the middle camera's edge only neighbours see beside it; the middle is its own.
    let overlap = bench.rig.canvas.size.width as f64 / 2.0;
    assert!(overlap > 0.0);
    for i in 0..5 {
        bench.compose(&live, &[], at(40 * i));
    }
    let whole = bench.out.clone();
    for i in 5..30 {
        bench.compose(&lost, &[], at(40 * i));
        assert_eq!(synoptic_base::Surface::size(&bench.out), canvas.size);
    }
    assert_eq!(pixel(&bench, 0.0), 16, "what only the lost camera sees is black");
    let shared = |x: usize, y: usize| {
        // Well inside the left camera's view and right of its old seam.
        let u = (x as f64 - canvas.cx) / canvas.focal;
        (-0.34..-0.26).contains(&u) && y.abs_diff(middle) < 60
    };
    assert!(
        psnr(&bench.out, &truth, shared) > 35.0,
        "the neighbour fills the overlap"
    );
    // Nothing in the slot at all is black at once, and no error.
    lost[1] = StitchSlot::Empty;
    bench.compose(&lost, &[], at(1240));
    for i in 32..50 {
        bench.compose(&live, &[], at(40 * i));
    }
    assert!(psnr(&bench.out, &whole, |_, _| true) > 45.0, "back as it was");
}
