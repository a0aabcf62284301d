//! What was wrong before an update: a camera that was silent already, a model that was missing, are not the new version's.
//!
//! Noted when the updater begins to write a slot, read by whichever version judges, and gone when the update is over. An
//! installation by hand (`rauc install`) notes nothing: then everything counts.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use synoptic_engine::health::Finding;
use tokio::sync::watch;

use super::HealthDesk;
use crate::config::write_atomically;
use crate::update::{UpdateDoc, UpdatePhase};

/// Its name in the updater's folder.
pub(super) const FILE: &str = "health-before.json";

#[derive(Serialize, Deserialize)]
struct Note {
    /// Subjects that were not well.
    subjects: BTreeSet<String>,
}

/// Subjects that are excused.
pub(super) fn read(path: &Path) -> BTreeSet<String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        Err(error) => {
            log::warn!(
                "health: {} cannot be read: {error}; everything counts",
                path.display()
            );
            return BTreeSet::new();
        }
    };
    match serde_json::from_slice::<Note>(&text) {
        Ok(note) => note.subjects,
        Err(error) => {
            log::warn!(
                "health: {} is damaged ({error}); everything counts",
                path.display()
            );
            BTreeSet::new()
        }
    }
}

impl HealthDesk {
    async fn note(&self) {
        let Some(findings) = self.findings().await else {
            return;
        };
        let subjects: BTreeSet<_> = findings.into_iter().map(|f: Finding| f.subject).collect();
        if !subjects.is_empty() {
            log::warn!("health: not well before the update, and no reason to go back: {subjects:?}");
        }
        let path = self.before.clone();
        let written = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_vec(&Note { subjects }).map_err(|e| e.to_string())?;
            write_atomically(&path, &text, 0o600).map_err(|e| e.to_string())
        });
        if let Ok(Err(error)) = written.await {
            log::error!("health: what is wrong before the update cannot be noted: {error}");
        }
    }

    fn forget(&self) {
        match std::fs::remove_file(&self.before) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::error!("health: {} cannot be removed: {error}", self.before.display());
            }
            _ => {}
        }
    }
}

/// Notes what is wrong at each installation, until the updater ends.
pub(crate) async fn remember(desk: Arc<HealthDesk>, mut updates: watch::Receiver<Arc<UpdateDoc>>) {
    let mut last = None;
    loop {
        let state = updates.borrow_and_update().state;
        if last != Some(state) {
            match state {
                // One that is followed after a restart of the daemon was noted when it began.
                UpdatePhase::Installing if !desk.before.exists() => desk.note().await,
                UpdatePhase::Idle
                | UpdatePhase::Checking
                | UpdatePhase::Committed
                | UpdatePhase::RolledBack
                | UpdatePhase::Failed => desk.forget(),
                _ => {}
            }
            last = Some(state);
        }
        if updates.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::CameraState;
    use crate::health::HealthState;
    use crate::hub::Hub;
    use crate::mqtt::samples;
    use crate::mqtt::test_broker::within;
    use crate::update::Updater;
    use synoptic_base::{Clock, Span};
    use synoptic_media::clocks::SystemClock;

    async fn phase(tell: &watch::Sender<Arc<UpdateDoc>>, state: UpdatePhase, there: bool, path: &Path) {
        tell.send_modify(|doc| Arc::make_mut(doc).state = state);
        within(&format!("{state:?}"), async {
            let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
            while path.exists() != there {
                look.tick().await;
            }
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_wrong_before_is_excused_until_the_update_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let (hub, _commands) = Hub::new();
        let clock = SystemClock::shared();
        let mut status = samples::status(&["left", "right"]);
        status.groups[0].packets_per_s = 0.0;
        hub.status.send_replace(Some(Arc::new(status.clone())));
        let mut once = synoptic_base::Durations::default();
        once.add(Span::from_millis(1));
        hub.stages.set("store", once);
        let desk = Arc::new(HealthDesk::new(
            hub.clone(),
            clock.clone(),
            Arc::new(Vec::new),
            dir.path(),
        ));
        let path = dir.path().join(FILE);
        let now: Arc<dyn Clock> = clock;
        let updater = Updater::nowhere(dir.path(), &now).unwrap();
        let tell = watch::Sender::new(updater.watch().borrow().clone());
        let task = tokio::spawn(remember(desk.clone(), tell.subscribe()));
        let doc = desk.look().await.unwrap();
        assert_eq!(
            (doc.state, doc.findings.len()),
            (HealthState::Waiting, 1),
            "{doc:?}"
        );
        assert!(doc.reason.contains("no packets come"), "{}", doc.reason);
        phase(&tell, UpdatePhase::Installing, true, &path).await;
        let doc = desk.look().await.unwrap();
        assert_eq!((doc.state, doc.excused.len()), (HealthState::Well, 1), "{doc:?}");
        // What is wrong besides counts.
        status.storage.error = Some("disk I/O error".into());
        status.cameras[0].status.state = CameraState::Offline;
        hub.status.send_replace(Some(Arc::new(status)));
        let doc = desk.look().await.unwrap();
        assert_eq!(doc.findings.len(), 1, "{doc:?}");
        assert_eq!(doc.findings[0].subject, "database");
        tell.send_modify(|doc| Arc::make_mut(doc).state = UpdatePhase::Verifying);
        phase(&tell, UpdatePhase::RolledBack, false, &path).await;
        assert_eq!(desk.look().await.unwrap().findings.len(), 2);
        drop(tell);
        within("its end", task).await.unwrap();
    }
}
