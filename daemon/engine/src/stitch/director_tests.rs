//! Scenes of flat grids: who is shown where.

use super::super::joins::tests::layout;
use super::*;

const COLUMNS: usize = 100;
const ROWS: usize = 40;

fn at(ms: i64) -> Mono {
    Mono::from_nanos(0) + Span::from_millis(ms)
}

fn scene(layout: &StitchLayout, slots: &[SlotView]) -> PanoramaSeen {
    let cell = CellSeen {
        luma: 100.0,
        cb: 128.0,
        cr: 128.0,
        detail: 3.0,
    };
    let cells = slots.iter().enumerate().map(|(k, view)| match view {
        SlotView::Live => (0..layout.columns * layout.rows)
            .map(|i| {
                let seen = layout.shared(i) && layout.cover[k][i] >= Cover::Whole;
                if seen { cell } else { CellSeen::UNSEEN }
            })
            .collect(),
        _ => Vec::new(),
    });
    PanoramaSeen {
        slots: slots.to_vec(),
        cells: cells.collect(),
    }
}

fn two() -> (StitchLayout, Director) {
    let layout = layout(COLUMNS, ROWS, &[[0, 0, 60, ROWS], [40, 0, 100, ROWS]]);
    let director = Director::new(layout.clone(), StitchConfig::default()).unwrap();
    (layout, director)
}

fn sums(plan: &StitchPlan) -> Vec<u32> {
    (0..plan.weights[0].len())
        .map(|i| plan.weights.iter().map(|w| u32::from(w[i])).sum())
        .collect()
}

#[test]
fn weights_sum_to_one_everywhere_and_change_hands_at_the_seam() {
    for cameras in [
        vec![[0, 0, 60, ROWS], [40, 0, 100, ROWS]],
        vec![[0, 0, 40, ROWS], [30, 0, 70, ROWS], [60, 0, 100, ROWS]],
        vec![
            [0, 0, 60, 25],
            [40, 0, 100, 25],
            [0, 15, 60, 40],
            [40, 15, 100, 40],
        ],
    ] {
        let layout = layout(COLUMNS, ROWS, &cameras);
        let director = Director::new(layout.clone(), StitchConfig::default()).unwrap();
        let plan = director.plan();
        assert!(sums(plan).iter().all(|s| *s == 255), "{cameras:?}");
        for (k, weights) in plan.weights.iter().enumerate() {
            for (i, w) in weights.iter().enumerate() {
                assert!(
                    *w == 0 || layout.cover[k][i] > Cover::None,
                    "camera {k} shows what it does not see"
                );
            }
        }
    }
    let (_, director) = two();
    let row: Vec<u8> = director.plan().weights[0][20 * COLUMNS..21 * COLUMNS].to_vec();
    assert_eq!((row[48], row[51]), (255, 0));
}

#[test]
fn a_camera_lost_fades_to_its_neighbour_and_comes_back() {
    use SlotView::{Held, Live};
    let (layout, mut director) = two();
    let both = scene(&layout, &[Live, Live]);
    let one = scene(&layout, &[Live, Held]);
    let cell = 20 * COLUMNS;
    let mut last = 0;
    for ms in (0..1000).step_by(40) {
        let seen = if ms < 400 { &both } else { &one };
        let plan = director.decide(at(ms), seen, &[]);
        let (shared, alone) = (cell + 56, cell + 80);
        if ms < 600 {
            assert_eq!(
                (plan.weights[1][shared], plan.weights[1][alone]),
                (255, 255),
                "{ms}"
            );
        } else {
            let w = plan.weights[0][shared];
            assert!(w >= last, "the fade goes one way");
            last = w;
            assert_eq!(u32::from(w) + u32::from(plan.weights[1][shared]), 255, "{ms}");
        }
    }
    let plan = director.plan();
    assert_eq!((plan.weights[0][cell + 58], plan.weights[1][cell + 80]), (255, 0));
    for ms in (1000..1400).step_by(40) {
        director.decide(at(ms), &both, &[]);
    }
    assert_eq!(director.plan().weights[1][cell + 80], 255);
    assert!(sums(director.plan()).iter().all(|s| *s == 255));
}

