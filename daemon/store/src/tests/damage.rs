//! Damaged files, backups and the check.

use std::os::unix::fs::FileExt as _;

use synoptic_base::EventChange;

use super::*;
use crate::check::{self, Finding, Severity};
use crate::{StoreError, backup};

async fn some_events(dir: &Path, count: usize) -> Vec<Event> {
    let store = open(dir).await.store;
    let events: Vec<_> = (0..count).map(|_| begin(cam("a"), "person")).collect();
    for event in &events {
        store.record(EventChange::Begin(event.clone()), vec![message("start")]);
        store.record(best(event, 1, vec![9; 30_000]), vec![]);
        store.record(end(event, 1), vec![message("end")]);
    }
    stored(&store, 3 * count as u64).await;
    store.close().await.unwrap();
    events
}

#[tokio::test]
async fn a_corrupt_database_is_set_aside_and_service_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    some_events(dir.path(), 20).await;
    let store = open(dir.path()).await.store;
    let epoch = store.next_epoch(cam("a"));
    store.close().await.unwrap();
    for (name, offset) in [
        ("events.sqlite", 0),
        ("events.sqlite", 5 * 8192),
        ("events.sqlite", 20),
        ("detections.sqlite", 100),
    ] {
        let file = std::fs::File::options()
            .write(true)
            .open(dir.path().join(name))
            .unwrap();
        file.write_all_at(&[0x5a; 3000], offset).unwrap();
        drop(file);
        let opened = open(dir.path()).await;
        assert_eq!(opened.quarantined.len(), 1, "{name} {offset}");
        let q = &opened.quarantined[0];
        assert_eq!(q.path, dir.path().join(name));
        assert!(q.moved_to.exists() && !q.why.is_empty(), "{q:?}");
        // Service goes on, and epochs are not given out again.
        let store = opened.store;
        assert!(store.next_epoch(cam("a")) > epoch);
        let event = begin(cam("a"), "person");
        store.record(EventChange::Begin(event.clone()), vec![message("start")]);
        stored(&store, 1).await;
        assert!(store.event(event.id).await.unwrap().is_some());
        store.close().await.unwrap();
        some_events(dir.path(), 20).await;
    }
    // Of many damaged copies only the newest stay.
    let kept = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|f| f.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|n| n.starts_with("events.sqlite.corrupt") && !n.ends_with("-wal") && !n.ends_with("-shm"))
        .count();
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn lost_epochs_and_lost_database_together_bring_no_epoch_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    for _ in 0..50 {
        store.next_epoch(cam("a"));
    }
    store.close().await.unwrap();
    std::fs::remove_file(dir.path().join("epochs.json")).unwrap();
    let store = open(dir.path()).await.store;
    assert!(store.next_epoch(cam("a")).0 > 50);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_newer_file_is_refused_only_if_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    some_events(dir.path(), 1).await;
    let set = |key: &str, value: i64| {
        let db = rusqlite::Connection::open(dir.path().join("events.sqlite")).unwrap();
        db.execute(
            "UPDATE meta SET value = ?2 WHERE key = ?1",
            (key, value.to_string()),
        )
        .unwrap();
        db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    };
    // One version ahead, additive: read and written all the same, also with a migration this program lacks.
    set("schema", 3);
    {
        let db = rusqlite::Connection::open(dir.path().join("events.sqlite")).unwrap();
        db.execute_batch(
            "ALTER TABLE events ADD COLUMN later INTEGER;
             INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (3, 'later', 1, x'00', 1)",
        )
        .unwrap();
    }
    let opened = open(dir.path()).await;
    assert_eq!(opened.quarantined, []);
    assert_eq!(
        opened
            .store
            .events(&crate::EventQuery::default())
            .await
            .unwrap()
            .events
            .len(),
        1
    );
    opened.store.close().await.unwrap();
    let report = check::run(dir.path()).unwrap();
    assert!(report.found.iter().any(|f| f.finding == Finding::NewerSchema(3)));

    set("min_reader", 3);
    let Err(refused) = Store::open(options(dir.path()), TestClock::shared()).await else {
        panic!("opened");
    };
    assert!(
        matches!(
            refused,
            StoreError::TooNew {
                schema: 3,
                min_reader: 3,
                known: 2,
                ..
            }
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("newer version"), "{refused}");
}

