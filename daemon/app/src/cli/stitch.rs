//! `synoptic stitch`: panoramas without the daemon.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use synoptic_base::{Clock, Projection, Rotation, Span, StreamId};
use synoptic_media::Source;
use synoptic_media::clocks::SystemClock;
use synoptic_media::session::{Session, SessionEvent, SessionFrame, SessionOptions};
use synoptic_vision::jpeg;
use synoptic_vision::panorama::calibrate::{
    Calibration, CalibrationFile, Collector, ControlPoint, Crop, Gray, LensKind, Optics, Options, Report,
    Still, calibrate, from_pto, version_in_name, version_name,
};

use super::stitch_render::{self, RenderArgs, RollbackArgs, ShelfArgs};
use crate::config;
use crate::probe::unmeasured_bias;

/// How long the first picture of a camera may take.
const FIRST_PICTURE: Span = Span::from_secs(15);
/// How long a camera that has begun may be silent.
const SILENCE: Span = Span::from_secs(10);

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Find where the cameras of a panorama look, from their pictures, and write a calibration file.
    Calibrate(Box<CalibrateArgs>),
    /// Compose the panorama of files: a picture or a video file.
    Render(RenderArgs),
    /// List the calibrations of a panorama, the one in use first.
    List(ShelfArgs),
    /// Take an old calibration into use again.
    Rollback(RollbackArgs),
}

#[derive(clap::Args)]
pub(super) struct CalibrateArgs {
    /// A camera and where its pictures come from: `east=rtsp://…`, `west=clip.mp4`, `roof=still.jpg`; 2 to 8 of them.
    #[arg(required = true, value_name = "NAME=SOURCE", value_parser = named)]
    camera: Vec<Named>,
    /// Name of the panorama: the file is FOLDER/NAME.000001.toml, the next free number.
    #[arg(long, default_value = "panorama", value_parser = StreamId::new)]
    name: StreamId,
    /// Where the file goes.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
    /// Seconds over which frames are collected; longer when people pass.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// The kind of lens.
    #[arg(long, value_enum, default_value = "radial")]
    lens: Lens,
    /// Who has the same optics: `auto` is cameras with equal picture sizes, unless the pictures say otherwise.
    #[arg(long, value_enum, default_value = "auto")]
    optics: Sharing,
    /// Degrees that a camera sees across its longer side, if known.
    #[arg(long, value_parser = degrees)]
    hfov: Option<f64>,
    /// The surface that the panorama unrolls; by default the one that suits the view.
    #[arg(long, value_enum)]
    projection: Option<Surface>,
    /// Keep only the largest rectangle without black.
    #[arg(long)]
    crop: bool,
    /// A place seen by two cameras, in pixels: `east:1200,340=west:95,352`. Repeat it; four connect two cameras.
    #[arg(long, value_name = "POINT", value_parser = point)]
    point: Vec<ControlPoint>,
    /// Take cameras' positions from this Hugin project instead of their pictures; pictures in the order of the cameras.
    #[arg(long, value_name = "FILE.pto", conflicts_with_all = ["point", "hfov", "lens", "projection", "optics"])]
    pto: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) stream: StreamId,
    pub(super) source: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Lens {
    Radial,
    Fisheye,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Sharing {
    Auto,
    Shared,
    PerCamera,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Surface {
    Rectilinear,
    Cylindrical,
    Spherical,
}

pub(super) fn named(text: &str) -> Result<Named, String> {
    let (name, source) = text
        .split_once('=')
        .ok_or("write NAME=SOURCE, such as east=clip.mp4")?;
    Ok(Named {
        stream: StreamId::new(name).map_err(|e| e.to_string())?,
        source: source.to_owned(),
    })
}

fn degrees(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "give degrees, such as 64".to_owned())?;
    if (5.0..=220.0).contains(&value) {
        Ok(value)
    } else {
        Err("give 5 to 220 degrees".to_owned())
    }
}

/// `east:1200,340=west:95,352`
fn point(text: &str) -> Result<ControlPoint, String> {
    let end = |text: &str| -> Option<(StreamId, [f64; 2])> {
        let (name, place) = text.split_once(':')?;
        let (x, y) = place.split_once(',')?;
        Some((
            StreamId::new(name).ok()?,
            [x.trim().parse().ok()?, y.trim().parse().ok()?],
        ))
    };
    let (a, b) = text
        .split_once('=')
        .and_then(|(a, b)| Some((end(a)?, end(b)?)))
        .ok_or("write CAMERA:X,Y=CAMERA:X,Y, such as east:1200,340=west:95,352")?;
    Ok(ControlPoint {
        cameras: [a.0, b.0],
        at: [a.1, b.1],
    })
}

pub(super) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Calibrate(args) => run_calibrate(args),
        Command::Render(args) => stitch_render::render(args),
        Command::List(args) => stitch_render::list(args),
        Command::Rollback(args) => stitch_render::rollback(args),
    }
}

