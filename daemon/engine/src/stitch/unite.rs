//! An object that two cameras see in their overlap is one.

use synoptic_base::{BBox, InPanorama};

/// Boxes of one object lie over each other by this much at least (intersection over union). Far things come out above
/// 0.7 on a calibrated rig; near ones shift by parallax.
const MIN_IOU: f32 = 0.3;
/// Or this part of the smaller box lies in the larger: a camera sees only a part of what stands at its edge.
const MIN_INSIDE: f32 = 0.6;

/// What one camera sees, carried onto the canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The camera, by its number in the rig.
    pub camera: usize,
    /// Where it is on the canvas.
    pub bbox: BBox<InPanorama>,
    /// Its class.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
    /// Its track, if it has one.
    pub track: Option<u64>,
}

/// An object on the canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct United {
    /// The largest of its boxes: the others are cut off by the edges of their pictures.
    pub bbox: BBox<InPanorama>,
    /// Its class.
    pub label: String,
    /// The best of its scores.
    pub score: f32,
    /// The oldest of its tracks, so that it stays the same while the object crosses.
    pub track: Option<u64>,
    /// The cameras that see it.
    pub cameras: Vec<usize>,
}

/// Makes one of what several cameras see of the same object; two sightings of one camera are never united. The surest
/// come first.
pub fn unite(seen: &[Sighting]) -> Vec<United> {
    let mut order: Vec<&Sighting> = seen.iter().collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut united: Vec<United> = Vec::new();
    for sighting in order {
        let fits = |u: &United| {
            if u.label != sighting.label || u.cameras.contains(&sighting.camera) {
                return None;
            }
            let common = u.bbox.intersection(&sighting.bbox);
            let inside = common / u.bbox.area().min(sighting.bbox.area()).max(f32::MIN_POSITIVE);
            let iou = u.bbox.iou(&sighting.bbox);
            (iou >= MIN_IOU || inside >= MIN_INSIDE).then_some(inside.max(iou))
        };
        let best = united
            .iter()
            .enumerate()
            .filter_map(|(i, u)| Some((i, fits(u)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        match best {
            Some((i, _)) => {
                let one = &mut united[i];
                if sighting.bbox.area() > one.bbox.area() {
                    one.bbox = sighting.bbox;
                }
                one.track = match (one.track, sighting.track) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                one.cameras.push(sighting.camera);
            }
            None => united.push(United {
                bbox: sighting.bbox,
                label: sighting.label.clone(),
                score: sighting.score,
                track: sighting.track,
                cameras: vec![sighting.camera],
            }),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(camera: usize, x: f32, w: f32, label: &str, score: f32, track: u64) -> Sighting {
        Sighting {
            camera,
            bbox: BBox::new(x, 0.2, w, 0.5),
            label: label.to_owned(),
            score,
            track: Some(track),
        }
    }

    #[test]
    fn who_stands_in_the_overlap_is_one() {
        let all = unite(&[
            seen(0, 0.40, 0.10, "person", 0.6, 9),
            seen(1, 0.41, 0.10, "person", 0.8, 12),
        ]);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].score, all[0].track), (0.8, Some(9)));
        assert_eq!(all[0].cameras, [1, 0]);
    }

    #[test]
    fn who_is_cut_by_an_edge_of_a_picture_has_the_whole_box() {
        // Camera 1 sees only the right third.
        let all = unite(&[
            seen(0, 0.40, 0.12, "person", 0.5, 1),
            seen(1, 0.48, 0.04, "person", 0.9, 2),
        ]);
        assert_eq!(all.len(), 1);
        assert!((all[0].bbox.w - 0.12).abs() < 1e-6);
    }

    #[test]
    fn two_who_stand_together_stay_two() {
        let all = unite(&[
            seen(0, 0.40, 0.06, "person", 0.6, 1),
            seen(0, 0.43, 0.06, "person", 0.7, 2),
            seen(1, 0.40, 0.06, "person", 0.8, 3),
            seen(1, 0.43, 0.06, "person", 0.5, 4),
            seen(1, 0.40, 0.06, "dog", 0.5, 5),
            seen(2, 0.90, 0.06, "person", 0.5, 6),
        ]);
        let people: Vec<_> = all.iter().filter(|u| u.label == "person").collect();
        assert_eq!(people.len(), 3, "{all:?}");
        assert_eq!(people.iter().filter(|p| p.cameras.len() == 2).count(), 2);
        assert_eq!(all.len(), 4);
    }
}
