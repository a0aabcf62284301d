//! Follow the action: from what was detected to where a virtual camera is to look.
//!
//! The middle is the mean of all subjects by weight, smoothed. While it stays in the inner part of the view nothing moves.
//! When it leaves that part the view goes after it, until it has come to rest near the middle; then the inner part counts
//! again. So somebody who walks to and fro in the middle, or a box that trembles, moves nothing. Zoom has a band of its own.

use std::collections::BTreeMap;

use synoptic_base::{Mono, Ptz, Span, TrackId};

use super::{zoom_for_deg, zoomed_fov_deg};

/// The view goes after the middle when it is this far from the view's middle, as a part of the view across or down.
const OUTER: f64 = 0.15;
/// On the way a nearer middle is no new target.
const INNER: f64 = 0.03;
/// A middle that stays within this part of the view for `CALM` has come to rest.
const STILL: f64 = 0.05;
const CALM: Span = Span::from_millis(700);
/// Time constants of the smoothed middle and of the smoothed extent.
const MIDDLE_S: f64 = 0.35;
const EXTENT_S: f64 = 1.0;
/// A subject with a track that is not seen any more counts for this long: detectors lose people for moments.
const HOLD: Span = Span::from_millis(1_500);
/// Nothing seen for this long: back home.
const LOST: Span = Span::from_secs(5);
/// All subjects together are to take this part of the view.
const FILL: f64 = 0.45;
/// Zoom changes when it is wrong by this factor for `ZOOM_WAIT`, and at once where the subjects take more than `FULL` of the view.
const ZOOM_BAND: f64 = 1.4;
const ZOOM_WAIT: Span = Span::from_secs(1);
const FULL: f64 = 0.85;

/// Something to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subject {
    /// Its track, where it has one.
    pub track: Option<TrackId>,
    /// Its middle, degrees to the right.
    pub pan_deg: f64,
    /// Its middle, degrees up.
    pub tilt_deg: f64,
    /// Degrees across and down.
    pub extent_deg: [f64; 2],
    /// How much it counts, above 0.
    pub weight: f64,
}

/// What following needs to know of the view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FollowConfig {
    /// Where it looks while there is nothing to follow.
    pub home: Ptz,
    /// Degrees across and down at zoom 1.
    pub fov_deg: [f64; 2],
    /// Largest zoom.
    pub zoom: f64,
}

/// Smoothed middle and extent of all subjects.
#[derive(Clone, Copy, Debug)]
struct Smooth {
    at: Mono,
    middle: [f64; 2],
    extent: [f64; 2],
}

/// Decides where to look.
#[derive(Clone, Debug)]
pub struct Follow {
    config: FollowConfig,
    target: Ptz,
    known: BTreeMap<TrackId, (Mono, Subject)>,
    smooth: Option<Smooth>,
    seen: Option<Mono>,
    chasing: bool,
    /// Since when and where the middle has stayed.
    calm: Option<(Mono, [f64; 2])>,
    zoom_wrong_since: Option<Mono>,
}

impl Follow {
    /// Looks home.
    pub fn new(config: FollowConfig) -> Follow {
        Follow {
            target: config.home,
            config,
            known: BTreeMap::new(),
            smooth: None,
            seen: None,
            chasing: false,
            calm: None,
            zoom_wrong_since: None,
        }
    }

    /// Where to look, with `subjects` seen at `now`. Times only grow.
    pub fn see(&mut self, now: Mono, subjects: &[Subject]) -> Ptz {
        let all = self.remember(now, subjects);
        let Some((middle, extent)) = summary(&all) else {
            if self.seen.is_some_and(|at| now - at > LOST) {
                *self = Follow::new(self.config);
            }
            return self.target;
        };
        self.seen = Some(now);
        let smooth = self.smoothed(now, middle, extent);
        self.go_after(now, &smooth);
        self.zoom(now, &smooth);
        self.target
    }