fn run_calibrate(args: &CalibrateArgs) -> Result<ExitCode> {
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let crop = if args.crop { Crop::Inside } else { Crop::All };
    let streams: Vec<StreamId> = args.camera.iter().map(|c| c.stream).collect();
    let (calibration, control_points) = if let Some(path) = &args.pto {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let pto = from_pto(&text, &streams, crop).with_context(|| format!("in {}", path.display()))?;
        let report = Report::imported("hugin");
        (Calibration { rig: pto.rig, report }, pto.control_points)
    } else {
        let options = Options {
            lens: match args.lens {
                Lens::Radial => LensKind::Radial,
                Lens::Fisheye => LensKind::Fisheye,
            },
            optics: match args.optics {
                Sharing::Auto => Optics::Auto,
                Sharing::Shared => Optics::Shared,
                Sharing::PerCamera => Optics::PerCamera,
            },
            hfov: args.hfov,
            projection: args.projection.map(|p| match p {
                Surface::Rectilinear => Projection::Rectilinear,
                Surface::Cylindrical => Projection::Cylindrical,
                Surface::Spherical => Projection::Spherical,
            }),
            crop,
            control_points: args.point.clone(),
            ..Options::default()
        };
        let stills = collect(args, &clock)?;
        let mut bar = Bar::new("calibrating");
        let found = calibrate(&stills, &options, |part| bar.show(part));
        bar.end();
        (found?, args.point.clone())
    };
    let file = CalibrationFile {
        created: clock.sample().realtime.to_rfc3339(),
        calibration,
        control_points,
    };
    let path = write(&args.folder, args.name.as_str(), &file.to_text()?)?;
    show(&file, &path);
    Ok(ExitCode::SUCCESS)
}

/// Frames of all cameras at once, each made one still.
fn collect(args: &CalibrateArgs, clock: &Arc<dyn Clock>) -> Result<Vec<Still>> {
    synoptic_media::init().map_err(|e| anyhow!(e))?;
    let taken = AtomicUsize::new(0);
    let bar = std::sync::Mutex::new(Bar::new("collecting"));
    let whole = args.camera.len() * usize::from(args.seconds);
    let tick = || {
        let part = taken.fetch_add(1, Ordering::Relaxed) as f64 / whole as f64;
        if let Ok(mut bar) = bar.lock() {
            bar.show(part.min(1.0));
        }
    };
    let stills: Vec<Result<Still>> = std::thread::scope(|scope| {
        let threads: Vec<_> = args
            .camera
            .iter()
            .map(|camera| {
                let tick = &tick;
                scope.spawn(move || {
                    still(camera, Span::from_secs(i64::from(args.seconds)), clock, tick)
                        .with_context(|| format!("camera {}", camera.stream))
                })
            })
            .collect();
        let join = |t: std::thread::ScopedJoinHandle<'_, _>| {
            t.join()
                .unwrap_or_else(|_| Err(anyhow!("collecting frames broke off")))
        };
        threads.into_iter().map(join).collect()
    });
    if let Ok(mut bar) = bar.lock() {
        bar.end();
    }
    stills.into_iter().collect()
}

