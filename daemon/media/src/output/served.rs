//! One path of the RTSP server: its pipeline while there are clients, and the thread that feeds it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use gst::prelude::*;
use gst_app::AppSrc;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPMedia, RTSPMediaFactory};
use synoptic_base::{Mono, Span};

use super::push::h264_caps;
use super::server::{ReadingOf, Sent};
use super::sound::{self, SoundOut};
use super::times::RtpTimes;
use super::{Reading, access_unit, run_on_the_boxs_clock, waiting_bytes};
use crate::coded::{CodedEvent, SoundWant, Want};
use crate::session::locked;

/// The pictures' part of every pipeline. The parameter sets and our SEI are in the access units.
const LAUNCH: &str = "appsrc name=source is-live=true format=time max-bytes=0 ! rtph264pay name=pay0 pt=96";
/// Bytes that wait at most before pictures are left out up to the next IDR picture.
const MAX_BYTES: u64 = 8 << 20;
/// How soon a feeding thread sees that it is to end.
const LOOK: Span = Span::from_millis(200);

#[derive(Default)]
struct Counters {
    pictures: AtomicU64,
    bytes: AtomicU64,
    left_out: AtomicU64,
    repeated: AtomicU64,
}

/// What is known of a path.
pub(super) struct Served {
    reading: ReadingOf,
    watching: Mutex<BTreeSet<usize>>,
    counters: Arc<Counters>,
    /// Ends the threads that feed its pipelines, when taken.
    ends: Mutex<Vec<Weak<Sender<()>>>>,
    factory: gst::glib::WeakRef<RTSPMediaFactory>,
}

impl Served {
    pub(super) fn clients(&self) -> usize {
        locked(&self.watching).len()
    }

    pub(super) fn joined(&self, client: usize) {
        locked(&self.watching).insert(client);
    }

    pub(super) fn left(&self, client: &usize) {
        locked(&self.watching).remove(client);
    }

    pub(super) fn sent(&self) -> Sent {
        let c = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sent {
            pictures: read(&c.pictures),
            bytes: read(&c.bytes),
            left_out: read(&c.left_out),
            repeated: read(&c.repeated),
        }
    }

    /// Why there is nothing to watch.
    pub(super) fn why_not(&self) -> Option<String> {
        let reading = (self.reading)();
        let why = reading.stream().main_why_waiting()?;
        Some(format!("{}: {why}", reading.stream().id()))
    }

    /// How the next pipeline is made: with the sound that the stream has now.
    pub(super) fn prepare(&self) {
        let Some(factory) = self.factory.upgrade() else {
            return;
        };
        let reading = (self.reading)();
        let sound = reading.stream().sound_format(SoundWant::Native);
        let sound = sound
            .filter(|_| reading.sound())
            .map(|format| sound::launch(&format));
        factory.set_launch(&format!("( {LAUNCH} {} )", sound.unwrap_or_default()));
    }

    /// Ends its pipelines.
    pub(super) fn end(&self) {
        for end in locked(&self.ends).drain(..).filter_map(|end| end.upgrade()) {
            // Its thread may have ended by itself.
            end.try_send(()).ok();
        }
    }
}

/// What makes the pipeline of `path` when the first client comes; all clients share it.
pub(super) fn factory(path: &str, reading: ReadingOf) -> (RTSPMediaFactory, Arc<Served>) {
    let factory = RTSPMediaFactory::new();
    let served = Arc::new(Served {
        factory: factory.downgrade(),
        reading,
        watching: Mutex::default(),
        counters: Arc::default(),
        ends: Mutex::default(),
    });
    factory.set_launch(&format!("( {LAUNCH} )"));
    factory.set_shared(true);
    factory.set_clock(Some(&gst::SystemClock::obtain()));
    let (of, path) = (Arc::downgrade(&served), path.to_owned());
    factory.connect_media_configure(move |_, media| {
        if let Some(served) = of.upgrade()
            && let Err(why) = configure(&served, &path, media)
        {
            log::error!("RTSP /{path}: cannot be served: {why}");
        }
    });
    (factory, served)
}

