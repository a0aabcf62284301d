//! `set-config` and `confirm-config`: the whole configuration, checked, applied, and taken back unless it is confirmed.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use synoptic_base::Span;

use super::trial::{Applied, Trials, Wish};
use super::{Call, Command, Interrupted, Progress, Running, failed, read};
use crate::config;

/// Longest time to confirm, in seconds.
const MAX_CONFIRM_S: u32 = 3_600;

/// Arguments of `set-config`: exactly one of `toml` and `merge`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// The whole configuration file.
    toml: Option<String>,
    /// What to change in the file (RFC 7396): an object for a table, `null` to remove a key, anything else in its place; a list
    /// is replaced as a whole.
    merge: Option<Map<String, Value>>,
    /// Seconds in which `confirm-config` must come, or the configuration of before is back; 0: it needs not.
    #[serde(default = "confirm_within_s")]
    #[schemars(range(max = 3_600))]
    pub(super) confirm_within_s: u32,
    /// Revision that the file must have now; refused when it is another one.
    expect_revision: Option<String>,
}

pub(super) fn confirm_within_s() -> u32 {
    60
}

/// The time to confirm as the trial takes it.
pub(super) fn window(seconds: u32) -> Result<Option<Span>, String> {
    match seconds {
        0 => Ok(None),
        1..=MAX_CONFIRM_S => Ok(Some(Span::from_secs(i64::from(seconds)))),
        more => Err(format!(
            "args: confirm_within_s: {more} is more than {MAX_CONFIRM_S}"
        )),
    }
}

/// Changes the configuration.
pub struct SetConfig {
    trials: Arc<Trials>,
}

impl SetConfig {
    /// Of the file behind `trials`.
    pub fn new(trials: Arc<Trials>) -> SetConfig {
        SetConfig { trials }
    }
}

fn wish(trials: &Trials, command: String, args: Args) -> Result<Wish, String> {
    let window = window(args.confirm_within_s)?;
    let text = match (args.toml, args.merge) {
        (Some(text), None) => text,
        (None, Some(patch)) => {
            config::merge(&trials.text()?, &patch).map_err(|e| format!("args: merge: {e}"))?
        }
        _ => return Err("args: write either `toml` or `merge`".to_owned()),
    };
    Ok(Wish {
        command,
        text,
        expected: args.expect_revision,
        window,
    })
}

/// Applies a wish and waits for its confirmation.
pub(super) async fn carry_out(
    trials: Arc<Trials>,
    wish: Wish,
    progress: &Progress,
) -> Result<Applied, String> {
    let (desk, asked) = (trials.clone(), wish.clone());
    let applied = tokio::task::spawn_blocking(move || desk.apply(&asked)).await;
    let applied = applied.map_err(|e| format!("writing the configuration ended badly: {e}"))??;
    if applied.on_trial {
        let seconds = wish.window.map_or(0.0, Span::as_secs_f64);
        let text = format!(
            "in effect; confirm revision {} within {seconds} s",
            applied.revision
        );
        progress.tell(text, None);
        trials.ended(&wish.command).await?;
    }
    Ok(applied)
}

impl Command for SetConfig {
    fn name(&self) -> &'static str {
        "set-config"
    }

    fn run(&self, call: Call) -> Running {
        let trials = self.trials.clone();
        Box::pin(async move {
            let args = read::<Args>(call.args)?;
            let wish = wish(&trials, call.id.to_string(), args)?;
            let done = carry_out(trials, wish, &call.progress).await?;
            Ok(json!({ "revision": done.revision, "before": done.before, "plan": done.plan }))
        })
    }

    fn resume(&self, interrupted: Interrupted) -> Running {
        let trials = self.trials.clone();
        Box::pin(async move {
            let revision = trials.ended(interrupted.id.as_str()).await?;
            Ok(json!({ "revision": revision }))
        })
    }
}

/// Arguments of `confirm-config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmArgs {
    /// The revision that `set-config` told.
    revision: String,
}

/// Keeps a configuration that is on trial.
pub struct ConfirmConfig {
    trials: Arc<Trials>,
}

impl ConfirmConfig {
    /// Of the file behind `trials`.
    pub fn new(trials: Arc<Trials>) -> ConfirmConfig {
        ConfirmConfig { trials }
    }
}

impl Command for ConfirmConfig {
    fn name(&self) -> &'static str {
        "confirm-config"
    }

    fn run(&self, call: Call) -> Running {
        let revision = match read::<ConfirmArgs>(call.args) {
            Ok(args) => args.revision,
            Err(error) => return failed(&error),
        };
        let trials = self.trials.clone();
        Box::pin(async move {
            trials.confirm(&revision)?;
            Ok(json!({ "revision": revision }))
        })
    }
}
