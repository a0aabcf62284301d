//! All commands of the daemon, put together.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use arc_swap::ArcSwap;
use synoptic_base::{BootId, Clock, ClockMap};
use synoptic_engine::command::BoxTime;

use super::link::WebCommands;
use super::{
    AtStart, ConfirmConfig, Desk, ExportConfig, FactoryReset, ImportConfig, Parts, Reboot, Restart, RunProbe,
    SetConfig, SupportBundle, Transfer, Trials, Update,
};
use crate::config::Config;
use crate::hub::Hub;
use crate::panorama;
use crate::update::Updater;

/// What the commands work on.
pub(crate) struct Setup {
    pub(crate) path: PathBuf,
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) map: Arc<ArcSwap<ClockMap>>,
    pub(crate) boot: BootId,
    pub(crate) panoramas: Arc<panorama::Desk>,
    pub(crate) updates: Arc<Updater>,
    /// One change of the configuration file at a time.
    pub(crate) editing: Arc<Mutex<()>>,
    /// What became of a configuration on trial.
    pub(crate) before: Option<AtStart>,
}

impl Setup {
    /// Starts the desk, within a tokio runtime.
    pub(crate) fn start(self) -> Result<Arc<WebCommands>> {
        let Setup {
            path,
            config,
            hub,
            clock,
            map,
            boot,
            ..
        } = self;
        let trials = Arc::new(Trials::new(
            path.clone(),
            hub.clone(),
            clock.clone(),
            boot.0,
            self.editing,
            self.before,
        ));
        let bundle = Arc::new(SupportBundle {
            path,
            config: config.clone(),
            hub: hub.clone(),
            clock: clock.clone(),
            map: map.clone(),
        });
        let transfer = Arc::new(Transfer {
            trials: trials.clone(),
            panoramas: self.panoramas,
            config: config.clone(),
            clock: clock.clone(),
            map: map.clone(),
        });
        let (box_clock, box_map) = (clock.clone(), map.clone());
        let time = move || {
            let map = box_map.load();
            BoxTime {
                utc: map.utc(box_clock.now()),
                synchronised: map.error.is_some(),
            }
        };
        let desk = Desk::start(Parts {
            data_dir: &config.load().device.data_dir,
            boot: boot.0,
            time: Arc::new(time),
            commands: vec![
                Arc::new(Restart::new(hub)),
                Arc::new(Reboot::default()),
                Arc::new(SetConfig::new(trials.clone())),
                Arc::new(ConfirmConfig::new(trials)),
                Arc::new(RunProbe::new(clock, map, config.clone())),
                bundle.command(),
                Arc::new(FactoryReset::new(config)),
                Arc::new(ExportConfig(transfer.clone())),
                Arc::new(ImportConfig(transfer.clone())),
                Arc::new(Update::new(self.updates)),
            ],
        })?;
        Ok(Arc::new(WebCommands {
            desk: Arc::new(desk),
            bundle,
            transfer,
        }))
    }
}
