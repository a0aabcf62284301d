//! Retention on real files.

use synoptic_base::EventChange;

use super::*;
use crate::EventQuery;

async fn ids(store: &Store) -> Vec<EventId> {
    let query = EventQuery {
        limit: 500,
        ..EventQuery::default()
    };
    store
        .events(&query)
        .await
        .unwrap()
        .events
        .iter()
        .map(|e| e.event.id)
        .collect()
}

#[tokio::test]
async fn old_events_go_but_never_open_ones_or_those_with_messages_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::shared();
    let store = Store::open(options(dir.path()), clock.clone())
        .await
        .unwrap()
        .store;
    let [gone, open_event, waiting] = [(); 3].map(|()| begin(cam("a"), "person"));
    for event in [&gone, &open_event, &waiting] {
        store.record(EventChange::Begin(event.clone()), vec![]);
        store.record(best(event, 0, vec![1; 1000]), vec![]);
    }
    store.record(end(&gone, 0), vec![]);
    store.record(end(&waiting, 0), vec![message("end")]);
    stored(&store, 8).await;
    store.close().await.unwrap();

    clock.advance_utc(Span::from_secs(31 * 86_400));
    let store = Store::open(options(dir.path()), clock.clone())
        .await
        .unwrap()
        .store;
    until(&store, "the old event to go", |s| s.events_removed == 1).await;
    assert_eq!(ids(&store).await, [waiting.id, open_event.id]);
    assert_eq!(store.picture(gone.id).await.unwrap(), None);
    let sent = store.outbox(0, 9).await.unwrap()[0].seq;
    store.outbox_done(vec![sent]);
    until(&store, "the message to leave", |s| s.outbox_rows == 0).await;
    store.close().await.unwrap();

    let store = Store::open(options(dir.path()), clock).await.unwrap().store;
    until(&store, "the next to go", |s| s.events_removed == 1).await;
    assert_eq!(ids(&store).await, [open_event.id]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn new_limits_hold_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::shared();
    let store = Store::open(options(dir.path()), clock.clone())
        .await
        .unwrap()
        .store;
    let [old, new] = [(); 2].map(|()| begin(cam("a"), "person"));
    store.record(EventChange::Begin(old.clone()), vec![]);
    store.record(end(&old, 0), vec![]);
    stored(&store, 2).await;
    clock.advance_utc(Span::from_secs(2 * 86_400));
    let options = options(dir.path());
    store.set_limits(crate::RetentionLimits {
        keep_events: Span::from_secs(86_400),
        keep_detections: options.keep_detections,
        max_bytes: options.max_bytes,
        min_free_bytes: options.min_free_bytes,
    });
    // Any change lets the writer look up.
    store.record(EventChange::Begin(new.clone()), vec![]);
    until(&store, "the old event to go", |s| s.events_removed == 1).await;
    assert_eq!(ids(&store).await, [new.id]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_box_that_woke_up_in_1970_keeps_what_it_saw_before_it_learned_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let in_1970 = |store: &Store| {
        let mut event = begin(cam("a"), "person");
        event.first.stamp.utc = Utc::from_nanos(5_000_000_000);
        event.first.stamp.error = None;
        let ended = EventChange::End {
            id: event.id,
            last: event.first.clone(),
            reason: EndReason::Lost,
            sightings: 3,
        };
        store.record(EventChange::Begin(event.clone()), vec![]);
        store.record(ended, vec![]);
        event.id
    };
    // A boot that never learned the time: its events are as old as they say.
    let other_boot = Options {
        boot_id: BootId(Uuid::from_u128(1)),
        ..options(dir.path())
    };
    let store = Store::open(other_boot, TestClock::shared()).await.unwrap().store;
    in_1970(&store);
    stored(&store, 2).await;
    store.close().await.unwrap();
    // One that learned it later, from a better clock map.
    let store = open(dir.path()).await.store;
    let kept = in_1970(&store);
    store.put_clock_map(map());
    stored(&store, 2).await;
    store.close().await.unwrap();

    let store = open(dir.path()).await.store;
    until(&store, "the old event to be gone", |s| s.bytes > 0).await;
    let deadline = TestClock::default().now() + Span::from_secs(60);
    while ids(&store).await != [kept] {
        assert!(TestClock::default().now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn files_stay_below_their_limit() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 12 << 20;
    let small = Options {
        max_bytes: limit,
        ..options(dir.path())
    };
    let store = Store::open(small, TestClock::shared()).await.unwrap().store;
    let mut last = None;
    // 30 MB of pictures in all.
    for round in 0..20_u64 {
        for _ in 0..50 {
            let event = begin(cam("a"), "person");
            store.record(EventChange::Begin(event.clone()), vec![]);
            store.record(best(&event, 0, vec![1; 30_000]), vec![]);
            store.record(end(&event, 0), vec![]);
            last = Some(event.id);
        }
        stored(&store, (round + 1) * 150).await;
    }
    until(&store, "room to be made", |s| {
        s.events_removed > 500 && s.bytes > 0 && s.bytes <= limit
    })
    .await;
    assert_eq!(store.stats().lost, 0);
    let newest = ids(&store).await[0];
    assert_eq!(Some(newest), last, "the newest stay");
    store.close().await.unwrap();
    let size = std::fs::metadata(dir.path().join("events.sqlite")).unwrap().len();
    assert!(size <= limit + (3 << 20), "the file itself shrank: {size}");
}
