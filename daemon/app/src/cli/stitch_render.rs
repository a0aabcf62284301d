//! `synoptic stitch render`: the panorama of files, as a picture or a video file. `stitch list` and `stitch rollback`:
//! the calibrations in a folder.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use synoptic_base::{Clock, MediaTime, Mono, Rig, Rotation, Span, StreamId, Surface};
use synoptic_engine::stitch::{Director, StitchConfig};
use synoptic_media::clocks::SystemClock;
use synoptic_media::session::{Session, SessionEvent, SessionOptions};
use synoptic_media::{MovieWriter, Source};
use synoptic_vision::panorama::{ComposeOptions, Compositor, StitchSlot};
use synoptic_vision::{PictureBuf, jpeg};

use super::stitch::{Bar, Named, named, source};
use crate::panorama::Library;
use crate::probe::unmeasured_bias;

/// Quality of a picture that is kept.
const QUALITY: u8 = 92;
/// A file that gives nothing for this long has a problem.
const SILENCE: Span = Span::from_secs(15);
/// A frame of another camera this far from that of the first camera is not of the same instant.
const APART: Span = Span::from_millis(200);

#[derive(clap::Args)]
pub(super) struct RenderArgs {
    /// A camera of the calibration and its file: `east=clip.mp4`, `roof=still.jpg`. Clips begin at the same instant.
    #[arg(required = true, value_name = "NAME=SOURCE", value_parser = named)]
    camera: Vec<Named>,
    /// The calibration file.
    #[arg(long, value_name = "FILE.toml")]
    calibration: PathBuf,
    /// What is written: a `.jpg` of the first instant, or a `.mp4`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seconds of video at most; all of it when not given.
    #[arg(long)]
    seconds: Option<u32>,
}

#[derive(clap::Args)]
pub(super) struct ShelfArgs {
    /// Name of the panorama.
    #[arg(long, default_value = "panorama", value_parser = StreamId::new)]
    name: StreamId,
    /// Where its calibrations are; the daemon's are in DATA_DIR/panoramas/NAME.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    shelf: ShelfArgs,
    /// The version that is to be used again; it is written under a new number.
    #[arg(id = "number", value_name = "VERSION")]
    version: u32,
}

