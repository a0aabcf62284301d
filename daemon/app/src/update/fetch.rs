//! Brings a bundle to the disk: by HTTP, going on behind what is here, or from a file. Blocking.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use synoptic_engine::update::Fault;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// How often progress is told.
const TELL_EVERY: u64 = 1 << 20;
/// For a connection, and for the answer's head.
const CONNECT: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(30);
/// For the body of one try. A link that says nothing any more is noticed by it; what came is kept and gone on with.
const BODY: Duration = Duration::from_secs(300);

/// Ends a download from elsewhere.
pub(super) type Stop = Arc<AtomicBool>;

/// What came, and why no more did.
pub(super) type Ended = Result<u64, (Fault, u64)>;

fn passing(error: impl std::fmt::Display) -> Fault {
    Fault::Passing(error.to_string())
}

fn last(error: impl std::fmt::Display) -> Fault {
    Fault::Final(error.to_string())
}

/// A client that trusts whom the system trusts.
pub(super) fn client() -> ureq::Agent {
    // What cannot be read is left out; with none at all each https address fails with the reason.
    let roots: Vec<_> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER))
        .timeout_recv_body(Some(BODY))
        .user_agent(concat!("synoptic/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .new_agent()
}

/// One bundle that is brought to one file.
pub(super) struct Goal<'a> {
    /// Where it goes. What is there of it from before is gone on with.
    pub to: &'a Path,
    /// Largest size, in bytes.
    pub limit: u64,
    /// Whether to end.
    pub stop: &'a AtomicBool,
}

impl Goal<'_> {
    /// Says which answer of which address the bytes are of: more of another one would be another file.
    fn tag_file(&self) -> PathBuf {
        self.to.with_extension("tag")
    }

    /// Removes file and tag.
    pub(super) fn discard(to: &Path) -> io::Result<()> {
        for file in [to.to_owned(), to.with_extension("tag")] {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes that are here, and the tag of the answer they came with.
    fn begun(&self, url: &str) -> (u64, Option<String>) {
        let tag = std::fs::read_to_string(self.tag_file()).ok();
        let tag = tag.and_then(|t| t.strip_prefix(url)?.strip_prefix('\n').map(str::to_owned));
        match (tag, std::fs::metadata(self.to)) {
            (Some(tag), Ok(meta)) if meta.len() > 0 => (meta.len(), Some(tag)),
            _ => (0, None),
        }
    }

    /// One try.
    pub(super) fn by_http(
        &self,
        client: &ureq::Agent,
        url: &str,
        told: &mut dyn FnMut(u64, Option<u64>),
    ) -> Ended {
        let (have, tag) = self.begun(url);
        // A compressed answer has other offsets than the file.
        let mut request = client.get(url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(tag) = &tag {
            request = request.header(header::RANGE, format!("bytes={have}-"));
            if !tag.is_empty() {
                request = request.header(header::IF_RANGE, tag);
            }
        }
        let answer = request.call().map_err(|e| (of_client(&e), have))?;
        // Cancelled while the server was silent: the file may be another download's by now.
        if self.stop.load(Ordering::Relaxed) {
            return Err((last("cancelled"), have));
        }
        let (from, total) = match self.offset(&answer, have) {
            Ok(found) => found,
            Err(Whole) => return Ok(have),
        }
        .map_err(|fault| (fault, have))?;
        if let Some(total) = total
            && total > self.limit
        {
            return Err((too_large(self.limit), from));
        }
        let new_tag = validator(&answer);
        std::fs::write(self.tag_file(), format!("{url}\n{new_tag}")).map_err(|e| (of_disk(&e), from))?;
        let here = self.take(&mut answer.into_body().into_reader(), from, total, told)?;
        match total {
            Some(total) if here < total => Err((
                passing(format!("the connection ended at {here} of {total} bytes")),
                here,
            )),
            _ => Ok(here),
        }
    }

    /// From which byte on the answer goes, and how many there are in all.
    fn offset(
        &self,
        answer: &Response<ureq::Body>,
        have: u64,
    ) -> Result<Result<(u64, Option<u64>), Fault>, Whole> {
        let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok());
        let range = header(header::CONTENT_RANGE).map(content_range);
        let status = answer.status();
        Ok(match status {
            StatusCode::OK => Ok((0, header(header::CONTENT_LENGTH).and_then(|l| l.parse().ok()))),
            StatusCode::PARTIAL_CONTENT => match range {
                Some((Some(from), total)) if from == have => Ok((have, total)),
                _ => self.begin_anew("the server answered with another range than asked for"),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => match range {
                Some((None, Some(total))) if total == have => return Err(Whole),
                _ => self.begin_anew("the file on the server has changed"),
            },
            // Those two say "later" (RFC 9110 section 15.5.9, RFC 6585 section 4); no other 4xx gets better by itself.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(passing(said(status))),
            status if status.is_server_error() => Err(passing(said(status))),
            status => Err(last(format!("{}: is the address right?", said(status)))),
        })
    }

    fn begin_anew<T>(&self, why: &str) -> Result<T, Fault> {
        Goal::discard(self.to).map_err(|e| of_disk(&e))?;
        Err(passing(why))
    }

    /// A file of this machine.
    pub(super) fn by_copy(&self, from: &Path, told: &mut dyn FnMut(u64, Option<u64>)) -> Ended {
        let broken = |e: &io::Error| (last(format!("{}: {e}", from.display())), 0);
        let mut file = File::open(from).map_err(|e| broken(&e))?;
        let bytes = file.metadata().map_err(|e| broken(&e))?.len();
        if bytes > self.limit {
            return Err((too_large(self.limit), 0));
        }
        let here = self.take(&mut file, 0, Some(bytes), told);
        // A stick that is pulled does not come back by itself.
        let here = here.map_err(|(fault, here)| match fault {
            Fault::Passing(why) => (last(format!("{}: {why}", from.display())), here),
            fault => (fault, here),
        })?;
        if here < bytes {
            return Err((last(format!("{} ended early", from.display())), here));
        }
        Ok(here)
    }

    /// Writes what comes behind byte `from`.
    fn take(
        &self,
        source: &mut dyn Read,
        from: u64,
        total: Option<u64>,
        told: &mut dyn FnMut(u64, Option<u64>),
    ) -> Ended {
        let disk = |e: io::Error| (of_disk(&e), from);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.to)
            .map_err(disk)?;
        file.set_len(from).map_err(disk)?;
        file.seek(SeekFrom::Start(from)).map_err(disk)?;
        let (mut here, mut next) = (from, from);
        let mut chunk = vec![0; CHUNK];
        loop {
            if here >= next {
                told(here, total);
                next = here + TELL_EVERY;
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err((last("cancelled"), here));
            }
            let got = match source.read(&mut chunk) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err((passing(format!("after {here} bytes: {error}")), here)),
            };
            if here + got as u64 > self.limit {
                return Err((too_large(self.limit), here));
            }
            file.write_all(&chunk[..got]).map_err(|e| (of_disk(&e), here))?;
            here += got as u64;
        }
        file.sync_all().map_err(|e| (of_disk(&e), here))?;
        Ok(here)
    }
}

