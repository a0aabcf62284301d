//! The whole way from stills to a calibration, or to the reason why there is none.

use synoptic_base::{Projection, Rig, RigCamera, Size, StreamId};

use super::features::{self, Features};
use super::level::{directions, level};
use super::model::{Model, Tie};
use super::pair::{self, Pair};
use super::solve::{self, Solution};
use super::{Calibration, Evidence, LensKind, Options, Refusal, Still, canvas, report};

/// Cameras of a panorama at most.
pub const MAX_CAMERAS: usize = 8;
/// A camera with fewer features shows nothing to hold on to.
const MIN_FEATURES: usize = 40;
/// Control points between two cameras that connect them.
const MIN_BY_HAND: usize = 4;
/// A person hits a place to about this, pixels.
const HAND_SD: f64 = 0.7;
/// Ties of two cameras may miss by this, root mean square, in parts of the longer side: 3.8 px of 1280.
const MAX_MISS: f64 = 0.003;
/// A corner must be known to this part of the longer side: 5 px of 1280. Corners lie outside of the overlap, where nothing
/// doubles. This and [`MAX_MISS`] were set on the few rigs and stills of the test data.
const MAX_CORNER_SD: f64 = 0.004;
/// Sides of a picture.
const SIDES: std::ops::RangeInclusive<usize> = 64..=8192;

/// Finds where the cameras look. `progress` hears 0 to 1.
///
/// The rig has the cameras in the order of `stills`; the world's y axis points down and +z is the middle of the view.
///
/// # Errors
///
/// [`Refusal`] says what is missing and what to do about it.
pub fn calibrate(
    stills: &[Still],
    options: &Options,
    mut progress: impl FnMut(f64),
) -> Result<Calibration, Refusal> {
    check(stills)?;
    let hand = by_hand(stills, options)?;
    let sizes: Vec<Size> = stills.iter().map(|s| s.luma.size()).collect();
    let fisheye = options.lens == LensKind::Fisheye;
    let hint = options.hfov.map(|degrees| {
        let half = degrees.to_radians() / 2.0;
        if fisheye { 0.5 / half } else { 0.5 / half.tan() }
    });

    let mut found = Vec::new();
    for (i, still) in stills.iter().enumerate() {
        found.push(features::find(still).map_err(|e| Refusal::Features {
            camera: still.stream,
            why: e.to_string(),
        })?);
        progress(0.4 * (i + 1) as f64 / stills.len() as f64);
    }
    let pairs = connect(stills, &sizes, &found, &hand, fisheye, hint)?;
    progress(0.55);

    let start = solve::start(&sizes, &pairs, fisheye, options.optics, hint);
    let mut solution = solve::solve(start, &pairs, stills, &hand, options.optics, |part| {
        progress(0.55 + 0.4 * part);
    })
    .ok_or(Refusal::Unsolved)?;
    judge(&solution, &pairs, stills)?;

    level(&mut solution.model, false);
    let projection = options
        .projection
        .unwrap_or_else(|| canvas::choose(&directions(&solution.model)));
    if matches!(projection, Projection::Rectilinear | Projection::Plane) {
        level(&mut solution.model, true);
    }
    let rig = rig(&solution.model, stills, projection, options)?;
    let cameras: Vec<_> = stills
        .iter()
        .map(|s| {
            let steady = s.steady.iter().filter(|s| **s).count() as f64 / s.steady.len() as f64;
            (s.stream, s.frames, steady)
        })
        .collect();
    let report = report::report(&solution, &cameras);
    progress(1.0);
    Ok(Calibration { rig, report })
}

fn check(stills: &[Still]) -> Result<(), Refusal> {
    if !(2..=MAX_CAMERAS).contains(&stills.len()) {
        return Err(Refusal::Cameras(stills.len()));
    }
    for (i, still) in stills.iter().enumerate() {
        if stills[..i].iter().any(|s| s.stream == still.stream) {
            return Err(Refusal::Twice(still.stream));
        }
        let (width, height) = (still.luma.width, still.luma.height);
        let whole = still.luma.data.len() == width * height && still.steady.len() == width * height;
        if !SIDES.contains(&width) || !SIDES.contains(&height) || !whole {
            return Err(Refusal::Size {
                camera: still.stream,
                width,
                height,
            });
        }
    }
    Ok(())
}

