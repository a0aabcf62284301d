//! A web server that does to each request what the test wants.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is done to one request.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    /// Ranges, lengths, tags, as it should be.
    Well,
    /// So many bytes of the body, then the connection is gone.
    Cut(usize),
    /// Another status and no body.
    Status(u16),
    /// Knows no ranges: all of it, each time.
    Whole,
    /// Knows no lengths either.
    Endless,
    /// Is silent until the test ends.
    Silent,
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) range: Option<String>,
    pub(super) if_range: Option<String>,
}

#[derive(Default)]
struct State {
    manners: VecDeque<Manner>,
    asked: Vec<Asked>,
    body: Vec<u8>,
    tag: String,
    silent: Vec<TcpStream>,
}

/// Serves one file on loopback until the test's process ends.
pub(super) struct Server {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// The manners of the first requests; all others are served well.
    pub(super) fn start(body: Vec<u8>, manners: &[Manner]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/box.raucb?token=secret", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            manners: manners.iter().cloned().collect(),
            body,
            tag: "\"one\"".to_owned(),
            ..State::default()
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A client that goes away in the middle is what the tests are about.
                std::thread::spawn(move || serve(stream, &shared).ok());
            }
        });
        Server { url, state }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Another file from now on.
    pub(super) fn change(&self, body: Vec<u8>, tag: &str) {
        let mut state = self.state.lock().unwrap();
        state.body = body;
        state.tag = format!("\"{tag}\"");
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut head = Vec::new();
    while let Some(line) = lines.next().transpose()?.filter(|l| !l.is_empty()) {
        head.push(line);
    }
    let header = |name: &str| {
        let found = head.iter().filter_map(|l| l.split_once(": "));
        let mut found = found.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    let asked = Asked {
        range: header("range"),
        if_range: header("if-range"),
    };
    let (manner, body, tag) = {
        let mut state = state.lock().unwrap();
        state.asked.push(asked.clone());
        (
            state.manners.pop_front().unwrap_or(Manner::Well),
            state.body.clone(),
            state.tag.clone(),
        )
    };
    let mut out = stream;
    if let Manner::Silent = manner {
        state.lock().unwrap().silent.push(out);
        return Ok(());
    }
    if let Manner::Status(status) = manner {
        return write!(
            out,
            "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    if let Manner::Endless = manner {
        write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        return out.write_all(&body);
    }
    let same = asked.if_range.as_ref().is_none_or(|wanted| *wanted == tag);
    let from: Option<usize> = asked
        .range
        .filter(|_| same && !matches!(manner, Manner::Whole))
        .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let total = body.len();
    let common = format!("ETag: {tag}\r\nConnection: close\r\n\r\n");
    let rest = match from {
        Some(from) if from >= total => {
            return write!(
                out,
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n{common}"
            );
        }
        Some(from) => {
            let rest = &body[from..];
            write!(
                out,
                "HTTP/1.1 206 OK\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}\r\n{common}",
                total - 1,
                rest.len()
            )?;
            rest
        }
        None => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n{common}")?;
            &body
        }
    };
    match manner {
        Manner::Cut(bytes) => out.write_all(&rest[..bytes.min(rest.len())]),
        _ => out.write_all(rest),
    }
}
