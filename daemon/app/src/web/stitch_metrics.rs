//! Metrics of the panoramas.

use super::metrics::{Page, flag};
use crate::documents::{PanoramaDoc, PanoramaState, SeamDoc};

/// Name, help and value of a figure of two cameras.
type Figure = (&'static str, &'static str, fn(&SeamDoc) -> Option<f64>);

const FIGURES: [Figure; 9] = [
    ("stitch_psnr_decibels", "Overlap PSNR of two cameras.", |s| {
        s.psnr_db
    }),
    ("stitch_ssim", "Overlap SSIM of two cameras.", |s| s.ssim),
    (
        "stitch_gradient_correlation",
        "Correlation of the gradients of two cameras.",
        |s| s.gradient_correlation,
    ),
    (
        "stitch_ghost_edge_fraction",
        "Part of the strong edges of one camera that the other lacks.",
        |s| s.ghost_edge_fraction,
    ),
    (
        "stitch_delta_e00",
        "Colour difference of two cameras, CIEDE2000.",
        |s| s.delta_e00,
    ),
    (
        "stitch_residual_pixels",
        "By how much two cameras miss each other.",
        |s| s.residual_px,
    ),
    (
        "stitch_jitter_pixels",
        "By how much that changes from look to look.",
        |s| s.jitter_px,
    ),
    (
        "stitch_skew_seconds",
        "By how much the second camera is later than its stamps say.",
        |s| s.skew_ms.map(|ms| ms / 1e3),
    ),
    (
        "stitch_skew_error_seconds",
        "The true skew is within so much of the one told.",
        |s| s.skew_error_ms.map(|ms| ms / 1e3),
    ),
];

pub(super) fn panoramas(page: &mut Page, panoramas: &[PanoramaDoc]) {
    page.family(
        "stitch_up",
        "gauge",
        "1 when pictures come and nothing is wrong with them.",
    );
    for panorama in panoramas {
        let up = panorama.status.state == PanoramaState::Running;
        page.sample("stitch_up", &[("panorama", &panorama.id)], flag(up));
    }
    page.family("stitch_frames_per_second", "gauge", "Pictures a second.");
    for panorama in panoramas {
        let labels = [("panorama", panorama.id.as_str())];
        page.sample("stitch_frames_per_second", &labels, panorama.status.fps);
    }
    let help = "From the instant of capture to the picture.";
    page.family("stitch_latency_seconds", "gauge", help);
    for panorama in panoramas {
        let Some(latency) = panorama.status.latency_ms else {
            continue;
        };
        for (quantile, ms) in [("0.5", latency.p50), ("0.99", latency.p99)] {
            let labels = [("panorama", panorama.id.as_str()), ("quantile", quantile)];
            page.sample("stitch_latency_seconds", &labels, ms / 1e3);
        }
    }
    for (name, help, value) in FIGURES {
        page.family(name, "gauge", help);
        for panorama in panoramas {
            for seam in &panorama.status.seams {
                let [one, two] = &seam.cameras;
                let labels = [("panorama", panorama.id.as_str()), ("one", one), ("two", two)];
                if let Some(value) = value(seam) {
                    page.sample(name, &labels, value);
                }
            }
        }
    }
}
