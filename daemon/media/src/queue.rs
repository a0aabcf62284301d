//! The queue between cameras and the aligner: bounded, and when it is full the oldest frame goes, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use synoptic_base::Frame;

/// Frames on their way to the aligner. Clones share the queue.
#[derive(Debug)]
pub struct FrameQueue<P> {
    sender: Sender<Frame<P>>,
    receiver: Receiver<Frame<P>>,
    dropped: Arc<AtomicU64>,
}

impl<P> Clone for FrameQueue<P> {
    fn clone(&self) -> FrameQueue<P> {
        FrameQueue {
            sender: self.sender.clone(),
            receiver: self.receiver.clone(),
            dropped: self.dropped.clone(),
        }
    }
}

impl<P> FrameQueue<P> {
    /// A queue of `capacity` frames.
    pub fn new(capacity: usize) -> FrameQueue<P> {
        let (sender, receiver) = bounded(capacity);
        FrameQueue {
            sender,
            receiver,
            dropped: Arc::default(),
        }
    }

    /// Adds a frame; the oldest one goes where there is no room.
    pub fn push(&self, frame: Frame<P>) {
        let mut frame = frame;
        // A queue holds its own receiver, so it is never disconnected.
        while let Err(TrySendError::Full(back)) = self.sender.try_send(frame) {
            frame = back;
            if self.receiver.try_recv().is_ok() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The end at which frames come out.
    pub fn receiver(&self) -> &Receiver<Frame<P>> {
        &self.receiver
    }

    /// Frames dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
