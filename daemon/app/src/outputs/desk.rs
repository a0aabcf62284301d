//! All outputs of the box: those of the configuration, and those that other parts start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use synoptic_base::{Clock, ClockMap, StreamId};
use synoptic_media::coded::{Relay, SoundWant};
use synoptic_media::output::{Push, PushKind};

use super::push::Pusher;
use super::serving::Serving;
use super::status::{Now, OutputDoc, OutputKind, OutputState};
use super::wish::{OutputTarget, OutputWish};
use crate::config::{Config, Output, RtspConfig};

/// Outputs at once: each push is a thread and a pipeline.
const MAX_OUTPUTS: usize = 64;

/// Why an output is not started or stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// The id is another output's.
    #[error("there is an output `{0}` already: choose another id, or stop that one")]
    Taken(StreamId),
    /// The path is another output's.
    #[error("rtsp path `/{path}` is that of output `{owner}` already: choose another path, or stop that one")]
    PathTaken {
        /// The path.
        path: String,
        /// Who has it.
        owner: StreamId,
    },
    /// There is none of this id.
    #[error("there is no output `{0}`")]
    None(StreamId),
    /// It is in the configuration.
    #[error("output `{0}` is in the configuration: remove it there, or by DELETE /api/v1/outputs/{0}")]
    Configured(StreamId),
    /// There are too many.
    #[error("there are {MAX_OUTPUTS} outputs already: stop one")]
    TooMany,
    /// The system gives no thread.
    #[error("the output cannot be started: {0}")]
    System(String),
}

/// An output that is wanted.
struct Entry {
    output: Output,
    configured: bool,
    /// The connection of a push that runs.
    pusher: Option<Pusher>,
}

struct State {
    entries: BTreeMap<StreamId, Entry>,
    serving: Serving,
}

/// All outputs. Every method may block for as long as a connection takes to end: some 100 ms.
pub struct Desk {
    relay: Arc<Relay>,
    clock: Arc<dyn Clock>,
    map: Arc<ArcSwap<ClockMap>>,
    state: Mutex<State>,
    /// One configuration at a time.
    turn: Mutex<()>,
    /// One change of the file at a time, cameras' changes among them.
    editing: Arc<Mutex<()>>,
}