#[test]
fn a_still_scene_leaves_the_plan_alone() {
    let (layout, mut director) = two();
    let seen = scene(&layout, &[SlotView::Live; 2]);
    let first = director.decide(at(0), &seen, &[]).clone();
    for ms in (40..4000).step_by(40) {
        director.decide(at(ms), &seen, &[]);
    }
    assert_eq!(director.plan(), &first);
    assert_eq!(director.seam_moves(), 0);
}

#[test]
fn a_box_that_walks_through_the_overlap_is_never_cut() {
    let (layout, mut director) = two();
    let seen = scene(&layout, &[SlotView::Live; 2]);
    for i in 0..100 {
        let bbox = BBox::new(0.2 + i as f32 * 0.006, 0.3, 0.06, 0.5);
        let plan = director.decide(at(40 * i), &seen, &[bbox]);
        assert_eq!(plan.seams[0].cut_cells, 0, "in picture {i}");
        // Inside the box one camera alone is shown.
        for row in 12..32 {
            let cells = (bbox.x * 100.0) as usize..(bbox.right() * 100.0).ceil() as usize;
            let shown: Vec<u8> = cells.map(|c| plan.weights[0][row * COLUMNS + c]).collect();
            assert!(
                shown.iter().all(|w| *w == shown[0] && (*w == 0 || *w == 255)),
                "{i}: {shown:?}"
            );
        }
    }
    assert!(director.seam_moves() > 0);
}

#[test]
fn layouts_and_values_that_cannot_be_are_refused() {
    let good = layout(10, 10, &[[0, 0, 6, 10], [4, 0, 10, 10]]);
    let mut bad = good.clone();
    bad.cover[1].pop();
    assert!(matches!(
        Director::new(bad, StitchConfig::default()),
        Err(StitchError::Layout {
            cells: 99,
            want: 100,
            ..
        })
    ));
    let config = StitchConfig {
        feather_cells: 0.0,
        ..StitchConfig::default()
    };
    assert!(matches!(
        Director::new(good, config),
        Err(StitchError::Feather(_))
    ));
}

#[test]
fn another_layout_keeps_seams_colours_and_the_count_of_plans() {
    let (layout_before, mut director) = two();
    let live = [SlotView::Live; 2];
    let before = scene(&layout_before, &live);
    for i in 0..20 {
        director.decide(at(40 * i), &before, &[]);
    }
    let (revision, seam) = (director.plan().revision, director.plan().seams[0].at.clone());
    // The second camera is shown 40 pixels further left; the line lies in both overlaps.
    let moved = layout(COLUMNS, ROWS, &[[0, 0, 60, ROWS], [35, 0, 95, ROWS]]);
    director.relayout(moved.clone()).unwrap();
    assert!(director.plan().revision > revision);
    assert_eq!(director.plan().seams[0].at, seam);
    let uncovered = 98;
    assert_eq!(
        director.plan().weights[1][uncovered],
        0,
        "nobody sees the right edge now"
    );
    let plan = director.decide(at(900), &scene(&moved, &live), &[]);
    assert!(
        sums(plan)
            .iter()
            .enumerate()
            .all(|(i, s)| (*s > 0) == (i % COLUMNS < 95))
    );
    // Where the line lay outside of the new overlap it is brought in.
    let far = layout(COLUMNS, ROWS, &[[0, 0, 30, ROWS], [10, 0, 100, ROWS]]);
    director.relayout(far).unwrap();
    let at_most = director.plan().seams[0]
        .at
        .iter()
        .flatten()
        .copied()
        .fold(0.0, f32::max);
    assert!(at_most <= 30.0 * STITCH_CELL as f32, "{at_most}");
    let other = layout(COLUMNS, ROWS + 1, &[[0, 0, 60, ROWS], [40, 0, 100, ROWS]]);
    assert!(director.relayout(other).is_err());
}
