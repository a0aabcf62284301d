//! `run-probe`: what a camera really sends, asked from afar.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::Deserialize;
use synoptic_base::{Clock, ClockMap, Rotation, Span};
use synoptic_media::Source;
use synoptic_media::session::SessionOptions;

use super::{Call, Command, Running, failed, read};
use crate::config::{self, Config};
use crate::probe;

/// Arguments of `run-probe`: exactly one of `url` and `camera`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// An address in the network, without user and password; of cameras that ask for them take `camera`.
    url: Option<String>,
    /// A camera of the configuration, with its own user and password.
    camera: Option<String>,
    /// Seconds to look once pictures come.
    #[serde(default = "seconds")]
    #[schemars(range(min = 1, max = 60))]
    seconds: u16,
}

fn seconds() -> u16 {
    8
}

/// Looks at what a camera sends.
pub struct RunProbe {
    clock: Arc<dyn Clock>,
    map: Arc<ArcSwap<ClockMap>>,
    config: Arc<ArcSwap<Config>>,
}

impl RunProbe {
    /// With the box's clocks and cameras.
    pub fn new(clock: Arc<dyn Clock>, map: Arc<ArcSwap<ClockMap>>, config: Arc<ArcSwap<Config>>) -> RunProbe {
        RunProbe { clock, map, config }
    }

    fn options(&self, args: &Args) -> Result<SessionOptions, String> {
        if !(1..=60).contains(&args.seconds) {
            return Err(format!("args: seconds: {} is not 1 to 60", args.seconds));
        }
        let source = match (&args.url, &args.camera) {
            (Some(url), None) => {
                let source =
                    config::parse_source(url, Path::new("/")).map_err(|e| format!("args: url: {e}"))?;
                // A requester far away is not to look at the box's files.
                if matches!(source, Source::File { .. }) {
                    return Err("args: url: a file of the box is not probed from afar".to_owned());
                }
                source
            }
            (None, Some(camera)) => {
                let config = self.config.load();
                let known = config.cameras.iter().find(|c| c.options.id.as_str() == camera);
                let known = known.ok_or_else(|| format!("args: camera: there is no camera `{camera}`"))?;
                known.options.source.clone()
            }
            _ => return Err("args: write either `url` or `camera`".to_owned()),
        };
        Ok(SessionOptions {
            capture_bias_error: probe::unmeasured_bias(&source),
            source,
            rotation: Rotation::None,
            capture_bias: Span::ZERO,
        })
    }
}

impl Command for RunProbe {
    fn name(&self) -> &'static str {
        "run-probe"
    }

    fn run(&self, call: Call) -> Running {
        let asked = read::<Args>(call.args).and_then(|args| Ok((self.options(&args)?, args.seconds)));
        let (options, seconds) = match asked {
            Ok(asked) => asked,
            Err(error) => return failed(&error),
        };
        let (clock, map) = (self.clock.clone(), **self.map.load());
        call.progress
            .tell(format!("looking at {}", options.source.shown()), None);
        Box::pin(async move {
            let duration = Span::from_secs(i64::from(seconds));
            let looking = move || probe::probe(&options, &clock, &map, duration);
            let doc = tokio::task::spawn_blocking(looking).await;
            let mut doc = doc.map_err(|e| format!("the probe ended badly: {e}"))?;
            // Too large for a message; the page shows pictures.
            doc.picture_base64 = None;
            serde_json::to_value(doc).map_err(|e| format!("its verdict cannot be written: {e}"))
        })
    }
}
