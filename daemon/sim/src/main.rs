//! `synoptic-sim`: simulated cameras with known truth, and the demo that runs on them.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use crossbeam_channel::Receiver;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use synoptic_base::{Clock, Size, Span};
use synoptic_media::clocks::SystemClock;
use synoptic_sim::camera::{Camera, CameraOptions, Codec, Content, ReportMode};
use synoptic_sim::demo::{self, DemoOptions, Outcome};
use synoptic_sim::scene::Scene;

/// Exit code of a demo whose simulator was too slow to judge: EX_TEMPFAIL of sysexits.h.
const INVALID: u8 = 75;

/// Simulated cameras whose true capture times are known.
///
/// Every picture shows the time at which it was really taken, as text and as a barcode. The cameras' own clocks
/// are as wrong as you ask for.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run simulated RTSP cameras and print where they are, until Ctrl-C.
    Cameras(CamerasArgs),
    /// Run cameras, a broker and the daemon together, and show how true its time stamps are.
    Demo(DemoArgs),
}

#[derive(clap::Args)]
struct CamerasArgs {
    /// How many cameras look at the scene, side by side, each seeing 30 % of its neighbour's view.
    #[arg(long, default_value_t = 3)]
    count: usize,
    /// Port of the first camera on 127.0.0.1; the others follow. 0: free ones.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Pictures a second.
    #[arg(long, default_value_t = 15)]
    fps: u32,
    /// Size of the picture.
    #[arg(long, default_value = "640x360", value_parser = size)]
    size: Size,
    /// Coding.
    #[arg(long, value_enum, default_value_t = CodecArg::H264)]
    codec: CodecArg,
    /// Pictures from one I picture to the next.
    #[arg(long, default_value_t = 15)]
    gop: u32,
    /// Bit rate at most, in kbit/s.
    #[arg(long, default_value_t = 2_000)]
    bitrate: u32,
    /// How far each camera's clock is ahead, in ms, with commas between; the last one counts for the rest.
    #[arg(long, value_delimiter = ',', default_value = "0", allow_hyphen_values = true)]
    offset_ms: Vec<f64>,
    /// How much faster each camera's clocks run, in ppm, likewise.
    #[arg(long, value_delimiter = ',', default_value = "0", allow_hyphen_values = true)]
    drift_ppm: Vec<f64>,
    /// From capture to the encoder, in ms.
    #[arg(long, default_value_t = 20.0)]
    delay_ms: f64,
    /// Random addition to the delay, in ms at most.
    #[arg(long, default_value_t = 0.0)]
    jitter_ms: f64,
    /// What sender reports mean: the time of capture or of sending.
    #[arg(long, value_enum, default_value_t = ReportArg::Capture)]
    reports: ReportArg,
    /// Seconds between sender reports.
    #[arg(long, default_value_t = 2.0)]
    report_every: f64,
    /// User and password that a client must know, as USER:PASSWORD (digest authentication).
    #[arg(long, value_name = "USER:PASSWORD", value_parser = login)]
    login: Option<(String, String)>,
    /// Also serve this MP4 file (H.264) over and over as a camera.
    #[arg(long)]
    clip: Option<PathBuf>,
    /// Sets the scene and everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(clap::Args)]
struct DemoArgs {
    /// The daemon [default: `synoptic` beside this program].
    #[arg(long)]
    synoptic: Option<PathBuf>,
    /// Address of the page, such as 0.0.0.0:8443 for other machines (HTTPS there) [default: 127.0.0.1:8080, or
    /// a free port]. Without a port: 8080 on this machine, 8443 for others.
    #[arg(long, value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Your own cameras instead of simulated ones, with blanks between: "rtsp://… /dev/video0 clip.mp4".
    #[arg(long)]
    cameras: Option<String>,
    /// Add an MP4 file (H.264) as one more camera.
    #[arg(long)]
    clip: Option<PathBuf>,
    /// What looks at the clip: `motion`, or the name of a model.
    #[arg(long, requires = "clip")]
    detector: Option<String>,
    /// Folder with model files.
    #[arg(long)]
    models: Option<PathBuf>,
    /// End after this many seconds; success only if every camera was online and every stamp true;
    /// 75 if the machine was too slow to tell.
    #[arg(long)]
    seconds: Option<f64>,
    /// Keep configuration, data and logs in this folder.
    #[arg(long)]
    work_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum CodecArg {
    H264,
    H265,
}

#[derive(Clone, Copy, ValueEnum)]
enum ReportArg {
    Capture,
    Send,
}

fn main() -> ExitCode {
    let args = Args::parse();
    log::set_max_level(log::LevelFilter::Info);
    let ready = log::set_logger(&Stderr)
        .context("no log")
        .and_then(|()| stop_signals());
    let done = ready.and_then(|stop| match args.command {
        Action::Cameras(args) => cameras(&args, &stop),
        Action::Demo(args) => run_demo(args, &stop),
    });
    done.unwrap_or_else(|e| {
        eprintln!("synoptic-sim: {e:#}");
        ExitCode::FAILURE
    })
}

/// An address with or without a port.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let bare = |ip: IpAddr| SocketAddr::new(ip, if ip.is_loopback() { 8080 } else { 8443 });
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(bare))
        .map_err(|_| format!("`{text}` is no address; write 0.0.0.0 or 0.0.0.0:8443"))
}

