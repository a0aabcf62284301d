//! Sound, IDR pictures on request, and lines that lose packets.

use synoptic_engine::pacing::{ViewerGets, ViewerTrouble};

use super::*;

#[test]
fn sound_comes_with_the_pictures_and_its_reports_say_when_it_was_heard() {
    let Some(_alone) = alone() else { return };
    let camera = Camera::start();
    let (viewer, offer) = Viewer::offer(true);
    // The camera is heard before it is watched.
    let mut first = camera.stream.subscribe(Want::Playable);
    while !camera.stream.has_sound() {
        first.next_timeout(Span::from_millis(50));
    }
    let (session, _ended) = begin(&camera, &offer);
    let answer = session.answer();
    viewer.accept(answer);
    viewer.picture();
    assert!(session.status().sound);
    // Both are of one stream for a browser, which keeps them in step then.
    let streams: std::collections::BTreeSet<&str> = answer
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("msid:"))
        .collect();
    assert_eq!(streams.len(), 1, "{answer}");
    let (pictures, sounds) = (
        ssrc_of(answer, "m=video").unwrap(),
        ssrc_of(answer, "m=audio").unwrap(),
    );
    assert_ne!(pictures, sounds);
    let (_, report_rtp, report_ntp) = std::iter::from_fn(|| viewer.reports.recv_timeout(PATIENCE).ok())
        .find(|(ssrc, _, _)| *ssrc == sounds)
        .unwrap();
    let mut last = None;
    for _ in 0..50 {
        let (rtp, ntp) = viewer.sounds.recv_timeout(PATIENCE).unwrap();
        // By the report, as a player reckons it, in seconds. The camera of this test ticks as evenly as a busy machine lets it.
        let by_report = f64::from(rtp.wrapping_sub(report_rtp).cast_signed()) / 48_000.0;
        let truth = ntp.wrapping_sub(report_ntp).cast_signed() as f64 / 2_f64.powi(32);
        assert!((by_report - truth).abs() < 0.05, "{by_report} for {truth}");
        if let Some(last) = last.replace(rtp) {
            let step: u32 = rtp.wrapping_sub(last);
            assert!((900..=48_000).contains(&step), "{step}");
        }
    }
}

#[test]
fn a_viewer_who_lost_pictures_gets_an_idr_picture() {
    let Some(_alone) = alone() else { return };
    let camera = Camera::start_with(EncodeOptions {
        gop: 100_000,
        ..EncodeOptions::default()
    });
    let (viewer, offer) = Viewer::offer(false);
    let (session, _ended) = begin(&camera, &offer);
    viewer.accept(session.answer());
    assert!(viewer.picture().idr);
    assert!((0..10).all(|_| !viewer.picture().idr));
    let depay = viewer.depay.lock().unwrap().clone().unwrap();
    let came = (0..2_000).any(|n| {
        // Told again now and then: a PLI may be lost, and one that comes too soon after another is not sent.
        if n % 50 == 0 {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build();
            depay.static_pad("sink").unwrap().push_event(event);
        }
        viewer.picture().idr
    });
    assert!(came, "no IDR picture came");
}

#[test]
fn a_viewer_whose_line_loses_too_much_gets_idr_pictures_alone_until_it_is_well() {
    let Some(_alone) = alone() else { return };
    let camera = Camera::start();
    let (viewer, offer) = Viewer::offer(false);
    let (session, _ended) = begin(&camera, &offer);
    viewer.accept(session.answer());
    viewer.picture();
    assert_eq!(session.status().gets, ViewerGets::All);
    viewer.lossy.store(true, Ordering::SeqCst);
    let until = |what: &str, enough: &dyn Fn() -> bool| {
        let (_never, pause) = bounded::<()>(0);
        let done = (0..6_000).any(|_| {
            pause.recv_timeout(Duration::from_millis(10)).ok();
            enough()
        });
        assert!(done, "{what}: {:?}", session.status());
    };
    until("no trouble was seen", &|| {
        session.status().gets == ViewerGets::Keys(ViewerTrouble::Loss)
    });
    let before = session.status().left_out;
    until("nothing was left out", &|| {
        session.status().left_out > before + 10
    });
    viewer.lossy.store(false, Ordering::SeqCst);
    until("he is well and gets all again", &|| {
        session.status().gets == ViewerGets::All
    });
}
