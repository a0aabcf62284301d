//! System events: stored with their messages, listed among the others, removed with age.

use synoptic_base::{Outage, Restamp, SystemChange, SystemEvent};

use super::*;
use crate::{AnyEventRow, EventQuery, TRACK};

fn system(stream: Option<&str>, change: SystemChange) -> SystemEvent {
    let at = Mono::from_nanos(read(ClockId::CLOCK_MONOTONIC));
    SystemEvent {
        id: EventId(Uuid::now_v7()),
        stream: stream.map(cam),
        at,
        utc: map().utc(at),
        error: map().error,
        map_version: 3,
        change,
        untold: 2,
    }
}

fn offline() -> SystemEvent {
    system(
        Some("a"),
        SystemChange::CameraOffline {
            outage: Outage::Stalled,
            reason: Some("no frame for 3 s".to_owned()),
        },
    )
}

async fn ids(store: &Store, q: EventQuery) -> Vec<EventId> {
    let page = store.any_events(&q).await.unwrap();
    page.events.iter().map(AnyEventRow::id).collect()
}

#[tokio::test]
async fn a_system_event_comes_back_with_its_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let event = offline();
    store.record(EventChange::System(event.clone()), vec![message("gone")]);
    store.record(EventChange::System(event.clone()), vec![message("again")]);
    until(&store, "both changes", |s| s.changes + s.ignored == 2).await;
    let Some(AnyEventRow::System(row)) = store.any_event(event.id).await.unwrap() else {
        panic!("no system event");
    };
    assert_eq!((row.event, row.boot_id), (event.clone(), BOOT));
    let outbox = store.outbox(0, 9).await.unwrap();
    assert_eq!(outbox.len(), 1, "one event, one message");
    assert_eq!(
        (outbox[0].event, &*outbox[0].message.payload),
        (event.id, &b"gone"[..])
    );
    assert_eq!(store.event(event.id).await.unwrap(), None);
    store.close().await.unwrap();
    assert_eq!(
        crate::check::run(dir.path()).unwrap().worst(),
        Some(crate::check::Severity::Note)
    );
}

