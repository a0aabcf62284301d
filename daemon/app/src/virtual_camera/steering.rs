//! Where a virtual camera looks: a person's wish, or the action, and the way there. The thread asks for every picture, the API
//! steers; both under one lock.

use synoptic_base::{BBox, Canvas, InPanorama, Mono, Ptz, TrackId};
use synoptic_engine::ptz::{Follow, FollowConfig, Limits, Planner, Subject};
use synoptic_vision::panorama::{ViewOptics, coverage_deg, direction_deg};

use super::documents::{PtzLimitsDoc, PtzWish};
use crate::config::VirtualCamera;
use crate::documents::DetectionDoc;

/// What it is on one source.
struct Placed {
    source: Canvas,
    optics: ViewOptics,
    limits: Limits,
    planner: Planner,
    follow: Follow,
}

/// The steering of one virtual camera.
pub(super) struct Steering {
    config: VirtualCamera,
    placed: Option<Placed>,
    following: bool,
    /// What a person asked for last.
    wish: Ptz,
}

impl Steering {
    /// Looks home, and follows where the configuration says so.
    pub(super) fn new(config: VirtualCamera) -> Steering {
        Steering {
            placed: None,
            following: config.follow,
            wish: config.home,
            config,
        }
    }

    /// Whether it goes after what was detected.
    pub(super) fn follows(&self) -> bool {
        self.following
    }

    /// The source shows this from now on; the view's optics on it. Where it looked it still looks, as far as it can.
    pub(super) fn place(&mut self, source: &Canvas, now: Mono) -> ViewOptics {
        if let Some(placed) = self.placed.as_ref().filter(|p| p.source == *source) {
            return placed.optics;
        }
        let config = &self.config;
        let mut optics = ViewOptics::widest(source, config.size, config.shape);
        if let Some(hfov_deg) = config.hfov_deg {
            optics.hfov_deg = hfov_deg;
        }
        let [pan_deg, tilt_deg] = coverage_deg(source);
        let fov_deg = [optics.hfov_deg, optics.vfov_deg()];
        let limits = Limits {
            pan_deg,
            tilt_deg,
            fov_deg,
            zoom: config.max_zoom,
            speed_deg_s: config.speed_deg_s,
            acceleration_deg_s2: config.acceleration_deg_s2,
        };
        let start = self.placed.as_mut().map_or(self.wish, |p| p.planner.look(now));
        let follow = Follow::new(FollowConfig {
            home: limits.nearest(config.home),
            fov_deg,
            zoom: config.max_zoom,
        });
        let mut planner = Planner::new(limits, start);
        planner.look(now);
        planner.aim(self.wish);
        self.placed = Some(Placed {
            source: *source,
            optics,
            limits,
            planner,
            follow,
        });
        optics
    }

    /// What was detected in the source, as fractions of its picture.
    pub(super) fn see(&mut self, found: &[DetectionDoc], now: Mono) {
        let Some(placed) = self.placed.as_mut().filter(|_| self.following) else {
            return;
        };
        let labels = &self.config.labels;
        let meant = |d: &&DetectionDoc| labels.is_empty() || labels.contains(&d.label);
        let subjects: Vec<Subject> = found
            .iter()
            .filter(meant)
            .map(|d| subject(&placed.source, d))
            .collect();
        let target = placed.follow.see(now, &subjects);
        self.wish = placed.planner.aim(target);
    }

    /// Where it looks at `now`; `None` before it was placed.
    pub(super) fn look(&mut self, now: Mono) -> Option<Ptz> {
        Some(self.placed.as_mut()?.planner.look(now))
    }

    /// A person's wish.
    pub(super) fn steer(&mut self, wish: &PtzWish) {
        let steered = wish.pan.is_some() || wish.tilt.is_some() || wish.zoom.is_some();
        let follow = wish.follow.unwrap_or(self.following && !steered);
        if follow
            && !self.following
            && let Some(placed) = &mut self.placed
        {
            // What it knew is of another time.
            placed.follow = Follow::new(FollowConfig {
                home: placed.limits.nearest(self.config.home),
                fov_deg: placed.limits.fov_deg,
                zoom: self.config.max_zoom,
            });
        }
        self.following = follow;
        let target = self.target();
        let wanted = Ptz {
            pan_deg: wish.pan.unwrap_or(target.pan_deg),
            tilt_deg: wish.tilt.unwrap_or(target.tilt_deg),
            zoom: wish.zoom.unwrap_or(target.zoom),
        };
        self.wish = match &mut self.placed {
            Some(placed) => placed.planner.aim(wanted),
            None => wanted,
        };
    }

    /// Where it is going.
    pub(super) fn target(&self) -> Ptz {
        self.placed.as_ref().map_or(self.wish, |p| p.planner.target())
    }

    /// How far it can look.
    pub(super) fn limits(&self) -> Option<PtzLimitsDoc> {
        let limits = self.placed.as_ref()?.limits;
        let round = |v: [f64; 2]| v.map(|v| (v * 1e2).round() / 1e2);
        Some(PtzLimitsDoc {
            pan: round(limits.pan_deg),
            tilt: round(limits.tilt_deg),
            zoom: limits.zoom,
            fov: round(limits.fov_deg),
        })
    }
}

