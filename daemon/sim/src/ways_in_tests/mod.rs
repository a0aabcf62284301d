//! Streams that servers relay, over real programs, and the barcode as truth: what is claimed of each picture's capture
//! is held against the instant that it shows.

mod flv_server;
pub(crate) mod programs;

use synoptic_base::{Epoch, Rotation, Span, StreamStart, TimeSource};
use synoptic_engine::starts::{StartBook, StartNews};
use synoptic_media::{CameraOptions, PullKind, Source};

use crate::barcode;
use crate::packets_tests::{Rig, cameras, error_of, id, three, true_map};
use flv_server::{FlvServer, Options, Tells};
use programs::{Program, answers, free_port, lacks, lacks_rtmp_server};

/// Frames looked at in each test.
const FRAMES: usize = 30;

fn pulled(kind: PullKind, url: &str) -> Source {
    Source::Pull {
        kind,
        url: url.to_owned(),
        user: None,
        password: None,
        tls_insecure: false,
        tls_ca: None,
    }
}

pub(crate) fn rig(source: Source, bias: Span, bias_error: Span) -> Rig {
    Rig::with(vec![CameraOptions {
        id: id(0),
        source,
        rotation: Rotation::None,
        stall_after: Span::from_secs(10),
        capture_bias: bias,
        capture_bias_error: bias_error,
    }])
}

/// Holds frames of camera 0 to their barcodes, until [`FRAMES`] of them were timed by `source` (by any: `None`). Returns the
/// median of these frames' error.
fn frames_are_true(rig: &mut Rig, what: &str, source: impl Into<Option<TimeSource>>) -> Span {
    let source = source.into();
    let mut errors = Vec::new();
    let mut last = None;
    rig.until(what, |rig, packet| {
        let Some(frame) = packet.and_then(|p| p.frames().next()) else {
            return false;
        };
        let mut code = None;
        frame
            .pixels
            .with_planes(&mut |p| code = barcode::read(p.luma(), frame.meta.size))
            .unwrap();
        if code.is_none() {
            return false; // joined between I pictures: the first ones may be grey
        }
        let error = error_of(rig, frame);
        let captured = frame.meta.captured;
        assert!(
            error.abs() <= captured.rel_error,
            "{what}: {error} against a bound of {} by {:?}",
            captured.rel_error,
            captured.source
        );
        last = Some(captured);
        if source.is_none_or(|source| captured.source == source) {
            errors.push(error);
        }
        errors.len() == FRAMES
    });
    errors.sort();
    let (median, last) = (errors[FRAMES / 2], last.unwrap());
    println!(
        "{what}: claimed - true {median} median ({} .. {}), bound {}, by {}",
        errors[0],
        errors[FRAMES - 1],
        last.rel_error,
        last.source.name()
    );
    median
}

#[test]
fn rtmp_by_way_of_ffmpeg_and_nginx_is_true_within_its_bound_and_sharp_once_measured() {
    if lacks_rtmp_server() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (rtmp, http) = (free_port(), free_port());
    let _nginx = Program::nginx(rtmp, http, folder.path());
    let sims = cameras([three().swap_remove(0)]);
    let url = format!("rtmp://127.0.0.1:{rtmp}/live/cam");
    let _relay = Program::relay(&sims[0].url(), &["-f", "flv", &url], folder.path());
    let mut first = rig(pulled(PullKind::Rtmp, &url), Span::ZERO, Span::from_millis(50));
    let median = frames_are_true(&mut first, "RTMP", TimeSource::Arrival);
    assert_eq!(first.codecs[&id(0)], "H.264");
    let mut book = StartBook::default();
    book.see(start_of(&mut first, Epoch(1)));
    drop(first);
    // What somebody measured: the whole way, from light to this box. Unmeasured it is taken for 1.5 s ± 1.5 s.
    let way = Span::from_millis(1_500) + median;
    let mut second = rig(pulled(PullKind::Rtmp, &url), way, Span::from_millis(150));
    let left = frames_are_true(&mut second, "RTMP, its way measured", TimeSource::Arrival);
    assert!(left.abs() < Span::from_millis(150), "{left}");
    // The server kept the sender's time stamps: who joins again finds the stream that was known.
    let news = book.see(start_of(&mut second, Epoch(2)));
    assert!(matches!(news, Some(StartNews::GoesOn(_, Epoch(1)))), "{news:?}");
}

