//! Bursts and kills: nothing is lost, nothing comes twice, the order holds.

use synoptic_base::EventChange;

use super::*;
use crate::feed::MEMORY_ENTRIES;

/// Records events in a burst until some are in the spill: begin and end of each, with messages.
fn burst(store: &Store, count: usize) -> Vec<Event> {
    let picture = vec![7; 2_000];
    (0..count)
        .map(|n| {
            let event = begin(cam("a"), "person");
            store.record(
                EventChange::Begin(event.clone()),
                vec![message(&format!("{n} start"))],
            );
            if n % 10 == 0 {
                store.record(best(&event, 1, picture.clone()), vec![]);
            }
            store.record(end(&event, 2), vec![message(&format!("{n} end"))]);
            event
        })
        .collect()
}

async fn all_messages(store: &Store) -> Vec<String> {
    let rows = store.outbox(0, u32::MAX).await.unwrap();
    rows.into_iter()
        .map(|r| String::from_utf8(r.message.payload).unwrap())
        .collect()
}

fn expected(count: usize) -> Vec<String> {
    (0..count)
        .flat_map(|n| [format!("{n} start"), format!("{n} end")])
        .collect()
}

#[tokio::test]
async fn ten_thousand_events_through_a_full_queue() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    burst(&store, 10_000);
    until(&store, "the queue to drain", queue_empty).await;
    stored(&store, 21_000).await;
    let stats = store.stats();
    assert!(stats.spilled > 0, "{stats:?}");
    assert_eq!(
        (stats.lost, stats.ignored, stats.refused, stats.changes),
        (0, 0, 0, 21_000)
    );
    assert_eq!(all_messages(&store).await, expected(10_000));
    store.close().await.unwrap();
    assert!(crate::spill::segments(dir.path()).unwrap().is_empty());
    assert_eq!(
        crate::check::run(dir.path()).unwrap().worst(),
        Some(crate::check::Severity::Note)
    );
}

#[tokio::test]
async fn a_kill_in_the_middle_keeps_what_was_committed_or_spilled() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let live = dir.path().join("live");
    let store = open(&live).await.store;
    // Another process holds the database, so changes pile up in the spill.
    let blocker = rusqlite::Connection::open(live.join("events.sqlite")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    burst(&store, 1_000);
    // Memory, what the writer took out of it and cannot commit, and the rest in the spill.
    until(&store, "the spill to take the rest", |s| {
        s.queue <= 2 * MEMORY_ENTRIES as u64 && s.spill_waiting > 0
    })
    .await;
    copy_dir(&live, &copy);
    let in_spill = store.stats().spill_waiting;
    blocker.execute_batch("COMMIT").unwrap();
    store.close().await.unwrap();

    // What was in memory died with the process; what was on disk is taken over, once, in order.
    let opened = open(&copy).await;
    let stats = opened.store.stats();
    assert_eq!(
        (stats.changes + stats.ignored, stats.spill_waiting),
        (in_spill, 0)
    );
    let messages = all_messages(&opened.store).await;
    assert_eq!(messages, expected(1_000)[2_000 - messages.len()..]);
    opened.store.close().await.unwrap();

    let again = open(&copy).await;
    assert_eq!(all_messages(&again.store).await, messages);
    again.store.close().await.unwrap();

    let whole = open(&live).await;
    assert_eq!(all_messages(&whole.store).await, expected(1_000));
    whole.store.close().await.unwrap();
}

/// The folder of the process that is to be killed.
const CHILD_DIR: &str = "SYNOPTIC_STORE_TEST_DIR";

/// Not a test by itself: the process that the next test kills. It records events without end, faster than they
/// can be stored.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let store = open(Path::new(&dir)).await.store;
    for n in 0.. {
        let event = begin(cam("a"), "person");
        store.record(
            EventChange::Begin(event.clone()),
            vec![message(&format!("{n} start"))],
        );
        store.record(best(&event, 1, vec![3; 3_000]), vec![]);
        store.record(end(&event, 2), vec![message(&format!("{n} end"))]);
        if n % 500 == 499 {
            // The queue too: a spill thread that waits for the disk must not make the process drop changes.
            let waiting = |s: &crate::StoreStats| s.queue + s.spill_waiting;
            until(&store, "the spill to shrink", |s| waiting(s) < 2_000).await;
        }
    }
}

