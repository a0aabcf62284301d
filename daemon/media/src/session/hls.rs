//! HLS: the playlist and its segments are fetched here, for their dates and time stamps are what times the pictures, and
//! GStreamer's elements keep neither.
//!
//! A segment comes whole. Its last picture was captured before the playlist told of it, so each picture is taken to have
//! arrived as much before that as it lies before the last one. Pictures go into the decoder at their own pace, else
//! whoever takes them would get seconds at once and drop them.

use std::io::Read as _;
use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use synoptic_base::{Mono, Span};
use synoptic_engine::timebase::StampKind;
use synoptic_engine::timebase::wire::{MediaPlaylist, Playlist, Segment, TsUnit, playlist, ts_units};
use url::Url;

use super::decode::{Tail, internal};
use super::pull::{Feed, Unit};
use super::{SessionOptions, Shared};
use crate::{MediaError, PullKind, Secret, Source};

/// Ticks of MPEG-TS a second.
const TS_RATE_HZ: u32 = 90_000;
/// One request takes no longer.
const TIMEOUT: Span = Span::from_secs(5);
/// A segment of 20 s at 25 Mbit/s.
const MAX_SEGMENT: u64 = 64 << 20;
const MAX_PLAYLIST: u64 = 4 << 20;
/// A playlist that did not change is looked at again after this part of its target duration; RFC 8216 section 6.3.4
/// asks for half, yet how soon a segment is seen is how well it can be timed.
const LOOK_AGAIN: i64 = 4;
const LOOK_LEAST: Span = Span::from_millis(200);
const LOOK_MOST: Span = Span::from_secs(2);
/// Pictures go a little faster than they were taken, so that a stream never falls behind by its own pacing.
const PACE: (i64, i64) = (9, 10);
/// Nothing is paced by more: what lies further apart is a gap.
const MAX_PAUSE: Span = Span::from_secs(1);

/// A stream that waits for its pipeline.
pub(super) struct Prepared {
    fetcher: Fetcher,
    feed: Feed,
}

/// The thread that fetches. Dropping it ends it, after the request in flight at most.
pub(super) struct Puller {
    _stop: Sender<()>,
}

pub(super) fn build(
    pipeline: &gst::Pipeline,
    options: &SessionOptions,
    tail: Tail,
    shared: &Arc<Shared>,
) -> Result<Prepared, MediaError> {
    Ok(Prepared {
        fetcher: Fetcher::new(&options.source)?,
        feed: Feed::new(pipeline, options, tail, shared, PullKind::Hls, TS_RATE_HZ),
    })
}

impl Prepared {
    pub(super) fn start(self) -> Result<Puller, MediaError> {
        let (stop, stopped) = bounded(0);
        let follower = Follower {
            shared: self.feed.shared.clone(),
            fetcher: self.fetcher,
            feed: self.feed,
            stopped,
            last: None,
            pushed: None,
        };
        std::thread::Builder::new()
            .name("hls".to_owned())
            .spawn(move || follower.run())
            .map_err(|e| internal(&format!("no thread for HLS: {e}")))?;
        Ok(Puller { _stop: stop })
    }
}

/// HTTP with what the configuration says of it.
struct Fetcher {
    agent: ureq::Agent,
    name: String,
    url: Url,
    user: Option<String>,
    password: Option<Secret>,
}

