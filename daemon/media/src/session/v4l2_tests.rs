//! The way from a driver's bytes to frames, with bytes that GStreamer makes in the place of a driver's. Real drivers:
//! scripts/test-vivid.sh.

use synoptic_base::{FrameKind, MediaTime, Rotation, Size, Span};
use synoptic_engine::timebase::{StampClock, StampPoint};

use super::super::{Session, SessionEvent, SessionFrame, StreamInfo, decode};
use super::*;
use crate::clocks::SystemClock;

const INTERVAL: Span = Span::from_nanos(33_333_333);

/// The coded pictures that a chain of elements makes; `None`, aloud, where a plugin is missing.
fn pictures(count: u32, chain: &str) -> Option<Vec<Vec<u8>>> {
    gst::init().unwrap();
    let text =
        format!("videotestsrc num-buffers={count} pattern=ball ! {chain} ! appsink name=out sync=false");
    let pipeline = match gst::parse::launch(&text) {
        Ok(pipeline) => pipeline.downcast::<gst::Pipeline>().unwrap(),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
    };
    let sink = pipeline
        .by_name("out")
        .and_downcast::<gst_app::AppSink>()
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut all = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        all.push(sample.buffer().unwrap().map_readable().unwrap().to_vec());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(all.len(), count as usize);
    Some(all)
}

/// A playing session whose frames the test pushes.
fn fed(format: V4l2Format, width: u32, height: u32, stride: u32) -> (Session, Feed) {
    gst::init().unwrap();
    let negotiated = Negotiated {
        format,
        size: Size::new(width, height),
        stride,
        interval: Interval::new(1, 30),
    };
    let options = SessionOptions {
        source: Source::V4l2 {
            device: "/dev/video0".into(),
            format: None,
            size: None,
            fps: None,
        },
        rotation: Rotation::None,
        capture_bias: Span::ZERO,
        capture_bias_error: Span::from_millis(33),
    };
    let shared = Shared::new(SystemClock::shared(), None);
    let pipeline = gst::Pipeline::new();
    let sink = decode::make_sink(&options);
    let tail = Tail::new(&pipeline, &sink, options.rotation, &shared).unwrap();
    let feed = Feed::new(&pipeline, &negotiated, &options, &tail, &shared).unwrap();
    (
        Session::play(pipeline, sink, shared, &options.source).unwrap(),
        feed,
    )
}

fn arrival(i: i64) -> Mono {
    Mono::from_nanos(1_000_000_000_000) + INTERVAL * i
}

/// Pushes a frame that ended 4 ms before it arrived.
fn push(feed: &mut Feed, i: i64, bytes: &[u8], damaged: bool) {
    let at = Span::from_nanos((arrival(i) - Span::from_millis(4)).as_nanos());
    let stamp = DriverStamp {
        at,
        clock: StampClock::Monotonic,
        point: StampPoint::EndOfFrame,
        sequence: i as u32,
    };
    assert!(feed.push(bytes, stamp, damaged, arrival(i)));
}

/// The next event; a session that gives none within a generous time has failed.
fn event(session: &mut Session) -> SessionEvent {
    let event = session.next(Span::from_secs(30)).unwrap();
    event.expect("an event within half a minute")
}
fn format(session: &mut Session) -> StreamInfo {
    match event(session) {
        SessionEvent::Format(info) => info,
        _ => panic!("no format first"),
    }
}
fn frame(session: &mut Session) -> SessionFrame {
    match event(session) {
        SessionEvent::Frame(frame) => frame,
        SessionEvent::Unreadable(_) => panic!("an unreadable frame"),
        _ => panic!("something else than a frame"),
    }
}

fn check(frame: &SessionFrame, i: i64) {
    let end = arrival(i) - Span::from_millis(4);
    assert_eq!(frame.arrival, arrival(i));
    assert_eq!(
        frame.media,
        MediaTime::from_micros(end.as_nanos().div_euclid(1000))
    );
    assert_eq!(frame.captured.source, TimeSource::Hardware);
    assert!((frame.captured.mono - (end - INTERVAL / 2)).abs() < Span::from_micros(2));
}

/// Luma of the brightest and of the darkest pixel.
fn contrast(frame: &SessionFrame) -> (u8, u8) {
    let mut luma = Vec::new();
    let read = frame
        .surface
        .with_planes(&mut |planes| luma.extend_from_slice(planes.luma().data));
    read.unwrap();
    (*luma.iter().max().unwrap(), *luma.iter().min().unwrap())
}