/// A detection as something to look at: the larger and the surer, the more it counts.
fn subject(source: &Canvas, detection: &DetectionDoc) -> Subject {
    let [x, y, w, h] = detection.bbox;
    let bbox: BBox<InPanorama> = BBox::new(x, y, w, h);
    let (width, height) = (f64::from(source.size.width), f64::from(source.size.height));
    let place =
        |x: f32, y: f32| direction_deg(source, [f64::from(x) * width - 0.5, f64::from(y) * height - 0.5]);
    let (middle_x, middle_y) = bbox.center();
    let middle = place(middle_x, middle_y);
    let across = place(bbox.right(), middle_y)[0] - place(bbox.x, middle_y)[0];
    let down = place(middle_x, bbox.y)[1] - place(middle_x, bbox.bottom())[1];
    Subject {
        track: detection.track.map(TrackId),
        pan_deg: middle[0],
        tilt_deg: middle[1],
        extent_deg: [across.abs(), down.abs()],
        // By the side and not the area: who stands near must not be all that counts.
        weight: f64::from(detection.score) * (across.abs() * down.abs()).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Projection, Size, Span, StreamId};
    use synoptic_vision::panorama::ViewShape;

    use super::*;
    use crate::config::ViewSource;

    fn config(follow: bool) -> VirtualCamera {
        VirtualCamera {
            id: StreamId::new("stage").unwrap(),
            name: "Stage".to_owned(),
            stream: StreamId::new("whole").unwrap(),
            source: ViewSource::Panorama,
            enabled: true,
            size: Size::new(640, 360),
            shape: ViewShape::Rectilinear,
            hfov_deg: Some(40.0),
            home: Ptz::AHEAD,
            max_zoom: 4.0,
            speed_deg_s: 30.0,
            acceleration_deg_s2: 60.0,
            follow,
            labels: vec!["person".to_owned()],
        }
    }

    fn source(width: u32) -> Canvas {
        Canvas {
            size: Size::new(width, 540),
            projection: Projection::Cylindrical,
            focal: 850.0,
            cx: f64::from(width) / 2.0 - 0.5,
            cy: 269.5,
        }
    }

    fn at(ms: i64) -> Mono {
        Mono::from_nanos(0) + Span::from_millis(ms)
    }

    fn found(label: &str, x: f32) -> DetectionDoc {
        DetectionDoc {
            track: Some(1),
            label: label.to_owned(),
            score: 0.9,
            bbox: [x, 0.4, 0.03, 0.2],
            carried: false,
        }
    }

    #[test]
    fn a_wish_from_before_the_first_picture_holds_and_one_beyond_the_edge_is_brought_back() {
        let mut steering = Steering::new(config(false));
        assert_eq!(steering.look(at(0)), None);
        steering.steer(&PtzWish {
            pan: Some(10.0),
            ..PtzWish::default()
        });
        steering.place(&source(1632), at(0));
        assert_eq!(steering.look(at(0)).unwrap().pan_deg, 10.0);
        steering.steer(&PtzWish {
            pan: Some(170.0),
            zoom: Some(2.0),
            ..PtzWish::default()
        });
        let edge = 1632.0 / 850.0_f64 / 2.0;
        let target = steering.target();
        assert!(
            target.pan_deg < edge.to_degrees() && target.pan_deg > 40.0,
            "{target:?}"
        );
        assert!(
            steering.look(at(100)).unwrap().pan_deg < target.pan_deg,
            "it glides"
        );
        // A new calibration of half the size: it looks where it can.
        steering.look(at(9_000));
        steering.place(&source(1200), at(9_000));
        let now = steering.look(at(9_000)).unwrap();
        assert!(now.pan_deg < 1200.0 / 850.0 / 2.0 * 57.3, "{now:?}");
    }

    #[test]
    fn it_follows_who_is_meant_until_somebody_steers() {
        let mut steering = Steering::new(config(true));
        steering.place(&source(1632), at(0));
        for i in 0..60 {
            steering.see(&[found("car", 0.1), found("person", 0.8)], at(50 * i));
        }
        // 0.815 of 1632 pixels.
        let want = (0.815 * 1632.0 - 816.0) / 850.0_f64;
        let target = steering.target();
        assert!((target.pan_deg - want.to_degrees()).abs() < 1.0, "{target:?}");
        steering.steer(&PtzWish {
            tilt: Some(0.0),
            ..PtzWish::default()
        });
        assert!(!steering.follows());
        steering.see(&[found("person", 0.2)], at(4_000));
        assert_eq!(steering.target().pan_deg, target.pan_deg);
        steering.steer(&PtzWish {
            follow: Some(true),
            ..PtzWish::default()
        });
        for i in 0..60 {
            steering.see(&[found("person", 0.2)], at(5_000 + 50 * i));
        }
        assert!(steering.target().pan_deg < -20.0, "{:?}", steering.target());
    }
}
