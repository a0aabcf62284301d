//! The desk and the commands, with real files and, in `broker`, with a real Mosquitto.

mod broker;
mod bus;
mod config;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use synoptic_base::Clock;
use synoptic_engine::command::{BoxTime, CommandId};
use synoptic_media::clocks::SystemClock;
use tokio::sync::watch;
use uuid::Uuid;

use super::desk::{Desk, Parts};
use super::{Args, Call, Command, Interrupted, Running};
use crate::documents::{CommandDoc, CommandPhase};
use crate::mqtt::test_broker::within;

const BOOT: Uuid = Uuid::from_u128(1);

/// Counts how often it begins, and ends when it may.
struct Counting {
    name: &'static str,
    begun: Arc<AtomicUsize>,
    may_end: watch::Sender<bool>,
}

impl Counting {
    fn new(name: &'static str) -> Arc<Counting> {
        Arc::new(Counting {
            name,
            begun: Arc::default(),
            may_end: watch::Sender::new(true),
        })
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl Command for Counting {
    fn name(&self) -> &'static str {
        self.name
    }
    fn run(&self, call: Call) -> Running {
        self.begun.fetch_add(1, Ordering::SeqCst);
        call.progress.tell("counting", Some(50.0));
        let mut may_end = self.may_end.subscribe();
        Box::pin(async move {
            may_end.wait_for(|yes| *yes).await.map_err(|e| e.to_string())?;
            Ok(Value::Object(call.args))
        })
    }
    fn resume(&self, interrupted: Interrupted) -> Running {
        let other = interrupted.other_boot;
        Box::pin(async move { Err(format!("interrupted, other boot: {other}")) })
    }
}

/// A box whose clock may be told to be a guess.
struct Box1 {
    synchronised: Arc<AtomicBool>,
}

impl Box1 {
    fn new() -> Box1 {
        Box1 {
            synchronised: Arc::new(AtomicBool::new(true)),
        }
    }

    fn desk(&self, dir: &Path, boot: Uuid, commands: Vec<Arc<dyn Command>>) -> Desk {
        let (clock, synchronised) = (SystemClock::shared(), self.synchronised.clone());
        let time = move || BoxTime {
            utc: clock.sample().realtime,
            synchronised: synchronised.load(Ordering::SeqCst),
        };
        Desk::start(Parts {
            data_dir: dir,
            boot,
            time: Arc::new(time),
            commands,
        })
        .unwrap()
    }
}

fn id(text: &str) -> CommandId {
    CommandId::new(text).unwrap()
}

fn args(value: Value) -> Args {
    match value {
        Value::Object(args) => args,
        other => panic!("{other} is no object"),
    }
}

async fn ask(desk: &Desk, name: &str, number: &str, arguments: Value) -> CommandDoc {
    desk.ask(name, id(number), args(arguments)).await.unwrap()
}

/// Until a command is as wished.
async fn until(desk: &Desk, number: &str, mut wish: impl FnMut(&CommandDoc) -> bool) -> CommandDoc {
    let mut changed = desk.changed();
    within(&format!("command {number}"), async {
        loop {
            changed.mark_unchanged();
            if let Some(doc) = desk.get(number)
                && wish(&doc)
            {
                return doc;
            }
            changed.changed().await.unwrap();
        }
    })
    .await
}

async fn ended(desk: &Desk, number: &str) -> CommandDoc {
    until(desk, number, |doc| doc.state.is_final()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_id_runs_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let counting = Counting::new("count");
    let desk = Box1::new().desk(dir.path(), BOOT, vec![counting.clone()]);
    let taken = ask(&desk, "count", "1", json!({"n": 7})).await;
    assert_eq!(taken.state, CommandPhase::Executing);
    let done = ended(&desk, "1").await;
    assert_eq!(
        (done.state, done.result),
        (CommandPhase::Successful, Some(json!({"n": 7})))
    );
    assert_eq!(
        ask(&desk, "count", "1", json!({})).await.state,
        CommandPhase::Successful
    );
    drop(desk);
    let desk = Box1::new().desk(dir.path(), BOOT, vec![counting.clone()]);
    let again = ask(&desk, "count", "1", json!({})).await;
    assert_eq!(
        (again.state, again.result),
        (CommandPhase::Successful, Some(json!({"n": 7})))
    );
    assert_eq!(counting.begun(), 1);
    assert_eq!(desk.all().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_when_the_daemon_died_is_told_and_not_begun_again() {
    for (boot, part) in [
        (BOOT, "other boot: false"),
        (Uuid::from_u128(2), "other boot: true"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let counting = Counting::new("count");
        counting.may_end.send_replace(false);
        let desk = Box1::new().desk(dir.path(), BOOT, vec![counting.clone()]);
        ask(&desk, "count", "1", json!({})).await;
        until(&desk, "1", |doc| {
            doc.progress.as_ref().is_some_and(|p| p.percent == Some(50.0))
        })
        .await;
        drop(desk);
        let desk = Box1::new().desk(dir.path(), boot, vec![counting.clone()]);
        let told = ended(&desk, "1").await;
        assert!(told.reason.as_ref().unwrap().contains(part), "{told:?}");
        assert_eq!(counting.begun(), 1);
        // A version without the command.
        drop(desk);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_remembered_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let counting = Counting::new("count");
    let desk = Box1::new().desk(dir.path(), BOOT, vec![counting.clone()]);
    let folder = dir.path().join("commands");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    ask(&desk, "count", "1", json!({})).await;
    let told = ended(&desk, "1").await;
    assert!(told.reason.unwrap().contains("it was not begun"));
    assert_eq!(counting.begun(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("commands");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("1.json"), "{").unwrap();
    let desk = Box1::new().desk(dir.path(), BOOT, vec![Counting::new("count")]);
    assert!(desk.all().is_empty() && folder.join("1.damaged").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_command_is_refused_with_those_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Box1::new().desk(dir.path(), BOOT, vec![Counting::new("count")]);
    let refused = ask(&desk, "dance", "1", json!({})).await;
    assert_eq!(refused.state, CommandPhase::Failed);
    assert!(refused.reason.unwrap().contains("there are count"));
    assert_eq!(std::fs::read_dir(dir.path().join("commands")).unwrap().count(), 0);
}
