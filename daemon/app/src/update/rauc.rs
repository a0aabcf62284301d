//! RAUC over D-Bus: <https://rauc.readthedocs.io/en/latest/reference.html#d-bus-api>, as of RAUC 1.8 and later.

use std::collections::HashMap;
use std::time::Duration;

use synoptic_base::Utc;
use synoptic_engine::update::{Release, SlotFacts};
use tokio_stream::StreamExt as _;
use zbus::proxy::CacheProperties;
use zbus::zvariant::{OwnedValue, Value};

use crate::power::Bus;

/// How often RAUC is asked how far it is. Its signals are not enough: one that died sends none.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// For an answer. Inspecting a bundle reads and checks its signature only.
const PATIENCE: Duration = Duration::from_secs(30);
/// RAUC says `Completed` before it is idle again; so long for the signal to be handed over.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Why RAUC did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RaucError {
    #[error("there is no system bus ({0}): updates need D-Bus and RAUC")]
    NoBus(String),
    #[error(
        "RAUC's service is not on this machine ({0}): install rauc and its service, and give it a system.conf"
    )]
    NoService(String),
    #[error("RAUC may not be used by this user ({0}): the box's D-Bus policy allows the user of the daemon")]
    Denied(String),
    #[error("RAUC did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// An older RAUC.
    #[error("this RAUC is too old: {0}")]
    NoMethod(String),
    #[error(
        "RAUC does not take the bundle: its signature is not of this box's root, or the file is damaged or cut off. RAUC's \
         journal says which: journalctl -u rauc"
    )]
    NotTaken,
    /// RAUC's own words.
    #[error("RAUC: {0}")]
    Said(String),
    #[error(
        "RAUC ended in the middle of the installation; the slot that runs was not touched. Its journal says more: journalctl -u rauc"
    )]
    Died,
}

impl From<zbus::Error> for RaucError {
    fn from(error: zbus::Error) -> RaucError {
        let zbus::Error::MethodError(name, text, _) = &error else {
            return RaucError::Said(error.to_string());
        };
        let text = text.clone().unwrap_or_else(|| name.to_string());
        match name.as_str() {
            "org.freedesktop.DBus.Error.ServiceUnknown"
            | "org.freedesktop.DBus.Error.NameHasNoOwner"
            | "org.freedesktop.DBus.Error.Spawn.ServiceNotFound" => RaucError::NoService(text),
            "org.freedesktop.DBus.Error.AccessDenied" => RaucError::Denied(text),
            "org.freedesktop.DBus.Error.NoReply" => RaucError::Died,
            "org.freedesktop.DBus.Error.UnknownMethod" => RaucError::NoMethod(text),
            name if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => RaucError::NoService(text),
            _ => RaucError::Said(text),
        }
    }
}

impl From<zbus::fdo::Error> for RaucError {
    fn from(error: zbus::fdo::Error) -> RaucError {
        match error {
            zbus::fdo::Error::ServiceUnknown(text) | zbus::fdo::Error::NameHasNoOwner(text) => {
                RaucError::NoService(text)
            }
            zbus::fdo::Error::AccessDenied(text) => RaucError::Denied(text),
            zbus::fdo::Error::NoReply(_) => RaucError::Died,
            zbus::fdo::Error::ZBus(error) => RaucError::from(error),
            other => RaucError::Said(other.to_string()),
        }
    }
}

/// Options and answers of RAUC's methods.
type Dict = HashMap<String, OwnedValue>;

#[zbus::proxy(
    interface = "de.pengutronix.rauc.Installer",
    default_service = "de.pengutronix.rauc",
    default_path = "/",
    gen_blocking = false
)]
trait Installer {
    fn install_bundle(&self, source: &str, args: HashMap<&str, Value<'_>>) -> zbus::Result<()>;
    fn inspect_bundle(&self, bundle: &str, args: HashMap<&str, Value<'_>>) -> zbus::Result<Dict>;
    /// Compatible and version; RAUC before 1.9 has nothing better.
    fn info(&self, bundle: &str) -> zbus::Result<(String, String)>;
    fn get_slot_status(&self) -> zbus::Result<Vec<(String, Dict)>>;
    fn get_primary(&self) -> zbus::Result<String>;

    #[zbus(signal)]
    fn completed(&self, result: i32) -> zbus::Result<()>;

    #[zbus(property)]
    fn operation(&self) -> zbus::fdo::Result<String>;
    #[zbus(property)]
    fn last_error(&self) -> zbus::fdo::Result<String>;
    #[zbus(property)]
    fn progress(&self) -> zbus::fdo::Result<(i32, String, i32)>;
    #[zbus(property)]
    fn compatible(&self) -> zbus::fdo::Result<String>;
    #[zbus(property)]
    fn boot_slot(&self) -> zbus::fdo::Result<String>;
}

/// What RAUC says of the box.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub compatible: String,
    /// Boot name of the slot that runs.
    pub running: Option<String>,
    /// Boot name of the slot that starts next.
    pub primary: Option<String>,
    /// What it does, if it does something.
    pub busy: Option<String>,
    pub slots: Vec<SlotFacts>,
}

/// RAUC's service, connected.
pub(super) struct Rauc<'a>(InstallerProxy<'a>);

/// An answer in time.
async fn timely<T, E: Into<RaucError>>(answer: impl Future<Output = Result<T, E>>) -> Result<T, RaucError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(RaucError::Silent),
    }
}

