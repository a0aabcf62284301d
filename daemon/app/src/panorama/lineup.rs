//! The panoramas of one group: their threads and mailboxes, started and stopped one by one while the group goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, unbounded};
use synoptic_base::{BBox, Span, StreamId};

use super::desk::Line;
use super::task::PanoramaTask;
use crate::config::Panorama;
use crate::group::Mailbox;
use crate::groups::Shared;

/// Where a group's thread puts its packets, for each panorama.
pub(crate) type Mailboxes = Arc<ArcSwap<Vec<Mailbox>>>;

/// What panoramas need to know of a camera of their group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub id: StreamId,
    /// A detector looks at it.
    pub detected: bool,
    /// Parts of its picture that are no scenery.
    pub ignore: Vec<BBox>,
}

/// One that runs.
struct Running {
    line: Arc<Line>,
    mailbox: Mailbox,
    thread: JoinHandle<()>,
}

/// Those of a group that run.
#[derive(Default)]
pub(crate) struct Lineup {
    running: Vec<Running>,
    mailboxes: Mailboxes,
}

impl Lineup {
    /// Where packets go: follows the panoramas.
    pub(crate) fn mailboxes(&self) -> Mailboxes {
        self.mailboxes.clone()
    }

    /// Runs these and no others; those that did not change go on. A thread is taken for hung after `limit`.
    ///
    /// # Errors
    /// When a thread cannot be started; the others run.
    pub(crate) fn run(
        &mut self,
        wanted: &[Panorama],
        members: &[Member],
        limit: Span,
        shared: &Shared,
    ) -> std::io::Result<()> {
        let (stay, go): (Vec<_>, Vec<_>) = self
            .running
            .drain(..)
            .partition(|running| wanted.contains(&running.line.config));
        self.running = stay;
        // Nobody puts packets into the others any more: their threads end.
        self.publish();
        end(go);
        let mut outcome = Ok(());
        for config in wanted {
            if self.running.iter().any(|r| r.line.config.id == config.id) {
                continue;
            }
            match start(config, members, limit, shared) {
                Ok(running) => self.running.push(running),
                Err(error) => outcome = Err(error),
            }
        }
        self.publish();
        outcome
    }

    /// Ends all, and waits.
    pub(crate) fn stop(&mut self) {
        let all = std::mem::take(&mut self.running);
        self.publish();
        end(all);
    }

    fn publish(&self) {
        let mailboxes = self.running.iter().map(|r| r.mailbox.clone());
        self.mailboxes.store(Arc::new(mailboxes.collect()));
    }
}

/// Ends threads into whose mailboxes nobody else puts anything.
fn end(gone: Vec<Running>) {
    for Running {
        line,
        mailbox,
        thread,
    } in gone
    {
        drop(mailbox);
        if thread.join().is_err() {
            log::error!("the thread of panorama {} panicked", line.config.id);
        }
    }
}

fn start(config: &Panorama, members: &[Member], limit: Span, shared: &Shared) -> std::io::Result<Running> {
    let (sender, packets) = bounded(1);
    let (orders, heard) = unbounded();
    let now = shared.map.load().utc(shared.clock.now());
    let library = shared.desk.library(config.id);
    let line = Arc::new(Line::new(config.clone(), library, orders, now));
    let of_panorama = || members.iter().filter(|m| config.cameras.contains(&m.id));
    let ignore: BTreeMap<StreamId, Vec<BBox>> = of_panorama().map(|m| (m.id, m.ignore.clone())).collect();
    let task = PanoramaTask {
        packets: packets.clone(),
        orders: heard,
        detected: of_panorama().filter(|m| m.detected).map(|m| m.id).collect(),
        ignore,
        clock: shared.clock.clone(),
        map: shared.map.clone(),
        hub: shared.hub.clone(),
        epochs: shared.epochs.clone(),
        watchman: shared.watchman.clone(),
        pulse: shared.beats.add(&format!("stitch {}", config.id), limit),
        desk: shared.desk.clone(),
        line: line.clone(),
    };
    shared.desk.add(line.clone());
    let name = format!("stitch {}", config.id);
    let spawned = std::thread::Builder::new().name(name).spawn(move || task.run());
    let thread = spawned.inspect_err(|_| shared.desk.remove(&line))?;
    Ok(Running {
        line,
        mailbox: (sender, packets),
        thread,
    })
}
