//! Flash and beep through `synoptic play`, and through a box and out of it again by HLS, HTTP-FLV and RTSP: sound minus picture
//! at the far end, by what is seen and heard there (files: as ffmpeg decodes them).
//! `make bench NAME=av`.

use std::sync::Arc;

use serde_json::{Value, json};
use synoptic_base::{Clock, Rotation, Span};
use synoptic_engine::pacing::Master;
use synoptic_media::clocks::SystemClock;
use synoptic_media::play::{PlayOptions, Sink, play};
use synoptic_media::session::SessionOptions;
use synoptic_media::{RtspTransport, Source};
use synoptic_sim::flash::{FlashCamera, FlashOptions, far_end, write_clip};
use synoptic_sim::flash_box::{FlashBox, offsets_by_ffmpeg};
use synoptic_sim::scenario::percentile;

/// Length of each run: a flash a second.
const SECONDS: u32 = 30;
/// Flashes of a camera before both of its streams have reports.
const FIRST: usize = 3;
const LIMIT_MS: f64 = 10.0;

/// Cameras by their sound, and what makes it.
const CAMERAS: [(&str, &str, u32); 3] = [
    ("G.711", "alawenc ! rtppcmapay name=pay1 pt=8", 8_000),
    (
        "AAC",
        "audioconvert ! avenc_aac ! aacparse ! rtpmp4gpay name=pay1 pt=97",
        44_100,
    ),
    ("Opus", "opusenc ! rtpopuspay name=pay1 pt=98", 48_000),
];
/// Samples that FFmpeg's AAC encoder puts before the first one; these cameras allow for it.
const AAC_PRIMING: i64 = 1_024;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    synoptic_media::init()?;
    let mut rows = Vec::new();
    let folder = std::env::temp_dir().join(format!("synoptic-av-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for (name, audio, mux, rate_hz) in [
        ("mp4 AAC", "avenc_aac", "mp4mux", 44_100),
        ("mkv Opus", "opusenc", "matroskamux", 48_000),
        ("mkv MP3", "lamemp3enc", "matroskamux", 44_100),
        ("mkv G.711", "mulawenc", "matroskamux", 8_000),
    ] {
        let path = folder.join("clip");
        if let Err(error) = write_clip(
            &path,
            "x264enc bframes=2 key-int-max=25",
            audio,
            mux,
            rate_hz,
            SECONDS,
        ) {
            eprintln!("SKIPPED {name}: {error}");
            continue;
        }
        let masters = [(Master::Audio, "audio"), (Master::Video, "video")];
        for (master, leads) in masters.into_iter().take(if name == "mp4 AAC" { 2 } else { 1 }) {
            let source = Source::File {
                path: path.clone(),
                repeat: false,
            };
            measure(
                &mut rows,
                &format!("file {name}, {leads} master"),
                source,
                master,
                0,
            )?;
        }
    }
    std::fs::remove_dir_all(&folder)?;
    for (name, audio, rate_hz) in CAMERAS {
        for (master, leads) in [(Master::Audio, "audio"), (Master::External, "capture time")] {
            let options = camera(audio, rate_hz);
            let camera = FlashCamera::start(&options, SystemClock::shared())?;
            let source = Source::Rtsp {
                url: camera.url(),
                sub_url: None,
                transport: RtspTransport::Tcp,
                user: None,
                password: None,
                tls_insecure: false,
                tls_ca: None,
            };
            let what = format!("RTSP {name}, sound 220 ms later than pictures, {leads} master");
            measure(&mut rows, &what, source, master, FIRST)?;
        }
    }
    for (name, audio, rate_hz) in CAMERAS {
        out_of_the_box(&mut rows, name, audio, rate_hz)?;
    }
    let text = serde_json::to_string_pretty(&rows)?;
    match std::env::var_os("BENCH_OUT") {
        Some(path) => std::fs::write(path, text)?,
        None => println!("{text}"),
    }
    Ok(())
}

fn camera(audio: &str, rate_hz: u32) -> FlashOptions {
    let priming = if audio.contains("avenc_aac") {
        AAC_PRIMING
    } else {
        0
    };
    FlashOptions {
        audio: audio.to_owned(),
        rate_hz,
        priming: Span::from_nanos(priming * 1_000_000_000 / i64::from(rate_hz)),
        ..FlashOptions::default()
    }
}