pub(super) fn list(args: &ShelfArgs) -> Result<ExitCode> {
    let library = Library::new(args.folder.clone(), args.name);
    let versions = library.versions()?;
    if versions.is_empty() {
        bail!(
            "there is no calibration of {} in {}",
            args.name,
            args.folder.display()
        );
    }
    for version in versions {
        match library.read(version) {
            Ok(stored) => {
                let doc = library.doc(&stored);
                println!(
                    "{version:6}  {}  {}x{} {}, ties miss by {:.2} px, sha256 {}",
                    doc.created, doc.width, doc.height, doc.projection, doc.rms_px, doc.sha256
                );
            }
            Err(error) => println!("{version:6}  {error:#}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rollback(args: &RollbackArgs) -> Result<ExitCode> {
    let library = Library::new(args.shelf.folder.clone(), args.shelf.name);
    let version = library.roll_back(args.version)?;
    println!(
        "calibration {} is in use again, as {version}; a daemon that runs takes it at its next start, or at once over its API",
        args.version
    );
    Ok(ExitCode::SUCCESS)
}

/// A frame with its time since its camera's first.
struct Timed {
    at: Span,
    surface: Arc<dyn Surface>,
}

/// One camera's pictures, in order.
enum Reel {
    Still(Arc<dyn Surface>),
    Clip {
        session: Box<Session>,
        first: Option<MediaTime>,
        /// The frame before the instant and the one after, as far as they are read.
        before: Option<Timed>,
        after: Option<Timed>,
    },
}

impl Reel {
    fn open(camera: &Named, clock: &Arc<dyn Clock>) -> Result<Reel> {
        let lower = camera.source.to_ascii_lowercase();
        if lower.ends_with(".jpg") || lower.ends_with(".jpeg") {
            let bytes =
                std::fs::read(&camera.source).with_context(|| format!("reading {}", camera.source))?;
            return Ok(Reel::Still(Arc::new(jpeg::decode(&bytes)?)));
        }
        let source = source(&camera.source)?;
        if !matches!(source, Source::File { .. }) {
            bail!(
                "{} is no file: a running daemon composes live cameras",
                camera.source
            );
        }
        let options = SessionOptions {
            capture_bias_error: unmeasured_bias(&source),
            source,
            rotation: Rotation::None,
            capture_bias: Span::ZERO,
        };
        Ok(Reel::Clip {
            session: Box::new(Session::open(&options, clock.clone())?),
            first: None,
            before: None,
            after: None,
        })
    }

    /// The next frame; `None` at the end.
    fn next(&mut self, clock: &Arc<dyn Clock>) -> Result<Option<Timed>> {
        let Reel::Clip { session, first, .. } = self else {
            return Ok(None);
        };
        let began = clock.now();
        loop {
            match session.next(Span::from_millis(200))? {
                Some(SessionEvent::Frame(frame)) => {
                    let start = *first.get_or_insert(frame.media);
                    return Ok(Some(Timed {
                        at: frame.media.since_zero() - start.since_zero(),
                        surface: frame.surface,
                    }));
                }
                Some(SessionEvent::End) => return Ok(None),
                _ if clock.now() - began > SILENCE => bail!("no picture came within {SILENCE}"),
                _ => {}
            }
        }
    }

    /// The picture nearest to `at`, if there is one near.
    fn near(&mut self, at: Span, clock: &Arc<dyn Clock>) -> Result<Option<Arc<dyn Surface>>> {
        if let Reel::Still(surface) = self {
            return Ok(Some(surface.clone()));
        }
        loop {
            let Reel::Clip { before, after, .. } = self else {
                return Ok(None);
            };
            if after.as_ref().is_some_and(|a| a.at >= at) {
                break;
            }
            if let Some(passed) = after.take() {
                *before = Some(passed);
            }
            let next = self.next(clock)?;
            let Reel::Clip { after, .. } = self else {
                return Ok(None);
            };
            let Some(next) = next else { break };
            *after = Some(next);
        }
        let Reel::Clip { before, after, .. } = self else {
            return Ok(None);
        };
        let nearest = [&*before, &*after]
            .into_iter()
            .flatten()
            .min_by_key(|f| (f.at - at).abs())
            .filter(|f| (f.at - at).abs() <= APART);
        Ok(nearest.map(|f| f.surface.clone()))
    }
}

pub(super) fn render(args: &RenderArgs) -> Result<ExitCode> {
    synoptic_media::init().map_err(|e| anyhow!(e))?;
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let text = std::fs::read_to_string(&args.calibration)
        .with_context(|| format!("reading {}", args.calibration.display()))?;
    let file = synoptic_vision::panorama::calibrate::CalibrationFile::from_text(&text)
        .with_context(|| format!("in {}", args.calibration.display()))?;
    let rig = file.calibration.rig;
    let mut reels = Vec::new();
    for camera in &rig.cameras {
        let named = args
            .camera
            .iter()
            .find(|c| c.stream == camera.stream)
            .with_context(|| {
                format!(
                    "camera {0} of the calibration has no file: add {0}=FILE",
                    camera.stream
                )
            })?;
        reels.push(Reel::open(named, &clock).with_context(|| format!("camera {}", camera.stream))?);
    }
    let movie = match args.out.extension().and_then(|e| e.to_str()) {
        Some("mp4") => Some(MovieWriter::create(&args.out, rig.canvas.size)?),
        Some("jpg" | "jpeg") => None,
        _ => bail!("{}: write a name that ends with .jpg or .mp4", args.out.display()),
    };
    let made = compose(&rig, &mut reels, movie, args, &clock)?;
    let size = rig.canvas.size;
    println!(
        "{made} pictures of {}x{}: {}",
        size.width,
        size.height,
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Composes instant after instant, at the rate of the first clip. Returns how many.
fn compose(
    rig: &Rig,
    reels: &mut [Reel],
    mut movie: Option<MovieWriter>,
    args: &RenderArgs,
    clock: &Arc<dyn Clock>,
) -> Result<u64> {
    let mut compositor = Compositor::new(rig, ComposeOptions::default())?;
    let mut director = Director::new(compositor.layout().clone(), StitchConfig::default())?;
    let mut out = PictureBuf::black(rig.canvas.size)?;
    let leader = reels.iter().position(|r| matches!(r, Reel::Clip { .. }));
    let limit = args.seconds.map(|s| Span::from_secs(i64::from(s)));
    let mut bar = Bar::new("rendering");
    let mut made = 0_u64;
    loop {
        let (at, lead) = match leader {
            None => (Span::ZERO, None),
            Some(k) => match reels[k].next(clock)? {
                Some(frame) => (frame.at, Some((k, frame.surface))),
                None => break,
            },
        };
        if limit.is_some_and(|limit| at >= limit) {
            break;
        }
        let mut pictures = Vec::with_capacity(reels.len());
        for (k, reel) in reels.iter_mut().enumerate() {
            pictures.push(match &lead {
                Some((leader, surface)) if *leader == k => Some(surface.clone()),
                _ => reel.near(at, clock)?,
            });
        }
        let slots: Vec<StitchSlot<'_>> = pictures
            .iter()
            .map(|p| p.as_deref().map_or(StitchSlot::Empty, StitchSlot::Live))
            .collect();
        compositor.compose(&slots, &[], &mut director, &mut out, Mono::from_nanos(0) + at)?;
        made += 1;
        if let Some(limit) = limit {
            bar.show((at.as_secs_f64() / limit.as_secs_f64()).min(1.0));
        }
        match &mut movie {
            Some(movie) => movie.write(&out, at)?,
            None => {
                let coded = jpeg::encode(&out, QUALITY)?;
                std::fs::write(&args.out, coded)
                    .with_context(|| format!("writing {}", args.out.display()))?;
                break;
            }
        }
        if leader.is_none() {
            break;
        }
    }
    bar.end();
    if made == 0 {
        bail!("the files gave no picture");
    }
    movie.map(MovieWriter::finish).transpose()?;
    Ok(made)
}
