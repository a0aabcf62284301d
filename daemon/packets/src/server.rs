//! The socket of a group: its readers, and the thread that writes packets for them.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, unbounded};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::Serialize;
use synoptic_base::{Clock, ClockMap, FramePacket, Span, StreamId};

use crate::block::Block;
use crate::exchange::{Exchange, ReaderId};
use crate::layout::{self, PixelLayout};
use crate::motion::{MotionAnswer, MotionSource};
use crate::wire::{self, HELD, MESSAGE, Message, Name};
use crate::{Pixels, writer};

/// Readers of a group at most: each may hold blocks.
const READERS: usize = 8;
/// Packets on their way to the writer; a packet more takes the oldest's place.
const WAITING: usize = 2;
/// A reader that waits hears from the daemon this often.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// A reader that does not say hello, or does not take what it is sent, is dropped after this.
const PATIENCE: Duration = Duration::from_secs(5);

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

struct State {
    exchange: Exchange,
    blocks: Vec<Option<Shared>>,
    generation: u64,
    cameras: BTreeMap<String, CameraLine>,
    /// To end connections, by reader.
    connections: BTreeMap<ReaderId, UnixStream>,
}

/// What readers get of a block.
struct Shared {
    descriptor: OwnedFd,
    /// Another one: the block of this number was made anew.
    generation: u64,
    used: u64,
}

struct Inner {
    group: StreamId,
    options: ShareOptions,
    clock: Arc<dyn Clock>,
    map: Box<dyn Fn() -> ClockMap + Send + Sync>,
    motion: Arc<dyn MotionSource>,
    state: Mutex<State>,
    changed: Condvar,
    readers: AtomicUsize,
    stopped: AtomicBool,
    /// Packets that no block could be had for.
    lost: AtomicU64,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
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
            .spawn(move || write_packets(&writing, &packets))
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
                    if let Err(error) = serve(&inner, stream) {
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

/// A reader's seat: it is free again however the connection ends.
struct Seat<'i> {
    inner: &'i Inner,
    id: ReaderId,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.exchange.leave(self.id);
        state.connections.remove(&self.id);
        self.inner
            .readers
            .store(state.exchange.readers(), Ordering::Relaxed);
    }
}

fn serve(inner: &Inner, mut stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let hello = receive(&mut stream)?;
    let seat = match welcome(inner, &stream, hello)? {
        Ok(seat) => seat,
        Err(why) => return tell(&mut stream, Name::Fail, 0, why.as_bytes()),
    };
    let ring = ring(inner, hello.map_or(1, |h| h.numbers[0]));
    let about = serde_json::json!({
        "group": inner.group.as_str(),
        "pixels": inner.options.pixels.name(),
        "cameras": inner.state().cameras,
    });
    let message = Message {
        name: Name::Hello,
        small: wire::VERSION,
        numbers: [
            ring.map_or(wire::UNLIMITED, |r| r as u64),
            0,
            about.to_string().len() as u64,
        ],
    };
    stream.write_all(&[&message.to_bytes()[..], about.to_string().as_bytes()].concat())?;
    stream.set_read_timeout(None)?;
    let mut known = BTreeMap::new();
    loop {
        match receive(&mut stream)? {
            Some(m) if m.name == Name::Next && m.small as usize <= HELD => {
                if let Err(why) = next(inner, seat.id, m, &mut known, &mut stream)? {
                    return tell(&mut stream, Name::Fail, 0, why.as_bytes());
                }
            }
            Some(m) if m.name == Name::State => state(inner, seat.id, Name::State, &mut stream)?,
            _ => {
                return tell(
                    &mut stream,
                    Name::Fail,
                    0,
                    b"no such message: see docs/reference/packets.md",
                );
            }
        }
    }
}

/// The ring that a reader gets: no larger than the group's.
fn ring(inner: &Inner, wanted: u64) -> Option<usize> {
    let wanted = (wanted != wire::UNLIMITED).then(|| usize::try_from(wanted.max(1)).unwrap_or(usize::MAX));
    match (wanted, inner.options.max_ring) {
        (Some(wanted), Some(most)) => Some(wanted.min(most)),
        (wanted, most) => wanted.or(most),
    }
}

