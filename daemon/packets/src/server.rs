//! The socket of a group: who may come in, and what all threads share.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use serde::Serialize;
use synoptic_base::{Clock, ClockMap, FramePacket, StreamId};

use crate::exchange::{Exchange, ReaderId};
use crate::layout::PixelLayout;
use crate::motion::MotionSource;
use crate::{Pixels, conversation, publish};

/// Readers of a group at most: each may hold blocks.
pub(crate) const READERS: usize = 8;
/// Packets on their way to the writer; a packet more takes the oldest's place.
const WAITING: usize = 2;
/// A reader that waits hears from the daemon this often.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(1);
/// A reader that does not say hello, or does not take what it is sent, is dropped after this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How a group's packets are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareOptions {
    /// Folder of the sockets; made if need be, for its owner and group (mode 0750).
    pub dir: PathBuf,
    /// How pixels are handed over.
    pub pixels: PixelLayout,
    /// Memory of all blocks of a group, in bytes.
    pub max_bytes: u64,
    /// Packets that a ring may hold; `None`: any number, where every camera is a file.
    pub max_ring: Option<usize>,
}

/// State of a camera, for readers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CameraLine {
    /// `connecting`, `online`, `stalled`, `offline`, `auth_failed`.
    pub state: &'static str,
    /// What is wrong and what to do.
    pub reason: Option<String>,
}

