//! An upload: its body goes to the disk as it comes.

use std::fmt::Display;
use std::time::Duration;

use axum::body::Bytes;
use synoptic_engine::update::{Fault, Input};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio_stream::{Stream, StreamExt as _};

use super::documents::{Source, UpdatePhase, UploadOptions};
use super::fetch::{Goal, of_disk, too_large};
use super::updater::{Call, Options, UpdateError, Updater};

/// A sender that is silent for so long has gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How often progress is told, in bytes.
const TELL_EVERY: u64 = 1 << 20;

/// Tells the machine when the request is dropped in the middle, as by a browser that is closed.
struct Open<'a> {
    updater: &'a Updater,
    job: u64,
    bytes: u64,
    ended: bool,
}

impl Open<'_> {
    fn tell(&self, input: Input) {
        // The updater ends after the web server.
        self.updater.call(Call::Told { job: self.job, input }).ok();
    }

    fn fail(mut self, fault: Fault) -> UpdateError {
        self.ended = true;
        let (Fault::Final(text) | Fault::Passing(text)) = &fault;
        let text = text.clone();
        self.tell(Input::FetchFailed {
            fault,
            bytes: self.bytes,
            random: 0.0,
        });
        UpdateError::Failed(text)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Input::FetchFailed {
                fault: Fault::Final("the sender went away in the middle: send the file again".to_owned()),
                bytes: self.bytes,
                random: 0.0,
            });
        }
    }
}

impl Updater {
    /// Takes a bundle that is sent: `body` in pieces, `length` bytes if it is known. Ends when all of it is here; what follows
    /// is told by [`Updater::doc`].
    ///
    /// # Errors
    /// When another update is under way, the box cannot take one, or the file cannot come.
    pub async fn upload<E: Display>(
        &self,
        options: UploadOptions,
        length: Option<u64>,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(), UpdateError> {
        let source = Source::Upload {
            name: options
                .name
                .map(|name| name.chars().filter(|c| !c.is_control()).take(120).collect()),
            sha256: options.sha256,
        };
        let wanted = Options {
            version: None,
            command: None,
            allow_downgrade: options.allow_downgrade,
            force: options.force,
            reboot: options.reboot,
        };
        let mut open = Open {
            updater: self,
            job: self.begin(source, wanted).await?,
            bytes: 0,
            ended: false,
        };
        let job = open.job;
        let mut doc = self.watch();
        let known = doc
            .wait_for(|doc| doc.job != job || doc.state != UpdatePhase::Checking)
            .await;
        let known = known.map_err(|_| UpdateError::Ended)?.clone();
        if known.job != job || known.state != UpdatePhase::Downloading {
            open.ended = true;
            let reason = known
                .reason
                .clone()
                .unwrap_or_else(|| "it was cancelled".to_owned());
            return Err(UpdateError::Failed(reason));
        }
        let limit = match self.limit() {
            Ok(limit) => limit,
            Err(error) => return Err(open.fail(of_disk(&error))),
        };
        if length.is_some_and(|length| length > limit) {
            return Err(open.fail(too_large(limit)));
        }
        let path = self.places().bundle();
        let file = match Goal::discard(&path) {
            Ok(()) => File::create(&path).await,
            Err(error) => Err(error),
        };
        let mut file = match file {
            Ok(file) => file,
            Err(error) => return Err(open.fail(of_disk(&error))),
        };
        let mut body = std::pin::pin!(body);
        let mut next = 0;
        loop {
            if open.bytes >= next {
                next = open.bytes + TELL_EVERY;
                let now = doc.borrow().clone();
                if now.job != job || now.state != UpdatePhase::Downloading {
                    open.ended = true;
                    return Err(UpdateError::Failed("it was cancelled".to_owned()));
                }
                open.tell(Input::Fetching {
                    bytes: open.bytes,
                    total: length,
                });
            }
            let piece = match tokio::time::timeout(SILENCE, body.next()).await {
                Err(_) => return Err(open.fail(Fault::Final("the sender is silent".to_owned()))),
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    return Err(open.fail(Fault::Final(format!("the upload broke off: {error}"))));
                }
                Ok(Some(Ok(piece))) => piece,
            };
            if open.bytes + piece.len() as u64 > limit {
                return Err(open.fail(too_large(limit)));
            }
            if let Err(error) = file.write_all(&piece).await {
                return Err(open.fail(of_disk(&error)));
            }
            open.bytes += piece.len() as u64;
        }
        let written = match file.flush().await {
            Ok(()) => file.sync_all().await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            return Err(open.fail(of_disk(&error)));
        }
        open.ended = true;
        open.tell(Input::Fetched { bytes: open.bytes });
        Ok(())
    }
}
