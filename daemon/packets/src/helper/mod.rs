//! Motion vectors by a helper process: `synoptic-mv` (helpers/mv) gets a camera's H.264 and tells the vectors of the frames
//! that come out. FFmpeg is linked there alone; what it does to itself harms one camera's vectors and nothing else.
//!
//! Contract: [`MotionHelper::push`] never waits. What the process cannot take is dropped up to the next IDR picture; a
//! process that ends, or takes nothing for a whole queue, is replaced after a wait that doubles.

mod book;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use synoptic_base::{Epoch, FrameKey, MediaTime, MotionVector, Rotation, Size, Span, StreamId};

pub use book::MotionBook;

/// Coded pictures on their way to the process: two seconds at 30 a second.
const QUEUE: usize = 60;
/// Pictures dropped in a row after which the process is taken for hung.
const HUNG: u64 = 120;
/// The wait before a process is started again, doubling.
const FIRST_WAIT: Span = Span::from_millis(500);
const LONGEST_WAIT: Span = Span::from_secs(30);
/// Frames after which a process counts as a good one.
const GOOD: u64 = 100;
/// Vectors of a frame at most: each 4x4 block of an 8K picture in both directions. More is nonsense.
const MAX_VECTORS: u32 = 2 * 1920 * 1080;
/// An epoch is told apart within a process by these bits of the time: media times are below 2^53.
const MEDIA_BITS: u32 = 53;
/// Epochs that the other bits can tell apart.
const EPOCHS: i64 = 1 << (63 - MEDIA_BITS);
/// Bytes of a vector as the helper writes it.
const VECTOR: usize = 40;

/// A coded picture.
#[derive(Clone, Debug)]
pub struct CodedUnit {
    /// The key that its frame will have.
    pub key: FrameKey,
    /// Whether it is an IDR picture, with its parameter sets.
    pub keyframe: bool,
    /// The access unit in Annex B form.
    pub annexb: Bytes,
    /// Size of the picture as it is coded, before the camera's rotation.
    pub size: Size,
}

/// A camera's helper. Dropping it ends the process.
pub struct MotionHelper {
    units: Option<Sender<CodedUnit>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    camera: StreamId,
    program: PathBuf,
    /// How the camera's pictures are turned behind the decoder, and so its vectors.
    rotation: Rotation,
    book: Arc<MotionBook>,
    child: Mutex<Option<Child>>,
    /// Nobody wants it any more.
    stopping: AtomicBool,
    /// Why there are no vectors now.
    trouble: Mutex<Option<String>>,
    /// Pictures dropped since one was taken, and since the start.
    dropped_in_a_row: AtomicU64,
    dropped: AtomicU64,
    starts: AtomicU64,
}

impl Shared {
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        if let Some(child) = &mut *self.child()
            && let Err(error) = child.kill()
        {
            log::debug!("camera {}: the motion helper: {error}", self.camera);
        }
    }
}

impl MotionHelper {
    /// Starts the helper of a camera whose pictures are turned by `rotation`; `program` is `synoptic-mv`. What it finds
    /// goes into `book`, where the camera must be open.
    ///
    /// # Errors
    /// When no thread can be had. A program that cannot be started is tried again ([`MotionHelper::trouble`]).
    pub fn start(
        camera: StreamId,
        program: PathBuf,
        rotation: Rotation,
        book: Arc<MotionBook>,
    ) -> io::Result<MotionHelper> {
        let (units, waiting) = bounded(QUEUE);
        let shared = Arc::new(Shared {
            camera,
            program,
            rotation,
            book,
            child: Mutex::default(),
            stopping: AtomicBool::new(false),
            trouble: Mutex::default(),
            dropped_in_a_row: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            starts: AtomicU64::new(0),
        });
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("motion {camera}"))
            .spawn(move || run(&own, &waiting))?;
        Ok(MotionHelper {
            units: Some(units),
            shared,
            thread: Some(thread),
        })
    }

    /// Gives it a coded picture, in the order of decoding. Never waits.
    pub fn push(&self, unit: CodedUnit) {
        let Some(units) = &self.units else { return };
        let key = unit.key;
        // Asked before it is sent: the answer must find its question.
        self.shared.book.asked(key);
        match units.try_send(unit) {
            Ok(()) => self.shared.dropped_in_a_row.store(0, Ordering::Relaxed),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.book.lost(&key);
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                let row = self.shared.dropped_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                if row.is_multiple_of(HUNG) {
                    log::warn!(
                        "camera {}: the motion helper takes nothing: replaced",
                        self.shared.camera
                    );
                    self.shared.kill();
                }
            }
        }
    }

    /// Pictures that the process could not take.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Why there are no vectors now, in words; `None` while they come, or none has failed yet.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble().clone()
    }

    /// Processes started so far.
    pub fn starts(&self) -> u64 {
        self.shared.starts.load(Ordering::Relaxed)
    }
}

impl Drop for MotionHelper {
    fn drop(&mut self) {
        self.units = None;
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.kill();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!(
                "camera {}: the motion helper's thread panicked",
                self.shared.camera
            );
        }
    }
}

