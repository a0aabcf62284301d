//! A disk that is full, and has room again.

use synoptic_base::EventChange;

use super::*;

/// SQLite's own limit on a file stands in for a full disk: the error is the same.
#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    store.limit_pages_for_test(40);
    let picture = vec![3; 30_000];
    let events: Vec<_> = (0..100).map(|_| begin(cam("a"), "person")).collect();
    for event in &events {
        store.record(EventChange::Begin(event.clone()), vec![message("start")]);
        store.record(best(event, 1, picture.clone()), vec![]);
        store.record(end(event, 1), vec![message("end")]);
    }
    until(&store, "the disk to be full", |s| s.last_error.is_some()).await;
    let why = store.stats().last_error.unwrap();
    assert!(why.contains("full"), "{why}");
    // Readers go on meanwhile.
    store.events(&crate::EventQuery::default()).await.unwrap();

    store.limit_pages_for_test(1 << 30);
    stored(&store, 300).await;
    let stats = store.stats();
    assert_eq!(
        (stats.changes, stats.lost, stats.ignored, stats.refused),
        (300, 0, 0, 0)
    );
    assert_eq!(stats.last_error, None);
    assert_eq!(store.outbox(0, 1000).await.unwrap().len(), 200);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_stop_while_the_disk_is_full_keeps_the_rest_for_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    store.limit_pages_for_test(40);
    let count = 600;
    let events: Vec<_> = (0..count).map(|_| begin(cam("a"), "person")).collect();
    for (n, event) in events.iter().enumerate() {
        store.record(
            EventChange::Begin(event.clone()),
            vec![message(&format!("{n} start"))],
        );
        store.record(best(event, 1, vec![4; 5_000]), vec![]);
        store.record(end(event, 1), vec![message(&format!("{n} end"))]);
    }
    until(&store, "the disk to be full", |s| s.last_error.is_some()).await;
    store.close().await.unwrap();

    let opened = open(dir.path()).await;
    assert!(opened.open_events.is_empty(), "all had their end in the spill");
    let rows = opened.store.outbox(0, 10_000).await.unwrap();
    let texts: Vec<_> = rows
        .iter()
        .map(|r| String::from_utf8_lossy(&r.message.payload))
        .collect();
    let wanted: Vec<_> = (0..count)
        .flat_map(|n| [format!("{n} start"), format!("{n} end")])
        .collect();
    assert_eq!(texts, wanted);
    opened.store.close().await.unwrap();
}