fn welcome<'i>(
    inner: &'i Inner,
    stream: &UnixStream,
    hello: Option<Message>,
) -> io::Result<Result<Seat<'i>, String>> {
    let Some(hello) = hello.filter(|h| h.name == Name::Hello) else {
        return Ok(Err("begin with HELO: see docs/reference/packets.md".to_owned()));
    };
    if hello.small != wire::VERSION {
        return Ok(Err(format!(
            "the reader speaks version {}, this daemon version {}: install the package that came with the daemon",
            hello.small,
            wire::VERSION
        )));
    }
    let end = stream.try_clone()?;
    let mut state = inner.state();
    if inner.stopped.load(Ordering::SeqCst) {
        return Ok(Err("the daemon stops".to_owned()));
    }
    if state.exchange.readers() >= READERS {
        return Ok(Err(format!(
            "{READERS} programs read this group already: end one of them"
        )));
    }
    let id = state.exchange.join(ring(inner, hello.numbers[0]));
    state.connections.insert(id, end);
    inner.readers.store(state.exchange.readers(), Ordering::Relaxed);
    Ok(Ok(Seat { inner, id }))
}

/// Answers NEXT. The inner error is the reader's own fault.
fn next(
    inner: &Inner,
    id: ReaderId,
    message: Message,
    known: &mut BTreeMap<usize, u64>,
    stream: &mut UnixStream,
) -> io::Result<Result<(), String>> {
    let mut state = inner.state();
    for block in &message.numbers[..message.small as usize] {
        if state.exchange.release(id, *block).is_err() {
            return Ok(Err(format!("gave back block {block}, which it does not hold")));
        }
    }
    if state.exchange.account(id).1 > HELD {
        return Ok(Err(format!(
            "holds more than {HELD} packets: copy what is kept for longer"
        )));
    }
    inner.changed.notify_all();
    loop {
        if inner.stopped.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some(block) = state.exchange.take(id) {
            let Some(shared) = &state.blocks[block] else {
                return Err(io::Error::other("a block without memory"));
            };
            let fresh = known.insert(block, shared.generation) != Some(shared.generation);
            let descriptor = fresh.then(|| shared.descriptor.try_clone()).transpose()?;
            let used = shared.used;
            let lost = state.exchange.account(id).0;
            drop(state);
            let message = Message {
                name: Name::Packet,
                small: block as u32,
                numbers: [used, lost, u64::from(fresh)],
            };
            return send(stream, message, descriptor).map(Ok);
        }
        let (back, waited) = inner
            .changed
            .wait_timeout(state, IDLE_AFTER)
            .unwrap_or_else(PoisonError::into_inner);
        state = back;
        if waited.timed_out() {
            drop(state);
            self::state(inner, id, Name::Idle, stream)?;
            state = inner.state();
        }
    }
}

fn state(inner: &Inner, id: ReaderId, name: Name, stream: &mut UnixStream) -> io::Result<()> {
    let state = inner.state();
    let text = serde_json::to_string(&state.cameras)?;
    let lost = state.exchange.account(id).0;
    drop(state);
    tell(stream, name, lost, text.as_bytes())
}

/// The next message; `None` when it is none of ours.
fn receive(stream: &mut UnixStream) -> io::Result<Option<Message>> {
    let mut bytes = [0; MESSAGE];
    stream.read_exact(&mut bytes)?;
    Ok(Message::from_bytes(&bytes))
}

fn tell(stream: &mut UnixStream, name: Name, lost: u64, text: &[u8]) -> io::Result<()> {
    let message = Message {
        name,
        small: 0,
        numbers: [0, lost, text.len() as u64],
    };
    stream.write_all(&[&message.to_bytes()[..], text].concat())
}

/// Sends a message, with a descriptor where there is one.
fn send(stream: &mut UnixStream, message: Message, descriptor: Option<OwnedFd>) -> io::Result<()> {
    let bytes = message.to_bytes();
    let Some(descriptor) = descriptor else {
        return stream.write_all(&bytes);
    };
    let raw = [descriptor.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&raw)];
    let sent = sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(&bytes)],
        &control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    stream.write_all(&bytes[sent..])
}