impl Rauc<'_> {
    /// Connects; whether RAUC is there shows with the first question.
    pub(super) async fn connect(bus: &Bus) -> Result<Rauc<'static>, RaucError> {
        let connection =
            timely(async { bus.connect().await.map_err(|e| RaucError::NoBus(e.to_string())) }).await?;
        let proxy = InstallerProxy::builder(&connection)
            .cache_properties(CacheProperties::No)
            .build();
        Ok(Rauc(timely(proxy).await?))
    }

    /// Slots, what runs, what RAUC does.
    pub(super) async fn machine(&self) -> Result<Machine, RaucError> {
        let operation = timely(self.0.operation()).await?;
        let compatible = timely(self.0.compatible()).await?;
        let running = timely(self.0.boot_slot()).await?;
        let busy = (operation != "idle").then_some(operation);
        // A RAUC that installs answers neither of these.
        let (slots, primary) = match busy {
            Some(_) => (Vec::new(), None),
            None => {
                let slots = timely(self.0.get_slot_status()).await?;
                // Not each boot loader can be asked; that is no reason to know nothing.
                let primary = timely(self.0.get_primary()).await.ok();
                (slots, primary)
            }
        };
        let slots: Vec<_> = slots.iter().map(|(name, status)| slot(name, status)).collect();
        let primary = primary.and_then(|name| slots.iter().find(|s| s.name == name)?.bootname.clone());
        Ok(Machine {
            compatible,
            running: Some(running).filter(|r| !r.is_empty()),
            primary,
            busy,
            slots,
        })
    }

    /// Version, machine and age of a bundle whose signature is good.
    pub(super) async fn inspect(&self, bundle: &str) -> Result<(Release, Option<Utc>), RaucError> {
        let found = timely(self.0.inspect_bundle(bundle, HashMap::new())).await;
        if let Err(RaucError::NoMethod(_)) = found {
            let (compatible, version) = timely(self.0.info(bundle)).await.map_err(explained)?;
            return Ok((Release { version, compatible }, None));
        }
        let found = found?;
        let update = found.get("update").and_then(dict).unwrap_or_default();
        let text = |key: &str| update.get(key).and_then(text_of).unwrap_or_default();
        let release = Release {
            version: text("version"),
            compatible: text("compatible"),
        };
        Ok((release, Utc::from_rfc3339(&text("build"))))
    }

    /// Has a bundle installed and follows it to its end.
    pub(super) async fn install(&self, bundle: &str, told: impl FnMut(u8)) -> Result<(), RaucError> {
        let mut completed = timely(self.0.receive_completed()).await?;
        timely(self.0.install_bundle(bundle, HashMap::new())).await?;
        self.until_idle(&mut completed, told).await
    }

    /// Follows an installation that somebody began. `None` when none is under way.
    pub(super) async fn follow(&self, told: impl FnMut(u8)) -> Result<Option<()>, RaucError> {
        let mut completed = timely(self.0.receive_completed()).await?;
        if timely(self.0.operation()).await? == "idle" {
            return Ok(None);
        }
        self.until_idle(&mut completed, told).await.map(Some)
    }

    async fn until_idle(
        &self,
        completed: &mut CompletedStream,
        mut told: impl FnMut(u8),
    ) -> Result<(), RaucError> {
        let mut ask = tokio::time::interval(ASK_EVERY);
        let mut last = None;
        loop {
            tokio::select! {
                signal = completed.next() => return self.ended(signal).await,
                _ = ask.tick() => {
                    // An error is an end as well: asking a service that died starts another one, or fails.
                    let operation = timely(self.0.operation()).await?;
                    if operation == "idle" {
                        let word = tokio::time::timeout(LAST_WORD, completed.next()).await;
                        return self.ended(word.ok().flatten()).await;
                    }
                    let (percent, _, _) = timely(self.0.progress()).await?;
                    let percent = u8::try_from(percent.clamp(0, 100)).unwrap_or(0);
                    if last.replace(percent) != Some(percent) {
                        told(percent);
                    }
                }
            }
        }
    }

    /// What the end means. No signal: RAUC is another one than at the beginning, or its connection is gone.
    async fn ended(&self, signal: Option<Completed>) -> Result<(), RaucError> {
        let Some(signal) = signal else {
            return Err(RaucError::Died);
        };
        let result = signal.args().map_err(RaucError::from)?.result;
        if result == 0 {
            return Ok(());
        }
        let error = timely(self.0.last_error()).await?;
        Err(RaucError::Said(if error.is_empty() {
            format!("the installation failed with code {result}; its journal says more: journalctl -u rauc")
        } else {
            error
        }))
    }
}

/// RAUC 1.8 says no more over D-Bus of a bundle that it does not take; why is in its journal only.
fn explained(error: RaucError) -> RaucError {
    match error {
        RaucError::Said(text) if text == "rauc info error" => RaucError::NotTaken,
        error => error,
    }
}

fn text_of(value: &OwnedValue) -> Option<String> {
    <&str>::try_from(value).ok().map(str::to_owned)
}

fn dict(value: &OwnedValue) -> Option<Dict> {
    Dict::try_from(value.try_clone().ok()?).ok()
}

fn slot(name: &str, status: &Dict) -> SlotFacts {
    let text = |key: &str| status.get(key).and_then(text_of);
    SlotFacts {
        name: name.to_owned(),
        bootname: text("bootname").filter(|b| !b.is_empty()),
        booted: text("state").as_deref() == Some("booted"),
        good: text("boot-status").map(|s| s == "good"),
        version: text("bundle.version"),
    }
}
