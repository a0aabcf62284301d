//! Flash and beep: a white picture and the begin of a tone at the same instant, once a second, as a file or as a camera.
//!
//! What is seen and heard at the far end says how far picture and sound are apart, whatever lies between.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use gst::glib;
use gst::prelude::*;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPMedia, RTSPMediaFactory, RTSPServer};
use synoptic_base::{Clock, Mono, Span};
use synoptic_media::output::ClientThreads;

/// Size of the pictures.
const WIDTH: usize = 160;
const HEIGHT: usize = 96;
/// Pictures a second, and which one of each second is white.
const FPS: i64 = 25;
const WHITE: i64 = 12;
/// A tone of this length, in Hz.
const TONE: Span = Span::from_millis(60);
const TONE_HZ: f64 = 1_000.0;
/// Sound is made in pieces of this length.
const PIECE: Span = Span::from_millis(20);
/// A luma or an amplitude above this is a flash or a beep.
const BRIGHT: u8 = 128;
const LOUD: f32 = 0.1;

/// What can go wrong with making it.
#[derive(Debug, thiserror::Error)]
#[error("the flash and beep cannot be made: {0}")]
pub struct FlashError(String);

impl FlashError {
    pub(crate) fn new(why: impl std::fmt::Display) -> FlashError {
        FlashError(why.to_string())
    }
}

fn failed(why: impl std::fmt::Display) -> FlashError {
    FlashError(why.to_string())
}

fn picture(number: i64) -> gst::Buffer {
    let luma = if number % FPS == WHITE { 235 } else { 16 };
    let mut bytes = vec![luma; WIDTH * HEIGHT];
    bytes.resize(WIDTH * HEIGHT * 3 / 2, 128);
    gst::Buffer::from_mut_slice(bytes)
}

fn picture_time(number: i64) -> Span {
    Span::from_nanos(number * 1_000_000_000 / FPS)
}

/// `samples` of S16 from media time `from` on.
fn sound(from: Span, samples: i64, rate_hz: i64) -> gst::Buffer {
    let begin = picture_time(WHITE);
    let bytes = (0..samples).flat_map(|i| {
        let at = from + Span::from_nanos(i * 1_000_000_000 / rate_hz);
        let into = Span::from_nanos((at - begin).as_nanos().rem_euclid(1_000_000_000));
        // A cosine: its first sample is loud.
        let value = if into < TONE {
            (into.as_secs_f64() * TONE_HZ * std::f64::consts::TAU).cos() * 16_000.0
        } else {
            0.0
        };
        (value as i16).to_le_bytes()
    });
    gst::Buffer::from_mut_slice(bytes.collect::<Vec<u8>>())
}

fn video_caps() -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", WIDTH as i32)
        .field("height", HEIGHT as i32)
        .field("framerate", gst::Fraction::new(FPS as i32, 1))
        .build()
}

fn audio_caps(rate_hz: i64) -> gst::Caps {
    gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", rate_hz as i32)
        .field("channels", 1)
        .build()
}

fn stamp(buffer: &mut gst::Buffer, pts: Span, length: Span) {
    let buffer = buffer.make_mut();
    buffer.set_pts(gst::ClockTime::from_nseconds(pts.as_nanos().max(0) as u64));
    buffer.set_duration(gst::ClockTime::from_nseconds(length.as_nanos().max(0) as u64));
}

fn appsrc(bin: &gst::Bin, name: &str, caps: &gst::Caps) -> Result<gst_app::AppSrc, FlashError> {
    let source = bin
        .by_name(name)
        .and_then(|e| e.downcast::<gst_app::AppSrc>().ok())
        .ok_or_else(|| failed(format!("no appsrc {name}")))?;
    source.set_format(gst::Format::Time);
    source.set_caps(Some(caps));
    source.set_max_bytes(0);
    Ok(source)
}

