//! What is in front of the daemon: the simulated cameras, or the visitor's own.

use std::path::Path;
use std::sync::Arc;

use synoptic_base::{Clock, Size, Span};

use super::DemoOptions;
use super::config::{self, Camera as CameraConfig};
use super::panorama::Truth;
use crate::camera::{Camera, CameraOptions, Content, ReportMode};
use crate::scene::{OVERLAY_REGION, Scene};

const SIZE: Size = Size::new(640, 360);
const SEED: u64 = 2026;
/// From the encoder's input to the wire: 640x360 takes x264 about 3 ms, on a busy machine 10.
const CODING_MS: f64 = 5.0;
/// Half the width of what is not known of a bias that contains `CODING_MS`.
const BIAS_ERROR_MS: f64 = 15.0;
/// Looks that are not judged after the simulator was late: the picture may be from before.
const LATE_LOOKS: u32 = 2;
/// Id of the camera that plays the clip.
const CLIP: &str = "clip";

/// What is special about one simulated camera.
struct Part {
    id: &'static str,
    name: &'static str,
    offset: Span,
    drift_ppm: f64,
    phase: Span,
    delay: Span,
    reports: ReportMode,
}

const PARTS: [Part; 3] = [
    Part {
        id: "cam-left",
        name: "Left",
        offset: Span::ZERO,
        drift_ppm: 0.0,
        phase: Span::ZERO,
        delay: Span::from_millis(20),
        reports: ReportMode::Send,
    },
    Part {
        id: "cam-middle",
        name: "Middle",
        offset: Span::from_millis(-350),
        drift_ppm: 20.0,
        phase: Span::from_millis(13),
        delay: Span::from_millis(35),
        reports: ReportMode::Send,
    },
    Part {
        id: "cam-right",
        name: "Right",
        offset: Span::from_millis(2_000),
        drift_ppm: -30.0,
        phase: Span::from_millis(29),
        delay: Span::from_millis(20),
        reports: ReportMode::Capture,
    },
];

/// The cameras of the demo.
pub(super) struct Stage {
    cameras: Vec<CameraConfig>,
    simulated: Vec<Simulated>,
    truth: Option<Truth>,
}

struct Simulated {
    id: String,
    camera: Camera,
    /// Its pictures show when they were taken.
    with_truth: bool,
    /// Counter of late frames at the last look, and looks still to be called late.
    late_frames: u64,
    late_looks: u32,
}

