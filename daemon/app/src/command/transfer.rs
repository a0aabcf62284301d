//! `export-config` and `import-config`: a box's configuration with its calibrations, as one document.
//!
//! Secrets are left out: a configuration only refers to them, and the document says to which, so that they can be put on the
//! other box first. Stream keys of RTMP outputs are part of an address, and so of the document.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use synoptic_base::{Clock, ClockMap, StreamId};
use synoptic_vision::panorama::calibrate::CalibrationFile;

use super::secrets;
use super::set_config::{carry_out, confirm_within_s, window};
use super::trial::{Trials, Wish, revision};
use super::{Call, Command, Nothing, Running, failed, read};
use crate::config::{self, Config};
use crate::panorama::Desk;
use crate::web::PanoramaAdmin;

/// What the documents call themselves.
const FORMAT: &str = "synoptic-configuration";
/// Version of the document.
const VERSION: u32 = 1;

/// A box's configuration in one document.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// `synoptic-configuration`.
    format: String,
    /// 1.
    version: u32,
    /// When it was made.
    #[serde(default)]
    made_at: String,
    /// The box that it is of.
    #[serde(default)]
    device: String,
    /// Version of the daemon that made it.
    #[serde(default)]
    synoptic: String,
    /// Revision of the configuration.
    #[serde(default)]
    revision: String,
    /// The configuration file, as it is.
    configuration: String,
    /// The calibration in use of each panorama, by its id.
    #[serde(default)]
    calibrations: BTreeMap<String, String>,
    /// Secrets that the configuration refers to, and that are not here.
    #[serde(default)]
    secrets: Vec<Value>,
}

/// Writes configurations out and takes them in.
pub struct Transfer {
    /// The configuration file.
    pub trials: Arc<Trials>,
    /// Calibrations of panoramas.
    pub panoramas: Arc<Desk>,
    /// What runs.
    pub config: Arc<ArcSwap<Config>>,
    /// The box's clocks.
    pub clock: Arc<dyn Clock>,
    /// What the box knows of UTC.
    pub map: Arc<ArcSwap<ClockMap>>,
}

impl Transfer {
    /// The document of this box. Blocks shortly.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn export(&self) -> Result<Value, String> {
        let config = self.config.load_full();
        let text = self.trials.text()?;
        let mut calibrations = BTreeMap::new();
        for panorama in &config.panoramas {
            let library = self.panoramas.library(panorama.id);
            match library.newest() {
                Ok(Some(stored)) => {
                    let text = stored.file.to_text().map_err(|e| e.to_string())?;
                    calibrations.insert(panorama.id.to_string(), text);
                }
                Ok(None) => {}
                Err(error) => return Err(format!("panorama {}: {error:#}", panorama.id)),
            }
        }
        let references = secrets::references(&text);
        let document = Document {
            format: FORMAT.to_owned(),
            version: VERSION,
            made_at: self.map.load().utc(self.clock.now()).to_rfc3339(),
            device: config.device.id.to_string(),
            synoptic: env!("CARGO_PKG_VERSION").to_owned(),
            revision: revision(&text),
            configuration: text,
            calibrations,
            secrets: references.iter().map(|r| json!(r)).collect(),
        };
        serde_json::to_value(document).map_err(|e| e.to_string())
    }
}

/// Tells the configuration of the box.
pub struct ExportConfig(pub Arc<Transfer>);

impl Command for ExportConfig {
    fn name(&self) -> &'static str {
        "export-config"
    }

    fn run(&self, call: Call) -> Running {
        if let Err(error) = read::<Nothing>(call.args) {
            return failed(&error);
        }
        let transfer = self.0.clone();
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(move || transfer.export()).await;
            made.map_err(|e| format!("exporting ended badly: {e}"))?
        })
    }
}

/// Arguments of `import-config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// What `export-config` gave.
    document: Document,
    /// Seconds in which `confirm-config` must come, or the configuration of before is back; 0: it needs not.
    #[serde(default = "confirm_within_s")]
    #[schemars(range(max = 3_600))]
    confirm_within_s: u32,
    /// Whether the box keeps its own id, name and data folder, instead of taking the place of the other one.
    #[serde(default)]
    keep_device: bool,
}

