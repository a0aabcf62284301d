//! What goes in comes out.

use synoptic_base::{Detection, EndReason, Epoch, EventChange, FrameKey, MediaTime, Span};

use super::*;
use crate::{DetectionQuery, DetectionRow, EventQuery, StoreError};

#[tokio::test]
async fn an_event_from_begin_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let Opened {
        store,
        open_events,
        quarantined,
    } = open(dir.path()).await;
    assert!(open_events.is_empty() && quarantined.is_empty());
    let mut changed = store.outbox_changed();
    let event = begin(cam("front"), "person");
    store.put_clock_map(map());
    store.record(EventChange::Begin(event.clone()), vec![message("start")]);
    changed.wait_for(|seq| *seq == 1).await.unwrap();

    let row = store.event(event.id).await.unwrap().unwrap();
    assert_eq!(row.event, event);
    assert_eq!((row.boot_id, row.ended_by, row.changes), (BOOT, None, 1));
    assert_eq!(
        (&row.last, &row.best, row.end()),
        (&event.first, &event.first, None)
    );
    assert_eq!(row.picture, None);

    let jpeg = vec![0xff; 30_000];
    let better = best(&event, 200, jpeg.clone());
    let EventChange::Best { sighting: seen, .. } = better.clone() else {
        unreachable!()
    };
    store.record(better, vec![message("update")]);
    let ended = end(&event, 900);
    let EventChange::End { last, .. } = ended.clone() else {
        unreachable!()
    };
    store.record(ended, vec![message("end")]);
    changed.wait_for(|seq| *seq == 3).await.unwrap();

    let row = store.event(event.id).await.unwrap().unwrap();
    assert_eq!(
        (row.ended_by, row.sightings, row.changes),
        (Some(EndReason::Lost), 12, 3)
    );
    assert_eq!((row.end(), &row.best), (Some(&last), &seen));
    assert_eq!(row.picture.unwrap().bytes, 30_000);
    assert_eq!(store.picture(event.id).await.unwrap(), Some(jpeg));

    // The order of sending is the order of recording, and a row leaves when it is done.
    let waiting = store.outbox(0, 10).await.unwrap();
    let texts: Vec<_> = waiting
        .iter()
        .map(|r| String::from_utf8_lossy(&r.message.payload))
        .collect();
    assert_eq!(texts, ["start", "update", "end"]);
    assert_eq!(
        waiting[1].message.properties,
        [("type".to_owned(), "update".to_owned())]
    );
    assert!(waiting.iter().all(|r| r.event == event.id));
    store.outbox_done(vec![1, 2]);
    until(&store, "messages to leave", |s| s.outbox_rows == 1).await;
    assert_eq!(store.outbox(0, 10).await.unwrap(), waiting[2..]);
    assert_eq!(store.outbox(3, 10).await.unwrap(), []);
    store.close().await.unwrap();
}

#[tokio::test]
async fn repeated_changes_say_nothing_new() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let event = begin(cam("front"), "person");
    let messages = [message("start"), message("end")];
    for _ in 0..2 {
        store.record(EventChange::Begin(event.clone()), vec![messages[0].clone()]);
        store.record(end(&event, 5), vec![messages[1].clone()]);
    }
    store.record(best(&event, 9, vec![1]), vec![message("late")]);
    until(&store, "all to be handled", |s| s.changes + s.ignored == 5).await;
    assert_eq!((store.stats().changes, store.stats().outbox_rows), (2, 2));
    assert_eq!(store.picture(event.id).await.unwrap(), None);
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_end_without_its_begin_still_tells_the_world() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let event = begin(cam("front"), "person");
    store.record(best(&event, 1, vec![1, 2, 3]), vec![message("update")]);
    store.record(end(&event, 5), vec![message("end")]);
    stored(&store, 2).await;
    assert_eq!(store.outbox(0, 10).await.unwrap().len(), 2);
    assert_eq!(store.event(event.id).await.unwrap(), None);
    store.close().await.unwrap();
}