/// The still of one camera. `tick` is called once a second of what was collected.
fn still(camera: &Named, duration: Span, clock: &Arc<dyn Clock>, tick: &dyn Fn()) -> Result<Still> {
    let lower = camera.source.to_ascii_lowercase();
    if lower.ends_with(".jpg") || lower.ends_with(".jpeg") {
        let bytes = std::fs::read(&camera.source).with_context(|| format!("reading {}", camera.source))?;
        let picture = jpeg::decode(&bytes)?;
        let size = synoptic_base::Surface::size(&picture);
        let luma = Gray::from_luma(picture.planes().luma(), size).context("the picture is incomplete")?;
        return Ok(Still::single(camera.stream, luma));
    }
    let source = source(&camera.source)?;
    let options = SessionOptions {
        capture_bias_error: unmeasured_bias(&source),
        source,
        rotation: Rotation::None,
        capture_bias: Span::ZERO,
    };
    let mut session = Session::open(&options, clock.clone())?;
    let mut collector: Option<Collector> = None;
    let (mut began, mut due, mut second) = (None, clock.now(), clock.now());
    let mut silent_since = clock.now();
    loop {
        let event = session.next(Span::from_millis(200))?;
        let now = clock.now();
        match event {
            Some(SessionEvent::Frame(frame)) => {
                silent_since = now;
                let start = *began.get_or_insert(now);
                if now >= second {
                    tick();
                    second = now + Span::from_secs(1);
                }
                let held = collector.get_or_insert_with(|| Collector::new(camera.stream, frame.size));
                if now >= due {
                    add(held, &frame)?;
                    due = now + Span::from_nanos(duration.as_nanos() / held.capacity() as i64);
                }
                if now - start >= duration {
                    break;
                }
            }
            Some(SessionEvent::End) => break,
            _ => {}
        }
        let patience = if began.is_some() { SILENCE } else { FIRST_PICTURE };
        if now - silent_since > patience {
            bail!("no picture came within {patience}; `synoptic probe` says more");
        }
    }
    collector
        .and_then(|c| c.finish())
        .context("it gave no picture; `synoptic probe` says more")
}

fn add(collector: &mut Collector, frame: &SessionFrame) -> Result<()> {
    let mut luma = None;
    frame
        .surface
        .with_planes(&mut |planes| luma = Gray::from_luma(planes.luma(), frame.size))
        .map_err(|e| anyhow!("{}", e.0))?;
    let luma = luma.context("a picture is incomplete")?;
    if !collector.add(&luma, &[]) {
        bail!(
            "its pictures changed their size to {}x{}",
            frame.size.width,
            frame.size.height
        );
    }
    Ok(())
}

pub(super) fn source(text: &str) -> Result<Source> {
    let login = text
        .contains("://")
        .then(|| config::split_credentials(text))
        .transpose()?;
    let address = login.as_ref().map_or(text, |l| l.url.as_str());
    let mut source = config::parse_source(address, Path::new("."))?;
    match &mut source {
        Source::Rtsp { .. } | Source::Pull { .. } => {
            if let Some(login) = login {
                source.log_in(login.user, login.password);
            }
        }
        Source::File { repeat, .. } => *repeat = false,
        Source::V4l2 { .. } => {}
    }
    Ok(source)
}

/// Writes the next version; what is there already stays.
fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let at = || format!("in folder {}", folder.display());
    let mut latest = 0;
    for entry in std::fs::read_dir(folder).with_context(at)? {
        let file = entry.with_context(at)?.file_name();
        let version = file.to_str().and_then(|f| version_in_name(name, f));
        latest = latest.max(version.unwrap_or(0));
    }
    let next = latest
        .checked_add(1)
        .context("there are too many versions: choose another --name")?;
    let path = folder.join(version_name(name, next));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(at)?;
    file.write_all(text.as_bytes()).with_context(at)?;
    file.as_file().sync_all().with_context(at)?;
    file.persist_noclobber(&path)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