#[tokio::test]
async fn both_kinds_are_one_list_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let step = SystemChange::BoxClockStep {
        step: Span::from_secs(3),
    };
    let mut all = Vec::new();
    for round in 0..9 {
        let change = match round % 3 {
            0 => EventChange::Begin(begin(cam("a"), "person")),
            1 => EventChange::System(offline()),
            _ => EventChange::System(system(None, step.clone())),
        };
        all.push(change.event());
        store.record(change, vec![]);
    }
    stored(&store, 9).await;
    all.reverse();
    let mut query = EventQuery {
        limit: 2,
        ..EventQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.any_events(&query).await.unwrap();
        assert!(page.events.len() <= 2);
        seen.extend(page.events.iter().map(AnyEventRow::id));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, all);
    let of = |kind: &str, stream: Option<&str>| EventQuery {
        kind: Some(kind.to_owned()),
        stream: stream.map(cam),
        ..EventQuery::default()
    };
    assert_eq!(ids(&store, of(TRACK, None)).await, [all[2], all[5], all[8]]);
    assert_eq!(
        ids(&store, of("box_clock_step", None)).await,
        [all[0], all[3], all[6]]
    );
    assert_eq!(ids(&store, of("box_clock_step", Some("a"))).await, []);
    assert_eq!(ids(&store, of("camera_offline", Some("a"))).await.len(), 3);
    let person = EventQuery {
        label: Some("person".to_owned()),
        ..EventQuery::default()
    };
    assert_eq!(ids(&store, person).await, [all[2], all[5], all[8]]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_system_event_survives_the_spill_and_goes_with_age() {
    let entry = crate::entry::Entry::new(BOOT, EventChange::System(offline()), vec![message("gone")]);
    assert_eq!(
        crate::entry::Entry::decode(&entry.encode().unwrap()).unwrap(),
        entry
    );

    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::shared();
    let store = Store::open(options(dir.path()), clock.clone())
        .await
        .unwrap()
        .store;
    let waiting = offline();
    store.record(EventChange::System(offline()), vec![]);
    store.record(EventChange::System(waiting.clone()), vec![message("gone")]);
    stored(&store, 2).await;
    store.close().await.unwrap();
    clock.advance_utc(Span::from_secs(31 * 86_400));
    let store = Store::open(options(dir.path()), clock).await.unwrap().store;
    until(&store, "the old one to go", |s| s.events_removed == 1).await;
    assert_eq!(
        ids(&store, EventQuery::default()).await,
        [waiting.id],
        "its message waits"
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_of_schema_1_is_brought_up_and_read_before_that() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let event = begin(cam("a"), "person");
    store.record(EventChange::Begin(event.clone()), vec![]);
    stored(&store, 1).await;
    store.close().await.unwrap();
    let db = rusqlite::Connection::open(dir.path().join("events.sqlite")).unwrap();
    db.execute_batch(
        "DROP TABLE system_events; ALTER TABLE clock_maps DROP COLUMN mono_ns; UPDATE meta SET value = '1' WHERE key = 'schema';
         DELETE FROM _sqlx_migrations WHERE version > 1",
    )
    .unwrap();
    drop(db);
    let reader = crate::Reader::open(dir.path()).unwrap();
    let page = reader.any_events(&EventQuery::default()).await.unwrap();
    assert_eq!(page.events.len(), 1);
    drop(reader);
    let store = open(dir.path()).await.store;
    let later = offline();
    store.record(EventChange::System(later.clone()), vec![]);
    stored(&store, 1).await;
    assert_eq!(ids(&store, EventQuery::default()).await, [later.id, event.id]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_event_of_before_the_box_knew_the_time_gets_it_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let unknown = ClockMap {
        version: 1,
        utc_minus_mono: Span::ZERO,
        error: None,
        ..map()
    };
    let mut event = begin(cam("a"), "person");
    event.first.map_version = 1;
    event.first.stamp = unknown.stamp(event.first.captured);
    store.put_clock_map(unknown);
    store.record(EventChange::Begin(event.clone()), vec![]);
    stored(&store, 1).await;
    let row = store.event(event.id).await.unwrap().unwrap();
    assert_eq!(row.restamped(&row.event.first), None);
    let known = map();
    store.put_clock_map(known);
    let other = begin(cam("a"), "person");
    store.record(EventChange::Begin(other.clone()), vec![]);
    stored(&store, 2).await;
    let row = store.event(event.id).await.unwrap().unwrap();
    assert_eq!(row.event, event, "what was recorded stays");
    let (better, _) = row.restamped(&row.event.first).unwrap();
    assert_eq!(better.utc, known.utc(event.first.captured.mono));
    let least = known.error.unwrap() + event.first.captured.rel_error;
    assert!(better.error.unwrap() >= least && better.error.unwrap() < least + Span::from_millis(50));
    let row = store.event(other.id).await.unwrap().unwrap();
    assert_eq!(
        row.restamped(&row.event.first),
        None,
        "it was right from the first"
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_event_whose_frames_are_timed_better_since_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    store.put_clock_map(map());
    let event = begin(cam("a"), "person");
    let first = event.first.clone();
    store.record(EventChange::Begin(event.clone()), vec![]);
    let moved = Span::from_millis(-40);
    let restamp = Restamp {
        epoch: first.frame.epoch,
        since_us: first.frame.media_us,
        until_us: MediaTime::from_micros(first.frame.media_us.as_micros() + 1_000_000),
        from: first.captured.mono + moved,
        to: first.captured.mono + moved + Span::from_secs(1),
        moved,
        rel_error: Span::from_nanos(first.captured.rel_error.as_nanos() / 2),
        source: TimeSource::SenderReport,
    };
    let told = |stream| SystemEvent {
        id: EventId(Uuid::now_v7()),
        stream: Some(stream),
        change: SystemChange::Restamp(restamp),
        ..offline()
    };
    store.record(EventChange::System(told(cam("b"))), vec![]);
    store.record(EventChange::System(told(cam("a"))), vec![]);
    stored(&store, 3).await;
    let row = store.event(event.id).await.unwrap().unwrap();
    assert_eq!(row.event.first, first, "what was recorded stays");
    let (stamp, captured) = row.restamped(&first).unwrap();
    assert_eq!(captured.mono, first.captured.mono + moved);
    assert_eq!(stamp.utc, first.stamp.utc + moved);
    assert_eq!(captured.rel_error, restamp.rel_error);
    assert_eq!(row.restamps, [restamp], "of its own camera only");
    assert_eq!(
        ids(&store, EventQuery::default()).await,
        [event.id],
        "not listed among events"
    );
    let only = EventQuery {
        kind: Some("restamp".to_owned()),
        ..EventQuery::default()
    };
    assert_eq!(ids(&store, only).await.len(), 2);
    store.close().await.unwrap();
}