impl Fetcher {
    fn new(source: &Source) -> Result<Fetcher, MediaError> {
        let Source::Pull {
            url,
            user,
            password,
            tls_insecure,
            tls_ca,
            ..
        } = source
        else {
            return Err(internal("not a relayed source"));
        };
        let name = source.shown();
        let certificate = |why: String| MediaError::Certificate {
            source_name: name.clone(),
            why,
        };
        let roots: Vec<ureq::tls::Certificate<'static>> = match tls_ca {
            Some(path) => {
                let unusable = |e: &dyn std::fmt::Display| {
                    certificate(format!("`tls_ca` {} cannot be used: {e}", path.display()))
                };
                let pem = std::fs::read(path).map_err(|e| unusable(&e))?;
                let found: Vec<_> = ureq::tls::parse_pem(&pem)
                    .filter_map(|item| match item {
                        Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                        _ => None,
                    })
                    .collect();
                if found.is_empty() {
                    return Err(unusable(&"there is no certificate in it"));
                }
                found
            }
            None if url.starts_with("https:") => rustls_native_certs::load_native_certs()
                .certs
                .iter()
                .map(|c| ureq::tls::Certificate::from_der(c).to_owned())
                .collect(),
            None => Vec::new(),
        };
        if *tls_insecure {
            log::warn!("{name}: its certificate is not checked, as `tls_insecure` wants");
        }
        let tls = ureq::tls::TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(ureq::tls::RootCerts::new_with_certs(&roots))
            .disable_verification(*tls_insecure)
            .build();
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT.to_std()))
            .user_agent(concat!("Synoptic/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build()
            .into();
        let parsed = Url::parse(url).map_err(|e| MediaError::Unreachable {
            source_name: name.clone(),
            why: format!("{url} is no address: {e}"),
        })?;
        Ok(Fetcher {
            agent,
            name,
            url: parsed,
            user: user.clone(),
            password: password.clone(),
        })
    }

    fn get(&self, url: &Url, range: Option<(u64, u64)>, limit: u64) -> Result<Vec<u8>, MediaError> {
        let source_name = self.name.clone();
        let mut request = self.agent.get(url.as_str());
        // To its own server only: a playlist may name segments elsewhere.
        if let (Some(user), true) = (&self.user, url.host_str() == self.url.host_str()) {
            let password = self.password.as_ref().map_or("", Secret::expose);
            let login = base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                format!("{user}:{password}"),
            );
            request = request.header("Authorization", format!("Basic {login}"));
        }
        if let Some((length, offset)) = range {
            let last = offset.saturating_add(length).saturating_sub(1);
            request = request.header("Range", format!("bytes={offset}-{last}"));
        }
        let unreachable = |why: String| MediaError::Unreachable {
            source_name: source_name.clone(),
            why,
        };
        let answer = request.call().map_err(|error| match error {
            ureq::Error::StatusCode(401 | 403) => MediaError::Auth {
                source_name: source_name.clone(),
            },
            ureq::Error::StatusCode(404) => unreachable("the server knows no stream of this path".to_owned()),
            other => unreachable(other.to_string()),
        })?;
        let mut bytes = Vec::new();
        answer
            .into_body()
            .into_reader()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|e| unreachable(e.to_string()))?;
        Ok(bytes)
    }
}

struct Follower {
    shared: Arc<Shared>,
    fetcher: Fetcher,
    feed: Feed,
    stopped: Receiver<()>,
    /// Number of the last segment taken.
    last: Option<u64>,
    /// DTS of the last picture pushed.
    pushed: Option<u64>,
}

/// The session is over.
struct Stopped;

impl Follower {
    fn run(mut self) {
        if let Err(error) = self.follow() {
            self.shared.fail(error);
        }
    }

    fn follow(&mut self) -> Result<(), MediaError> {
        let url = self.media_url()?;
        loop {
            let text = self.fetcher.get(&url, None, MAX_PLAYLIST)?;
            let told = self.shared.clock.now();
            let media = self.media(&text)?;
            let target = media.target;
            let new = self.new_segments(media)?;
            let none = new.is_empty();
            for segment in new {
                if self.segment(&url, &segment, told)?.is_err() {
                    return Ok(());
                }
            }
            let wait = (target / LOOK_AGAIN).max(LOOK_LEAST).min(LOOK_MOST);
            if none && self.is_stopped_within(wait) {
                return Ok(());
            }
        }
    }

    /// The playlist with segments: of several qualities the best.
    fn media_url(&self) -> Result<Url, MediaError> {
        let url = self.fetcher.url.clone();
        let text = self.fetcher.get(&url, None, MAX_PLAYLIST)?;
        match playlist(&String::from_utf8_lossy(&text)).map_err(|e| self.no_video(&e.to_string()))? {
            Playlist::Media(_) => Ok(url),
            Playlist::Master(variants) => {
                let best = variants.iter().max_by_key(|v| v.bandwidth);
                let uri = best.map_or("", |v| v.uri.as_str());
                self.join(&url, uri)
            }
        }
    }

    fn media(&self, text: &[u8]) -> Result<MediaPlaylist, MediaError> {
        match playlist(&String::from_utf8_lossy(text)) {
            Ok(Playlist::Media(media)) => Ok(media),
            Ok(Playlist::Master(_)) => {
                Err(self.no_video("a playlist of qualities names another one of that kind"))
            }
            Err(error) => Err(self.no_video(&error.to_string())),
        }
    }

