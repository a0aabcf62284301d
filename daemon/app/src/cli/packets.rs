//! `synoptic packets`: the running daemon's packets, one line each.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::documents::PacketLine;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Go on until stopped; without it, one packet of each group is shown.
    #[arg(short, long)]
    follow: bool,
    /// Only of this group.
    #[arg(short, long)]
    group: Option<String>,
    /// Print each packet as JSON.
    #[arg(long)]
    json: bool,
    /// Address of the daemon's page; by default the first loopback address of the configuration.
    #[arg(long)]
    url: Option<String>,
}

/// Address of the running daemon's page.
pub(super) fn daemon_url(given: Option<&str>, config: &Path) -> Result<String> {
    if let Some(url) = given {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let config = super::load(config)?;
    let Some(address) = config.web.listen.iter().find(|a| a.ip().is_loopback()) else {
        bail!("the configuration has no loopback address in web.listen; give the daemon's with --url");
    };
    Ok(format!("http://{address}"))
}

pub(super) fn run(args: &Args, config: &Path) -> Result<ExitCode> {
    let base = daemon_url(args.url.as_deref(), config)?;
    let url = format!("{base}/api/v1/live?packets=all");
    let answer = ureq::get(&url)
        .call()
        .with_context(|| format!("asking {url}: does the daemon run?"))?;
    let mut shown: Vec<String> = Vec::new();
    let mut out = std::io::stdout().lock();
    let mut event = String::new();
    for line in BufReader::new(answer.into_body().into_reader()).lines() {
        let line = line.context("the daemon broke off")?;
        if let Some(name) = line.strip_prefix("event:") {
            event = name.trim().to_owned();
        }
        let Some(data) = line.strip_prefix("data:").filter(|_| event == "packet") else {
            continue;
        };
        let packet: PacketLine = serde_json::from_str(data).context("the daemon sent an unknown packet")?;
        if args.group.as_ref().is_some_and(|g| *g != packet.group) {
            continue;
        }
        if !args.follow && shown.contains(&packet.group) {
            return Ok(ExitCode::SUCCESS);
        }
        let text = if args.json {
            data.trim().to_owned()
        } else {
            render(&packet)
        };
        if writeln!(out, "{text}").is_err() {
            return Ok(ExitCode::SUCCESS); // the reader of a pipe has had enough
        }
        shown.push(packet.group);
        shown.dedup();
    }
    bail!("the daemon ended")
}

/// `2026-11-21T10:00:00.250001Z main #17  spread 12.3 ms  cam1 okay I +0.0 ±15.0 sender_report  cam2 dropped`
fn render(packet: &PacketLine) -> String {
    let mut text = format!(
        "{} {} #{}  spread {:.1} ms",
        packet.utc, packet.group, packet.id, packet.spread_ms
    );
    for slot in &packet.slots {
        text += &format!("  {} {}", slot.cam, slot.status);
        if let (Some(capture), Some(phase), Some(kind)) = (&slot.capture, slot.phase_ms, &slot.kind) {
            text += &format!(
                " {kind} {phase:+.1} ±{:.1} {}",
                capture.rel_error_ms, capture.source
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{Capture, PacketSlot};

    #[test]
    fn one_line_says_instant_spread_status_and_stamp() {
        let capture = Capture {
            utc: "2026-11-21T10:00:00.250001Z".to_owned(),
            error_ms: None,
            rel_error_ms: 15.0,
            source: "sender_report".to_owned(),
        };
        let okay = PacketSlot {
            cam: "a".to_owned(),
            status: "okay".to_owned(),
            frame: Some("a/1/0".to_owned()),
            kind: Some("I".to_owned()),
            capture: Some(capture),
            phase_ms: Some(-6.15),
        };
        let dropped = PacketSlot {
            cam: "b".to_owned(),
            status: "dropped".to_owned(),
            frame: None,
            kind: None,
            capture: None,
            phase_ms: None,
        };
        let packet = PacketLine {
            group: "main".to_owned(),
            id: 17,
            utc: "2026-11-21T10:00:00.256151Z".to_owned(),
            spread_ms: 12.3,
            slots: vec![okay, dropped],
        };
        assert_eq!(
            render(&packet),
            "2026-11-21T10:00:00.256151Z main #17  spread 12.3 ms  a okay I -6.2 ±15.0 sender_report  b dropped"
        );
    }
}