impl Desk {
    /// A desk without outputs; `rtsp`: where those are served that will be.
    pub fn new(
        relay: Arc<Relay>,
        clock: Arc<dyn Clock>,
        map: Arc<ArcSwap<ClockMap>>,
        rtsp: RtspConfig,
    ) -> Desk {
        Desk {
            state: Mutex::new(State {
                entries: BTreeMap::new(),
                serving: Serving::new(rtsp, relay.clone(), clock.clone()),
            }),
            relay,
            clock,
            map,
            turn: Mutex::default(),
            editing: Arc::default(),
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts, stops and changes the configured outputs as `config` says. What did not change goes on.
    pub fn apply(&self, config: &Config) {
        let _turn = self.turn();
        let mut state = self.state();
        state.serving.configure(&config.rtsp);
        let stays = |id: &StreamId, entry: &Entry| {
            let wanted = config.outputs.iter().find(|o| o.wish.id == *id);
            match wanted {
                Some(wanted) => entry.configured && entry.output == *wanted,
                None => !entry.configured,
            }
        };
        let gone: Vec<StreamId> = state
            .entries
            .iter()
            .filter(|(id, entry)| !stays(id, entry))
            .map(|(id, _)| *id)
            .collect();
        let ending = gone.iter().filter_map(|id| state.take(id)).collect();
        drop(state);
        end(ending);
        let mut state = self.state();
        for output in &config.outputs {
            if state.entries.contains_key(&output.wish.id) {
                continue;
            }
            if let Err(error) = self.begin(&mut state, output.clone(), true) {
                log::error!("output {}: {error}", output.wish.id);
            }
        }
        state.serving.look();
    }

    /// Starts an output that is in no configuration: it lasts until it is stopped or the daemon ends. An address of the box's
    /// own RTSP server is served instead of pushed.
    pub fn start(&self, wish: OutputWish) -> Result<(), OutputError> {
        let mut state = self.state();
        let enabled = true;
        self.begin(&mut state, Output { wish, enabled }, false)?;
        state.serving.look();
        Ok(())
    }

    fn begin(&self, state: &mut State, mut output: Output, configured: bool) -> Result<(), OutputError> {
        let id = output.wish.id;
        if state.entries.contains_key(&id) {
            return Err(OutputError::Taken(id));
        }
        if state.entries.len() >= MAX_OUTPUTS {
            return Err(OutputError::TooMany);
        }
        if !configured {
            let listen = state.serving.address();
            output.wish.target = output.wish.target.on_this_box(listen);
        }
        let mut pusher = None;
        if output.enabled {
            match &output.wish.target {
                OutputTarget::Push(options) => {
                    let (wish, relay) = (output.wish.clone(), self.relay.clone());
                    let started = Pusher::start(wish, options.clone(), relay, self.clock.clone());
                    pusher = Some(started.map_err(|e| OutputError::System(e.to_string()))?);
                }
                OutputTarget::Serve { path } => {
                    if let Some(owner) = state.serving.owner(path) {
                        let path = path.clone();
                        return Err(OutputError::PathTaken { path, owner });
                    }
                    state.serving.add(output.wish.clone(), path.clone());
                }
            }
        }
        let entry = Entry {
            output,
            configured,
            pusher,
        };
        state.entries.insert(id, entry);
        Ok(())
    }

    /// Stops an output that [`Desk::start`] started.
    pub fn stop(&self, id: &StreamId) -> Result<(), OutputError> {
        let mut state = self.state();
        match state.entries.get(id) {
            None => Err(OutputError::None(*id)),
            Some(entry) if entry.configured => Err(OutputError::Configured(*id)),
            Some(_) => {
                let ending = state.take(id).into_iter().collect();
                drop(state);
                end(ending);
                Ok(())
            }
        }
    }

    /// How an output does; `None` when there is none of this id.
    pub fn status(&self, id: &StreamId) -> Option<OutputDoc> {
        self.doc(&mut self.state(), id)
    }

    fn doc(&self, state: &mut State, id: &StreamId) -> Option<OutputDoc> {
        let mut doc = state.doc(id, &self.map.load())?;
        let wish = state
            .entries
            .get(id)
            .map(|entry| &entry.output.wish)
            .filter(|w| w.audio);
        let sound = wish.and_then(|wish| {
            let want = match &wish.target {
                OutputTarget::Push(push) => Push::sound_want(push),
                OutputTarget::Serve { .. } => SoundWant::Native,
            };
            self.relay.stream(wish.stream).sound_format(want)
        });
        if let Some(sound) = sound {
            doc.sound = Some(sound.codec.name().to_owned());
            doc.sound_transcoded = sound.transcoded.map(str::to_owned);
        }
        Some(doc)
    }

    /// How all outputs do, by id.
    pub fn docs(&self) -> Vec<OutputDoc> {
        let mut state = self.state();
        let ids: Vec<StreamId> = state.entries.keys().copied().collect();
        ids.iter().filter_map(|id| self.doc(&mut state, id)).collect()
    }

    /// Call once a second: the RTSP server is tried again where it failed.
    pub fn look(&self) {
        self.state().serving.look();
    }

    /// Ends every output, and waits for up to `limit`.
    pub fn close(&self, limit: Duration) -> impl Future<Output = ()> + use<> {
        let mut state = self.state();
        let ids: Vec<StreamId> = state.entries.keys().copied().collect();
        let ending: Vec<Entry> = ids.iter().filter_map(|id| state.take(id)).collect();
        drop(state);
        // On a thread that the end of the process does not wait for.
        let (ended, all_ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            end(ending);
            // Nobody listens any more where it took too long.
            ended.send(()).ok();
        });
        async move {
            if tokio::time::timeout(limit, all_ended).await.is_err() {
                log::warn!("a server did not let an output go in time");
            }
        }
    }

    /// Held by who changes the configuration file.
    pub(crate) fn editing(&self) -> Arc<Mutex<()>> {
        self.editing.clone()
    }
}

/// Ends outputs that were taken out, without anybody waiting for the lock meanwhile: a server that is asked to end a
/// connection may take seconds. All are told before any is waited for.
fn end(mut entries: Vec<Entry>) {
    let pushers = entries.iter_mut().filter_map(|e| e.pusher.as_mut());
    pushers.for_each(Pusher::tell);
}

impl State {
    /// Takes an output out; dropping it ends it.
    fn take(&mut self, id: &StreamId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.serving.remove(id);
        Some(entry)
    }

