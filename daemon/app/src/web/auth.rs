//! The password and who is signed in.
//!
//! The password is kept as an argon2id hash (RFC 9106, the library's defaults: 19 MiB, 2 passes, OWASP's first
//! choice) in a file only the daemon can read. There is no default: until one is set, addresses other than
//! loopback show nothing but the page that sets it. Sessions live in memory: a restart signs everybody out.

use std::collections::HashMap;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use synoptic_base::{Clock, Mono, Span};

use super::Problem;
use super::limit::Limiter;

/// Shortest password, in characters.
pub const MIN_PASSWORD: usize = 10;
/// Longest password, in bytes: hashing must have a bound.
pub const MAX_PASSWORD: usize = 1024;
/// A session ends when it was not used for this long.
const SESSION_IDLE: Span = Span::from_secs(7 * 24 * 3600);
/// Sessions at once; one more ends the one that was idle longest.
const MAX_SESSIONS: usize = 256;
/// Name of the file within the data folder.
const FILE: &str = "web-password";

/// Checks passwords and remembers sessions.
pub struct Auth {
    file: PathBuf,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// One hash at a time: a hash takes 19 MiB and a whole core.
    hashing: Mutex<()>,
}

#[derive(Default)]
struct State {
    hash: Option<String>,
    limiter: Limiter,
    /// SHA-256 of the token (so that a lookup's timing tells nothing) and when it was last used.
    sessions: HashMap<[u8; 32], Mono>,
}

/// A session's secret, as the cookie carries it: 256 random bits in hex.
pub(super) struct Token(pub(super) String);