impl Stage {
    /// Starts the simulated cameras, or takes the visitor's own.
    pub(super) fn set(options: &DemoOptions, work: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<Stage> {
        let mut stage = Stage {
            cameras: Vec::new(),
            simulated: Vec::new(),
            truth: None,
        };
        if let Some(sources) = &options.cameras {
            stage.cameras = config::own_cameras(sources, work)?;
        } else {
            let scene = Arc::new(Scene::new(SEED, SIZE, PARTS.len())?);
            for (view, part) in PARTS.iter().enumerate() {
                stage.add_part(&scene, view, part, clock)?;
            }
            let cameras = PARTS.iter().enumerate();
            stage.truth = Some(Truth {
                cameras: cameras
                    .map(|(view, part)| (part.id.to_owned(), scene.left(view) as f64))
                    .collect(),
                size: SIZE,
            });
        }
        if let Some(clip) = &options.clip {
            let camera = CameraOptions {
                path: CLIP.to_owned(),
                ..CameraOptions::new(CLIP, Content::Clip(clip.clone()))
            };
            let config = CameraConfig {
                id: CLIP.to_owned(),
                name: "A real clip".to_owned(),
                detector: Some(options.detector.clone().unwrap_or_else(|| "motion".to_owned())),
                ..CameraConfig::default()
            };
            stage.add(config, &camera, false, clock)?;
        }
        Ok(stage)
    }

    fn add_part(
        &mut self,
        scene: &Arc<Scene>,
        view: usize,
        part: &Part,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<()> {
        let content = Content::Scene {
            scene: scene.clone(),
            view,
        };
        let camera = CameraOptions {
            path: format!("cam{view}"),
            clock_offset: part.offset,
            clock_drift_ppm: part.drift_ppm,
            media_drift_ppm: part.drift_ppm,
            phase: part.phase,
            delay: part.delay,
            report_mode: part.reports,
            seed: SEED + view as u64,
            ..CameraOptions::new(part.name, content)
        };
        let bias_ms = match part.reports {
            ReportMode::Capture => 0.0,
            ReportMode::Send => part.delay.as_millis_f64() + CODING_MS,
        };
        let config = CameraConfig {
            id: part.id.to_owned(),
            name: part.name.to_owned(),
            detector: Some("motion".to_owned()),
            // The barcode and the clock change in every picture.
            ignore: vec![[
                OVERLAY_REGION.x,
                OVERLAY_REGION.y,
                OVERLAY_REGION.w,
                OVERLAY_REGION.h,
            ]],
            capture_bias_ms: Some(bias_ms),
            capture_bias_error_ms: Some(BIAS_ERROR_MS),
            ..CameraConfig::default()
        };
        self.add(config, &camera, true, clock)
    }

    fn add(
        &mut self,
        mut config: CameraConfig,
        options: &CameraOptions,
        with_truth: bool,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<()> {
        let camera = Camera::start(options, clock.clone())?;
        config.source = camera.url();
        self.simulated.push(Simulated {
            id: config.id.clone(),
            camera,
            with_truth,
            late_frames: 0,
            late_looks: 0,
        });
        self.cameras.push(config);
        Ok(())
    }

    /// The daemon's view of them.
    pub(super) fn cameras(&self) -> &[CameraConfig] {
        &self.cameras
    }

    /// Their ids, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = String> + use<> {
        let ids: Vec<_> = self.cameras.iter().map(|c| c.id.clone()).collect();
        ids.into_iter()
    }

    /// Those that see one scene; all of the visitor's own.
    pub(super) fn group(&self) -> Vec<String> {
        self.ids().filter(|id| id != CLIP).collect()
    }

    /// Where the simulated cameras look; `None` for the visitor's own.
    pub(super) fn truth(&self) -> Option<Truth> {
        self.truth.clone()
    }

    /// Those whose pictures carry their true capture time.
    pub(super) fn with_truth(&self) -> Vec<String> {
        let known = self.simulated.iter().filter(|s| s.with_truth);
        known.map(|s| s.id.clone()).collect()
    }

    /// Where they are.
    pub(super) fn sources(&self) -> Vec<String> {
        self.cameras.iter().map(|c| c.source.clone()).collect()
    }

    /// Whether the simulator was late with a camera's pictures lately: what they show is not judged then.
    pub(super) fn was_late(&mut self, id: &str) -> bool {
        let Some(simulated) = self.simulated.iter_mut().find(|s| s.id == id) else {
            return false;
        };
        let frames = simulated.camera.stats().late_frames;
        if frames > simulated.late_frames {
            simulated.late_frames = frames;
            simulated.late_looks = LATE_LOOKS;
        }
        let late = simulated.late_looks > 0;
        simulated.late_looks = simulated.late_looks.saturating_sub(1);
        late
    }

    /// The keys that do something.
    pub(super) fn keys_help(&self) -> String {
        match self.simulated.len() {
            0 => "Keys: q quit".to_owned(),
            1 => "Keys: 1 pull and plug the camera's cable, q quit".to_owned(),
            n => format!(
                "Keys: 1-{n} pull and plug a camera's cable, c set camera 2's clock 5 s ahead, q quit"
            ),
        }
    }

    /// Obeys a key; what was done, in a sentence, or `None` for a key without meaning.
    pub(super) fn press(&self, key: u8, step: Span) -> anyhow::Result<Option<String>> {
        if key == b'c' {
            return Ok(self.simulated.get(1).map(|s| {
                s.camera.step_clock(step);
                format!("{}: its clock is set {step} ahead", s.id)
            }));
        }
        let number = usize::from(key.wrapping_sub(b'1'));
        let Some(Simulated { id, camera, .. }) = self.simulated.get(number) else {
            return Ok(None);
        };
        if camera.alive() {
            camera.kill();
            Ok(Some(format!("{id}: its cable is pulled")))
        } else {
            camera.revive()?;
            Ok(Some(format!("{id}: it is plugged in again")))
        }
    }
}
