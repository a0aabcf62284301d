//! Whether the box does what it is configured to do: what `synoptic_engine::health` judges is measured here, for the health
//! gate that commits an update (systemd/box/lib/synoptic-health-gate) and for who watches boxes.
//!
//! * `facts` reads the status document; `answers` asks silent cameras whether they are there.
//! * `before` remembers what was wrong when an update was installed: that is not the new version's.

mod answers;
mod before;
mod facts;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use synoptic_base::Clock;
use synoptic_engine::health::{Finding, HealthWatch, verdict};
use synoptic_media::Source;
use utoipa::ToSchema;

use crate::config::Config;
use crate::hub::Hub;

pub(crate) use before::remember;

/// Cameras by id, with their sources.
pub type Sources = Arc<dyn Fn() -> Vec<(String, Source)> + Send + Sync>;

/// Those of a configuration that are switched on.
pub(crate) fn sources(config: &Config) -> Vec<(String, Source)> {
    let enabled = config.cameras.iter().filter(|c| c.enabled);
    enabled
        .map(|c| (c.options.id.to_string(), c.options.source.clone()))
        .collect()
}

/// How the box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Cameras that answer give frames, their packets come, models run, the database is written.
    Well,
    /// Something is not so, for less than 60 s.
    Waiting,
    /// Something is not so for longer.
    Unwell,
}

impl HealthState {
    /// The word of the document.
    pub fn name(self) -> &'static str {
        match self {
            HealthState::Well => "well",
            HealthState::Waiting => "waiting",
            HealthState::Unwell => "unwell",
        }
    }
}

impl From<synoptic_engine::health::Health> for HealthState {
    fn from(health: synoptic_engine::health::Health) -> HealthState {
        match health {
            synoptic_engine::health::Health::Well => HealthState::Well,
            synoptic_engine::health::Health::Waiting => HealthState::Waiting,
            synoptic_engine::health::Health::Unwell => HealthState::Unwell,
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct FindingDoc {
    /// `camera ID`, `group ID`, `detector NAME`, `database`.
    pub subject: String,
    /// What is wrong.
    pub reason: String,
    /// For how long, counted from the first look that found it.
    pub lasts_s: f64,
}

impl From<&Finding> for FindingDoc {
    fn from(finding: &Finding) -> FindingDoc {
        FindingDoc {
            subject: finding.subject.clone(),
            reason: finding.reason.clone(),
            lasts_s: (finding.lasts.as_secs_f64() * 10.0).round() / 10.0,
        }
    }
}

/// `GET /api/v1/health`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct HealthDoc {
    /// In a word.
    pub state: HealthState,
    /// In sentences; empty when all is well.
    pub reason: String,
    /// What is wrong and counts.
    pub findings: Vec<FindingDoc>,
    /// What is wrong and was already when the update that is on trial was installed: it does not count.
    pub excused: Vec<FindingDoc>,
}

/// Looks at the box when somebody asks.
pub struct HealthDesk {
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
    sources: Sources,
    watch: Mutex<HealthWatch>,
    /// What was wrong before the update on trial.
    before: PathBuf,
}

impl HealthDesk {
    /// Of the daemon with this hub and these cameras, which remembers what was wrong in `folder`.
    pub fn new(
        hub: Arc<Hub>,
        clock: Arc<dyn Clock>,
        sources: Sources,
        folder: &std::path::Path,
    ) -> HealthDesk {
        HealthDesk {
            hub,
            clock,
            sources,
            watch: Mutex::default(),
            before: folder.join(before::FILE),
        }
    }

    /// That of a daemon without cameras to ask, for shows of the page.
    pub fn nowhere(hub: &Arc<Hub>, clock: &Arc<dyn Clock>, folder: &std::path::Path) -> Arc<HealthDesk> {
        let desk = HealthDesk::new(hub.clone(), clock.clone(), Arc::new(Vec::new), folder);
        Arc::new(desk)
    }

    /// How the box is now; `None` while the daemon has no status yet. Takes as long as a silent camera does to answer, 2 s at
    /// most.
    pub async fn look(&self) -> Option<HealthDoc> {
        let found = self.findings().await?;
        let excuses = before::read(&self.before);
        let (excused, findings): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|f| excuses.contains(&f.subject));
        Some(HealthDoc {
            state: verdict(&findings).into(),
            reason: findings
                .iter()
                .map(Finding::spoken)
                .collect::<Vec<_>>()
                .join("; "),
            findings: findings.iter().map(FindingDoc::from).collect(),
            excused: excused.iter().map(FindingDoc::from).collect(),
        })
    }

    async fn findings(&self) -> Option<Vec<Finding>> {
        let status = self.hub.status.borrow().clone()?;
        let silent: BTreeSet<&str> = facts::silent(&status).collect();
        let sources = (self.sources)();
        let asked = sources.into_iter().filter(|(id, _)| silent.contains(id.as_str()));
        let answering = answers::of(asked).await;
        let facts = facts::of(&status, &self.hub.stages.snapshot(), &answering);
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        Some(watch.judge(self.clock.now(), &facts))
    }
}