fn run_demo(args: DemoArgs, stop: &Receiver<()>) -> anyhow::Result<ExitCode> {
    let options = DemoOptions {
        synoptic: args.synoptic,
        listen: args.listen,
        cameras: args.cameras,
        clip: args.clip,
        detector: args.detector,
        models: args.models,
        run_for: args.seconds.map(Span::from_secs_f64),
        work_dir: args.work_dir,
    };
    Ok(match demo::run(&options, &SystemClock::shared(), stop)? {
        Outcome::Stopped | Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
        Outcome::Invalid => ExitCode::from(INVALID),
    })
}

fn cameras(args: &CamerasArgs, stop: &Receiver<()>) -> anyhow::Result<ExitCode> {
    let clock = SystemClock::shared();
    let scene = Arc::new(Scene::new(args.seed, args.size, args.count)?);
    let mut running = Vec::new();
    for view in 0..args.count {
        let scene = scene.clone();
        let options = CameraOptions {
            path: format!("cam{view}"),
            port: port(args.port, view)?,
            fps: args.fps,
            codec: match args.codec {
                CodecArg::H264 => Codec::H264,
                CodecArg::H265 => Codec::H265,
            },
            gop: args.gop,
            bitrate_kbit: args.bitrate,
            login: args.login.clone(),
            clock_offset: Span::from_secs_f64(nth(&args.offset_ms, view) / 1e3),
            clock_drift_ppm: nth(&args.drift_ppm, view),
            media_drift_ppm: nth(&args.drift_ppm, view),
            report_mode: match args.reports {
                ReportArg::Capture => ReportMode::Capture,
                ReportArg::Send => ReportMode::Send,
            },
            report_interval: Span::from_secs_f64(args.report_every),
            delay: Span::from_secs_f64(args.delay_ms / 1e3),
            jitter: Span::from_secs_f64(args.jitter_ms / 1e3),
            seed: args.seed.wrapping_add(view as u64),
            ..CameraOptions::new(&format!("cam{view}"), Content::Scene { scene, view })
        };
        running.push(start(&options, &clock)?);
    }
    if let Some(clip) = &args.clip {
        let options = CameraOptions {
            path: "clip".to_owned(),
            port: port(args.port, args.count)?,
            login: args.login.clone(),
            ..CameraOptions::new("clip", Content::Clip(clip.clone()))
        };
        running.push(start(&options, &clock)?);
    }
    eprintln!("Ctrl-C ends.");
    // An error would mean that nobody is left to tell: then it is time to end, too.
    let _ = stop.recv();
    for camera in &running {
        let stats = camera.stats();
        eprintln!(
            "{}: {} pictures sent, {} of them late",
            camera.name(),
            stats.frames,
            stats.late_frames
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn start(options: &CameraOptions, clock: &Arc<dyn Clock>) -> anyhow::Result<Camera> {
    let camera = Camera::start(options, clock.clone())?;
    println!("{}", camera.url());
    Ok(camera)
}

fn port(first: u16, number: usize) -> anyhow::Result<u16> {
    if first == 0 {
        return Ok(0);
    }
    let port = usize::from(first) + number;
    u16::try_from(port)
        .ok()
        .with_context(|| format!("there is no port {port}: begin with a lower --port"))
}

/// Value number `i`, or the last one.
fn nth(values: &[f64], i: usize) -> f64 {
    values.get(i).or(values.last()).copied().unwrap_or_default()
}

fn size(text: &str) -> Result<Size, String> {
    let parts = text
        .split_once('x')
        .and_then(|(w, h)| Some(Size::new(w.parse().ok()?, h.parse().ok()?)));
    parts.ok_or_else(|| "write WIDTHxHEIGHT, such as 640x360".to_owned())
}

fn login(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(':').filter(|(user, _)| !user.is_empty());
    let (user, password) = parts.ok_or("write USER:PASSWORD")?;
    Ok((user.to_owned(), password.to_owned()))
}

/// Gets a message for each Ctrl-C or request to end.
fn stop_signals() -> anyhow::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("no signals")?;
    let (sender, stop) = crossbeam_channel::bounded(1);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                // Full: it was said already.
                let _ = sender.try_send(());
            }
        })
        .context("no thread for signals")?;
    Ok(stop)
}

/// A log on standard error, with the level and no more.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{}: {}", record.level().as_str().to_lowercase(), record.args());
        }
    }
    fn flush(&self) {}
}