/// Writes `seconds` of it: `video`, `audio` and `mux` are GStreamer elements, such as `x264enc`, `opusenc`, `matroskamux`.
pub fn write_clip(
    path: &Path,
    video: &str,
    audio: &str,
    mux: &str,
    rate_hz: u32,
    seconds: u32,
) -> Result<(), FlashError> {
    gst::init().map_err(failed)?;
    let rate_hz = i64::from(rate_hz);
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=video ! videoconvert ! {video} ! queue max-size-time=0 max-size-buffers=0 ! {mux} name=mux \
         ! filesink name=file appsrc name=audio ! audioconvert ! {audio} ! queue max-size-time=0 max-size-buffers=0 ! mux."
    ))
    .map_err(failed)?
    .downcast::<gst::Pipeline>()
    .map_err(|_| failed("no pipeline"))?;
    let file = pipeline.by_name("file").ok_or_else(|| failed("no filesink"))?;
    file.set_property("location", path);
    let pictures = appsrc(pipeline.upcast_ref(), "video", &video_caps())?;
    let sounds = appsrc(pipeline.upcast_ref(), "audio", &audio_caps(rate_hz))?;
    pipeline.set_state(gst::State::Playing).map_err(failed)?;
    for number in 0..i64::from(seconds) * FPS {
        let mut buffer = picture(number);
        stamp(&mut buffer, picture_time(number), picture_time(1));
        pictures.push_buffer(buffer).map_err(failed)?;
    }
    for number in 0..i64::from(seconds) * 50 {
        let at = PIECE * number;
        let mut buffer = sound(at, rate_hz / 50, rate_hz);
        stamp(&mut buffer, at, PIECE);
        sounds.push_buffer(buffer).map_err(failed)?;
    }
    pictures.end_of_stream().map_err(failed)?;
    sounds.end_of_stream().map_err(failed)?;
    let bus = pipeline.bus().ok_or_else(|| failed("no bus"))?;
    let ended = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    let stopped = pipeline.set_state(gst::State::Null);
    match ended.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => stopped.map(|_| ()).map_err(failed),
        Some(gst::MessageView::Error(error)) => Err(failed(error.error())),
        _ => Err(failed("it was not written within a minute")),
    }
}

/// How a camera that flashes and beeps is made.
#[derive(Clone, Debug)]
pub struct FlashOptions {
    /// From capture to sending, of pictures.
    pub video_delay: Span,
    /// The same of sound.
    pub audio_delay: Span,
    /// GStreamer elements from raw sound to a payloader called `pay1`.
    pub audio: String,
    /// Samples a second.
    pub rate_hz: u32,
    /// How much its encoder of sound puts before the first sample, as a camera allows for that knows it.
    pub priming: Span,
    /// Between sender reports.
    pub report_interval: Span,
}

impl Default for FlashOptions {
    fn default() -> FlashOptions {
        FlashOptions {
            video_delay: Span::from_millis(30),
            audio_delay: Span::from_millis(250),
            audio: "alawenc ! rtppcmapay name=pay1 pt=8".to_owned(),
            rate_hz: 8_000,
            priming: Span::ZERO,
            report_interval: Span::from_millis(200),
        }
    }
}

/// An RTSP camera that flashes and beeps, on 127.0.0.1.
pub struct FlashCamera {
    context: glib::MainContext,
    main_loop: glib::MainLoop,
    server: RTSPServer,
    clients: ClientThreads,
    source: Option<glib::SourceId>,
    thread: Option<JoinHandle<()>>,
    running: Arc<AtomicBool>,
}

