//! What moves through the scene, and where it is at any instant: walkers who pause, and a car.
//!
//! All positions are a pure function of UTC. Lengths are in heights of the view, x from the left edge of the
//! world. The play repeats with a period; each appearance is an object of its own.

use synoptic_base::{Span, Utc};

use super::picture::{Colour, Picture};

/// Seconds at the end of each period without anything moving, so that every event can end.
const QUIET_S: f32 = 8.0;

/// What kind of thing moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody on foot.
    Walker,
    /// A car.
    Car,
}

/// One way through the world.
#[derive(Debug)]
struct Route {
    kind: Kind,
    /// When it enters, in seconds of the period.
    start_s: f32,
    to_right: bool,
    /// Heights of the view a second.
    speed: f32,
    /// Where it touches the ground.
    feet: f32,
    width: f32,
    height: f32,
    /// Fraction of the way at which it stands still, and for how many seconds.
    pause: Option<(f32, f32)>,
    top: Colour,
    legs: Colour,
}

/// In the order of painting: far ones first.
const ROUTES: [Route; 3] = [
    Route {
        kind: Kind::Walker,
        start_s: 1.0,
        to_right: true,
        speed: 0.34,
        feet: 0.70,
        width: 0.14,
        height: 0.36,
        pause: Some((0.36, 3.0)),
        top: Colour(60, 110, 200),
        legs: Colour(35, 140, 122),
    },
    Route {
        kind: Kind::Walker,
        start_s: 6.0,
        to_right: false,
        speed: 0.42,
        feet: 0.78,
        width: 0.15,
        height: 0.40,
        pause: Some((0.55, 2.0)),
        top: Colour(215, 100, 138),
        legs: Colour(40, 170, 110),
    },
    Route {
        kind: Kind::Car,
        start_s: 20.0,
        to_right: true,
        speed: 0.95,
        feet: 0.95,
        width: 0.52,
        height: 0.20,
        pause: None,
        top: Colour(205, 160, 60),
        legs: Colour(30, 128, 128),
    },
];

/// Something that moves, at one instant. Lengths in heights of the view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mover {
    /// The same for one appearance, never used again.
    pub id: u64,
    pub kind: Kind,
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
    /// Way gone so far, which sets the swing of legs.
    gone: f32,
    route: &'static Route,
}

impl Route {
    fn way(&self, world: f32) -> f32 {
        world + self.width
    }

    fn end_s(&self, world: f32) -> f32 {
        self.start_s + self.way(world) / self.speed + self.pause.map_or(0.0, |(_, s)| s)
    }

    /// Way gone `s` seconds into the period; `None` while it is not in the world.
    fn gone(&self, world: f32, s: f32) -> Option<f32> {
        let walked_s = s - self.start_s;
        if walked_s < 0.0 || s > self.end_s(world) {
            return None;
        }
        let moving_s = self.pause.map_or(walked_s, |(at, pause_s)| {
            let stop_s = at * self.way(world) / self.speed;
            walked_s.min(stop_s.max(walked_s - pause_s))
        });
        Some(moving_s * self.speed)
    }
}

/// Length of the play in a world of `world` view heights.
pub(super) fn period(world: f32) -> Span {
    let end = ROUTES.iter().map(|r| r.end_s(world)).fold(0.0, f32::max);
    Span::from_millis(((end + QUIET_S) * 1e3) as i64)
}

/// All that is in the world at an instant, far ones first.
pub(super) fn movers(world: f32, at: Utc) -> impl Iterator<Item = Mover> {
    let period = period(world).as_nanos();
    let cycle = at.as_nanos().div_euclid(period);
    let s = at.as_nanos().rem_euclid(period) as f32 / 1e9;
    ROUTES.iter().enumerate().filter_map(move |(i, route)| {
        let gone = route.gone(world, s)?;
        let left = if route.to_right {
            gone - route.width
        } else {
            world - gone
        };
        Some(Mover {
            id: (cycle * ROUTES.len() as i64 + i as i64) as u64,
            kind: route.kind,
            left,
            top: route.feet - route.height,
            width: route.width,
            height: route.height,
            gone,
            route,
        })
    })
}

