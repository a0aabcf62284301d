//! Greedy non-maximum suppression, class by class (as torchvision's `batched_nms`).

use super::decode::Candidate;

/// Candidates compared at most, the best first: bounds the quadratic step when a threshold is set near 0.
const MAX_CANDIDATES: usize = 1000;
/// Detections of one picture at most, the number COCO evaluates three times.
const MAX_DETECTIONS: usize = 300;

fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |e: &[f32; 4]| (e[2] - e[0]).max(0.0) * (e[3] - e[1]).max(0.0);
    let w = a[2].min(b[2]) - a[0].max(b[0]);
    let h = a[3].min(b[3]) - a[1].max(b[1]);
    let both = w.max(0.0) * h.max(0.0);
    let all = area(a) + area(b) - both;
    if all > 0.0 { both / all } else { 0.0 }
}

/// The candidates that no better one of their class covers by more than `most` IoU, best first.
pub(super) fn suppress(mut candidates: Vec<Candidate>, most: f32) -> Vec<Candidate> {
    // A model that gives NaN has no best; such boxes go.
    candidates.retain(|c| c.score.is_finite() && c.edges.iter().all(|e| e.is_finite()));
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let covered = kept
            .iter()
            .any(|k| k.class == candidate.class && iou(&k.edges, &candidate.edges) > most);
        if !covered {
            kept.push(candidate);
            if kept.len() == MAX_DETECTIONS {
                break;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_a_class_stays_and_classes_do_not_mix() {
        let c = |class, score, left: f32| Candidate {
            class,
            score,
            edges: [left, 0.0, left + 10.0, 10.0],
        };
        let kept = suppress(
            vec![
                c(0, 0.5, 1.0),
                c(0, 0.9, 0.0),
                c(1, 0.4, 0.0),
                c(0, 0.3, 8.0),
                c(0, f32::NAN, 90.0),
            ],
            0.45,
        );
        let seen: Vec<_> = kept.iter().map(|c| (c.class, c.score)).collect();
        assert_eq!(seen, [(0, 0.9), (1, 0.4), (0, 0.3)]);
    }
}