/// Control points as ties.
fn by_hand(stills: &[Still], options: &Options) -> Result<Vec<Tie>, Refusal> {
    let refuse = |index, what| Refusal::ControlPoint { index, what };
    let mut ties = Vec::new();
    for (index, point) in options.control_points.iter().enumerate() {
        let mut cameras = [0; 2];
        for (camera, (stream, at)) in cameras.iter_mut().zip(point.cameras.iter().zip(point.at)) {
            *camera = stills
                .iter()
                .position(|s| s.stream == *stream)
                .ok_or(refuse(index, "names a camera that is not part of the panorama"))?;
            let luma = &stills[*camera].luma;
            let inside =
                (0.0..luma.width as f64).contains(&at[0]) && (0.0..luma.height as f64).contains(&at[1]);
            if !inside {
                return Err(refuse(index, "lies outside of the picture"));
            }
        }
        if cameras[0] == cameras[1] {
            return Err(refuse(index, "names one camera twice"));
        }
        ties.push(Tie {
            cameras,
            at: point.at,
            sd: HAND_SD,
            by_hand: true,
        });
    }
    Ok(ties)
}

/// The pairs that surely see the same, if they connect all cameras.
fn connect(
    stills: &[Still],
    sizes: &[Size],
    found: &[Features],
    hand: &[Tie],
    fisheye: bool,
    hint: Option<f64>,
) -> Result<Vec<Pair>, Refusal> {
    let mut sure = Vec::new();
    let mut evidence = Vec::new();
    for a in 0..stills.len() {
        for b in a + 1..stills.len() {
            let two = [sizes[a], sizes[b]];
            let matches = features::matches(&found[a], &found[b]);
            let pair = pair::relate([a, b], two, &matches, fisheye, hint);
            let agree = pair.as_ref().map_or(0, |p| p.ties.len());
            log::debug!(
                "{} and {}: {agree} of {} agree",
                stills[a].stream,
                stills[b].stream,
                matches.len()
            );
            if let Some(pair) = pair.filter(Pair::is_sure) {
                sure.push(pair);
                continue;
            }
            let set: Vec<[[f64; 2]; 2]> = hand
                .iter()
                .filter_map(|t| match t.cameras {
                    c if c == [a, b] => Some(t.at),
                    c if c == [b, a] => Some([t.at[1], t.at[0]]),
                    _ => None,
                })
                .collect();
            let by_hand = (set.len() >= MIN_BY_HAND)
                .then(|| pair::relate([a, b], two, &set, fisheye, hint))
                .flatten();
            match by_hand.filter(|p| p.ties.len() >= MIN_BY_HAND) {
                Some(pair) => sure.push(pair),
                None => evidence.push(Evidence {
                    cameras: [stills[a].stream, stills[b].stream],
                    matches: matches.len(),
                    agree,
                }),
            }
        }
    }
    let groups = solve::groups(stills.len(), &sure);
    if groups.len() == 1 {
        return Ok(sure);
    }
    let alone = |camera: usize| groups.iter().any(|g| *g == [camera]);
    if let Some(poor) = (0..stills.len()).find(|c| found[*c].at.len() < MIN_FEATURES && alone(*c)) {
        return Err(Refusal::Texture {
            camera: stills[poor].stream,
            found: found[poor].at.len(),
            need: MIN_FEATURES,
        });
    }
    let group_of = |stream: StreamId| {
        groups
            .iter()
            .position(|g| g.iter().any(|c| stills[*c].stream == stream))
    };
    evidence.retain(|e| group_of(e.cameras[0]) != group_of(e.cameras[1]));
    let groups = groups
        .iter()
        .map(|g| g.iter().map(|c| stills[*c].stream).collect())
        .collect();
    Err(Refusal::Apart { groups, evidence })
}

