//! An RTSP server that hands on what one sender gives it, packet by packet and report by report, untouched: FFmpeg cannot be
//! asked for its stream, it only announces it (RFC 2326 sections 10.3 and 10.11). RTP goes interleaved (section 10.12).

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A player that takes nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Shared {
    /// What the sender announced.
    sdp: Mutex<Option<Vec<u8>>>,
    players: Mutex<Vec<Arc<Mutex<TcpStream>>>>,
    connections: Mutex<Vec<TcpStream>>,
    reports: Mutex<u32>,
    stopped: AtomicBool,
}

/// A running relay.
pub(super) struct RtspRelay {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl RtspRelay {
    pub(super) fn start() -> RtspRelay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                if own.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.unwrap();
                own.connections.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = own.clone();
                // An end in the middle of something is how connections end.
                serving.push(std::thread::spawn(move || serve(&shared, stream).ok()));
            }
            for connection in serving {
                connection.join().unwrap();
            }
        });
        RtspRelay {
            port,
            shared,
            thread: Some(thread),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/cam", self.port)
    }

    /// Sender reports handed on so far.
    pub(super) fn reports(&self) -> u32 {
        *self.shared.reports.lock().unwrap()
    }
}

impl Drop for RtspRelay {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for connection in self.shared.connections.lock().unwrap().iter() {
            // It may have ended by itself.
            connection.shutdown(Shutdown::Both).ok();
        }
        // Wakes the one that listens.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the relay's thread panicked");
        }
    }
}

struct Request {
    method: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

enum Message {
    Request(Request),
    /// An interleaved packet with its head of four bytes.
    Packet(Vec<u8>),
}

/// The next thing that a peer says.
fn message(input: &mut impl BufRead) -> io::Result<Message> {
    let mut first = [0];
    input.read_exact(&mut first)?;
    if first[0] == b'$' {
        let mut packet = vec![b'$', 0, 0, 0];
        input.read_exact(&mut packet[1..])?;
        let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        packet.resize(4 + length, 0);
        input.read_exact(&mut packet[4..])?;
        return Ok(Message::Packet(packet));
    }
    let mut line = String::from(char::from(first[0]));
    input.read_line(&mut line)?;
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    input.read_exact(&mut body)?;
    Ok(Message::Request(Request {
        method,
        headers,
        body,
    }))
}

fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let output = Arc::new(Mutex::new(stream.try_clone()?));
    let mut input = BufReader::new(stream);
    loop {
        let request = match message(&mut input)? {
            Message::Request(request) => request,
            Message::Packet(packet) => {
                if shared
                    .players
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|p| Arc::ptr_eq(p, &output))
                {
                    continue; // what a player reports back is not for the sender
                }
                hand_on(shared, &packet);
                continue;
            }
        };
        let sequence = request.headers.get("cseq").cloned().unwrap_or_default();
        let answer = |status: &str, more: &str, body: &[u8]| {
            let head = format!(
                "RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{more}Content-Length: {}\r\n\r\n",
                body.len()
            );
            output
                .lock()
                .unwrap()
                .write_all(&[head.as_bytes(), body].concat())
        };
        match request.method.as_str() {
            "OPTIONS" => answer(
                "200 OK",
                "Public: OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD, TEARDOWN\r\n",
                b"",
            )?,
            "ANNOUNCE" => {
                *shared.sdp.lock().unwrap() = Some(request.body);
                answer("200 OK", "", b"")?;
            }
            "DESCRIBE" => match shared.sdp.lock().unwrap().as_deref() {
                Some(sdp) => answer("200 OK", "Content-Type: application/sdp\r\n", sdp)?,
                None => answer("404 Not Found", "", b"")?,
            },
            "SETUP" => {
                let way = request.headers.get("transport").cloned().unwrap_or_default();
                match way.split(',').find(|w| w.contains("TCP")) {
                    Some(tcp) => answer(
                        "200 OK",
                        &format!("Session: 1;timeout=60\r\nTransport: {tcp}\r\n"),
                        b"",
                    )?,
                    None => answer("461 Unsupported Transport", "", b"")?,
                }
            }
            "PLAY" => {
                answer("200 OK", "Session: 1\r\n", b"")?;
                shared.players.lock().unwrap().push(output.clone());
            }
            _ => answer("200 OK", "Session: 1\r\n", b"")?,
        }
    }
}

fn hand_on(shared: &Shared, packet: &[u8]) {
    // Channel 1 is RTCP; 200 is a sender report (RFC 3550 section 12.1).
    *shared.reports.lock().unwrap() += u32::from(packet[1] == 1 && packet.get(5) == Some(&200));
    let gone = |player: &Arc<Mutex<TcpStream>>| player.lock().unwrap().write_all(packet).is_err();
    shared.players.lock().unwrap().retain(|player| !gone(player));
}