/// The writer's thread.
fn write_packets(inner: &Inner, packets: &Receiver<FramePacket<Pixels>>) {
    let mut blocks: Vec<Option<Block>> = Vec::new();
    let mut said = None;
    loop {
        let packet = match packets.recv_timeout(IDLE_AFTER) {
            Ok(packet) => Some(packet),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(packet) = packet.filter(|_| inner.readers.load(Ordering::Relaxed) > 0) else {
            // What nobody reads needs no memory.
            if inner.readers.load(Ordering::Relaxed) == 0 && !blocks.is_empty() {
                forget(inner, &mut blocks);
            }
            continue;
        };
        let failed = write_packet(inner, &packet, &mut blocks);
        let now = inner.clock.now();
        if let Some(why) = failed.last()
            && said.is_none_or(|at| now - at > Span::from_secs(10))
        {
            said = Some(now);
            log::error!(
                "group {}: packet {} for other programs: {why}",
                inner.group,
                packet.id.0
            );
        }
    }
}

/// Gives all memory back, unless a reader came.
fn forget(inner: &Inner, blocks: &mut Vec<Option<Block>>) {
    let mut state = inner.state();
    if state.exchange.readers() == 0 {
        state.exchange.forget();
        state.blocks.clear();
        blocks.clear();
    }
}

fn give_back(inner: &Inner, blocks: &mut [Option<Block>], which: impl Fn(usize) -> bool) {
    let mut state = inner.state();
    for (i, block) in blocks.iter_mut().enumerate().filter(|(i, _)| which(*i)) {
        *block = None;
        if let Some(shared) = state.blocks.get_mut(i) {
            *shared = None;
        }
    }
}

/// Writes a packet for everybody who reads; returns what went wrong.
fn write_packet(inner: &Inner, packet: &FramePacket<Pixels>, blocks: &mut Vec<Option<Block>>) -> Vec<String> {
    let motion: Vec<MotionAnswer> = packet
        .slots
        .iter()
        .map(|(_, slot)| match slot.frame() {
            Some(frame) => inner.motion.vectors(&frame.meta.key),
            None => MotionAnswer::Off,
        })
        .collect();
    let pixels = inner.options.pixels;
    let (places, used) = layout::places(packet, pixels, &motion);
    let claim = inner.state().exchange.claim(used as u64);
    let Some(claim) = claim else {
        inner.lost.fetch_add(1, Ordering::Relaxed);
        return vec![format!(
            "no memory for {used} bytes: its readers hold all of it, or packets.max_memory is below {HELD} packets"
        )];
    };
    if blocks.len() <= claim.block {
        blocks.resize_with(claim.block + 1, || None);
    }
    if let Some(bytes) = claim.make {
        let emptied: Vec<usize> = inner.state().exchange.emptied().collect();
        give_back(inner, blocks, |i| i == claim.block || emptied.contains(&i));
        let made = Block::make(bytes).and_then(|block| Ok((block.descriptor()?, block)));
        let (descriptor, block) = match made {
            Ok(made) => made,
            Err(error) => {
                inner.state().exchange.abandon(claim);
                inner.lost.fetch_add(1, Ordering::Relaxed);
                return vec![format!("no memory of {bytes} bytes: {error}")];
            }
        };
        blocks[claim.block] = Some(block);
        let mut state = inner.state();
        if state.blocks.len() <= claim.block {
            state.blocks.resize_with(claim.block + 1, || None);
        }
        state.generation += 1;
        state.blocks[claim.block] = Some(Shared {
            descriptor,
            generation: state.generation,
            used: 0,
        });
    }
    let Some(block) = &mut blocks[claim.block] else {
        inner.state().exchange.abandon(claim);
        return vec![format!("block {} has no memory", claim.block)];
    };
    let map = (inner.map)();
    let now = || inner.clock.now();
    let failed = writer::write(
        block.bytes(),
        packet,
        (&places, used),
        (pixels, &motion),
        &map,
        now,
    );
    let mut state = inner.state();
    if let Some(shared) = &mut state.blocks[claim.block] {
        shared.used = used as u64;
    }
    state.exchange.publish(claim.block);
    drop(state);
    inner.changed.notify_all();
    failed
}