#[test]
fn every_format_gives_each_frame_its_time_and_its_picture() {
    let raw = |name: &str| format!("video/x-raw,format={name},width=320,height=240,framerate=30/1");
    let coded = |encoder: &str| format!("{} ! {encoder}", raw("I420"));
    let h264 = "x264enc tune=zerolatency key-int-max=5 ! video/x-h264,stream-format=byte-stream,alignment=au";
    for (format_, name, chain) in [
        (V4l2Format::Yuyv, "raw YUYV", raw("YUY2")),
        (V4l2Format::Uyvy, "raw UYVY", raw("UYVY")),
        (V4l2Format::Nv12, "raw NV12", raw("NV12")),
        (V4l2Format::I420, "raw I420", raw("I420")),
        (V4l2Format::Grey, "raw GREY", raw("GRAY8")),
        (V4l2Format::Mjpeg, "MJPEG", coded("jpegenc")),
        (V4l2Format::H264, "H.264", coded(h264)),
    ] {
        let Some(pictures) = pictures(8, &chain) else {
            continue;
        };
        let (mut session, mut feed) = fed(format_, 320, 240, 0);
        for (i, bytes) in pictures.iter().enumerate() {
            push(&mut feed, i as i64, bytes, false);
            if i == 0 {
                let info = format(&mut session);
                assert_eq!((info.codec.as_str(), info.size), (name, Size::new(320, 240)));
                assert_eq!(info.fps_declared, Some(30.0));
            }
            let shown = frame(&mut session);
            check(&shown, i as i64);
            let (light, dark) = contrast(&shown);
            assert!(
                light > 200 && dark < 40,
                "{name}: a white ball on black, not {dark}..{light}"
            );
            match format_ {
                V4l2Format::H264 => assert_eq!(shown.kind == FrameKind::I, i % 5 == 0, "{name} {i}"),
                _ => assert_eq!(shown.kind, FrameKind::Unknown),
            }
        }
        assert_eq!(session.drops(), [("driver", 0), ("decoder_busy", 0)]);
        assert_eq!(session.health().source, Some(TimeSource::Hardware));
    }
}

#[test]
fn rows_that_the_driver_pads_are_read_right() {
    // 100 pixels of NV12 in rows of 128 bytes: light where there are pixels, dark in the padding.
    for (format_, planes) in [(V4l2Format::Nv12, 180), (V4l2Format::I420, 180)] {
        let (mut session, mut feed) = fed(format_, 100, 120, 128);
        let mut bytes = vec![0_u8; 128 * planes];
        for row in bytes[..128 * 120].chunks_mut(128) {
            row[..100].fill(210);
        }
        bytes[128 * 120..].fill(128);
        push(&mut feed, 0, &bytes, false);
        format(&mut session);
        let shown = frame(&mut session);
        let mut inside = Vec::new();
        let read = shown.surface.with_planes(&mut |planes| {
            let luma = planes.luma();
            inside.extend(
                luma.data
                    .chunks(luma.stride)
                    .take(120)
                    .flat_map(|row| row[..100].to_vec()),
            );
        });
        read.unwrap();
        assert!(inside.iter().all(|v| *v == 210), "{format_:?}");
    }
}

#[test]
fn damaged_and_short_frames_are_unreadable_and_the_rest_goes_on() {
    let (mut session, mut feed) = fed(V4l2Format::Yuyv, 64, 48, 0);
    let whole = vec![128_u8; 64 * 48 * 2];
    push(&mut feed, 0, &whole, false);
    format(&mut session);
    check(&frame(&mut session), 0);
    push(&mut feed, 1, &whole, true);
    push(&mut feed, 2, &whole[..1000], false);
    push(&mut feed, 5, &whole, false);
    for _ in 0..2 {
        assert!(
            matches!(event(&mut session), SessionEvent::Unreadable(c) if c.source == TimeSource::Hardware)
        );
    }
    check(&frame(&mut session), 5);
    // The driver numbered two frames that it never handed out.
    assert_eq!(session.drops()[0], ("driver", 2));
}

#[test]
fn what_finds_the_decoder_busy_is_dropped_and_counted() {
    let (mut session, mut feed) = fed(V4l2Format::Grey, 64, 48, 0);
    let picture = vec![200_u8; 64 * 48];
    // Nobody takes frames meanwhile: sink, decoder and feed fill up.
    for i in 0..40 {
        push(&mut feed, i, &picture, false);
    }
    let refused = session.drops()[1].1;
    assert!((20..40).contains(&refused), "{refused}");
    format(&mut session);
    let mut shown = 0;
    let last = loop {
        shown += 1;
        let one = frame(&mut session);
        if shown == 40 - refused {
            break one;
        }
    };
    assert!(last.arrival < arrival(40));
    // And it recovers.
    push(&mut feed, 50, &picture, false);
    check(&frame(&mut session), 50);
}
