//! Made-up tracks: who stands, who walks, who flickers.

use super::*;
use crate::ptz::{Limits, Planner};

const CONFIG: FollowConfig = FollowConfig {
    home: Ptz::AHEAD,
    fov_deg: [60.0, 36.0],
    zoom: 4.0,
};
const FPS: f64 = 15.0;

/// A person, 3 x 7 degrees.
fn person(track: u64, pan_deg: f64, tilt_deg: f64) -> Subject {
    Subject {
        track: Some(TrackId(track)),
        pan_deg,
        tilt_deg,
        extent_deg: [3.0, 7.0],
        weight: 1.0,
    }
}

/// Trembling of a box, -1 to 1, the same on every machine.
fn tremble(i: u32) -> f64 {
    f64::from(i.wrapping_mul(2_654_435_761) >> 16) / 32_768.0 - 1.0
}

/// Views of `seconds`, by follow and planner, at 15 pictures a second.
fn views(seconds: u32, subjects: impl Fn(f64, u32) -> Vec<Subject>) -> Vec<Ptz> {
    let mut follow = Follow::new(CONFIG);
    let limits = Limits {
        pan_deg: [-90.0, 90.0],
        tilt_deg: [-40.0, 40.0],
        fov_deg: CONFIG.fov_deg,
        zoom: CONFIG.zoom,
        speed_deg_s: 30.0,
        acceleration_deg_s2: 45.0,
    };
    let mut planner = Planner::new(limits, CONFIG.home);
    (0..seconds * FPS as u32)
        .map(|i| {
            let t = f64::from(i) / FPS;
            let now = Mono::from_nanos(7) + Span::from_secs_f64(t);
            let target = follow.see(now, &subjects(t, i));
            planner.aim(target);
            planner.look(now)
        })
        .collect()
}

/// How often the view turns back across: moves of more than `least` degrees in one direction and then in the other.
fn reversals(views: &[Ptz], least: f64) -> usize {
    let (mut turns, mut way) = (0, 0.0_f64);
    let (mut low, mut high) = (views[0].pan_deg, views[0].pan_deg);
    for view in views {
        (low, high) = (low.min(view.pan_deg), high.max(view.pan_deg));
        let now = if view.pan_deg - low > least {
            1.0
        } else if high - view.pan_deg > least {
            -1.0
        } else {
            continue;
        };
        turns += usize::from(way != 0.0 && now != way);
        way = now;
        (low, high) = (view.pan_deg, view.pan_deg);
    }
    turns
}

#[test]
fn somebody_who_stands_is_found_and_then_nothing_moves() {
    let views = views(12, |_, i| {
        vec![person(1, 40.0 + 0.4 * tremble(i), -5.0 + 0.4 * tremble(i + 9))]
    });
    let rest = &views[6 * FPS as usize..];
    let last = rest[rest.len() - 1];
    assert!(
        (last.pan_deg - 40.0).abs() < 2.0 && (last.tilt_deg + 5.0).abs() < 2.0,
        "{last:?}"
    );
    assert!(
        rest.iter().all(|v| *v == last),
        "a trembling box moves the view: {:?}",
        &rest[..3]
    );
    assert!(last.zoom > 1.2 && last.zoom <= 4.0, "{last:?}");
    assert_eq!(reversals(&views, 0.5), 0);
}

#[test]
fn who_walks_to_and_fro_in_the_middle_moves_nothing() {
    // Large enough that zoom 1 suits; 10 % of the view to either side.
    let wide = |t: f64| Subject {
        extent_deg: [24.0, 20.0],
        ..person(1, 6.0 * (t * 1.5).sin(), 0.0)
    };
    let views = views(20, |t, _| vec![wide(t)]);
    assert!(
        views.iter().all(|v| v.pan_deg.abs() < 1e-9 && v.zoom == 1.0),
        "{:?}",
        views.last()
    );
}

#[test]
fn a_walker_stays_in_the_picture_and_the_view_turns_as_often_as_he_does() {
    // To and fro over 100 degrees, 20 s each way, with standing at the ends.
    let at = |t: f64| 50.0 * (t * std::f64::consts::PI / 20.0).sin();
    let views = views(80, |t, i| vec![person(1, at(t) + 0.3 * tremble(i), 0.0)]);
    for (i, view) in views.iter().enumerate().skip(3 * FPS as usize) {
        let off = at(i as f64 / FPS) - view.pan_deg;
        let half = zoomed_fov_deg(60.0, view.zoom) / 2.0;
        assert!(
            off.abs() < half,
            "{off:.1} degrees off at {:.1} s of {half:.1}",
            i as f64 / FPS
        );
    }
    // He turns four times in 80 s.
    let turns = reversals(&views, 1.0);
    assert!(turns <= 4, "{turns} turns");
}

#[test]
fn a_detector_that_loses_one_of_two_for_moments_moves_nothing() {
    let views = views(20, |_, i| {
        let mut both = vec![person(1, -12.0, 0.0)];
        // Seen one second of two.
        if i / 15 % 2 == 0 {
            both.push(person(2, 12.0, 0.0));
        }
        both
    });
    let rest = &views[5 * FPS as usize..];
    assert!(
        rest.iter().all(|v| *v == rest[0]),
        "{:?} {:?}",
        rest[0],
        rest[rest.len() - 1]
    );
    assert!(rest[0].pan_deg.abs() < 6.0, "{:?}", rest[0]);
}

#[test]
fn a_jump_from_one_to_another_is_one_move() {
    // One goes, another comes far away.
    let views = views(16, |t, _| match t < 6.0 {
        true => vec![person(1, -40.0, 0.0)],
        false => vec![person(2, 40.0, 0.0)],
    });
    let last = views[views.len() - 1];
    assert!((last.pan_deg - 40.0).abs() < 2.5, "{last:?}");
    assert!(reversals(&views, 0.5) <= 1);
}

#[test]
fn without_anybody_it_goes_home_and_stays() {
    let views = views(20, |t, _| match t < 4.0 {
        true => vec![person(1, 40.0, 0.0)],
        false => Vec::new(),
    });
    assert!(views[4 * FPS as usize].pan_deg > 30.0);
    assert_eq!(views[views.len() - 1], Ptz::AHEAD);
    assert!(reversals(&views, 0.5) <= 1);
}

#[test]
fn many_are_shown_together_and_what_is_no_number_is_left_out() {
    let views = views(8, |_, _| {
        let odd = Subject {
            pan_deg: f64::NAN,
            ..person(9, 0.0, 0.0)
        };
        vec![person(1, -18.0, 0.0), person(2, 18.0, 0.0), odd]
    });
    let last = views[views.len() - 1];
    assert!(last.pan_deg.abs() < 1.0 && last.zoom == 1.0, "{last:?}");
}
