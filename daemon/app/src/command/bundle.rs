//! `support-bundle`: what somebody far away needs to see, in one file and without secrets.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::Arc;

use arc_swap::ArcSwap;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use synoptic_base::{Clock, ClockMap};
use synoptic_store::check;

use super::{Call, Command, Nothing, Running, failed, read, scrub, secrets};
use crate::config::{self, Config};
use crate::hub::Hub;

/// Folder in the data folder.
const FOLDER: &str = "support";
/// Bundles that are kept; the oldest goes.
const KEPT: usize = 3;
/// Lines of the journal.
const LINES: &str = "3000";
/// A larger database is not read through for a bundle, in bytes: it takes minutes.
const CHECKED: u64 = 2 << 30;
/// Files of the system that tell how it is.
const SYSTEM: [&str; 7] = [
    "/etc/os-release",
    "/proc/version",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/mounts",
    "/proc/net/dev",
];

/// Makes and keeps bundles.
pub struct SupportBundle {
    /// The configuration file.
    pub path: PathBuf,
    /// What runs.
    pub config: Arc<ArcSwap<Config>>,
    /// The live state.
    pub hub: Arc<Hub>,
    /// The box's clocks.
    pub clock: Arc<dyn Clock>,
    /// What the box knows of UTC.
    pub map: Arc<ArcSwap<ClockMap>>,
}

/// The command that makes one.
pub(super) struct MakeBundle(pub(super) Arc<SupportBundle>);

impl SupportBundle {
    /// The command that makes one.
    pub fn command(self: &Arc<SupportBundle>) -> Arc<dyn Command> {
        Arc::new(MakeBundle(self.clone()))
    }

    fn folder(&self) -> PathBuf {
        self.config.load().device.data_dir.join(FOLDER)
    }

    /// The newest bundle, if there is one.
    pub fn newest(&self) -> Option<PathBuf> {
        bundles(&self.folder()).pop()
    }

    /// Makes one. Blocks for some seconds.
    ///
    /// # Errors
    /// When it cannot be written. What cannot be gathered is said in it.
    pub(super) fn make(&self) -> io::Result<PathBuf> {
        let config = self.config.load_full();
        // First: secrets that are not known cannot be hidden.
        let written = std::fs::read_to_string(&self.path).map_err(|e| {
            let path = self.path.display();
            io::Error::new(
                e.kind(),
                format!("{path} cannot be read, so its secrets could not be hidden: {e}"),
            )
        })?;
        let folder = self.folder();
        std::fs::create_dir_all(&folder)?;
        let utc = self.map.load().utc(self.clock.now()).to_rfc3339();
        let stamp: String = utc[..19].chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let name = format!("synoptic-support-{}-{stamp}Z", config.device.id);
        let path = folder.join(format!("{name}.tar.gz"));
        // Readable for us only, from its first moment on.
        let mut file = tempfile::Builder::new().prefix(".").tempfile_in(&folder)?;
        let mut archive = tar::Builder::new(GzEncoder::new(file.as_file_mut(), Compression::default()));
        for (entry, text) in self.gather(&config, &written, &utc) {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header
                .set_mtime((self.map.load().utc(self.clock.now()).as_nanos() / 1_000_000_000).max(0) as u64);
            archive.append_data(&mut header, format!("{name}/{entry}"), text.as_bytes())?;
        }
        archive.into_inner()?.finish()?.flush()?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|e| e.error)?;
        let old = bundles(&folder);
        for old in &old[..old.len().saturating_sub(KEPT)] {
            std::fs::remove_file(old)?;
        }
        Ok(path)
    }

    /// Every file of it, without secrets: those that `text`, the configuration as it is written, names or holds.
    fn gather(&self, config: &Config, text: &str, utc: &str) -> Vec<(&'static str, String)> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let secrets = secrets::all(text, folder, &config.device.data_dir);
        let document = |value: &Value| scrub::scrub(&format!("{value:#}\n"), &secrets);
        let map = **self.map.load();
        let about = json!({
            "made_at": utc, "version": env!("CARGO_PKG_VERSION"), "device": config.device.id.to_string(),
            "model": crate::service::hardware_model(), "boot_id": map.boot_id.0.to_string(),
        });
        let sample = self.clock.sample();
        let clock = json!({
            "synchronised": map.error.is_some(), "error_ns": map.error.map(synoptic_base::Span::as_nanos),
            "map_version": map.version, "utc_minus_mono_ns": map.utc_minus_mono.as_nanos(),
            "mono_ns": sample.mono.as_nanos(), "realtime": sample.realtime.to_rfc3339(),
            "utc": map.utc(sample.mono).to_rfc3339(),
        });
        let status = self.hub.status.borrow().clone();
        let status = match status.map(|doc| serde_json::to_value(&*doc)) {
            Some(Ok(doc)) => doc,
            Some(Err(error)) => json!({ "error": error.to_string() }),
            None => json!({ "error": "the daemon is still starting" }),
        };
        let data_dir = &config.device.data_dir;
        vec![
            ("about.json", document(&about)),
            ("clock.json", document(&clock)),
            (
                "chrony.txt",
                run("chronyc", &["-n", "tracking"]) + &run("chronyc", &["-n", "sources"]),
            ),
            (
                "configuration.toml",
                scrub::scrub(&config::masked(text), &secrets),
            ),
            ("status.json", document(&status)),
            ("commands.json", document(&commands(data_dir))),
            ("database.txt", scrub::scrub(&database(data_dir), &secrets)),
            ("files.txt", scrub::scrub(&files(data_dir), &secrets)),
            ("system.txt", scrub::scrub_log(&system(), &secrets)),
            ("journal.txt", scrub::scrub_log(&journal(), &secrets)),
        ]
    }
}