#[tokio::test]
async fn a_process_killed_at_any_moment_loses_nothing_committed_and_repeats_nothing() {
    for round in 1..=4_u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::the_process_that_is_killed"])
            .env(CHILD_DIR, dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let path = dir.path().join("events.sqlite");
        let committed = || {
            let db = rusqlite::Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
                .ok()?;
            db.query_row("SELECT count(*) FROM outbox", [], |r| r.get::<_, i64>(0))
                .map(i64::unsigned_abs)
                .ok()
        };
        let deadline = TestClock::default().now() + Span::from_secs(60);
        let seen = loop {
            match committed() {
                Some(n) if n > 700 * round => break n,
                _ => assert!(TestClock::default().now() < deadline, "the child stores nothing"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();

        let opened = open(dir.path()).await;
        assert_eq!(opened.quarantined, []);
        let messages = all_messages(&opened.store).await;
        assert!(messages.len() as u64 >= seen, "{} of {seen}", messages.len());
        // In order and each once: the committed ones, a gap of what was in memory alone, the spilled ones.
        let number = |text: &String| {
            let (n, phase) = text.split_once(' ').unwrap();
            2 * n.parse::<u64>().unwrap() + u64::from(phase == "end")
        };
        let numbers: Vec<u64> = messages.iter().map(number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        let gaps = numbers.windows(2).filter(|w| w[1] != w[0] + 1).count();
        assert!(gaps <= 1, "{gaps} gaps");
        assert_eq!(opened.store.stats().ignored, 0);
        // Each event without an end is closed under its own id.
        for row in &opened.open_events {
            let change = EventChange::End {
                id: row.event.id,
                last: row.last.clone(),
                reason: EndReason::Restart,
                sightings: row.sightings,
            };
            opened.store.record(change, vec![message("restart")]);
        }
        opened.store.close().await.unwrap();
        let opened = open(dir.path()).await;
        assert!(opened.open_events.is_empty());
        opened.store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_record_cut_short_by_the_kill_is_passed_over_and_a_damaged_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let boot = BOOT;
    let entries: Vec<_> = (0..3)
        .map(|n| {
            let event = begin(cam("a"), "person");
            crate::entry::Entry::new(boot, EventChange::Begin(event), vec![message(&format!("{n}"))])
        })
        .collect();
    open(dir.path()).await.store.close().await.unwrap();
    let mut tail = crate::spill::SpillTail::new(dir.path(), 1 << 20, None).unwrap();
    tail.append(entries.iter()).unwrap();
    let segment = dir.path().join("spill-0001000000.log");
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 5]).unwrap();
    let opened = open(dir.path()).await;
    assert_eq!(opened.quarantined, []);
    assert_eq!(all_messages(&opened.store).await, ["0", "1"]);
    opened.store.close().await.unwrap();

    let mut tail = crate::spill::SpillTail::new(dir.path(), 1 << 20, Some(1_000_000)).unwrap();
    tail.append(entries.iter()).unwrap();
    let segment = dir.path().join("spill-0001000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.len() - 5;
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let opened = open(dir.path()).await;
    assert_eq!(opened.quarantined.len(), 1);
    assert!(opened.quarantined[0].moved_to.exists());
    assert!(
        opened.quarantined[0].why.contains("checksum"),
        "{:?}",
        opened.quarantined
    );
    assert_eq!(opened.store.stats().ignored, 2, "the first two are there already");
    opened.store.close().await.unwrap();
}

#[test]
fn an_entry_comes_back_from_its_form_on_disk() {
    let event = begin(cam("a"), "person");
    for change in [
        EventChange::Begin(event.clone()),
        best(&event, 4, vec![1, 2, 3]),
        end(&event, 5),
    ] {
        let entry = crate::entry::Entry::new(BOOT, change, vec![message("one"), message("")]);
        let bytes = entry.encode().unwrap();
        assert_eq!(crate::entry::Entry::decode(&bytes).unwrap(), entry);
        for cut in 0..bytes.len() {
            assert!(crate::entry::Entry::decode(&bytes[..cut]).is_err());
        }
    }
}
