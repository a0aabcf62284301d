//! Pictures into an encoder at a constant rate: the thread around [`ConstantRate`], which decides.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use synoptic_base::{FrameMeta, Span};
use synoptic_engine::pacing::{ConstantRate, RateCounts};

use super::inlet::Inlet;
use crate::coded::{CodedStream, Slot};

/// Pictures between the camera's thread and this one: it does nothing but put them into slots.
const MAX_WAITING: usize = 2;
/// Without a deadline it looks up this often.
const IDLE: Span = Span::from_secs(1);

/// A picture ready for the encoder.
type Ready = (gst::Buffer, FrameMeta);

/// The thread. Dropping it ends and waits for it.
pub(super) struct ConstantFeed {
    pictures: Option<Sender<Ready>>,
    thread: Option<JoinHandle<RateCounts>>,
    stream: Arc<CodedStream>,
}

impl ConstantFeed {
    pub(super) fn start(stream: &Arc<CodedStream>, fps: u32, inlet: Inlet) -> std::io::Result<ConstantFeed> {
        let (pictures, taken) = bounded(MAX_WAITING);
        let of = stream.clone();
        let thread = std::thread::Builder::new()
            .name(format!("rate {}", stream.id()))
            .spawn(move || run(&of, fps, inlet, &taken))?;
        Ok(ConstantFeed {
            pictures: Some(pictures),
            thread: Some(thread),
            stream: stream.clone(),
        })
    }

    /// A picture comes. Whether it is taken: not while the thread does not get the processor.
    pub(super) fn push(&self, buffer: gst::Buffer, meta: FrameMeta) -> bool {
        let sent = self.pictures.as_ref().map(|to| to.try_send((buffer, meta)));
        !matches!(sent, Some(Err(TrySendError::Full(_))) | None)
    }
}

impl Drop for ConstantFeed {
    fn drop(&mut self) {
        self.pictures = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(counts)) => log::info!(
                "{}: {} pictures at a constant rate, {} of them shown again, {} of the camera's left out",
                self.stream.id(),
                counts.slots,
                counts.repeated,
                counts.dropped
            ),
            Some(Err(_)) => log::error!("{}: the thread of a constant rate panicked", self.stream.id()),
            None => {}
        }
    }
}

fn run(stream: &CodedStream, fps: u32, mut inlet: Inlet, pictures: &Receiver<Ready>) -> RateCounts {
    let mut rate = ConstantRate::new(fps);
    loop {
        let now = stream.now();
        let wait = rate.deadline().map_or(IDLE, |at| at - now);
        match pictures.recv_timeout(wait.max(Span::ZERO).to_std()) {
            Ok((buffer, meta)) => rate.handle(stream.now(), meta.captured.mono, (buffer, meta)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return rate.counts(),
        }
        while let Some(slotted) = rate.poll(stream.now()) {
            // Its readers know that no pictures come, and why: nothing old is shown as if it were live.
            if slotted.repeat > 0 && stream.main_why_waiting().is_some() {
                continue;
            }
            let (buffer, meta) = slotted.payload;
            let slot = Slot {
                later: slotted.slot - slotted.captured,
                repeat: slotted.repeat,
            };
            inlet.push(buffer, meta, slot);
        }
    }
}