impl Auth {
    /// Reads the password's hash from `data_dir`, if one is set.
    pub fn open(data_dir: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<Auth> {
        let file = data_dir.join(FILE);
        let hash = match std::fs::read_to_string(&file) {
            Ok(text) => {
                let text = text.trim().to_owned();
                if PasswordHash::new(&text).is_err() {
                    anyhow::bail!(
                        "{} holds no password hash; remove the file to set a new password",
                        file.display()
                    );
                }
                Some(text)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => anyhow::bail!("cannot read {}: {e}", file.display()),
        };
        Ok(Auth {
            file,
            clock,
            state: Mutex::new(State {
                hash,
                ..State::default()
            }),
            hashing: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a password is set.
    pub fn is_set_up(&self) -> bool {
        self.state().hash.is_some()
    }

    /// Sets the first password and signs in. Blocks for about 50 ms.
    pub(super) fn set_up(&self, address: IpAddr, password: &str) -> Result<Token, Problem> {
        check_length("password", password)?;
        let taken = || Problem::conflict("a password is set already; sign in with it");
        let one_at_a_time = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        // Held until the file is written: of two first visitors exactly one wins.
        if self.is_set_up() {
            return Err(taken());
        }
        self.take_try(address)?;
        let hash = hashed(password)?;
        match write_new(&self.file, &hash) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(taken()),
            Err(e) => {
                let what = format!("writing {}", self.file.display());
                return Err(Problem::internal(&what, e));
            }
        }
        self.state().hash = Some(hash);
        drop(one_at_a_time);
        log::info!("web: the password was set from {address}");
        self.begin(address)
    }

    /// Checks the password and signs in. Blocks for about 50 ms.
    pub(super) fn sign_in(&self, address: IpAddr, password: &str) -> Result<Token, Problem> {
        let Some(hash) = self.state().hash.clone() else {
            return Err(Problem::conflict("no password is set yet; set one first"));
        };
        self.take_try(address)?;
        let one_at_a_time = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        check(&hash, password, address)?;
        drop(one_at_a_time);
        self.begin(address)
    }

    /// Sets another password, ends every session and signs in anew. Blocks for about 100 ms.
    pub(super) fn change(&self, address: IpAddr, old: &str, new: &str) -> Result<Token, Problem> {
        check_length("new", new)?;
        let one_at_a_time = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: of two changes the second must know the password of the first.
        let Some(hash) = self.state().hash.clone() else {
            return Err(Problem::conflict("no password is set yet; set one first"));
        };
        self.take_try(address)?;
        check(&hash, old, address)?;
        let hash = hashed(new)?;
        replace(&self.file, &hash).map_err(|e| {
            let what = format!("writing {}", self.file.display());
            Problem::internal(&what, e)
        })?;
        let mut state = self.state();
        state.hash = Some(hash);
        state.sessions.clear();
        drop(state);
        drop(one_at_a_time);
        log::info!("web: the password was changed from {address}; every session ends");
        self.begin(address)
    }

    fn take_try(&self, address: IpAddr) -> Result<(), Problem> {
        let now = self.clock.now();
        self.state()
            .limiter
            .take(now, address)
            .map_err(|wait| Problem::too_many(format!("too many tries; wait {wait} s"), wait))
    }

    fn begin(&self, address: IpAddr) -> Result<Token, Problem> {
        let mut secret = [0u8; 32];
        rand::rngs::OsRng
            .try_fill_bytes(&mut secret)
            .map_err(|e| Problem::internal("drawing a session's secret", e))?;
        let token = Token(hex(&secret));
        let now = self.clock.now();
        let mut state = self.state();
        state.limiter.succeed(address);
        state.sessions.retain(|_, used| now - *used < SESSION_IDLE);
        if state.sessions.len() >= MAX_SESSIONS {
            let oldest = state
                .sessions
                .iter()
                .min_by_key(|(_, used)| **used)
                .map(|(k, _)| *k);
            oldest.map(|key| state.sessions.remove(&key));
        }
        state.sessions.insert(digest(&token.0), now);
        Ok(token)
    }

    /// Whether the token belongs to a session; keeps it alive.
    pub(super) fn is_signed_in(&self, token: &str) -> bool {
        let now = self.clock.now();
        match self.state().sessions.get_mut(&digest(token)) {
            Some(used) if now - *used < SESSION_IDLE => {
                *used = now;
                true
            }
            _ => false,
        }
    }

    /// Ends a session.
    pub(super) fn sign_out(&self, token: &str) {
        self.state().sessions.remove(&digest(token));
    }
}

/// What a new password must be; `field` is where it stood.
fn check_length(field: &'static str, password: &str) -> Result<(), Problem> {
    if password.chars().count() >= MIN_PASSWORD && password.len() <= MAX_PASSWORD {
        return Ok(());
    }
    Err(Problem::invalid(
        field,
        format!("use {MIN_PASSWORD} characters or more (at most {MAX_PASSWORD} bytes)"),
    ))
}

fn hashed(password: &str) -> Result<String, Problem> {
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|e| Problem::internal("hashing the password", e))?;
    Ok(hash.to_string())
}

fn check(hash: &str, password: &str, address: IpAddr) -> Result<(), Problem> {
    let parsed = PasswordHash::new(hash).map_err(|e| Problem::internal("reading the password", e))?;
    let right = password.len() <= MAX_PASSWORD
        && Argon2::default()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok();
    if right {
        return Ok(());
    }
    log::warn!("web: wrong password from {address}");
    let forbidden = axum::http::StatusCode::FORBIDDEN;
    Err(Problem::new(forbidden, "the password is wrong"))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Writes a file that only its owner may read and that did not exist before, whole or not at all.
pub(super) fn write_new(file: &Path, content: &str) -> std::io::Result<()> {
    let draft = draft(file, content)?;
    let done = std::fs::hard_link(&draft, file);
    std::fs::remove_file(&draft)?;
    sync_folder(file)?;
    done
}

/// Puts another content in a file's place, whole or not at all.
fn replace(file: &Path, content: &str) -> std::io::Result<()> {
    std::fs::rename(draft(file, content)?, file)?;
    sync_folder(file)
}

/// The content on disk beside the file, for its owner only.
fn draft(file: &Path, content: &str) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    let draft = file.with_extension("new");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    out.write_all(content.as_bytes())?;
    out.sync_all()?;
    Ok(draft)
}

fn sync_folder(file: &Path) -> std::io::Result<()> {
    std::fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::web::tests::ManualClock;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn a_password_survives_a_restart_and_sessions_end() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::shared();
        let auth = Auth::open(dir.path(), clock.clone()).unwrap();
        assert!(!auth.is_set_up());
        assert_eq!(
            auth.sign_in(HOME, "anything at all").err().map(|p| p.status),
            Some(409)
        );
        assert_eq!(auth.set_up(HOME, "short").err().map(|p| p.status), Some(422));
        let token = auth.set_up(HOME, "correct horse").unwrap();
        assert!(auth.is_signed_in(&token.0));
        assert_eq!(
            auth.set_up(HOME, "another horse").err().map(|p| p.status),
            Some(409)
        );
        let file = dir.path().join(FILE);
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("$argon2id$"));

        let auth = Auth::open(dir.path(), clock.clone()).unwrap();
        assert!(auth.is_set_up() && !auth.is_signed_in(&token.0));
        assert_eq!(
            auth.sign_in(HOME, "wrong horse").err().map(|p| p.status),
            Some(403)
        );
        let token = auth.sign_in(HOME, "correct horse").unwrap();
        clock.advance(SESSION_IDLE - Span::from_secs(1));
        assert!(auth.is_signed_in(&token.0));
        clock.advance(SESSION_IDLE);
        assert!(!auth.is_signed_in(&token.0));
        let token = auth.sign_in(HOME, "correct horse").unwrap();
        auth.sign_out(&token.0);
        assert!(!auth.is_signed_in(&token.0));
    }

    #[test]
    fn a_changed_password_ends_every_session_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::shared();
        let auth = Auth::open(dir.path(), clock.clone()).unwrap();
        let status = |r: Result<Token, Problem>| r.err().map(|p| p.status);
        assert_eq!(status(auth.change(HOME, "", "another horse")), Some(409));
        let first = auth.set_up(HOME, "correct horse").unwrap();
        let second = auth.sign_in(HOME, "correct horse").unwrap();
        assert_eq!(status(auth.change(HOME, "correct horse", "short")), Some(422));
        assert_eq!(
            status(auth.change(HOME, "wrong horse", "another horse")),
            Some(403)
        );
        assert!(auth.is_signed_in(&first.0), "a wrong try ends nothing");
        let third = auth.change(HOME, "correct horse", "another horse").unwrap();
        assert!(auth.is_signed_in(&third.0));
        assert!(!auth.is_signed_in(&first.0) && !auth.is_signed_in(&second.0));
        let mode = std::fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let auth = Auth::open(dir.path(), clock).unwrap();
        assert_eq!(status(auth.sign_in(HOME, "correct horse")), Some(403));
        assert!(auth.sign_in(HOME, "another horse").is_ok());
        for _ in 0..5 {
            assert_eq!(
                status(auth.change(HOME, "wrong horse", "third horse!")),
                Some(403)
            );
        }
        assert_eq!(
            status(auth.change(HOME, "another horse", "third horse!")),
            Some(429),
            "guessing is slowed down here, too"
        );
    }

    #[test]
    fn a_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "secret").unwrap();
        let error = Auth::open(dir.path(), ManualClock::shared())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains(FILE) && error.contains("remove the file"),
            "{error}"
        );
    }
}