/// A camera through the box, and out of it in each way.
fn out_of_the_box(rows: &mut Vec<Value>, name: &str, audio: &str, rate_hz: u32) -> Result<(), Error> {
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let options = camera(audio, rate_hz);
    let this = FlashBox::start(&options, &clock)?;
    let folder = tempfile::tempdir()?;
    let length = Span::from_secs(i64::from(SECONDS));
    let (hls, flv) = (folder.path().join("hls.mp4"), folder.path().join("a.flv"));
    this.record_hls(&hls, length)?;
    this.record_flv(&flv, length)?;
    for (way, file) in [("HLS", hls), ("HTTP-FLV", flv)] {
        let what = format!("camera with {name}, out by {way}");
        record(rows, &what, &offsets_by_ffmpeg(&file)?)?;
    }
    let (_server, url) = this.serve()?;
    let source = Source::Rtsp {
        url,
        sub_url: None,
        transport: RtspTransport::Tcp,
        user: None,
        password: None,
        tls_insecure: false,
        tls_ca: None,
    };
    let what = format!("camera with {name}, out by RTSP");
    measure(rows, &what, source, Master::External, FIRST)
}

/// The rows of one way: magnitudes of the offsets.
fn record(rows: &mut Vec<Value>, what: &str, offsets: &[Span]) -> Result<(), Error> {
    if offsets.len() < SECONDS as usize / 2 {
        return Err(format!("{what}: only {} flashes had a beep", offsets.len()).into());
    }
    let mut magnitudes: Vec<Span> = offsets.iter().map(|o| o.abs()).collect();
    let mut signed = offsets.to_vec();
    for (metric, value, target) in [
        ("A-V at the far end p50", percentile(&mut magnitudes, 0.5), None),
        (
            "A-V at the far end p95",
            percentile(&mut magnitudes, 0.95),
            Some(LIMIT_MS),
        ),
        ("sound after picture, median", percentile(&mut signed, 0.5), None),
    ] {
        rows.push(json!({
            "metric": format!("{what}: {metric}"), "value": value.as_millis_f64(), "unit": "ms", "better": "lower",
            "target": target, "baseline": null, "baseline_name": null,
        }));
    }
    Ok(())
}

fn measure(
    rows: &mut Vec<Value>,
    what: &str,
    source: Source,
    master: Master,
    first: usize,
) -> Result<(), Error> {
    let (screen, flashes) = far_end::screen();
    let (speaker, beeps) = far_end::speaker();
    let options = PlayOptions {
        session: SessionOptions {
            source,
            rotation: Rotation::None,
            capture_bias: Span::ZERO,
            capture_bias_error: Span::ZERO,
        },
        master,
        latency: (master == Master::External).then_some(Span::from_millis(500)),
        begin: None,
        video: Sink::Element(screen),
        audio: Some(Sink::Element(speaker)),
        frames: None,
        length: Some(Span::from_secs(i64::from(SECONDS))),
    };
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let stats = play(&options, &clock, &crossbeam_channel::never(), &mut |_| {})?;
    let offsets = far_end::offsets(&flashes, &beeps);
    let offsets = offsets.get(first..).unwrap_or(&[]);
    if offsets.len() < SECONDS as usize / 2 {
        return Err(format!("{what}: only {} flashes had a beep", offsets.len()).into());
    }
    let mut magnitudes: Vec<Span> = offsets.iter().map(|o| o.abs()).collect();
    let mut row = |metric: &str, value: f64, unit: &str, target: Option<f64>| {
        rows.push(json!({
            "metric": format!("{what}: {metric}"), "value": value, "unit": unit, "better": "lower", "target": target,
            "baseline": null, "baseline_name": null,
        }));
    };
    row(
        "A-V at the far end p50",
        percentile(&mut magnitudes, 0.5).as_millis_f64(),
        "ms",
        None,
    );
    row(
        "A-V at the far end p95",
        percentile(&mut magnitudes, 0.95).as_millis_f64(),
        "ms",
        Some(LIMIT_MS),
    );
    row(
        "dropped",
        (stats.pace.dropped + stats.pace.overflowed) as f64,
        "frames",
        None,
    );
    row("repeated", stats.pace.repeated as f64, "frames", None);
    Ok(())
}