#[tokio::test]
async fn a_backup_taken_while_writing_opens_and_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let store = open(&live).await.store;
    store.next_epoch(cam("a"));
    let writing = store.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            if writing.stats().queue > 100 {
                std::thread::yield_now();
                continue;
            }
            let event = begin(cam("a"), "person");
            writing.record(EventChange::Begin(event.clone()), vec![message("start")]);
            writing.record(best(&event, 1, vec![9; 30_000]), vec![]);
            writing.record(end(&event, 1), vec![message("end")]);
        }
    });
    stored(&store, 300).await;
    let commits = store.stats().commits;
    for n in 0..3 {
        let to = dir.path().join(format!("backup{n}"));
        let from = live.clone();
        let target = to.clone();
        let report = tokio::task::spawn_blocking(move || backup::run(&from, &target))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(report.files.len(), 3);
        assert!(matches!(
            backup::run(&live, &to),
            Err(StoreError::TargetExists { .. })
        ));
    }
    until(&store, "writing to have gone on", |s| s.commits > commits).await;
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    store.close().await.unwrap();
    for n in 0..3 {
        let to = dir.path().join(format!("backup{n}"));
        let report = check::run(&to).unwrap();
        assert!(report.worst().is_none_or(|w| w == Severity::Note), "{report:?}");
        let opened = open(&to).await;
        assert_eq!(opened.quarantined, []);
        let outbox = opened.store.outbox(0, u32::MAX).await.unwrap();
        assert!(outbox.len() >= 200, "{}", outbox.len());
        opened.store.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_check_finds_what_is_planted() {
    let dir = tempfile::tempdir().unwrap();
    let events = some_events(dir.path(), 5).await;
    let clean = check::run(dir.path()).unwrap();
    assert_eq!(clean.found.len(), 1, "{clean:?}");
    assert_eq!(clean.found[0].finding, Finding::OutboxWaiting(10));

    let db = rusqlite::Connection::open(dir.path().join("events.sqlite")).unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let id = |n: usize| events[n].id.0.as_bytes().to_vec();
    db.execute("DELETE FROM events WHERE id = ?1", [id(0)]).unwrap();
    db.execute(
        "UPDATE event_pictures SET jpeg = x'00' WHERE event_id = ?1",
        [id(1)],
    )
    .unwrap();
    db.execute("UPDATE events SET ended_by = NULL WHERE id = ?1", [id(2)])
        .unwrap();
    db.execute("UPDATE events SET last_mono_ns = 0 WHERE id = ?1", [id(3)])
        .unwrap();
    db.execute("UPDATE events SET best_source = 'dream' WHERE id = ?1", [id(4)])
        .unwrap();
    db.execute("UPDATE outbox SET properties = '{' WHERE seq = 2", [])
        .unwrap();
    let old = Uuid::from_u128(1).as_bytes().to_vec();
    db.execute("UPDATE outbox SET id = ?1 WHERE seq = 4", [old])
        .unwrap();
    db.close().unwrap();
    let found: Vec<_> = check::run(dir.path())
        .unwrap()
        .found
        .into_iter()
        .map(|f| f.finding)
        .collect();
    for wanted in [
        Finding::ForeignKey {
            table: "event_pictures".into(),
            parent: "events".into(),
            rows: 1,
        },
        Finding::OrphanPictures(1),
        Finding::WrongPicture(events[1].id.0.simple().to_string()),
        Finding::OpenEvents(1),
        Finding::BadEvents {
            why: "end before they begin",
            rows: 1,
        },
        Finding::BadEvents {
            why: "have an unknown time source",
            rows: 1,
        },
        Finding::OutboxOrder(4),
    ] {
        assert!(found.contains(&wanted), "{wanted:?} is not in {found:#?}");
    }
    assert!(
        found.iter().any(|f| matches!(f, Finding::BadMessage(2, _))),
        "{found:#?}"
    );

    let file = std::fs::File::options()
        .write(true)
        .open(dir.path().join("events.sqlite"))
        .unwrap();
    file.write_all_at(&[0x5a; 3000], 6 * 8192).unwrap();
    let report = check::run(dir.path()).unwrap();
    assert_eq!(report.worst(), Some(Severity::Error));
}