impl FlashCamera {
    /// Starts it; it sends while somebody watches.
    pub fn start(options: &FlashOptions, clock: Arc<dyn Clock>) -> Result<FlashCamera, FlashError> {
        gst::init().map_err(failed)?;
        let server = RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        let clients = ClientThreads::default();
        clients.follow(&server);
        let factory = RTSPMediaFactory::new();
        factory.set_launch(&format!(
            "( appsrc name=video is-live=true ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 key-int-max=25 \
             ! rtph264pay name=pay0 pt=96 config-interval=-1 appsrc name=audio is-live=true ! {} )",
            options.audio
        ));
        factory.set_shared(true);
        factory.set_clock(Some(&gst::SystemClock::obtain()));
        let running = Arc::new(AtomicBool::new(true));
        let (options, runs) = (options.clone(), running.clone());
        factory.connect_media_configure(move |_, media| {
            if let Err(error) = configure(media, &options, clock.clone(), runs.clone()) {
                log::error!("{error}");
            }
        });
        let mounts = server.mount_points().ok_or_else(|| failed("no mount points"))?;
        mounts.add_factory("/av", factory);
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let source = server.attach(Some(&context)).map_err(failed)?;
        let thread = {
            let (context, main_loop) = (context.clone(), main_loop.clone());
            std::thread::Builder::new()
                .name("flash-rtsp".to_owned())
                .spawn(move || {
                    if let Err(error) = context.with_thread_default(|| main_loop.run()) {
                        log::error!("the RTSP thread does not run: {error}");
                    }
                })
                .map_err(failed)?
        };
        Ok(FlashCamera {
            context,
            main_loop,
            server,
            clients,
            source: Some(source),
            thread: Some(thread),
            running,
        })
    }

    /// Where to watch it.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/av", self.server.bound_port())
    }
}

impl Drop for FlashCamera {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        self.clients.close_all(&self.server);
        if let Some(source) = self
            .source
            .take()
            .and_then(|id| self.context.find_source_by_id(&id))
        {
            source.destroy();
        }
        self.main_loop.quit();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the RTSP thread panicked");
        }
    }
}

/// Connects a media that is being made with pictures and sound.
fn configure(
    media: &RTSPMedia,
    options: &FlashOptions,
    clock: Arc<dyn Clock>,
    running: Arc<AtomicBool>,
) -> Result<(), FlashError> {
    let bin = media
        .element()
        .downcast::<gst::Bin>()
        .map_err(|_| failed("the media is no bin"))?;
    let rate_hz = i64::from(options.rate_hz);
    let pictures = appsrc(&bin, "video", &video_caps())?;
    let sounds = appsrc(&bin, "audio", &audio_caps(rate_hz))?;
    let interval = options.report_interval.as_nanos().max(1) as u64;
    media.connect_prepared(move |media| {
        let pipeline = media.element().parent().and_downcast::<gst::Bin>();
        for child in pipeline.iter().flat_map(GstBinExtManual::children) {
            if child.factory().is_some_and(|f| f.name() == "rtpbin") {
                // Reports say when it was captured, not when it was sent.
                child.set_property("rtcp-sync-send-time", false);
            }
        }
        for session in (0..2).filter_map(|n| media.stream(n)?.rtpsession()) {
            session.set_property("rtcp-min-interval", interval);
        }
    });
    let (stop, stopped) = bounded::<()>(0);
    let stop: std::sync::Mutex<Option<Sender<()>>> = std::sync::Mutex::new(Some(stop));
    media.connect_unprepared(move |_| {
        stop.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
    });
    let (video_delay, audio_delay) = (options.video_delay, options.audio_delay);
    let priming = options.priming;
    let pump = move || {
        let begin = clock.now() + Span::from_millis(200);
        let (mut picture_no, mut piece_no) = (0, 0);
        while running.load(Ordering::Relaxed) {
            let picture_due = begin + picture_time(picture_no) + video_delay;
            let piece_due = begin + PIECE * (piece_no + 1) + audio_delay;
            let due = picture_due.min(piece_due);
            match stopped.recv_timeout((due - clock.now()).to_std()) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
            let base = |source: &gst_app::AppSrc| {
                let playing = source.current_state() == gst::State::Playing;
                source.base_time().filter(|_| playing)
            };
            let running_time = |base: gst::ClockTime, at: Mono| at - Mono::from_nanos(base.nseconds() as i64);
            if picture_due <= piece_due {
                if let Some(base) = base(&pictures) {
                    let mut buffer = picture(picture_no);
                    stamp(
                        &mut buffer,
                        running_time(base, begin + picture_time(picture_no)),
                        picture_time(1),
                    );
                    // Refused once the media is going.
                    let _ = pictures.push_buffer(buffer);
                }
                picture_no += 1;
            } else {
                if let Some(base) = base(&sounds) {
                    let mut buffer = sound(PIECE * piece_no, rate_hz / 50, rate_hz);
                    let at = begin + PIECE * piece_no - priming;
                    stamp(&mut buffer, running_time(base, at), PIECE);
                    let _ = sounds.push_buffer(buffer);
                }
                piece_no += 1;
            }
        }
    };
    std::thread::Builder::new()
        .name("flash-pump".to_owned())
        .spawn(pump)
        .map_err(failed)?;
    Ok(())
}