/// Connects a pipeline that is being made with the stream.
fn configure(served: &Served, path: &str, media: &RTSPMedia) -> Result<(), String> {
    let bin = media
        .element()
        .downcast::<gst::Bin>()
        .map_err(|_| "the media is no bin")?;
    let source = bin
        .by_name("source")
        .and_then(|e| e.downcast::<AppSrc>().ok())
        .ok_or("no appsrc")?;
    source.set_caps(Some(&h264_caps()));
    let payloader = bin.by_name("pay0").ok_or("no payloader")?;
    let pipeline = bin
        .parent()
        .and_then(|p| p.downcast::<gst::Pipeline>().ok())
        .ok_or("no pipeline")?;
    let reading = (served.reading)();
    let base = run_on_the_boxs_clock(&pipeline, reading.stream().now());
    let times = RtpTimes::new(reading.stream().clone(), base);
    times.watch_payloader(&payloader, reading.header_times());
    let of_feed = times.clone();
    let sound = sound_out(&bin, &reading, base)?;
    if let (Some(sound), Some(payloader)) = (&sound, bin.by_name("pay1")) {
        sound.times.watch_payloader(&payloader, reading.header_times());
    }
    let of_sound = sound.as_ref().map(|sound| sound.times.clone());
    media.connect_prepared(move |_| {
        let rtpbin = pipeline
            .children()
            .into_iter()
            .find(|e| e.factory().is_some_and(|f| f.name() == "rtpbin"));
        match rtpbin {
            Some(rtpbin) => {
                times.watch_session(&rtpbin);
                of_sound.iter().for_each(|sound| sound.watch_session(&rtpbin));
            }
            None => log::error!("RTSP: no rtpbin: sender reports tell the time of sending"),
        }
    });
    let (end, ended) = bounded(1);
    let end = Arc::new(end);
    {
        let mut ends = locked(&served.ends);
        ends.retain(|end| end.strong_count() > 0);
        ends.push(Arc::downgrade(&end));
    }
    // The thread ends when the media that holds this is gone, or is told to.
    let holder = Mutex::new(Some(end));
    media.connect_unprepared(move |_| {
        locked(&holder).take();
    });
    let counters = served.counters.clone();
    std::thread::Builder::new()
        .name(format!("rtsp {path}"))
        .spawn(move || {
            let out = Out {
                source,
                times: of_feed,
                sound,
            };
            feed(&reading, &out, &counters, &ended);
        })
        .map(drop)
        .map_err(|e| format!("no thread: {e}"))
}

/// The second stream of a pipeline that was made with one.
fn sound_out(bin: &gst::Bin, reading: &Reading, base: Mono) -> Result<Option<SoundOut>, String> {
    let Some(source) = bin.by_name(sound::SOURCE) else {
        return Ok(None);
    };
    let source = source
        .downcast::<AppSrc>()
        .map_err(|_| "no appsrc for the sound")?;
    let stream = reading.stream();
    let format = stream
        .sound_format(SoundWant::Native)
        .ok_or("its sound has ended just now")?;
    let rate_hz = sound::rtp_rate_hz(&format);
    let times = RtpTimes::of(stream.clone(), base, sound::SESSION, rate_hz);
    Ok(Some(SoundOut::new(source, times, format)))
}

/// Where a pipeline takes what it sends.
struct Out {
    source: AppSrc,
    times: Arc<RtpTimes>,
    sound: Option<SoundOut>,
}

/// Gives the stream's pictures to a pipeline, until it is gone, or told to end.
fn feed(reading: &Reading, out: &Out, counters: &Counters, ended: &Receiver<()>) {
    let Out { source, times, sound } = out;
    let wanted = sound.as_ref().map(|_| SoundWant::Native);
    let mut reader = reading.stream().subscribe_with(Want::Playable, wanted);
    let mut await_key = true;
    loop {
        match ended.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(()) => break,
            Err(TryRecvError::Disconnected) => return,
        }
        let frame = match reader.next_timeout(LOOK) {
            Some(Ok(CodedEvent::Frame(frame))) => frame,
            Some(Ok(CodedEvent::Sound(frame))) => {
                let bytes = sound.as_ref().and_then(|sound| sound.push(&frame));
                counters.bytes.fetch_add(bytes.unwrap_or(0), Ordering::Relaxed);
                continue;
            }
            Some(Ok(CodedEvent::Gap(_) | CodedEvent::Waiting(_))) | None => continue,
            // The stream was removed.
            Some(Err(_)) => break,
        };
        let full = waiting_bytes(source) > MAX_BYTES;
        await_key = full || await_key && !frame.keyframe;
        if await_key {
            counters.left_out.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let buffer = access_unit(&frame, times);
        counters.pictures.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
        counters
            .repeated
            .fetch_add(u64::from(frame.slot.repeat > 0), Ordering::Relaxed);
        if source.push_buffer(buffer).is_err() {
            return; // the pipeline goes down
        }
    }
    // Clients hear of the end.
    source.end_of_stream().ok();
    if let Some(sound) = sound {
        sound.source.end_of_stream().ok();
    }
}