    /// The subjects of now, and those with a track that were seen a moment ago.
    fn remember(&mut self, now: Mono, subjects: &[Subject]) -> Vec<Subject> {
        self.known.retain(|_, (at, _)| now - *at <= HOLD);
        let sound = subjects
            .iter()
            .filter(|s| s.weight > 0.0 && s.pan_deg.is_finite() && s.tilt_deg.is_finite());
        let mut all = Vec::new();
        for subject in sound {
            match subject.track {
                Some(track) => drop(self.known.insert(track, (now, *subject))),
                None => all.push(*subject),
            }
        }
        all.extend(self.known.values().map(|(_, subject)| *subject));
        all
    }

    fn smoothed(&mut self, now: Mono, middle: [f64; 2], extent: [f64; 2]) -> Smooth {
        let before = self.smooth.unwrap_or(Smooth {
            at: now,
            middle,
            extent,
        });
        let dt = (now - before.at).as_secs_f64().max(0.0);
        let part = |constant: f64| 1.0 - (-dt / constant).exp();
        let mix = |a: [f64; 2], b: [f64; 2], part: f64| [0, 1].map(|k| a[k] + (b[k] - a[k]) * part);
        let smooth = Smooth {
            at: now,
            middle: mix(before.middle, middle, part(MIDDLE_S)),
            extent: mix(before.extent, extent, part(EXTENT_S)),
        };
        self.smooth = Some(smooth);
        smooth
    }

    fn go_after(&mut self, now: Mono, smooth: &Smooth) {
        let fov = self.config.fov_deg.map(|f| zoomed_fov_deg(f, self.target.zoom));
        let part = |from: [f64; 2]| {
            let [x, y] = [0, 1].map(|k| ((smooth.middle[k] - from[k]) / fov[k]).abs());
            x.max(y)
        };
        let off = part([self.target.pan_deg, self.target.tilt_deg]);
        if !self.chasing {
            self.chasing = off > OUTER;
            self.calm = None;
        }
        if !self.chasing {
            return;
        }
        if off > INNER {
            [self.target.pan_deg, self.target.tilt_deg] = smooth.middle;
        }
        match self.calm {
            Some((since, place)) if part(place) <= STILL => self.chasing = now - since < CALM,
            _ => self.calm = Some((now, smooth.middle)),
        }
    }

    fn zoom(&mut self, now: Mono, smooth: &Smooth) {
        let most = self.config.zoom.max(1.0);
        let wanted = [0, 1]
            .map(|k| {
                let fov = self.config.fov_deg[k];
                let across = (smooth.extent[k] / FILL).clamp(0.1, fov);
                zoom_for_deg(fov, across)
            })
            .into_iter()
            .fold(most, f64::min)
            .clamp(1.0, most);
        let zoom = self.target.zoom;
        let fills = (0..2).any(|k| smooth.extent[k] > FULL * zoomed_fov_deg(self.config.fov_deg[k], zoom));
        let wrong = wanted / zoom > ZOOM_BAND || zoom / wanted > ZOOM_BAND;
        if fills && wanted < zoom {
            self.target.zoom = wanted;
            self.zoom_wrong_since = None;
        } else if !wrong {
            self.zoom_wrong_since = None;
        } else if now - *self.zoom_wrong_since.get_or_insert(now) >= ZOOM_WAIT {
            self.target.zoom = wanted;
            self.zoom_wrong_since = None;
        }
    }
}

/// The middle of all by weight, and how far they reach across and down around it; `None` of none.
fn summary(subjects: &[Subject]) -> Option<([f64; 2], [f64; 2])> {
    let total: f64 = subjects.iter().map(|s| s.weight).sum();
    if total <= 0.0 {
        return None;
    }
    let at = |s: &Subject| [s.pan_deg, s.tilt_deg];
    let middle = [0, 1].map(|k| subjects.iter().map(|s| s.weight * at(s)[k]).sum::<f64>() / total);
    let extent = [0, 1].map(|k| {
        let reach = subjects
            .iter()
            .map(|s| (at(s)[k] - middle[k]).abs() + s.extent_deg[k] / 2.0);
        2.0 * reach.fold(0.0, f64::max)
    });
    Some((middle, extent))
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
