//! The skew that is measured from what moves, on rendered people near two cameras 10 cm apart.

use synoptic_base::{Mono, Span};
use synoptic_engine::stitch::skew::{Skew, SkewWatch};
use synoptic_vision::panorama::{ComposeOptions, Compositor, StitchSlot};

use super::clips::{Clip, rig};
use crate::testing::mirror;

/// What is told over a clip, each time anew; `None`, aloud, where it is not here.
fn told(name: &str, fps: i64) -> Option<Vec<Skew>> {
    let rig = rig(name, 1e6)?;
    let size = rig.cameras[0].intrinsics.size;
    let mut clips = [0, 1].map(|k| {
        let path = mirror(&format!("data/rigs/{name}_cam{k}.mp4"))?;
        Clip::open(&path, size)
    });
    let mut compositor = Compositor::new(&rig, ComposeOptions::default()).unwrap();
    let mut watch = SkewWatch::new(compositor.layout(), [0, 1]).unwrap();
    let (mut found, mut at) = (Vec::new(), Mono::from_nanos(0));
    while let [Some(one), Some(two)] = clips.each_mut().map(|c| c.as_mut().and_then(Clip::next)) {
        let slots = [StitchSlot::Live(&one), StitchSlot::Live(&two)];
        let cells = &compositor.observe(&slots).unwrap().cells;
        watch.see(cells, &[Some(at), Some(at)]);
        at += Span::from_nanos(1_000_000_000 / fps);
        if let Some(skew) = watch.skew().filter(|skew| found.last() != Some(skew)) {
            eprintln!(
                "{name} at {} ms: {} give or take {}",
                (at - Mono::from_nanos(0)).as_millis_f64(),
                skew.skew,
                skew.error
            );
            found.push(skew);
        }
    }
    (at > Mono::from_nanos(0)).then_some(found)
}

#[test]
fn the_bound_holds_the_truth_though_people_walk_near_the_cameras() {
    let Some(found) = told("rig2_desync_40ms", 25) else {
        return;
    };
    // Of the three people two go right and one goes left; together they are in the overlap from the fourth second on.
    assert!(!found.is_empty(), "nothing is told");
    for skew in &found {
        let off = (skew.skew - Span::from_millis(40)).abs();
        assert!(off <= skew.error, "{skew:?} is off by {off}");
    }
}
