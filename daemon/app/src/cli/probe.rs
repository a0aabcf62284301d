//! `synoptic probe`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use synoptic_base::{Rotation, Span};
use synoptic_media::clocks::{self, SystemClock};
use synoptic_media::session::SessionOptions;

use crate::box_clock::BoxClock;
use crate::documents::ProbeDoc;
use crate::probe;

use super::source::SourceArgs;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Seconds to look.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Save the last picture as JPEG.
    #[arg(long)]
    picture: Option<std::path::PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    synoptic_media::init().map_err(|e| anyhow!(e))?;
    let clock: Arc<dyn synoptic_base::Clock> = SystemClock::shared();
    let map = BoxClock::new(clock.clone(), clocks::boot_id().context("reading the boot id")?).map();
    let source = args.source.source()?;
    let capture_bias_error = probe::unmeasured_bias(&source);
    let options = SessionOptions {
        source,
        rotation: Rotation::None,
        capture_bias: Span::ZERO,
        capture_bias_error,
    };
    let doc = probe::probe(&options, &clock, &map, Span::from_secs(i64::from(args.seconds)));
    if let (Some(path), Some(picture)) = (&args.picture, &doc.picture_base64) {
        std::fs::write(path, STANDARD.decode(picture)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&doc)?);
    } else {
        show(&doc);
    }
    Ok(if doc.usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(doc: &ProbeDoc) {
    println!("{}\n", doc.source);
    if doc.codec.is_none() {
        println!("{}", doc.verdict);
        return;
    }
    let row = |name: &str, value: Option<String>| {
        println!("  {name:<16}{}", value.unwrap_or_else(|| "-".to_owned()));
    };
    let size = doc.width.zip(doc.height).map(|(w, h)| format!("{w}x{h}"));
    let rate = |fps: Option<f64>| fps.map(|f| format!("{f:.2} frames/s"));
    row("codec", doc.codec.clone());
    row("size", size);
    row("declared", rate(doc.fps_declared));
    row("delivered", rate(doc.fps_delivered));
    row("GOP", doc.gop.map(|g| format!("{g} frames")));
    row(
        "B pictures",
        doc.b_frames.map(|b| if b { "yes" } else { "no" }.to_owned()),
    );
    row("sender reports", Some(doc.sender_reports.to_string()));
    row("clock offset", doc.clock_offset_ms.map(|o| format!("{o:+.1} ms")));
    let doctor = doc.doctor.as_ref();
    let grade = |d: &crate::documents::DoctorDoc| {
        let spread = d
            .report_spread_ms
            .map_or(String::new(), |s| format!(", within {s:.1} ms"));
        Some(format!("{}{spread}", d.grade.as_ref()?))
    };
    row("report grade", doctor.and_then(grade));
    row("time source", doc.time_source.clone());
    println!("\n{}", doc.verdict);
    for finding in &doc.findings {
        println!("  * {finding}");
    }
}