/// Keeps a process running until no more pictures come.
fn run(shared: &Shared, units: &Receiver<CodedUnit>) {
    let mut wait = FIRST_WAIT;
    let mut told = String::new();
    loop {
        let (frames, ended) = run_once(shared, units);
        shared.book.forget(&shared.camera);
        let Err(error) = ended else { return };
        if frames >= GOOD {
            wait = FIRST_WAIT;
        }
        let why = format!("{}: {error}", shared.program.display());
        if told != why {
            log::warn!("camera {}: no motion vectors: {why}; tried again", shared.camera);
            told.clone_from(&why);
        }
        *shared.trouble() = Some(why);
        // What comes meanwhile is passed over, and the end is heard.
        let timer = crossbeam_channel::after(wait.to_std());
        loop {
            select! {
                recv(timer) -> _ => break,
                recv(units) -> unit => match unit {
                    Ok(unit) => shared.book.lost(&unit.key),
                    Err(_) => return,
                },
            }
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One process. Returns how many frames it gave, and `Ok` when no more pictures come.
fn run_once(shared: &Shared, units: &Receiver<CodedUnit>) -> (u64, io::Result<()>) {
    let spawned = Command::new(&shared.program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = "it is not there: build helpers/mv and install it beside synoptic, or name it in packets.motion_helper";
            return (0, Err(io::Error::other(why)));
        }
        Err(error) => return (0, Err(error)),
    };
    shared.starts.fetch_add(1, Ordering::Relaxed);
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return (0, Err(io::Error::other("it has no pipes")));
    };
    *shared.child() = Some(child);
    if shared.stopping.load(Ordering::SeqCst) {
        shared.kill();
    }
    let epochs: Mutex<Vec<(Epoch, Size)>> = Mutex::default();
    let (gone, ended) = bounded::<()>(0);
    let mut frames = 0;
    let fed = std::thread::scope(|scope| {
        let heard = scope.spawn(|| {
            let _ends = gone;
            listen(shared, stdout, &epochs)
        });
        let fed = feed(shared, units, &mut stdin, &epochs, &ended);
        drop(stdin);
        if fed.is_err() {
            shared.kill();
        }
        match heard.join() {
            Ok((count, result)) => {
                frames = count;
                fed.and(result)
            }
            Err(_) => Err(io::Error::other("its listener panicked")),
        }
    });
    let status = shared.child().take().map(|mut child| child.wait());
    let result = match (fed, status) {
        (Err(_), Some(Ok(status))) => Err(io::Error::other(format!("it ended: {status}"))),
        (fed, _) => fed,
    };
    (frames, result)
}

/// Feeds the process from the first IDR picture on; `Ok` when no more come.
fn feed(
    shared: &Shared,
    units: &Receiver<CodedUnit>,
    stdin: &mut impl Write,
    epochs: &Mutex<Vec<(Epoch, Size)>>,
    ended: &Receiver<()>,
) -> io::Result<()> {
    let mut began = false;
    loop {
        let unit = select! {
            recv(units) -> unit => match unit {
                Ok(unit) => unit,
                Err(_) => return Ok(()),
            },
            recv(ended) -> _ => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        began |= unit.keyframe;
        if !began {
            shared.book.lost(&unit.key);
            continue;
        }
        let mut known = epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if known.last() != Some(&(unit.key.epoch, unit.size)) {
            known.push((unit.key.epoch, unit.size));
        }
        let number = (known.len() - 1) as i64;
        drop(known);
        if number >= EPOCHS {
            return Err(io::Error::other("it has seen many epochs, and is begun anew"));
        }
        let time = number << MEDIA_BITS | unit.key.media_us.as_micros();
        let length = u32::try_from(unit.annexb.len()).map_err(io::Error::other)?;
        stdin.write_all(&length.to_le_bytes())?;
        stdin.write_all(&time.to_le_bytes())?;
        stdin.write_all(&unit.annexb)?;
        stdin.flush()?;
    }
}

/// Takes what the process says, to its end; returns how many frames that were.
fn listen(
    shared: &Shared,
    mut stdout: ChildStdout,
    epochs: &Mutex<Vec<(Epoch, Size)>>,
) -> (u64, io::Result<()>) {
    let mut frames = 0;
    loop {
        match record(&mut stdout) {
            Ok(Some((time, vectors))) => {
                frames += 1;
                let known = epochs.lock().unwrap_or_else(PoisonError::into_inner);
                let epoch = known.get((time >> MEDIA_BITS) as usize).copied();
                drop(known);
                let Some((epoch, size)) = epoch else {
                    return (
                        frames,
                        Err(io::Error::other("it named a frame that it never got")),
                    );
                };
                let key = FrameKey {
                    stream: shared.camera,
                    epoch,
                    media_us: MediaTime::from_micros(time & ((1 << MEDIA_BITS) - 1)),
                };
                if frames == 1 {
                    *shared.trouble() = None;
                }
                let turned = match shared.rotation {
                    Rotation::None => Some(vectors),
                    rotation => vectors.iter().map(|v| v.turned(rotation, size)).collect(),
                };
                let Some(turned) = turned else {
                    return (frames, Err(io::Error::other("a vector out of the picture")));
                };
                shared.book.found(&key, turned);
            }
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

/// A frame's record: its time and its vectors. `None` at the end.
fn record(stdout: &mut impl Read) -> io::Result<Option<(i64, Arc<[MotionVector]>)>> {
    let mut head = [0; 13];
    match stdout.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let time = i64::from_le_bytes(std::array::from_fn(|i| head[i]));
    let count = u32::from_le_bytes(std::array::from_fn(|i| head[9 + i]));
    if count > MAX_VECTORS {
        return Err(io::Error::other(format!("a frame of {count} vectors")));
    }
    let mut bytes = vec![0; count as usize * VECTOR];
    stdout.read_exact(&mut bytes)?;
    let vector = |v: &[u8]| {
        let column = |i: usize| i32::from_le_bytes(std::array::from_fn(|k| v[4 * i + k]));
        MotionVector::from_columns(std::array::from_fn(column))
    };
    let vectors: Option<Arc<[MotionVector]>> = bytes.chunks_exact(VECTOR).map(vector).collect();
    match vectors {
        Some(vectors) => Ok(Some((time, vectors))),
        None => Err(io::Error::other("a vector out of range")),
    }
}