/// Takes the configuration of another box, or of an earlier day.
pub struct ImportConfig(pub Arc<Transfer>);

impl Command for ImportConfig {
    fn name(&self) -> &'static str {
        "import-config"
    }

    fn run(&self, call: Call) -> Running {
        let transfer = self.0.clone();
        Box::pin(async move {
            let args = read::<Args>(call.args)?;
            let files = calibrations(&args.document)?;
            let wish = Wish {
                command: call.id.to_string(),
                text: text(&transfer.trials, &args)?,
                expected: None,
                window: window(args.confirm_within_s)?,
            };
            let done = carry_out(transfer.trials.clone(), wish, &call.progress).await?;
            // Only now: nothing of them has to be taken back.
            let installed = tokio::task::spawn_blocking(move || install(&transfer.panoramas, &files));
            let (versions, problems) = installed
                .await
                .map_err(|e| format!("importing ended badly: {e}"))?;
            Ok(json!({
                "revision": done.revision, "before": done.before, "plan": done.plan,
                "calibrations": versions, "problems": problems,
            }))
        })
    }

    fn resume(&self, interrupted: super::Interrupted) -> Running {
        let trials = self.0.trials.clone();
        Box::pin(async move {
            trials.ended(interrupted.id.as_str()).await?;
            Err("the configuration is in effect, but the daemon ended before the calibrations were written: import again".to_owned())
        })
    }
}

fn text(trials: &Trials, args: &Args) -> Result<String, String> {
    let document = &args.document;
    if document.format != FORMAT || document.version != VERSION {
        return Err(format!(
            "args: document: this daemon reads {FORMAT} {VERSION}, not {} {}",
            document.format, document.version
        ));
    }
    if !args.keep_device {
        return Ok(document.configuration.clone());
    }
    let own: toml::Table = trials
        .text()?
        .parse()
        .map_err(|_| format!("the configuration {} is no TOML", trials.path().display()))?;
    let own = |key: &str| {
        let text = own
            .get("device")
            .and_then(|d| d.get(key))
            .and_then(toml::Value::as_str);
        text.map_or(Value::Null, Value::from)
    };
    let patch: Map<String, Value> = [(
        "device".to_owned(),
        json!({ "id": own("id"), "name": own("name"), "data_dir": own("data_dir") }),
    )]
    .into_iter()
    .collect();
    config::merge(&document.configuration, &patch).map_err(|e| format!("args: document: {e}"))
}

/// Every calibration of the document, checked.
fn calibrations(document: &Document) -> Result<Vec<(StreamId, CalibrationFile)>, String> {
    let one = |(id, text): (&String, &String)| {
        let at = |e: String| format!("args: document: calibration of {id}: {e}");
        let stream = StreamId::new(id).map_err(|e| at(e.to_string()))?;
        let file = CalibrationFile::from_text(text).map_err(|e| at(e.to_string()))?;
        Ok((stream, file))
    };
    document.calibrations.iter().map(one).collect()
}

/// Puts calibrations into use, as the newest version each. The versions, and what went wrong.
fn install(
    desk: &Desk,
    files: &[(StreamId, CalibrationFile)],
) -> (BTreeMap<String, Option<u32>>, Vec<String>) {
    let (mut versions, mut problems) = (BTreeMap::new(), Vec::new());
    for (id, file) in files {
        let library = desk.library(*id);
        if let Err(error) = library.put_candidate(file, None) {
            problems.push(format!("calibration of {id}: {error:#}"));
            continue;
        }
        // A panorama that runs takes it at once; one that does not finds it when it starts.
        let version = match desk.accept(id) {
            Ok(doc) => doc.version,
            Err(_) => match library.accept() {
                Ok(version) => version,
                Err(error) => {
                    problems.push(format!("calibration of {id}: {error:#}"));
                    continue;
                }
            },
        };
        versions.insert(id.to_string(), version);
    }
    (versions, problems)
}
