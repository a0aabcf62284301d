//! The least of an RTSP server: it hands RTP and RTCP that another program sends by UDP to one client over TCP, as they
//! are. So a sender's own time stamps and reports reach our session.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use synoptic_base::Span;
use synoptic_media::clocks::SystemClock;

/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct RtspFront {
    port: u16,
    rtp: u16,
    rtcp: u16,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl RtspFront {
    /// Serves what comes to its two UDP ports; `sdp` is written by the sender before anybody asks.
    pub(super) fn start(sdp: &Path) -> RtspFront {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let [rtp, rtcp] = [&sockets[0], &sockets[1]].map(|s| s.local_addr().unwrap().port());
        let ended = Arc::new(AtomicBool::new(false));
        let client: Arc<Mutex<Option<TcpStream>>> = Arc::default();
        let mut threads = Vec::new();
        for (channel, socket) in sockets.into_iter().enumerate() {
            let (ended, client) = (ended.clone(), client.clone());
            socket.set_read_timeout(Some(LOOK)).unwrap();
            threads.push(std::thread::spawn(move || {
                let mut packet = [0; 65_536];
                while !ended.load(Ordering::Relaxed) {
                    let Ok(length) = socket.recv(&mut packet) else {
                        continue;
                    };
                    let mut to = client.lock().unwrap();
                    let gone = to.as_mut().is_some_and(|to| {
                        let mut framed = vec![b'$', channel as u8];
                        framed.extend((length as u16).to_be_bytes());
                        framed.extend(&packet[..length]);
                        to.write_all(&framed).is_err()
                    });
                    if gone {
                        *to = None;
                    }
                }
            }));
        }
        let (sdp, over) = (sdp.to_owned(), ended.clone());
        threads.push(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                serve(stream.unwrap(), &sdp, port, &client);
            }
        }));
        RtspFront {
            port,
            rtp,
            rtcp,
            ended,
            threads,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/v", self.port)
    }

    /// Where the sender is to send to.
    pub(super) fn destination(&self) -> String {
        format!("rtp://127.0.0.1:{}?rtcpport={}", self.rtp, self.rtcp)
    }
}

impl Drop for RtspFront {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || std::thread::panicking());
        }
    }
}

/// Answers a client until it goes.
fn serve(stream: TcpStream, sdp: &Path, port: u16, client: &Mutex<Option<TcpStream>>) {
    let mut requests = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut method, mut number) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            match requests.read_line(&mut line) {
                Ok(0) | Err(_) => {
                    *client.lock().unwrap() = None;
                    return;
                }
                Ok(_) if line.trim().is_empty() => break,
                Ok(_) if method.is_empty() => method = line.split(' ').next().unwrap_or("").to_owned(),
                Ok(_) => {
                    if let Some(value) = line.strip_prefix("CSeq:") {
                        number = value.trim().to_owned();
                    }
                }
            }
        }
        // RTCP of the client comes between the requests.
        let method = method
            .trim_start_matches(|c: char| !c.is_ascii_uppercase())
            .to_owned();
        let (fields, body) = match method.as_str() {
            "DESCRIBE" => {
                let body = description(sdp);
                let fields = format!(
                    "Content-Type: application/sdp\r\nContent-Base: rtsp://127.0.0.1:{port}/v/\r\nContent-Length: {}\r\n",
                    body.len()
                );
                (fields, body)
            }
            "SETUP" => {
                let fields = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1;timeout=600\r\n";
                (fields.to_owned(), String::new())
            }
            "OPTIONS" => (
                "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n".to_owned(),
                String::new(),
            ),
            _ => ("Session: 1\r\n".to_owned(), String::new()),
        };
        let answer = format!("RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{fields}\r\n{body}");
        if (&stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
        if method == "PLAY" {
            *client.lock().unwrap() = Some(stream.try_clone().unwrap());
        }
    }
}

/// The sender's own session description, once it is there, with something to set up by.
fn description(file: &Path) -> String {
    let clock = SystemClock::shared();
    let give_up = clock.now() + Span::from_secs(60);
    let (_never, pause) = crossbeam_channel::bounded::<()>(0);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let from = text.find("v=0").unwrap_or(0);
        if text.contains("m=video") && text.contains("a=fmtp") && text.ends_with('\n') {
            let mut lines: Vec<String> = text[from..].lines().map(str::to_owned).collect();
            lines.retain(|l| !l.is_empty() && !l.starts_with("a=control"));
            lines.push("a=control:track0".to_owned());
            return lines.join("\r\n") + "\r\n";
        }
        assert!(clock.now() < give_up, "no session description: {text}");
        assert!(pause.recv_timeout(LOOK).is_err());
    }
}
