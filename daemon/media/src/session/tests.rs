//! Sessions over files that GStreamer makes on the spot.

use std::path::{Path, PathBuf};

use super::*;
use crate::clocks::SystemClock;

/// Writes a clip with the given encoder; `None`, aloud, where a plugin is missing.
fn clip(dir: &Path, name: &str, chain: &str) -> Option<PathBuf> {
    gst::init().unwrap();
    let path = dir.join(name);
    let pipeline = format!(
        "videotestsrc num-buffers=30 pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! {chain} ! filesink location={}",
        path.display()
    );
    let pipeline = match gst::parse::launch(&pipeline) {
        Ok(pipeline) => pipeline,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
    };
    pipeline.set_state(gst::State::Playing).unwrap();
    let done = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(60),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        )
        .expect("the clip was not written within a minute");
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(done.type_(), gst::MessageType::Eos, "{done:?}");
    Some(path)
}

fn options(path: PathBuf) -> SessionOptions {
    SessionOptions {
        source: Source::File { path, repeat: false },
        rotation: Rotation::None,
        capture_bias: Span::ZERO,
        capture_bias_error: Span::ZERO,
    }
}

/// Everything a session yields until its end or its error.
fn drain(options: &SessionOptions) -> Result<Vec<SessionEvent>, MediaError> {
    gst::init().unwrap();
    let clock = SystemClock::shared();
    let give_up = clock.now() + Span::from_secs(60);
    let mut session = Session::open(options, clock.clone())?;
    let mut events = Vec::new();
    while clock.now() < give_up {
        match session.next(Span::from_millis(200))? {
            Some(SessionEvent::End) => return Ok(events),
            Some(event) => events.push(event),
            None => {}
        }
    }
    panic!("no end within a minute, {} events", events.len());
}

#[test]
fn a_file_with_b_frames_gives_every_frame_in_order_with_its_kind_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = clip(
        dir.path(),
        "b.mp4",
        "x264enc bframes=2 b-adapt=false key-int-max=15 ! mp4mux",
    ) else {
        return;
    };
    let mut events = drain(&options(path)).unwrap().into_iter();
    let Some(SessionEvent::Format(info)) = events.next() else {
        panic!("no format first")
    };
    assert_eq!(
        (info.codec.as_str(), info.size, info.fps_declared),
        ("H.264", Size::new(320, 240), Some(30.0))
    );
    let frames: Vec<SessionFrame> = events
        .map(|e| match e {
            SessionEvent::Frame(frame) => frame,
            _ => panic!("something else than a frame"),
        })
        .collect();
    assert_eq!(frames.len(), 30);
    let of = |kind: FrameKind| frames.iter().filter(|f| f.kind == kind).count();
    assert_eq!(of(FrameKind::I), 2);
    assert!(of(FrameKind::B) >= 12, "{} B", of(FrameKind::B));
    assert_eq!(of(FrameKind::Unknown), 0);
    for pair in frames.windows(2) {
        let step = pair[1].captured.mono - pair[0].captured.mono;
        assert!(
            (step - Span::from_micros(33_333)).abs() < Span::from_micros(100),
            "{step}"
        );
        assert_eq!(
            (pair[1].media.since_zero() - pair[0].media.since_zero()).as_nanos() / 1_000_000,
            33
        );
    }
    let mut luma = Vec::new();
    frames[5]
        .surface
        .with_planes(&mut |p| luma.extend_from_slice(p.luma().data))
        .unwrap();
    assert!(
        luma.iter().any(|v| *v > 200) && luma.iter().any(|v| *v < 40),
        "a ball on black"
    );
}

#[test]
fn rotation_turns_the_picture() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = clip(dir.path(), "r.mp4", "x264enc ! mp4mux") else {
        return;
    };
    let turned = SessionOptions {
        rotation: Rotation::Quarter,
        ..options(path)
    };
    let events = drain(&turned).unwrap();
    let Some(SessionEvent::Format(info)) = events.first() else {
        panic!("no format first")
    };
    assert_eq!(info.size, Size::new(240, 320));
}

#[test]
fn what_is_no_video_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let missing = drain(&options(dir.path().join("none.mp4"))).err().unwrap();
    assert!(matches!(missing, MediaError::Unreachable { .. }), "{missing}");
    let text = dir.path().join("text.mp4");
    std::fs::write(&text, "this is no video\n".repeat(1000)).unwrap();
    let refused = drain(&options(text)).err().unwrap();
    assert!(matches!(refused, MediaError::NoVideo { .. }), "{refused}");
    gst::init().unwrap();
    let audio = dir.path().join("audio.wav");
    let pipeline = format!(
        "audiotestsrc num-buffers=20 ! wavenc ! filesink location={}",
        audio.display()
    );
    let pipeline = gst::parse::launch(&pipeline).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let eos = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos]);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(eos.is_some());
    let refused = drain(&options(audio)).err().unwrap();
    assert!(matches!(refused, MediaError::NoVideo { .. }), "{refused}");
}
