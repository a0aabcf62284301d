//! The door to updates: asks, cancels, restarts, and tells how it stands.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use synoptic_base::{BootId, Clock, ClockMap, Utc};
use synoptic_engine::update::{Input, NotNow};
use tokio::sync::{mpsc, oneshot, watch};

use super::actor::Actor;
use super::documents::{Source, UpdateDoc, UpdateRequest};
use super::facts::Places;
use super::rauc;
use super::{fetch, media};
use crate::power::Bus;

/// Largest bundle, in bytes: what RAUC's own configuration allows (systemd/box/rauc/system.conf). A slot has 512 MB.
pub const MAX_BUNDLE: u64 = 1 << 30;
/// Bytes of the data partition that a bundle leaves free, for the database and the journal meanwhile.
pub(super) const RESERVE: u64 = 64 << 20;

/// Why a wish is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Not at this moment.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// A field cannot be.
    #[error("{1}")]
    Invalid(&'static str, String),
    /// It was begun and failed.
    #[error("{0}")]
    Failed(String),
    /// The daemon is going down.
    #[error("the daemon is going down")]
    Ended,
}

/// How an update is wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// Version that the bundle must be of.
    pub version: Option<String>,
    /// Command that asks for it.
    pub command: Option<String>,
    pub allow_downgrade: bool,
    pub force: bool,
    pub reboot: bool,
}

/// What the updater is told.
pub(super) enum Call {
    Ask(Source, Options, oneshot::Sender<Result<u64, NotNow>>),
    Cancel(oneshot::Sender<Result<(), NotNow>>),
    Reboot(oneshot::Sender<Result<(), NotNow>>),
    /// Ask RAUC how the slots are, if it was not just asked.
    Refresh(oneshot::Sender<()>),
    /// RAUC's answer.
    Machine(Result<rauc::Machine, String>, Option<oneshot::Sender<()>>),
    /// Something happened to update number `job`.
    Told {
        job: u64,
        input: Input,
    },
}

/// What an updater works with.
pub struct UpdaterParts {
    /// Where things are.
    pub places: Places,
    /// Where RAUC and logind are spoken to.
    pub bus: Bus,
    /// The box's clocks.
    pub clock: Arc<dyn Clock>,
    /// What the box takes for UTC.
    pub utc: Arc<dyn Fn() -> Utc + Send + Sync>,
    /// Id of this boot.
    pub boot: String,
}

/// Updates of this machine. Cheap to share; ends with its last handle.
#[derive(Debug)]
pub struct Updater {
    calls: mpsc::UnboundedSender<Call>,
    doc: watch::Receiver<Arc<UpdateDoc>>,
    places: Places,
}