impl Mover {
    /// Paints it into a view that is `unit` pixels high and begins at pixel `view_left` of the world.
    pub(super) fn paint(&self, picture: &mut Picture, view_left: f32, unit: f32) {
        let left = self.left * unit - view_left;
        let (top, width, height) = (self.top * unit, self.width * unit, self.height * unit);
        match self.kind {
            Kind::Walker => self.paint_walker(picture, left + width / 2.0, top, width, height),
            Kind::Car => self.paint_car(picture, left, top, width, height),
        }
    }

    fn paint_walker(&self, picture: &mut Picture, cx: f32, top: f32, width: f32, height: f32) {
        let route = self.route;
        let skin = Colour(165, 112, 150);
        // One double step every 0.35 heights of a body.
        let swing = (self.gone / (0.35 * self.height) * std::f32::consts::TAU).sin();
        let limb = |picture: &mut Picture, from: f32, to: f32, reach: f32, thick: f32, colour| {
            let (y0, y1) = (top + from * height, top + to * height);
            picture.fill(y0, y1, colour, |y| {
                let x = cx + reach * (y - y0) / (y1 - y0);
                Some((x - thick / 2.0, x + thick / 2.0))
            });
        };
        let thick = 0.24 * width;
        for side in [-1.0, 1.0] {
            limb(picture, 0.52, 1.0, side * swing * 0.36 * width, thick, route.legs);
        }
        picture.fill_rect(
            cx - 0.3 * width,
            top + 0.16 * height,
            cx + 0.3 * width,
            top + 0.56 * height,
            route.top,
        );
        limb(picture, 0.2, 0.55, swing * 0.36 * width, 0.18 * width, skin);
        let radius = 0.085 * height;
        picture.fill_ellipse(cx, top + radius, radius * 0.8, radius, skin);
    }

    fn paint_car(&self, picture: &mut Picture, left: f32, top: f32, width: f32, height: f32) {
        let route = self.route;
        let glass = Colour(60, 135, 122);
        picture.fill(top, top + 0.45 * height, route.top, |y| {
            let slope = 0.18 * width * (1.0 - (y - top) / (0.45 * height));
            Some((left + 0.12 * width + slope, left + 0.86 * width - slope * 0.7))
        });
        picture.fill_rect(
            left + 0.34 * width,
            top + 0.1 * height,
            left + 0.66 * width,
            top + 0.4 * height,
            glass,
        );
        picture.fill_rect(
            left,
            top + 0.42 * height,
            left + width,
            top + 0.85 * height,
            route.top,
        );
        let radius = 0.2 * height;
        for at in [0.2, 0.8] {
            picture.fill_ellipse(
                left + at * width,
                top + height - radius,
                radius,
                radius,
                route.legs,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: f32 = 4.27;

    #[test]
    fn every_route_enters_and_leaves_and_the_end_is_quiet() {
        for route in &ROUTES {
            assert_eq!(route.gone(WORLD, route.start_s - 0.01), None);
            assert!(route.gone(WORLD, route.start_s).unwrap() < 0.01);
            let end = route.gone(WORLD, route.end_s(WORLD) - 0.001).unwrap();
            assert!((end - route.way(WORLD)).abs() < 0.01, "{end}");
        }
        let quiet = period(WORLD) - Span::from_secs_f64(f64::from(QUIET_S) - 0.1);
        assert_eq!(movers(WORLD, Utc::from_nanos(quiet.as_nanos())).count(), 0);
    }

    #[test]
    fn a_pause_is_a_pause() {
        let route = &ROUTES[0];
        let (at, pause_s) = route.pause.unwrap();
        let stop_s = route.start_s + at * route.way(WORLD) / route.speed;
        let gone = |s| route.gone(WORLD, s).unwrap();
        assert!(gone(stop_s + 0.1) == gone(stop_s + pause_s - 0.1));
        assert!(gone(stop_s + pause_s + 1.0) > gone(stop_s));
    }

    #[test]
    fn ids_are_never_used_again() {
        let at = |n: i64| Utc::from_nanos(period(WORLD).as_nanos() * n + 8_000_000_000);
        let ids = |n| movers(WORLD, at(n)).map(|m| m.id).collect::<Vec<_>>();
        assert_eq!(ids(0).len(), 2);
        assert!(ids(0).iter().all(|id| !ids(1).contains(id)));
    }
}
