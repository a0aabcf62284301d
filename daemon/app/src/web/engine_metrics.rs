//! Metrics of detectors' engines, of what they look at, and of GPUs.

use super::metrics::{Page, flag};
use crate::documents::{CameraDoc, DetectorDoc, GpuDoc};

/// States of a detector's engine, each a sample of 0 or 1.
const STATES: [&str; 4] = ["as_wanted", "preparing", "fallback", "off"];

/// What runs each detector's model.
pub(super) fn detectors(page: &mut Page, detectors: &[DetectorDoc]) {
    page.family(
        "detector_engine_state",
        "gauge",
        "1 for the state that a detector's engine is in.",
    );
    for detector in detectors {
        for state in STATES {
            let labels = [
                ("group", detector.group.as_str()),
                ("detector", &detector.name),
                ("state", state),
            ];
            page.sample(
                "detector_engine_state",
                &labels,
                flag(detector.engine.state == state),
            );
        }
    }
    page.family(
        "detector_engine_info",
        "gauge",
        "What runs a detector's model, in its labels.",
    );
    for detector in detectors {
        let labels = [
            ("group", detector.group.as_str()),
            ("detector", &detector.name),
            ("model", &detector.model),
            ("wanted", &detector.engine.wanted),
            ("running", detector.engine.running.as_deref().unwrap_or("")),
        ];
        page.sample("detector_engine_info", &labels, 1.0);
    }
}

/// What detectors looked at, and what they saved.
pub(super) fn attention(page: &mut Page, cameras: &[CameraDoc]) {
    page.family(
        "camera_attention_total",
        "counter",
        "Frames by what the detector did: looked, or passed over because of every, rate, or a still scene.",
    );
    for camera in cameras {
        let Some(attention) = &camera.attention else {
            continue;
        };
        for (what, count) in [
            ("looked", attention.looked),
            ("every", attention.every),
            ("rate", attention.rate),
            ("still", attention.still),
        ] {
            let labels = [("camera", camera.id.as_str()), ("what", what)];
            page.sample("camera_attention_total", &labels, count as f64);
        }
    }
}

/// How the GPUs are.
pub(super) fn gpus(page: &mut Page, gpus: &[GpuDoc]) {
    let mut family = |name: &str, help: &str, of: &dyn Fn(&GpuDoc) -> Option<f64>| {
        page.family(name, "gauge", help);
        for gpu in gpus {
            if let Some(value) = of(gpu) {
                let index = gpu.index.to_string();
                page.sample(name, &[("gpu", &index), ("name", &gpu.name)], value);
            }
        }
    };
    family("gpu_temperature_celsius", "Temperature of the chip.", &|g| {
        g.temperature_c
    });
    family("gpu_power_watts", "Power taken; on Jetson by the module.", &|g| {
        g.power_w
    });
    family("gpu_load_ratio", "Share of the time in which it works.", &|g| {
        g.load
    });
    family("gpu_clock_hertz", "Its clock.", &|g| {
        g.clock_mhz.map(|mhz| mhz * 1e6)
    });
    family("gpu_memory_used_bytes", "Its memory in use.", &|g| {
        g.memory_used_bytes.map(|b| b as f64)
    });
    family("gpu_memory_bytes", "Its memory.", &|g| {
        g.memory_bytes.map(|b| b as f64)
    });
    family("gpu_throttled", "1 while it slows itself down.", &|g| {
        Some(flag(g.throttled.is_some()))
    });
}