impl Updater {
    /// Starts it, within a tokio runtime, and goes on with what was under way.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn start(parts: UpdaterParts) -> io::Result<Updater> {
        std::fs::create_dir_all(&parts.places.own)?;
        let (calls, inbox) = mpsc::unbounded_channel();
        let places = parts.places.clone();
        let (actor, doc) = Actor::new(parts, calls.downgrade());
        tokio::spawn(actor.run(inbox));
        Ok(Updater { calls, doc, places })
    }

    /// That of this machine, with its data in `data_dir` and UTC by `map`.
    ///
    /// # Errors
    /// As of [`Updater::start`].
    pub fn of_this_machine(
        data_dir: &Path,
        clock: &Arc<dyn Clock>,
        map: &Arc<ArcSwap<ClockMap>>,
        boot: BootId,
    ) -> io::Result<Arc<Updater>> {
        let (now, map) = (clock.clone(), map.clone());
        let updater = Updater::start(UpdaterParts {
            places: Places::of_this_machine(data_dir),
            bus: Bus::System,
            clock: clock.clone(),
            utc: Arc::new(move || map.load().utc(now.now())),
            boot: boot.0.to_string(),
        });
        Ok(Arc::new(updater?))
    }

    /// That of a machine that takes no updates, for shows of the page.
    ///
    /// # Errors
    /// As of [`Updater::start`].
    pub fn nowhere(data_dir: &Path, clock: &Arc<dyn Clock>) -> io::Result<Arc<Updater>> {
        let now = clock.clone();
        let updater = Updater::start(UpdaterParts {
            places: Places::of_this_machine(data_dir),
            bus: Bus::At("unix:path=/nowhere".to_owned()),
            clock: clock.clone(),
            utc: Arc::new(move || now.sample().realtime),
            boot: String::new(),
        });
        Ok(Arc::new(updater?))
    }

    /// How it stands, with the newest word of RAUC.
    ///
    /// # Errors
    /// While the daemon is going down.
    pub async fn doc(&self) -> Result<UpdateDoc, UpdateError> {
        self.asked(Call::Refresh).await?;
        let mut doc = UpdateDoc::clone(&self.doc.borrow());
        let places = self.places.clone();
        let listed = tokio::task::spawn_blocking(move || media::list(&places)).await;
        doc.files = listed.map_err(|_| UpdateError::Ended)?;
        Ok(doc)
    }

    /// Each change, without `files`.
    pub fn watch(&self) -> watch::Receiver<Arc<UpdateDoc>> {
        self.doc.clone()
    }

    /// Begins an update, and gives it a number; [`Updater::watch`] tells the rest.
    ///
    /// # Errors
    /// When a field cannot be, or another update is under way.
    pub async fn request(&self, request: UpdateRequest) -> Result<u64, UpdateError> {
        self.request_by(request, None).await
    }

    /// As [`Updater::request`], for a command of this id.
    pub(crate) async fn request_by(
        &self,
        request: UpdateRequest,
        command: Option<String>,
    ) -> Result<u64, UpdateError> {
        let options = Options {
            version: request.version,
            command,
            allow_downgrade: request.allow_downgrade,
            force: request.force,
            reboot: request.reboot,
        };
        let sha256 = request.sha256;
        let source = match (request.url, request.file) {
            (Some(url), None) => {
                check_url(&url)?;
                Source::Url { url, sha256 }
            }
            (None, Some(path)) => {
                let places = self.places.clone();
                let asked = path.clone();
                let found = tokio::task::spawn_blocking(move || media::allowed(&places, &asked)).await;
                found
                    .map_err(|_| UpdateError::Ended)?
                    .map_err(|why| UpdateError::Invalid("file", why))?;
                Source::File { path, sha256 }
            }
            _ => {
                let why =
                    "write one of `url` and `file`, or send the bundle itself as application/octet-stream";
                return Err(UpdateError::Invalid("url", why.to_owned()));
            }
        };
        self.begin(source, options).await
    }

    /// Gives up the update under way, or forgets how the last one ended.
    ///
    /// # Errors
    /// When the slot is being written already, or there is nothing to give up.
    pub async fn cancel(&self) -> Result<(), UpdateError> {
        Ok(self.asked(Call::Cancel).await??)
    }

    /// Restarts the box into what was installed. An error of the restart itself is in the document's `note`.
    ///
    /// # Errors
    /// When nothing was installed.
    pub async fn reboot(&self) -> Result<(), UpdateError> {
        Ok(self.asked(Call::Reboot).await??)
    }

    pub(super) async fn begin(&self, source: Source, options: Options) -> Result<u64, UpdateError> {
        if source
            .sha256()
            .is_some_and(|sum| sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(UpdateError::Invalid("sha256", "write 64 hex digits".to_owned()));
        }
        Ok(self.asked(|answer| Call::Ask(source, options, answer)).await??)
    }

    pub(super) fn call(&self, call: Call) -> Result<(), UpdateError> {
        self.calls.send(call).map_err(|_| UpdateError::Ended)
    }

    async fn asked<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Result<T, UpdateError> {
        let (answer, answered) = oneshot::channel();
        self.call(call(answer))?;
        answered.await.map_err(|_| UpdateError::Ended)
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Largest bundle that this box takes now, in bytes.
    pub(super) fn limit(&self) -> io::Result<u64> {
        limit(&self.places)
    }
}

/// Largest bundle that fits, what is here of it already included.
pub(super) fn limit(places: &Places) -> io::Result<u64> {
    // One that is not there takes no room.
    let here = std::fs::metadata(places.bundle()).map_or(0, |meta| meta.len());
    let room = places.free()?.saturating_add(here).saturating_sub(RESERVE);
    Ok(room.min(MAX_BUNDLE))
}

fn check_url(text: &str) -> Result<(), UpdateError> {
    let wrong = |why: String| Err(UpdateError::Invalid("url", why));
    match url::Url::parse(text) {
        Err(error) => wrong(format!("this is no address: {error}")),
        Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host().is_none() => {
            wrong("use https://… or http://…".to_owned())
        }
        Ok(_) if text.len() > 2048 => wrong("the address is longer than 2048 bytes".to_owned()),
        Ok(_) => Ok(()),
    }
}

pub(super) fn sum_of(places: &Places) -> io::Result<String> {
    fetch::sha256(&places.bundle())
}