impl Command for MakeBundle {
    fn name(&self) -> &'static str {
        "support-bundle"
    }

    fn run(&self, call: Call) -> Running {
        if let Err(error) = read::<Nothing>(call.args) {
            return failed(&error);
        }
        let bundle = self.0.clone();
        call.progress.tell("gathering", None);
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(move || {
                let path = bundle.make()?;
                let bytes = std::fs::read(&path)?;
                let digest: String = Sha256::digest(&bytes)
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect();
                let name = path
                    .file_name()
                    .unwrap_or_default() // read as a file just now: it has a name
                    .to_string_lossy()
                    .into_owned();
                io::Result::Ok(json!({
                    "file": name, "bytes": bytes.len(), "sha256": digest, "url": "/api/v1/support-bundle",
                }))
            });
            match made.await {
                Ok(Ok(result)) => Ok(result),
                Ok(Err(error)) => Err(format!("the bundle cannot be written: {error}")),
                Err(error) => Err(format!("the bundle ended badly: {error}")),
            }
        })
    }
}

/// Oldest first: their names hold their time.
fn bundles(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .map(|e| e.path())
        .filter(|p| p.to_string_lossy().ends_with(".tar.gz"))
        .collect();
    found.sort_by_key(|p| {
        let modified = std::fs::metadata(p).and_then(|m| m.modified()).ok();
        (modified, p.clone())
    });
    found
}

/// What a program says; or that it cannot be asked.
fn run(program: &str, args: &[&str]) -> String {
    let output = Program::new(program).args(args).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => format!(
            "{program}: {}: {}\n",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ),
        Err(error) => format!("{program}: {error}\n"),
    }
}

fn journal() -> String {
    let unit = ["--unit", "synoptic.service", "--lines", LINES];
    let shape = ["--no-pager", "--quiet", "--output", "short-iso-precise"];
    let text = run("journalctl", &[unit, shape].concat());
    if text.is_empty() {
        // The daemon's user may read it where it is in the group systemd-journal.
        return "the journal has no lines of synoptic.service that the daemon may read\n".to_owned();
    }
    text
}

fn system() -> String {
    let mut out = String::new();
    for path in SYSTEM {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| format!("{e}\n"));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "== {path}\n{text}");
    }
    out
}

fn database(data_dir: &Path) -> String {
    let entries = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    let bytes: u64 = entries
        .filter(|e| e.file_name().to_string_lossy().contains(".sqlite"))
        .filter_map(|e| Some(e.metadata().ok()?.len()))
        .sum();
    if bytes > CHECKED {
        return format!("not checked: {bytes} bytes take too long; run `synoptic db check`\n");
    }
    match check::run(data_dir) {
        Ok(report) => {
            let mut out = format!("{bytes} bytes checked\n");
            for found in &report.found {
                // Writing to a String cannot fail; nor below.
                let _ = writeln!(out, "{}: {}", found.file, found.finding);
            }
            let worst = report.worst();
            let _ = writeln!(out, "worst: {worst:?}");
            out
        }
        Err(error) => format!("{error}\n"),
    }
}

/// Names and sizes, not contents.
fn files(data_dir: &Path) -> String {
    let mut out = String::new();
    let mut list = |folder: &Path| {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                // Writing to a String cannot fail; nor below.
                let _ = writeln!(out, "{}: {error}", folder.display());
                return;
            }
        };
        let mut lines: Vec<_> = entries
            .flatten() // gone while it was listed
            .map(|e| {
                let size = e.metadata().map_or(0, |m| m.len());
                format!("{size:>12} {}", e.path().display())
            })
            .collect();
        lines.sort();
        let _ = writeln!(out, "{}", lines.join("\n"));
    };
    list(data_dir);
    list(&data_dir.join("models"));
    list(&data_dir.join("panoramas"));
    out
}

/// What was asked of the box, without what came of it.
fn commands(data_dir: &Path) -> Value {
    let entries = std::fs::read_dir(data_dir.join("commands"))
        .into_iter()
        .flatten()
        .flatten();
    let mut all: Vec<Value> = entries
        .filter_map(|e| serde_json::from_slice(&std::fs::read(e.path()).ok()?).ok())
        .map(|mut record: Value| {
            if let Some(fields) = record.as_object_mut() {
                fields.remove("result");
            }
            record
        })
        .collect();
    all.sort_by_key(|record| record["number"].as_u64());
    Value::Array(all)
}
