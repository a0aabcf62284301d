//! `synoptic play`

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use synoptic_base::{Rotation, Span, Utc};
use synoptic_engine::pacing::Master;
use synoptic_media::Source;
use synoptic_media::clocks::SystemClock;
use synoptic_media::play::{self, PlayOptions, PlayStats, Sink};
use synoptic_media::session::SessionOptions;

use super::keys::Keys;
use super::source::SourceArgs;

/// Latency of cameras on UTC: two boxes that show one camera have to agree on it.
const UTC_DELAY_MS: u32 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sync {
    /// Pictures follow the sound.
    Audio,
    /// Sound follows the pictures.
    Video,
    /// Both follow UTC: boxes with synchronised clocks show the same instant.
    Utc,
}

/// Keys: p or space pauses, q ends, arrows seek in files (10 s, 60 s).
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Which clock leads.
    #[arg(long, value_enum, default_value = "audio")]
    sync: Sync,
    /// Cameras: milliseconds from capture to screen. As little as possible where not given, 500 with `--sync utc`.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    delay: Option<u32>,
    /// Files with `--sync utc`: when their begin is shown, RFC 3339. Boxes that are given the same show the same.
    #[arg(long, value_name = "UTC")]
    start: Option<String>,
    /// Where pictures go: a GStreamer sink (autovideosink, kmssink, fakesink) or a description of several elements.
    #[arg(long, default_value = "autovideosink")]
    sink: String,
    /// Where sound goes.
    #[arg(long, default_value = "autoaudiosink", conflicts_with = "no_audio")]
    audio_sink: String,
    /// No sound.
    #[arg(long)]
    no_audio: bool,
    /// Once a second: A-V difference, drops, repeats, rate.
    #[arg(long)]
    stats: bool,
    /// End after so many pictures.
    #[arg(long)]
    frames: Option<u64>,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u32>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    synoptic_media::init().map_err(|e| anyhow!(e))?;
    let options = options(args)?;
    let clock = SystemClock::shared();
    let (keys, commands) = Keys::read();
    let mut tell = |stats: &PlayStats| {
        if args.stats {
            print(&line(stats));
        }
    };
    let played = play::play(&options, &clock, &commands, &mut tell);
    drop(keys);
    let stats = played?;
    if args.stats {
        println!();
    }
    if stats.pace.shown == 0 {
        bail!("{} showed no picture", options.session.source.shown());
    }
    Ok(ExitCode::SUCCESS)
}

fn options(args: &Args) -> Result<PlayOptions> {
    let source = args.source.source()?;
    let file = matches!(source, Source::File { .. });
    let begin = match (&args.start, args.sync, file) {
        (None, Sync::Utc, true) => {
            bail!("--sync utc plays a file from a moment on: give --start, such as 2026-12-31T23:59:50Z")
        }
        (Some(_), sync, file) if sync != Sync::Utc || !file => bail!("--start is for files with --sync utc"),
        (Some(text), ..) => Some(
            Utc::from_rfc3339(text)
                .ok_or_else(|| anyhow!("--start {text} is no RFC 3339 time, such as 2026-12-31T23:59:50Z"))?,
        ),
        (None, ..) => None,
    };
    let delay = args.delay.or((args.sync == Sync::Utc).then_some(UTC_DELAY_MS));
    Ok(PlayOptions {
        session: SessionOptions {
            source,
            rotation: Rotation::None,
            capture_bias: Span::ZERO,
            capture_bias_error: Span::ZERO,
        },
        master: match args.sync {
            Sync::Audio => Master::Audio,
            Sync::Video => Master::Video,
            Sync::Utc => Master::External,
        },
        latency: delay.map(|ms| Span::from_millis(i64::from(ms))),
        begin,
        video: Sink::Named(args.sink.clone()),
        audio: (!args.no_audio).then(|| Sink::Named(args.audio_sink.clone())),
        frames: args.frames,
        length: args.seconds.map(|s| Span::from_secs(i64::from(s))),
    })
}

/// One line, written over the one before where a person looks.
fn print(line: &str) {
    let mut out = std::io::stdout();
    let (before, after) = if out.is_terminal() {
        ("\r\x1b[K", "")
    } else {
        ("", "\n")
    };
    // Whoever closed the pipe does not want to read on.
    let _ = write!(out, "{before}{line}{after}").and_then(|()| out.flush());
}

fn line(stats: &PlayStats) -> String {
    let pace = &stats.pace;
    let ms = |span: Option<Span>| span.map_or("-".to_owned(), |s| format!("{:.1}", s.as_millis_f64()));
    let mut text = format!(
        "{:.1} s  {} frames/s  A-V {} ms (p95 {})  shown {}  dropped {}  repeated {}",
        stats.position.as_secs_f64(),
        stats.rate.map_or("-".to_owned(), |r| format!("{r:.2}")),
        ms(pace.av),
        ms(stats.difference(0.95)),
        pace.shown,
        pace.dropped + pace.overflowed,
        pace.repeated,
    );
    if let Some(latency) = pace.latency {
        text += &format!("  latency {latency}");
    }
    if pace.skipped > 0 {
        text += &format!("  sound lost {}", pace.skipped);
    }
    if let Some(ppm) = pace.device_ppm {
        text += &format!("  device {ppm:+.0} ppm");
    }
    text
}