/// Reads flashes off the pictures that reach a sink, and beeps off the sound: when each began, on the sink's clock.
pub mod far_end {
    use std::sync::{Arc, Mutex, PoisonError};

    use gst::prelude::*;
    use gst_app::{AppSink, AppSinkCallbacks};
    use synoptic_base::{Mono, Span};

    use super::{BRIGHT, LOUD};

    /// Instants, in the order in which they came.
    pub type Instants = Arc<Mutex<Vec<Mono>>>;

    /// Quiet or dark for less than this is still the same one.
    const APART: Span = Span::from_millis(300);

    fn note(instants: &Instants, at: Mono, last: &mut Option<Mono>) {
        if last.is_none_or(|last| at - last > APART) {
            instants.lock().unwrap_or_else(PoisonError::into_inner).push(at);
        }
        *last = Some(at);
    }

    fn sink(media_type: &str, mut look: impl FnMut(&gst::Sample, Mono) + Send + 'static) -> gst::Element {
        let caps = gst::Caps::builder(media_type);
        let caps = match media_type {
            "video/x-raw" => caps.field("format", gst::List::new(["NV12", "I420"])),
            _ => caps.field("format", "F32LE").field("channels", 1),
        };
        let sink = AppSink::builder().caps(&caps.build()).sync(true).build();
        sink.set_callbacks(
            AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    // The time at which the sink shows it, whatever time the machine found for that.
                    let pts = sample.buffer().and_then(gst::BufferRef::pts);
                    if let Some((pts, base)) = pts.zip(sink.base_time()) {
                        look(&sample, Mono::from_nanos((base + pts).nseconds() as i64));
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        sink.upcast()
    }

    /// A screen that notes when it turns white.
    pub fn screen() -> (gst::Element, Instants) {
        let instants = Instants::default();
        let (seen, mut last) = (instants.clone(), None);
        let sink = sink("video/x-raw", move |sample, at| {
            let Some(map) = sample.buffer().and_then(|b| b.map_readable().ok()) else {
                return;
            };
            let luma = map.get(..super::WIDTH * super::HEIGHT / 2).unwrap_or(&[]);
            let mean = luma.iter().map(|v| u64::from(*v)).sum::<u64>() / luma.len().max(1) as u64;
            if mean > u64::from(BRIGHT) {
                note(&seen, at, &mut last);
            }
        });
        (sink, instants)
    }

    /// A loudspeaker that notes when a tone begins, to the sample.
    pub fn speaker() -> (gst::Element, Instants) {
        let instants = Instants::default();
        let (heard, mut last) = (instants.clone(), None);
        let sink = sink("audio/x-raw", move |sample, at| {
            let rate = sample
                .caps()
                .and_then(|c| c.structure(0)?.get::<i32>("rate").ok());
            let map = sample.buffer().and_then(|b| b.map_readable().ok());
            let (Some(rate), Some(map)) = (rate, map) else {
                return;
            };
            let samples = map
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            for (i, value) in samples.enumerate() {
                if value.abs() > LOUD {
                    let into = Span::from_nanos(i as i64 * 1_000_000_000 / i64::from(rate));
                    note(&heard, at + into, &mut last);
                }
            }
        });
        (sink, instants)
    }

    /// Sound minus picture of each pair; what has no partner within half a second is left out.
    pub fn offsets(flashes: &Instants, beeps: &Instants) -> Vec<Span> {
        let flashes = flashes.lock().unwrap_or_else(PoisonError::into_inner);
        let beeps = beeps.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = |flash: &Mono| {
            let offset = beeps.iter().map(|beep| *beep - *flash).min_by_key(|o| o.abs())?;
            (offset.abs() < Span::from_millis(500)).then_some(offset)
        };
        flashes.iter().filter_map(nearest).collect()
    }
}