/// When the stream of camera 0 began, as if in epoch `epoch`.
fn start_of(rig: &mut Rig, epoch: Epoch) -> StreamStart {
    rig.until("when the stream began", |rig, _| !rig.starts.is_empty());
    let (zero, numbering) = *rig.starts.values().next().unwrap();
    let stamp = true_map(&*rig.clock).stamp(zero);
    StreamStart {
        stream: id(0),
        epoch,
        utc: stamp.utc,
        error: stamp.error,
        source: stamp.source,
        numbering,
        drift_ppm: None,
    }
}

#[test]
fn http_flv_of_ffmpeg_is_true_within_its_bound() {
    if lacks(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sims = cameras([three().swap_remove(0)]);
    let url = format!("http://127.0.0.1:{}/cam.flv", free_port());
    let _relay = Program::relay(
        &sims[0].url(),
        &["-listen", "1", "-f", "flv", &url],
        folder.path(),
    );
    let mut rig = rig(pulled(PullKind::HttpFlv, &url), Span::ZERO, Span::from_millis(50));
    frames_are_true(&mut rig, "HTTP-FLV", TimeSource::Arrival);
}

#[test]
fn utc_between_the_tags_times_the_pictures() {
    let cases = [
        (
            "onFI of a sender in Nepal",
            Tells::OnFi { zone_s: 20_700 },
            0,
            false,
        ),
        (
            "onMetaData, 24 bits turning over",
            Tells::OnMetaData,
            17_000,
            true,
        ),
        ("onMetaData", Tells::OnMetaData, 17_000, false),
    ];
    for (what, tells, first_ms, short) in cases {
        let first_ms = if short { (1 << 24) - 2_000 } else { first_ms };
        // Who counts from hours ago is not believed: its media clock was not watched that long.
        let source = if short {
            TimeSource::Arrival
        } else {
            TimeSource::InBand
        };
        let server = FlvServer::start(Options {
            tells,
            first_ms,
            short,
        });
        let mut rig = rig(
            pulled(PullKind::HttpFlv, &server.url()),
            Span::ZERO,
            Span::from_millis(50),
        );
        let median = frames_are_true(&mut rig, what, source);
        let epochs = rig.sizes[&id(0)].len();
        assert_eq!(epochs, 1, "{what}: a turn is no new stream");
        if source == TimeSource::InBand {
            assert!(median.abs() < Span::from_millis(60), "{what}: {median}");
        }
    }
}

#[test]
fn what_tells_nothing_is_timed_by_its_arrivals() {
    let server = FlvServer::start(Options {
        tells: Tells::Nothing,
        first_ms: i64::from(u32::MAX) - 1_500,
        short: false,
    });
    let mut rig = rig(
        pulled(PullKind::HttpFlv, &server.url()),
        Span::ZERO,
        Span::from_millis(50),
    );
    frames_are_true(&mut rig, "32 bits turning over", TimeSource::Arrival);
    assert_eq!(rig.sizes[&id(0)].len(), 1, "a turn is no new stream");
}

#[test]
fn hls_of_ffmpeg_is_timed_by_its_programme_dates() {
    if lacks(&["ffmpeg"]) || lacks_rtmp_server() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (rtmp, http) = (free_port(), free_port());
    let _nginx = Program::nginx(rtmp, http, folder.path());
    answers(http);
    let sims = cameras([three().swap_remove(0)]);
    let list = folder.path().join("www/cam.m3u8");
    let _relay = Program::relay(
        &sims[0].url(),
        &[
            "-f",
            "hls",
            "-hls_time",
            "1",
            "-hls_list_size",
            "5",
            "-hls_flags",
            "program_date_time+delete_segments+temp_file",
            list.to_str().unwrap(),
        ],
        folder.path(),
    );
    let url = format!("http://127.0.0.1:{http}/cam.m3u8");
    let mut rig = rig(pulled(PullKind::Hls, &url), Span::ZERO, Span::from_secs(1));
    frames_are_true(&mut rig, "HLS", TimeSource::InBand);
    assert_eq!(rig.sizes[&id(0)].len(), 1, "one epoch over all segments");
}