/// All of it is here already.
struct Whole;

fn said(status: StatusCode) -> String {
    format!(
        "the server said HTTP {} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    )
}

/// What tells one file of an address from the next one. A weak tag does not: equal bytes are what counts (RFC 9110 13.1.5).
fn validator(answer: &Response<ureq::Body>) -> String {
    let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok());
    let tag = header(header::ETAG).filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| header(header::LAST_MODIFIED))
        .unwrap_or_default()
        .to_owned()
}

/// First byte and size of `bytes 5-9/10`, `bytes */10`.
fn content_range(text: &str) -> (Option<u64>, Option<u64>) {
    let text = text.strip_prefix("bytes ").unwrap_or_default();
    let (range, total) = text.split_once('/').unwrap_or_default();
    let from = range.split_once('-').and_then(|(from, _)| from.parse().ok());
    (from, total.parse().ok())
}

fn of_client(error: &ureq::Error) -> Fault {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => last(error),
        // A certificate that is not trusted is not trusted in a second either.
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => last(error),
        ureq::Error::Io(io) if io.kind() == io::ErrorKind::InvalidData => last(error),
        error => passing(error),
    }
}

pub(super) fn of_disk(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            last("the data partition is full: lower `max_size` of [store], or remove files")
        }
        _ => last(format!("the bundle cannot be written: {error}")),
    }
}

pub(super) fn too_large(limit: u64) -> Fault {
    last(format!(
        "the bundle is larger than {} MB, which is all this box takes, or has room for",
        limit / 1_000_000
    ))
}

/// SHA-256 of a file, as hex digits.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            got => sum.update(&chunk[..got]),
        }
    }
    Ok(sum.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