    fn doc(&mut self, id: &StreamId, map: &ClockMap) -> Option<OutputDoc> {
        let address = self.serving.address();
        let served = self.serving.now(id);
        let entry = self.entries.get(id)?;
        let wish = &entry.output.wish;
        let (kind, url) = match &wish.target {
            OutputTarget::Push(push) => {
                let kind = match push.kind() {
                    PushKind::Rtmp => OutputKind::RtmpPush,
                    PushKind::Rtsp => OutputKind::RtspPush,
                };
                (kind, push.shown())
            }
            OutputTarget::Serve { path } => {
                let scheme = self.serving.scheme();
                (OutputKind::RtspServer, format!("{scheme}://{address}/{path}"))
            }
        };
        let pushed = entry.pusher.as_ref().map(|p| p.board().now());
        let now = pushed.or(served).unwrap_or(Now {
            state: OutputState::Stopped,
            ..Now::default()
        });
        let about = OutputDoc {
            id: wish.id.to_string(),
            stream: wish.stream.to_string(),
            kind,
            url,
            configured: entry.configured,
            state: now.state,
            reason: None,
            since: None,
            transcoded: None,
            sound: None,
            sound_transcoded: None,
            width: None,
            height: None,
            clients: None,
            pictures: 0,
            bytes: 0,
            left_out: 0,
            repeated: 0,
            failures: 0,
        };
        Some(now.doc(about, map))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::tests::good;
    use crate::outputs::OutputOptions;
    use crate::web::tests::ManualClock;
    use synoptic_base::{BootId, Span};

    fn id(text: &str) -> StreamId {
        StreamId::new(text).unwrap()
    }

    fn desk(rtsp: &str) -> Desk {
        synoptic_media::init().unwrap();
        let map = ClockMap {
            boot_id: BootId(uuid::Uuid::nil()),
            version: 1,
            utc_minus_mono: Span::from_secs(1_795_000_000),
            error: None,
        };
        let clock = ManualClock::shared();
        let config = RtspConfig {
            listen: rtsp.parse().unwrap(),
            login: None,
            tls: None,
        };
        Desk::new(
            Relay::new(clock.clone()),
            clock,
            Arc::new(ArcSwap::from_pointee(map)),
            config,
        )
    }

    fn wish(name: &str, target: OutputTarget) -> OutputWish {
        OutputWish {
            id: id(name),
            stream: id("pano"),
            target,
            options: OutputOptions::default(),
            audio: true,
            header_times: synoptic_media::output::HeaderTimes::default(),
        }
    }

    fn served(path: &str) -> OutputTarget {
        let path = path.to_owned();
        OutputTarget::Serve { path }
    }

    #[test]
    fn other_parts_start_and_stop_outputs_of_their_own() {
        let desk = desk("127.0.0.1:0");
        desk.start(wish("a", served("live"))).unwrap();
        let told = desk.status(&id("a")).unwrap();
        assert_eq!((told.state, told.configured), (OutputState::Waiting, false));
        assert!(told.reason.unwrap().contains("no picture"));
        assert_eq!(
            desk.start(wish("a", served("x"))),
            Err(OutputError::Taken(id("a")))
        );
        // What names the box's own server is served there.
        let own = OutputTarget::from_url(&told.url).unwrap();
        let refused = desk.start(wish("b", own)).unwrap_err();
        assert!(matches!(refused, OutputError::PathTaken { .. }), "{refused}");
        let second = told.url.replace("live", "other");
        desk.start(wish("b", OutputTarget::from_url(&second).unwrap()))
            .unwrap();
        let told = desk.status(&id("b")).unwrap();
        assert_eq!((told.kind, told.url), (OutputKind::RtspServer, second));
        let away = OutputTarget::from_url("rtmp://127.0.0.1:9/live/streamkey").unwrap();
        desk.start(wish("c", away)).unwrap();
        let told = desk.status(&id("c")).unwrap();
        assert_eq!(
            (told.kind, told.url.as_str()),
            (OutputKind::RtmpPush, "rtmp://127.0.0.1:9/live/***")
        );
        assert_eq!(desk.docs().len(), 3);
        for name in ["a", "b", "c"] {
            desk.stop(&id(name)).unwrap();
        }
        assert_eq!(desk.stop(&id("a")), Err(OutputError::None(id("a"))));
        assert!(desk.docs().is_empty());
    }

    #[test]
    fn a_configuration_is_followed_and_leaves_what_others_started() {
        const HEAD: &str = "schema_version = 1\n[rtsp]\nlisten = \"127.0.0.1:0\"\n[[camera]]\nid = \"pano\"\n\
            source = \"a.mp4\"\n";
        let output = |id: &str, path: &str, more: &str| {
            format!(
                "[[output]]\nid = \"{id}\"\nstream = \"pano\"\nserve = \"rtsp\"\npath = \"{path}\"\n{more}"
            )
        };
        let desk = desk("127.0.0.1:0");
        desk.start(wish("own", served("mine"))).unwrap();
        let (one, two) = (
            output("one", "one", ""),
            output("two", "two", "enabled = false\n"),
        );
        desk.apply(&good(&format!("{HEAD}{one}{two}")));
        let states =
            || -> Vec<(String, OutputState)> { desk.docs().into_iter().map(|d| (d.id, d.state)).collect() };
        let (waits, stopped) = (OutputState::Waiting, OutputState::Stopped);
        let named = |name: &str, state| (name.to_owned(), state);
        assert_eq!(
            states(),
            [named("one", waits), named("own", waits), named("two", stopped)]
        );
        assert_eq!(desk.stop(&id("one")), Err(OutputError::Configured(id("one"))));
        let address = desk.status(&id("own")).unwrap().url;
        // What is gone is ended; what stays keeps its address, and so its clients.
        desk.apply(&good(&format!("{HEAD}{two}")));
        assert_eq!(states(), [named("own", waits), named("two", stopped)]);
        assert_eq!(desk.status(&id("own")).unwrap().url, address);
    }

    #[test]
    fn an_address_in_use_is_told_and_tried_again() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let desk = desk(&other.local_addr().unwrap().to_string());
        desk.start(wish("a", served("live"))).unwrap();
        let told = desk.status(&id("a")).unwrap();
        assert_eq!(told.state, OutputState::Retrying);
        assert!(told.reason.unwrap().contains("rtsp.listen"));
    }
}
