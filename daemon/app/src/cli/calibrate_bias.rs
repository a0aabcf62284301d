//! `synoptic calibrate-bias`: how late each camera's stamps are, from a light that all cameras of a group see.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::documents::BiasDoc;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The group whose cameras are measured.
    #[arg(short, long)]
    group: String,
    /// Seconds to watch.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(10..=300))]
    seconds: u32,
    /// Write what was measured into the configuration, if every camera could be measured.
    #[arg(long)]
    apply: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Address of the daemon's page; by default the first loopback address of the configuration.
    #[arg(long)]
    url: Option<String>,
}

pub(super) fn run(args: &Args, config: &Path) -> Result<ExitCode> {
    let base = super::packets::daemon_url(args.url.as_deref(), config)?;
    let url = format!("{base}/api/v1/groups/{}/capture-bias", args.group);
    if !args.json {
        println!(
            "Watching group {} for {} s: switch a light on and off that all its cameras see, once a second or slower.",
            args.group, args.seconds
        );
    }
    let body = serde_json::json!({"seconds": args.seconds, "apply": args.apply}).to_string();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(u64::from(args.seconds) + 30)))
        .http_status_as_error(false)
        .build()
        .into();
    let mut answer = agent
        .post(&url)
        .header("content-type", "application/json")
        .send(&body)
        .with_context(|| format!("asking {url}: does the daemon run?"))?;
    let text = answer.body_mut().read_to_string().context("reading the answer")?;
    if !answer.status().is_success() {
        // What is no problem document (a proxy's page, say) is told as it came.
        let problem = serde_json::from_str::<serde_json::Value>(&text).ok();
        let detail = problem
            .as_ref()
            .and_then(|p| p["detail"].as_str())
            .unwrap_or(&text);
        bail!("the daemon refused ({}): {detail}", answer.status());
    }
    let doc: BiasDoc = serde_json::from_str(&text).context("the daemon sent an unknown answer")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&doc)?);
    } else {
        println!("{}", render(&doc));
    }
    let measured = doc.cameras.iter().all(|c| c.problem.is_none());
    Ok(if measured {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn render(doc: &BiasDoc) -> String {
    let mut lines = vec![format!("Against {}:", doc.reference)];
    for c in &doc.cameras {
        lines.push(match (c.bias_ms, c.bias_error_ms) {
            _ if c.cam == doc.reference => {
                format!("  {}: the reference, {} flashes seen", c.cam, c.flashes)
            }
            (Some(bias), Some(error)) => format!(
                "  {}: capture_bias_ms = {bias}, capture_bias_error_ms = {error:.2} (was {} ± {}; {} of {} flashes agree)",
                c.cam,
                c.configured_ms,
                c.configured_error_ms,
                c.agreeing.unwrap_or(0),
                c.flashes
            ),
            _ => format!("  {}: {}", c.cam, c.problem.as_deref().unwrap_or("not measured")),
        });
    }
    lines.push(if doc.applied {
        "Written into the configuration.".to_owned()
    } else {
        "Nothing was written.".to_owned()
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::CameraBiasDoc;

    #[test]
    fn the_result_can_be_copied_into_a_configuration() {
        let line = |cam: &str, bias_ms: Option<f64>, problem: Option<&str>| CameraBiasDoc {
            cam: cam.to_owned(),
            flashes: 12,
            agreeing: bias_ms.map(|_| 11),
            configured_ms: 0.0,
            configured_error_ms: 40.0,
            bias_ms,
            bias_error_ms: bias_ms.map(|_| 6.5),
            problem: problem.map(str::to_owned),
        };
        let doc = BiasDoc {
            group: "main".to_owned(),
            reference: "a".to_owned(),
            seconds: 30.0,
            applied: false,
            cameras: vec![
                line("a", Some(0.0), None),
                line("b", Some(37.25), None),
                line("c", None, Some("only 1 flashes were seen")),
            ],
        };
        let text = render(&doc);
        assert!(
            text.contains("b: capture_bias_ms = 37.25, capture_bias_error_ms = 6.50 (was 0 ± 40; 11 of 12"),
            "{text}"
        );
        assert!(text.contains("c: only 1 flashes") && text.contains("Nothing was written"));
    }
}