/// Why packets of a group cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// Another daemon does.
    #[error("packets of group {group}: another program serves {}; stop it, or set packets.dir", path.display())]
    Taken {
        /// The group.
        group: StreamId,
        /// Its socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("packets of group {group}: cannot make the socket {}: {why}; set packets.dir to a folder that may be written, with a short name", path.display())]
    Socket {
        /// The group.
        group: StreamId,
        /// Its socket.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

pub(crate) struct State {
    pub(crate) exchange: Exchange,
    pub(crate) blocks: Vec<Option<Shared>>,
    pub(crate) generation: u64,
    pub(crate) cameras: BTreeMap<String, CameraLine>,
    /// To end connections, by reader.
    pub(crate) connections: BTreeMap<ReaderId, UnixStream>,
}

/// What readers get of a block.
pub(crate) struct Shared {
    pub(crate) descriptor: OwnedFd,
    /// Another one: the block of this number was made anew.
    pub(crate) generation: u64,
    pub(crate) used: u64,
}

pub(crate) struct Inner {
    pub(crate) group: StreamId,
    pub(crate) options: ShareOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) map: Box<dyn Fn() -> ClockMap + Send + Sync>,
    pub(crate) motion: Arc<dyn MotionSource>,
    pub(crate) state: Mutex<State>,
    pub(crate) changed: Condvar,
    pub(crate) readers: AtomicUsize,
    pub(crate) stopped: AtomicBool,
    /// Packets that no block could be had for.
    pub(crate) lost: AtomicU64,
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shares a group's packets. Dropping it ends all connections and removes the socket.
pub struct Share {
    inner: Arc<Inner>,
    sender: Option<Sender<FramePacket<Pixels>>>,
    behind: Receiver<FramePacket<Pixels>>,
    listener: UnixListener,
    path: PathBuf,
    threads: Vec<JoinHandle<()>>,
}

impl Share {
    /// Opens the socket `dir/GROUP.sock`, for its owner and group (mode 0660). `map` gives the newest clock map.
    ///
    /// # Errors
    /// [`ShareError`] when another daemon has the socket, or it cannot be made.
    pub fn open(
        group: StreamId,
        options: ShareOptions,
        clock: Arc<dyn Clock>,
        map: Box<dyn Fn() -> ClockMap + Send + Sync>,
        motion: Arc<dyn MotionSource>,
    ) -> Result<Share, ShareError> {
        let path = options.dir.join(format!("{group}.sock"));
        let failed = |why| ShareError::Socket {
            group,
            path: path.clone(),
            why,
        };
        if UnixStream::connect(&path).is_ok() {
            return Err(ShareError::Taken { group, path });
        }
        let listener = listen(&options.dir, &path).map_err(failed)?;
        let (sender, packets) = match options.max_ring {
            Some(_) => bounded(WAITING),
            None => unbounded(),
        };
        let inner = Arc::new(Inner {
            group,
            state: Mutex::new(State {
                exchange: Exchange::new(options.max_bytes),
                blocks: Vec::new(),
                generation: 0,
                cameras: BTreeMap::new(),
                connections: BTreeMap::new(),
            }),
            options,
            clock,
            map,
            motion,
            changed: Condvar::new(),
            readers: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        });
        let spawn = |name: String| std::thread::Builder::new().name(name);
        let (writing, behind) = (inner.clone(), packets.clone());
        let writer = spawn(format!("packets {group}"))
            .spawn(move || publish::run(&writing, &packets))
            .map_err(failed)?;
        let (accepting, door) = (inner.clone(), listener.try_clone().map_err(failed)?);
        let doorman = spawn(format!("readers {group}"))
            .spawn(move || accept(&accepting, &door))
            .map_err(failed)?;
        Ok(Share {
            inner,
            sender: Some(sender),
            behind,
            listener,
            path,
            threads: vec![writer, doorman],
        })
    }

    /// Programs that read.
    pub fn readers(&self) -> usize {
        self.inner.readers.load(Ordering::Relaxed)
    }

    /// Packets that no reader got, since their memory was not to be had.
    pub fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Hands a packet to whoever reads; without readers nothing is done. Never waits: a packet that the writer did not
    /// come to goes.
    pub fn offer(&self, packet: &FramePacket<Pixels>) {
        let Some(sender) = self.sender.as_ref().filter(|_| self.readers() > 0) else {
            return;
        };
        let mut packet = packet.clone();
        while let Err(TrySendError::Full(back)) = sender.try_send(packet) {
            packet = back;
            if self.behind.try_recv().is_ok() {
                self.inner.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A camera's state changed.
    pub fn camera(&self, camera: StreamId, line: CameraLine) {
        self.inner.state().cameras.insert(camera.to_string(), line);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inner.stopped.store(true, Ordering::SeqCst);
        self.sender = None;
        if let Err(error) =
            nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both)
        {
            log::debug!("group {}: packets: closing: {error}", self.inner.group);
        }
        let mut state = self.inner.state();
        for connection in std::mem::take(&mut state.connections).into_values() {
            // One that is gone already needs no end.
            connection.shutdown(std::net::Shutdown::Both).ok();
        }
        drop(state);
        self.inner.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("group {}: a thread for readers panicked", self.inner.group);
            }
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::debug!("{}: {error}", self.path.display());
        }
    }
}

fn listen(dir: &Path, path: &Path) -> io::Result<UnixListener> {
    if !dir.is_dir() {
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o750))?;
    }
    // Nobody answered there: it is what a daemon left that was killed.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

fn accept(inner: &Arc<Inner>, listener: &UnixListener) {
    let mut readers: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        if inner.stopped.load(Ordering::SeqCst) {
            break;
        }
        readers.retain(|r| !r.is_finished());
        let reader = stream.and_then(|stream| {
            let inner = inner.clone();
            std::thread::Builder::new()
                .name(format!("reader {}", inner.group))
                .spawn(move || {
                    if let Err(error) = conversation::serve(&inner, stream) {
                        log::debug!("group {}: a reader went: {error}", inner.group);
                    }
                })
        });
        match reader {
            Ok(reader) => readers.push(reader),
            Err(error) => {
                log::warn!("group {}: a program could not be let in: {error}", inner.group);
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    // Out of descriptors or threads: not a loop of the same error.
                    let state = inner.state();
                    let waited = inner.changed.wait_timeout(state, IDLE_AFTER);
                    drop(waited);
                }
            }
        }
    }
    for reader in readers {
        if reader.join().is_err() {
            log::error!("group {}: a reader's thread panicked", inner.group);
        }
    }
}
