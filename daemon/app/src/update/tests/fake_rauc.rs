//! RAUC and logind, played: as RAUC 1.8 behaves on the bus.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{OwnedValue, Value};
use zbus::{Connection, connection, fdo, interface};

type Dict = HashMap<String, OwnedValue>;

/// How an installation ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    Well,
    /// With `LastError`.
    Badly(String),
    /// Not by itself: the test ends the service.
    Never,
}

/// What the play is.
pub(super) struct Script {
    pub(super) compatible: String,
    pub(super) version: String,
    /// It answers `InspectBundle`, with this time of the build.
    pub(super) modern: Option<String>,
    /// `Info` says no with this.
    pub(super) bad_signature: Option<String>,
    pub(super) end: End,
    /// Root of the played box: as RAUC's handlers do, `pending` is written there.
    pub(super) root: PathBuf,
    // What has become.
    operation: String,
    percent: i32,
    last_error: String,
    primary: String,
    pub(super) installed: Vec<Vec<u8>>,
    pub(super) reboots: usize,
    /// logind refuses.
    pub(super) no_reboot: bool,
}

pub(super) type Play = Arc<Mutex<Script>>;

pub(super) fn play(root: PathBuf) -> Play {
    Arc::new(Mutex::new(Script {
        compatible: "box".to_owned(),
        version: "1.1.0".to_owned(),
        modern: None,
        bad_signature: None,
        end: End::Well,
        root,
        operation: "idle".to_owned(),
        percent: 0,
        last_error: String::new(),
        primary: "rootfs.0".to_owned(),
        installed: Vec::new(),
        reboots: 0,
        no_reboot: false,
    }))
}

struct Installer {
    play: Play,
    go_on: Arc<Notify>,
}

fn owned(value: impl Into<Value<'static>>) -> OwnedValue {
    value.into().try_to_owned().unwrap()
}

fn dict(pairs: &[(&str, &str)]) -> Dict {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), owned((*value).to_owned())))
        .collect()
}

#[interface(name = "de.pengutronix.rauc.Installer")]
impl Installer {
    async fn install_bundle(
        &self,
        source: String,
        _args: Dict,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<()> {
        {
            let mut play = self.play.lock().unwrap();
            if play.operation != "idle" {
                return Err(fdo::Error::Failed(
                    "already processing a different method".to_owned(),
                ));
            }
            play.operation = "installing".to_owned();
            play.last_error.clear();
            play.installed.push(std::fs::read(source).unwrap());
        }
        let (play, go_on, emitter) = (self.play.clone(), self.go_on.clone(), emitter.to_owned());
        tokio::spawn(async move {
            play.lock().unwrap().percent = 40;
            go_on.notified().await;
            let end = play.lock().unwrap().end.clone();
            let result = {
                let mut play = play.lock().unwrap();
                match end {
                    End::Never => return,
                    End::Badly(why) => {
                        play.last_error = why;
                        1
                    }
                    End::Well => {
                        play.primary = "rootfs.1".to_owned();
                        let gate = play.root.join("data/update");
                        std::fs::create_dir_all(&gate).unwrap();
                        std::fs::write(gate.join("pending"), "B\n").unwrap();
                        0
                    }
                }
            };
            // RAUC says it is done before it is idle.
            Installer::completed(&emitter, result).await.unwrap();
            let mut play = play.lock().unwrap();
            (play.operation, play.percent) = ("idle".to_owned(), 100);
        });
        Ok(())
    }

    fn inspect_bundle(&self, _bundle: String, _args: Dict) -> fdo::Result<Dict> {
        let play = self.play.lock().unwrap();
        let Some(build) = &play.modern else {
            return Err(fdo::Error::UnknownMethod(
                "No such method “InspectBundle”".to_owned(),
            ));
        };
        let update = dict(&[
            ("compatible", &play.compatible),
            ("version", &play.version),
            ("build", build),
        ]);
        Ok(Dict::from([("update".to_owned(), owned(update))]))
    }

    fn info(&self, _bundle: String) -> fdo::Result<(String, String)> {
        let play = self.play.lock().unwrap();
        match &play.bad_signature {
            Some(why) => Err(fdo::Error::Failed(why.clone())),
            None => Ok((play.compatible.clone(), play.version.clone())),
        }
    }

    fn get_slot_status(&self) -> Vec<(String, Dict)> {
        let slot = |name: &str, boot, state| {
            (
                name.to_owned(),
                dict(&[
                    ("bootname", boot),
                    ("state", state),
                    ("boot-status", "good"),
                    ("class", "rootfs"),
                ]),
            )
        };
        vec![slot("rootfs.0", "A", "booted"), slot("rootfs.1", "B", "inactive")]
    }

    fn get_primary(&self) -> String {
        self.play.lock().unwrap().primary.clone()
    }

    #[zbus(signal)]
    async fn completed(emitter: &SignalEmitter<'_>, result: i32) -> zbus::Result<()>;

    #[zbus(property)]
    fn operation(&self) -> String {
        self.play.lock().unwrap().operation.clone()
    }
    #[zbus(property)]
    fn last_error(&self) -> String {
        self.play.lock().unwrap().last_error.clone()
    }
    #[zbus(property)]
    fn progress(&self) -> (i32, String, i32) {
        (self.play.lock().unwrap().percent, "Copying image".to_owned(), 2)
    }
    #[zbus(property)]
    fn compatible(&self) -> String {
        "box".to_owned()
    }
    #[zbus(property)]
    fn boot_slot(&self) -> String {
        "A".to_owned()
    }
}

struct Login(Play);

#[interface(name = "org.freedesktop.login1.Manager")]
impl Login {
    fn reboot(&self, _interactive: bool) -> fdo::Result<()> {
        let mut play = self.0.lock().unwrap();
        if play.no_reboot {
            return Err(fdo::Error::InteractiveAuthorizationRequired(
                "Interactive authentication required.".to_owned(),
            ));
        }
        play.reboots += 1;
        Ok(())
    }
}

/// The services on a bus; they end when this is dropped.
pub(super) struct Services {
    connection: Connection,
    go_on: Arc<Notify>,
}

impl Services {
    pub(super) async fn start(address: &str, play: &Play) -> Services {
        let go_on = Arc::new(Notify::new());
        let installer = Installer {
            play: play.clone(),
            go_on: go_on.clone(),
        };
        let connection = connection::Builder::address(address)
            .unwrap()
            .name("de.pengutronix.rauc")
            .unwrap()
            .name("org.freedesktop.login1")
            .unwrap()
            .serve_at("/", installer)
            .unwrap()
            .serve_at("/org/freedesktop/login1", Login(play.clone()))
            .unwrap()
            .build()
            .await
            .unwrap();
        Services { connection, go_on }
    }

    /// Lets the installation under way come to its end.
    pub(super) fn finish(&self) {
        self.go_on.notify_one();
    }

    /// As if the process had died; another one begins idle.
    pub(super) async fn die(self, play: &Play) {
        self.connection.close().await.unwrap();
        play.lock().unwrap().operation = "idle".to_owned();
    }
}
