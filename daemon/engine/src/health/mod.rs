//! Whether the box does what it is configured to do: the judgement before a new system is committed. Sans-IO.
//!
//! Terms: a *subject* is one thing that is judged (`camera left`, `group all`, `detector people`, `database`); a *finding* says
//! what is wrong with it. A camera *answers* when something at its address speaks its protocol (RTSP OPTIONS, a V4L2 query),
//! and *delivers* when its frames come.
//!
//! What counts is what a release can break. A camera that is switched off, away or refuses its password is the site's, and
//! so is the broker, which is not even asked about here. A camera that answers and gives no frames for [`PATIENCE`] is the
//! release's. The same patience holds for every subject, so that one that is only starting is *waited for*.

use std::collections::{BTreeMap, BTreeSet};

use synoptic_base::{Mono, Span};

#[cfg(test)]
mod tests;

/// What is wrong for longer than this counts against the release; until then it is waited for.
pub const PATIENCE: Span = Span::from_secs(60);

/// A camera that is switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CameraFacts {
    /// Its id.
    pub id: String,
    /// Its frames come.
    pub delivers: bool,
    /// It speaks its protocol. Only of interest where no frames come.
    pub answers: bool,
    /// What its connection says is wrong.
    pub reason: Option<String>,
}

/// Cameras that are aligned into packets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupFacts {
    /// Its id.
    pub id: String,
    /// Ids of its cameras.
    pub cameras: Vec<String>,
    /// Packets a second over the last window.
    pub packets_per_s: f64,
    /// Its packets hold fewer than two cameras (none, in a group of one).
    pub lost: bool,
}

/// A detector with a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetectorFacts {
    /// Its name.
    pub name: String,
    /// Ids of the cameras that it looks at.
    pub cameras: Vec<String>,
    /// Its model ran since the daemon started.
    pub ran: bool,
    /// What is said of its engine.
    pub reason: Option<String>,
}

/// The database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// Something was committed to it since the daemon started.
    pub written: bool,
    /// Why writing fails.
    pub error: Option<String>,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Cameras that are switched on.
    pub cameras: Vec<CameraFacts>,
    /// Groups, those of a single camera included.
    pub groups: Vec<GroupFacts>,
    /// Detectors with a model.
    pub detectors: Vec<DetectorFacts>,
    /// The database.
    pub database: DatabaseFacts,
}

/// The judgement of all findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing is wrong.
    Well,
    /// Something is wrong, but not for long enough to count.
    Waiting,
    /// Something is wrong.
    Unwell,
}

/// What is wrong with a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The subject: the same words as long as the configuration names it so.
    pub subject: String,
    /// What is wrong.
    pub reason: String,
    /// For how long, as far as was looked.
    pub lasts: Span,
}

impl Finding {
    /// Whether it is wrong for long enough to count.
    pub fn counts(&self) -> bool {
        self.lasts >= PATIENCE
    }

    /// In a sentence, with its subject.
    pub fn spoken(&self) -> String {
        format!(
            "{}: {} (for {} s)",
            self.subject,
            self.reason,
            self.lasts.as_nanos() / 1_000_000_000
        )
    }
}

/// The verdict on all findings.
pub fn verdict(findings: &[Finding]) -> Health {
    findings
        .iter()
        .map(|f| {
            if f.counts() {
                Health::Unwell
            } else {
                Health::Waiting
            }
        })
        .max()
        .unwrap_or(Health::Well)
}

/// Judges, and remembers since when each subject is not well. Who looks seldom hears late: a subject counts from the first
/// look on that found it wrong.
#[derive(Clone, Debug, Default)]
pub struct HealthWatch {
    since: BTreeMap<String, Mono>,
}

impl HealthWatch {
    /// All that is wrong now, by subject.
    pub fn judge(&mut self, now: Mono, facts: &Facts) -> Vec<Finding> {
        let wrong = wrong(facts);
        let subjects: BTreeSet<_> = wrong.iter().map(|(subject, _)| subject).collect();
        self.since.retain(|subject, _| subjects.contains(subject));
        wrong
            .iter()
            .map(|(subject, reason)| {
                let since = *self.since.entry(subject.clone()).or_insert(now);
                Finding {
                    subject: subject.clone(),
                    reason: reason.clone(),
                    lasts: now - since,
                }
            })
            .collect()
    }
}

/// Subject and reason of all that is wrong, whatever was before.
fn wrong(facts: &Facts) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let because = |reason: &Option<String>| reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
    for camera in facts.cameras.iter().filter(|c| c.answers && !c.delivers) {
        let reason = format!("it answers, but gives no frames{}", because(&camera.reason));
        found.push((format!("camera {}", camera.id), reason));
    }
    let delivering = |ids: &[String]| {
        let live = |id: &&String| facts.cameras.iter().any(|c| c.id == **id && c.delivers);
        ids.iter().filter(live).count()
    };
    for group in &facts.groups {
        let live = delivering(&group.cameras);
        let subject = format!("group {}", group.id);
        // Where no camera delivers, those that answer are findings of their own.
        if live > 0 && group.packets_per_s <= 0.0 {
            found.push((
                subject,
                format!("{live} of its cameras give frames, but no packets come of them"),
            ));
        } else if live > 1 && group.lost {
            found.push((
                subject,
                format!("{live} of its cameras give frames, but never share a packet"),
            ));
        }
    }
    for detector in &facts.detectors {
        if delivering(&detector.cameras) > 0 && !detector.ran {
            let reason = format!(
                "frames come, but its model has not run{}",
                because(&detector.reason)
            );
            found.push((format!("detector {}", detector.name), reason));
        }
    }
    if let Some(error) = &facts.database.error {
        found.push(("database".to_owned(), format!("it cannot be written: {error}")));
    } else if !facts.database.written {
        found.push(("database".to_owned(), "nothing was written to it yet".to_owned()));
    }
    found
}
