//! Picture and sound at the far end of a player, by what is seen and heard there.

use std::path::PathBuf;
use std::sync::Arc;

use synoptic_base::{Clock, Rotation, Span};
use synoptic_engine::pacing::Master;
use synoptic_media::clocks::SystemClock;
use synoptic_media::play::{PlayOptions, PlayStats, Sink, play};
use synoptic_media::session::SessionOptions;
use synoptic_media::{RtspTransport, Source};

use crate::flash::{FlashCamera, FlashOptions, far_end, write_clip};

/// Issue 4: offset at the far end.
const LIMIT: Span = Span::from_millis(10);

fn source_options(source: Source) -> SessionOptions {
    SessionOptions {
        source,
        rotation: Rotation::None,
        capture_bias: Span::ZERO,
        capture_bias_error: Span::ZERO,
    }
}

/// Plays, and gives what the far end saw and heard: sound minus picture of each flash.
fn offsets(source: Source, master: Master, change: impl FnOnce(&mut PlayOptions)) -> (Vec<Span>, PlayStats) {
    synoptic_media::init().unwrap();
    let (screen, flashes) = far_end::screen();
    let (speaker, beeps) = far_end::speaker();
    let mut options = PlayOptions {
        session: source_options(source),
        master,
        latency: None,
        begin: None,
        video: Sink::Element(screen),
        audio: Some(Sink::Element(speaker)),
        frames: None,
        length: Some(Span::from_secs(8)),
    };
    change(&mut options);
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let stats = play(&options, &clock, &crossbeam_channel::never(), &mut |_| {}).unwrap();
    eprintln!(
        "{master:?}: {} flashes, {} beeps, {:?}",
        flashes.lock().unwrap().len(),
        beeps.lock().unwrap().len(),
        stats.pace
    );
    (far_end::offsets(&flashes, &beeps), stats)
}

fn clip(dir: &tempfile::TempDir, audio: &str, mux: &str, rate_hz: u32) -> Option<PathBuf> {
    let path = dir.path().join("clip");
    match write_clip(&path, "x264enc bframes=2 key-int-max=25", audio, mux, rate_hz, 4) {
        Ok(()) => Some(path),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

fn rtsp(camera: &FlashCamera) -> Source {
    Source::Rtsp {
        url: camera.url(),
        sub_url: None,
        transport: RtspTransport::Tcp,
        user: None,
        password: None,
        tls_insecure: false,
        tls_ca: None,
    }
}

fn in_step(offsets: &[Span], least: usize, what: &str) {
    assert!(
        offsets.len() >= least,
        "{what}: {} flashes with a beep: {offsets:?}",
        offsets.len()
    );
    for offset in offsets {
        assert!(offset.abs() <= LIMIT, "{what}: {offset} in {offsets:?}");
    }
}

#[test]
fn a_file_is_in_step_whichever_clock_leads() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = clip(&dir, "mulawenc", "matroskamux", 8_000) else {
        return;
    };
    for master in [Master::Audio, Master::Video, Master::External] {
        let source = Source::File {
            path: path.clone(),
            repeat: false,
        };
        let (seen, stats) = offsets(source, master, |options| {
            if master == Master::External {
                options.begin = Some(SystemClock.sample().realtime + Span::from_secs(1));
            }
        });
        in_step(&seen, 4, &format!("{master:?}"));
        assert_eq!(
            stats.pace.shown + stats.pace.dropped,
            100,
            "{master:?}: {:?}",
            stats.pace
        );
    }
}

#[test]
fn a_camera_whose_sound_comes_later_than_its_pictures_is_in_step_by_capture_time() {
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let camera = FlashCamera::start(&FlashOptions::default(), clock).unwrap();
    let (seen, stats) = offsets(rtsp(&camera), Master::Audio, |_| {});
    // The first ones come before both streams had reports.
    in_step(&seen[seen.len().min(3)..], 3, "camera");
    let latency = stats.pace.latency.unwrap();
    assert!(
        latency > Span::from_millis(270),
        "as late as its sound: {latency}"
    );
}
