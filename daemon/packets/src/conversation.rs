//! What daemon and reader say to each other, one thread a reader.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::exchange::ReaderId;
use crate::server::{IDLE_AFTER, Inner, PATIENCE, READERS};
use crate::wire::{self, HELD, MESSAGE, Message, Name};

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

/// Speaks with a reader until it goes.
pub(crate) fn serve(inner: &Inner, mut stream: UnixStream) -> io::Result<()> {
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