fn show(file: &CalibrationFile, path: &Path) {
    let Calibration { rig, report } = &file.calibration;
    for seam in &report.seams {
        let [a, b] = seam.cameras;
        println!("{a} and {b}: {} ties miss by {:.2} px", seam.ties, seam.rms_px);
    }
    for (camera, figures) in rig.cameras.iter().zip(&report.cameras) {
        println!(
            "{}: focal length {:.1} px ±{:.2} %, corners ±{:.2} px, confidence {:.2}",
            camera.stream,
            camera.intrinsics.fx,
            figures.focal_sd_percent,
            figures.corner_sd_px,
            figures.confidence
        );
    }
    let size = rig.canvas.size;
    println!("panorama {}x{}: {}", size.width, size.height, path.display());
}

/// A bar on a terminal; nothing elsewhere.
pub(super) struct Bar {
    what: &'static str,
    shown: Option<u32>,
    terminal: bool,
}

impl Bar {
    pub(super) fn new(what: &'static str) -> Bar {
        Bar {
            what,
            shown: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(super) fn show(&mut self, part: f64) {
        let percent = (100.0 * part) as u32;
        if self.terminal && self.shown != Some(percent) {
            let full = (percent / 4) as usize;
            eprint!(
                "\r{:<12}[{:<25}] {percent:3} %",
                self.what,
                "#".repeat(full.min(25))
            );
            self.shown = Some(percent);
        }
    }

    pub(super) fn end(&mut self) {
        if self.terminal && self.shown.is_some() {
            self.show(1.0);
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_cameras_are_read_as_written() {
        let read = point("east:1200,340.5=west:95,352").unwrap();
        assert_eq!(read.cameras.map(|c| c.to_string()), ["east", "west"]);
        assert_eq!(read.at, [[1200.0, 340.5], [95.0, 352.0]]);
        for wrong in [
            "",
            "east:1,2",
            "east:1=west:2",
            "east:a,b=west:1,2",
            "EAST:1,2=west:1,2",
        ] {
            assert!(point(wrong).is_err(), "{wrong}");
        }
        let camera = named("east=rtsp://host/a=b").unwrap();
        assert_eq!(
            (camera.stream.as_str(), camera.source.as_str()),
            ("east", "rtsp://host/a=b")
        );
        assert!(named("clip.mp4").is_err());
        assert!(degrees("3").is_err() && degrees("NaN").is_err() && degrees("64") == Ok(64.0));
    }

    #[test]
    fn a_calibration_never_overwrites_another() {
        let folder = tempfile::tempdir().unwrap();
        let first = write(folder.path(), "yard", "one").unwrap();
        std::fs::write(folder.path().join("yard.000007.toml"), "seven").unwrap();
        std::fs::write(folder.path().join("yards.000009.toml"), "another").unwrap();
        let next = write(folder.path(), "yard", "eight").unwrap();
        assert_eq!(first.file_name().unwrap(), "yard.000001.toml");
        assert_eq!(next.file_name().unwrap(), "yard.000008.toml");
        assert_eq!(std::fs::read_to_string(first).unwrap(), "one");
    }

    #[test]
    fn two_stills_of_nothing_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let args = |sources: [&str; 2]| {
            #[derive(clap::Parser)]
            struct Line {
                #[command(subcommand)]
                command: Command,
            }
            let words = ["stitch", "calibrate", "--folder", folder.path().to_str().unwrap()];
            <Line as clap::Parser>::try_parse_from(words.into_iter().chain(sources))
                .unwrap()
                .command
        };
        let size = synoptic_base::Size::new(160, 96);
        let data = vec![128; synoptic_vision::PictureBuf::bytes(size)];
        let gray = synoptic_vision::PictureBuf::new(size, synoptic_base::PixelFormat::Nv12, data).unwrap();
        let still = folder.path().join("gray.jpg");
        std::fs::write(&still, jpeg::encode(&gray, 80).unwrap()).unwrap();
        let sources = ["east", "west"].map(|n| format!("{n}={}", still.display()));
        let error = run(&args([&sources[0], &sources[1]])).unwrap_err();
        assert!(
            format!("{error:#}").contains("camera east shows too little texture"),
            "{error:#}"
        );
        let missing = format!("{}.missing.jpg", sources[0]);
        let error = run(&args([&missing, &sources[1]])).unwrap_err();
        assert!(format!("{error:#}").contains("camera east: reading"), "{error:#}");
        // Nothing was written.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