/// Is the solution good enough to be used unattended?
fn judge(solution: &Solution, pairs: &[Pair], stills: &[Still]) -> Result<(), Refusal> {
    for pair in pairs {
        let [a, b] = pair.cameras;
        let between = |t: &&Tie| t.cameras == [a, b] || t.cameras == [b, a];
        let miss = report::rms(&solution.model, solution.ties.iter().filter(between));
        let limit = MAX_MISS
            * [a, b]
                .map(|c| stills[c].luma.width.max(stills[c].luma.height))
                .into_iter()
                .max()
                .unwrap_or(0) as f64;
        if miss > limit {
            return Err(Refusal::Misfit {
                cameras: [stills[a].stream, stills[b].stream],
                miss,
                limit,
            });
        }
    }
    for (still, sd) in stills.iter().zip(solve::corner_sd(solution)) {
        let limit = MAX_CORNER_SD * still.luma.width.max(still.luma.height) as f64;
        if sd.is_nan() || sd > limit {
            return Err(Refusal::Undetermined {
                camera: still.stream,
                sd,
                limit,
            });
        }
    }
    Ok(())
}

fn rig(model: &Model, stills: &[Still], projection: Projection, options: &Options) -> Result<Rig, Refusal> {
    let cameras: Vec<RigCamera> = stills
        .iter()
        .enumerate()
        .map(|(i, s)| RigCamera {
            stream: s.stream,
            intrinsics: *model.of(i),
            rotation: model.rotations[i],
            centre: [0.0; 3],
        })
        .collect();
    let mean = cameras.iter().map(|c| c.intrinsics.fx).sum::<f64>() / cameras.len() as f64;
    let scale = if options.scale.is_finite() {
        options.scale.clamp(0.05, 4.0)
    } else {
        1.0
    };
    let canvas = canvas::fit(
        &directions(model),
        projection,
        mean * scale,
        options.crop,
        &cameras,
    )
    .ok_or(Refusal::Projection(name(projection)))?;
    Ok(Rig { cameras, canvas })
}