    /// What has not been taken yet; at first only the newest, which is nearest to now.
    fn new_segments(&mut self, media: MediaPlaylist) -> Result<Vec<Segment>, MediaError> {
        if media.ended {
            return match self.last {
                None => Err(self
                    .no_video("it is a recording, not a live stream; download it and give the file instead")),
                Some(_) => Err(self.feed.broken("the server ended the stream")),
            };
        }
        let mut segments = media.segments;
        match (self.last, segments.last().map(|s| s.sequence)) {
            (Some(last), Some(newest)) if newest < last => {
                // Numbers that run backwards: the packager began anew, time stamps and all.
                self.feed.restart();
                self.pushed = None;
                segments.drain(..segments.len() - 1);
            }
            (Some(last), _) => segments.retain(|s| s.sequence > last),
            (None, _) => {
                segments.drain(..segments.len().saturating_sub(1));
            }
        }
        Ok(segments)
    }

    fn segment(
        &mut self,
        base: &Url,
        segment: &Segment,
        told: Mono,
    ) -> Result<Result<(), Stopped>, MediaError> {
        self.last = Some(segment.sequence);
        if segment.mapped {
            return Err(
                self.no_video("its segments are fragmented MP4; set the packager to MPEG-TS (.ts) segments")
            );
        }
        if segment.encrypted {
            return Err(self.no_video("its segments are encrypted; give an address without encryption"));
        }
        let url = self.join(base, &segment.uri)?;
        let bytes = match self.fetcher.get(&url, segment.range, MAX_SEGMENT) {
            Ok(bytes) => bytes,
            // It may have been taken away meanwhile: the next one comes soon.
            Err(MediaError::Unreachable { why, .. }) if self.feed.is_set() => {
                log::debug!(
                    "{}: segment {} is left out: {why}",
                    self.feed.name,
                    segment.sequence
                );
                return Ok(Ok(()));
            }
            Err(error) => return Err(error),
        };
        let units = ts_units(&bytes).map_err(|e| self.no_video(&e.to_string()))?;
        if segment.discontinuity && self.pushed.is_some() {
            self.feed.restart();
            self.pushed = None;
        }
        self.units(&units, segment, told)
    }

    fn units(
        &mut self,
        units: &[TsUnit],
        segment: &Segment,
        told: Mono,
    ) -> Result<Result<(), Stopped>, MediaError> {
        let Some(first) = units.first() else {
            return Ok(Ok(()));
        };
        let after_first = |unit: &TsUnit| ticks(unit.pts as i64 - first.pts as i64);
        let end = units.iter().map(after_first).max().unwrap_or_default();
        self.feed.configure(first.codec.into(), None)?;
        for unit in units {
            if let Some(before) = self.pushed.replace(unit.dts) {
                let pause = ticks(unit.dts.wrapping_sub(before) as i64) * PACE.0 / PACE.1;
                if self.is_stopped_within(pause.max(Span::ZERO).min(MAX_PAUSE)) {
                    return Ok(Err(Stopped));
                }
            }
            let arrival = told - (end - after_first(unit));
            let pts = unit.pts as u32;
            if let Some(date) = segment.date {
                self.feed
                    .stamp(StampKind::ProgramDate, pts, date + after_first(unit), arrival);
            }
            self.feed.push(&Unit {
                pts,
                composition: unit.pts.wrapping_sub(unit.dts) as i64,
                keyframe: std::ptr::eq(unit, first),
                arrival,
                data: &unit.data,
            })?;
        }
        Ok(Ok(()))
    }

    fn join(&self, base: &Url, uri: &str) -> Result<Url, MediaError> {
        base.join(uri)
            .map_err(|e| self.no_video(&format!("the playlist names {uri}, which is no address: {e}")))
    }

    fn no_video(&self, why: &str) -> MediaError {
        MediaError::NoVideo {
            source_name: self.feed.name.clone(),
            why: why.to_owned(),
        }
    }

    fn is_stopped_within(&self, wait: Span) -> bool {
        !matches!(
            self.stopped.recv_timeout(wait.to_std()),
            Err(RecvTimeoutError::Timeout)
        )
    }
}

fn ticks(at_90khz: i64) -> Span {
    Span::from_nanos(at_90khz * 100_000 / 9)
}