#[tokio::test]
async fn queries_filter_and_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let mut events = Vec::new();
    for n in 0..25 {
        let mut event = begin(
            cam(if n % 2 == 0 { "a" } else { "b" }),
            if n % 5 == 0 { "dog" } else { "person" },
        );
        event.first.stamp.utc = Utc::from_nanos(0) + Span::from_secs(n);
        store.record(EventChange::Begin(event.clone()), vec![]);
        if n < 20 {
            store.record(end(&event, 5), vec![]);
        }
        events.push(event);
    }
    stored(&store, 45).await;
    let newest_first: Vec<_> = events.iter().rev().map(|e| e.id).collect();

    let mut query = EventQuery {
        limit: 10,
        ..EventQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.events(&query).await.unwrap();
        assert!(page.events.len() <= 10);
        seen.extend(page.events.iter().map(|e| e.event.id));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, newest_first);

    let count = async |q: EventQuery| store.events(&q).await.unwrap().events.len();
    let all = EventQuery::default();
    assert_eq!(
        count(EventQuery {
            stream: Some(cam("b")),
            ..all.clone()
        })
        .await,
        12
    );
    assert_eq!(
        count(EventQuery {
            label: Some("dog".into()),
            ..all.clone()
        })
        .await,
        5
    );
    assert_eq!(
        count(EventQuery {
            open_only: true,
            ..all.clone()
        })
        .await,
        5
    );
    let second = |n: i64| Some(Utc::from_nanos(n * 1_000_000_000));
    assert_eq!(
        count(EventQuery {
            from: second(3),
            to: second(7),
            ..all.clone()
        })
        .await,
        4
    );
    assert_eq!(
        count(EventQuery {
            to: second(7),
            stream: Some(cam("a")),
            ..all.clone()
        })
        .await,
        4
    );
    let bad = EventQuery {
        cursor: Some("x' OR 1".into()),
        ..all
    };
    assert!(matches!(store.events(&bad).await, Err(StoreError::Cursor(_))));
    store.close().await.unwrap();
}

#[tokio::test]
async fn detections_are_kept_by_frame() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let row = |stream: &str, ms: i64| {
        let seen = sighting(cam(stream), ms);
        DetectionRow {
            frame: seen.frame,
            captured: seen.captured,
            stamp: seen.stamp,
            map_version: 3,
            detector: "motion".into(),
            detections: vec![Detection {
                bbox: BBox::new(0.5, 0.25, f32::NAN, 0.1),
                label: "person".into(),
                score: 0.5,
            }],
        }
    };
    let rows: Vec<_> = (0..300).map(|n| row("a", n * 40)).collect();
    for r in &rows {
        store.record_detections(r.clone());
    }
    store.record_detections(row("b", 1));
    until(&store, "detections to be stored", |s| s.detections == 301).await;

    let mut query = DetectionQuery {
        stream: cam("a"),
        after: None,
        from: None,
        to: None,
        limit: 200,
    };
    let page = store.detections(&query).await.unwrap();
    assert_eq!(page.len(), 200);
    assert_eq!(page[0].frame, rows[0].frame);
    assert_eq!(page[0].detections[0].bbox, BBox::new(0.5, 0.25, 0.0, 0.1));
    query.after = Some(page[199].frame);
    assert_eq!(store.detections(&query).await.unwrap().len(), 100);
    query.after = None;
    query.from = Some(rows[10].stamp.utc);
    query.to = Some(rows[12].stamp.utc);
    assert_eq!(store.detections(&query).await.unwrap().len(), 2);
    assert_eq!(store.detections_of(rows[7].frame).await.unwrap().len(), 1);
    let other = FrameKey {
        epoch: Epoch(6),
        media_us: MediaTime::from_micros(0),
        ..rows[0].frame
    };
    assert_eq!(store.detections_of(other).await.unwrap(), []);
    store.close().await.unwrap();
}

#[tokio::test]
async fn closing_writes_what_waits_and_only_one_process_may_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    assert!(matches!(
        Store::open(options(dir.path()), TestClock::shared()).await,
        Err(StoreError::InUse { .. })
    ));
    let event = begin(cam("a"), "person");
    store.record(EventChange::Begin(event.clone()), vec![message("start")]);
    let other = store.clone();
    store.close().await.unwrap();
    other.record(end(&event, 1), vec![]);
    assert_eq!(other.stats().lost, 1);
    drop(other);

    let opened = open(dir.path()).await;
    assert_eq!(opened.open_events.len(), 1);
    assert_eq!(opened.open_events[0].event, event);
    opened.store.close().await.unwrap();
}