/// What users call a projection.
pub(super) fn name(projection: Projection) -> &'static str {
    match projection {
        Projection::Rectilinear => "rectilinear",
        Projection::Plane => "plane",
        Projection::Cylindrical => "cylindrical",
        Projection::Spherical => "spherical",
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{angle, times, transposed};
    use super::super::synthetic::{row, small, stills};
    use synoptic_base::Lens;

    use super::super::{ControlPoint, Gray, Optics};
    use super::*;

    fn turn_between(rotations: [&crate::panorama::geometry::Mat3; 2]) -> crate::panorama::geometry::Mat3 {
        times(rotations[1], &transposed(rotations[0]))
    }

    /// The worst error of a turn between neighbours, degrees.
    fn worst_turn(truth: &Model, rig: &Rig) -> f64 {
        (1..rig.cameras.len())
            .map(|i| {
                let true_turn = turn_between([&truth.rotations[i - 1], &truth.rotations[i]]);
                let found = turn_between([&rig.cameras[i - 1].rotation, &rig.cameras[i].rotation]);
                angle(&times(&true_turn, &transposed(&found))).to_degrees()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn three_cameras_with_a_bent_lens_are_found_from_their_pictures() {
        let truth = row(3, 34.0, small(-0.1));
        let mut heard = Vec::new();
        let found = calibrate(&stills(&truth), &Options::default(), |p| heard.push(p)).unwrap();
        let optics = found.rig.cameras[0].intrinsics;
        let Lens::Radial(k) = optics.lens else {
            panic!("{:?}", optics.lens)
        };
        let focal = 100.0 * (optics.fx / truth.optics[0].fx - 1.0);
        assert!(focal.abs() < 0.3, "focal length off by {focal} %");
        assert!((k[0] + 0.1).abs() < 0.015, "k1 is {k:?}");
        assert!(
            worst_turn(&truth, &found.rig) < 0.05,
            "turns off by {} degrees",
            worst_turn(&truth, &found.rig)
        );
        assert!(found.report.rms_px < 0.2, "{:?}", found.report);
        assert!(
            found.report.cameras.iter().all(|c| c.confidence > 0.5),
            "{:?}",
            found.report
        );
        assert!(
            heard.windows(2).all(|p| p[0] <= p[1]) && heard.last() == Some(&1.0),
            "{heard:?}"
        );
        assert_eq!(found.rig.canvas.projection, Projection::Cylindrical);
        // The same pictures give the same result to the last bit: no jitter on a fixed rig.
        assert_eq!(
            calibrate(&stills(&truth), &Options::default(), |_| ()).unwrap(),
            found
        );
    }

    #[test]
    fn a_fisheye_is_found_as_one() {
        let mut optics = super::super::model::plain_optics(Size::new(400, 400), 150.0, true);
        optics.lens = Lens::Fisheye([-0.01, 0.0, 0.0, 0.0]);
        let truth = row(2, 70.0, optics);
        let options = Options {
            lens: LensKind::Fisheye,
            ..Options::default()
        };
        let found = calibrate(&stills(&truth), &options, |_| ()).unwrap();
        let off = 100.0 * (found.rig.cameras[0].intrinsics.fx / 150.0 - 1.0);
        assert!(
            off.abs() < 1.0,
            "focal length off by {off} %: {:?}",
            found.rig.cameras[0].intrinsics
        );
        assert!(worst_turn(&truth, &found.rig) < 0.2);
        assert_eq!(found.rig.canvas.projection, Projection::Spherical);
    }

    #[test]
    fn who_does_not_connect_is_named() {
        let mut truth = row(3, 34.0, small(0.0));
        truth.rotations[2] = super::super::model::rotation([0.0, -2.5, 0.0]);
        let refused = calibrate(&stills(&truth), &Options::default(), |_| ()).unwrap_err();
        let Refusal::Apart { groups, evidence } = &refused else {
            panic!("{refused}")
        };
        let names: Vec<Vec<&str>> = groups
            .iter()
            .map(|g| g.iter().map(StreamId::as_str).collect())
            .collect();
        assert_eq!(names, [vec!["cam0", "cam1"], vec!["cam2"]]);
        assert_eq!(evidence.len(), 2);
        assert!(refused.to_string().contains("cam0+cam1 | cam2"), "{refused}");
    }

    #[test]
    fn a_blank_wall_is_refused_and_what_it_lacks_is_said() {
        let truth = row(2, 34.0, small(0.0));
        let mut seen = stills(&truth);
        seen[1].luma = Gray::flat(480, 270, 120.0);
        let refused = calibrate(&seen, &Options::default(), |_| ()).unwrap_err();
        assert!(matches!(refused, Refusal::Texture { found: 0, .. }), "{refused}");
        assert!(refused.to_string().contains("cam1"), "{refused}");
        assert_eq!(
            calibrate(&seen[..1], &Options::default(), |_| ()),
            Err(Refusal::Cameras(1))
        );
    }

    #[test]
    fn points_set_by_hand_connect_what_nothing_else_does() {
        let truth = row(2, 34.0, small(0.0));
        let mut seen = stills(&truth);
        for still in &mut seen {
            still.luma = Gray::flat(480, 270, 120.0);
        }
        let mut options = Options {
            optics: Optics::Shared,
            ..Options::default()
        };
        for y in [15.0, 75.0, 135.0, 195.0, 255.0] {
            for x in [300.0, 360.0, 420.0, 465.0] {
                if let Some(there) = truth.transfer(0, 1, [x, y])
                    && (0.0..480.0).contains(&there[0])
                    && (0.0..270.0).contains(&there[1])
                {
                    options.control_points.push(ControlPoint {
                        cameras: [seen[0].stream, seen[1].stream],
                        at: [[x, y], there],
                    });
                }
            }
        }
        let found = calibrate(&seen, &options, |_| ()).unwrap();
        assert!(worst_turn(&truth, &found.rig) < 0.1);
        options.control_points[3].at[1] = [481.0, 3.0];
        let refused = calibrate(&seen, &options, |_| ()).unwrap_err();
        assert_eq!(refused.to_string(), "control point 3 lies outside of the picture");
        // Four within ten pixels say nothing of the rest of the picture.
        options.control_points.truncate(4);
        for (i, point) in options.control_points.iter_mut().enumerate() {
            let near = [440.0 + 3.0 * i as f64, 130.0 + 2.0 * (i * i % 5) as f64];
            point.at = [near, truth.transfer(0, 1, near).unwrap()];
        }
        let refused = calibrate(&seen, &options, |_| ()).unwrap_err();
        assert!(matches!(refused, Refusal::Texture { .. }), "{refused}");
    }
}
