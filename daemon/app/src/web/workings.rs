//! Metrics of the daemon's own workings: the database, the stages of a picture's way, the queues between them.

use synoptic_base::{DURATION_EDGES_S, Durations};

use super::metrics::{Page, flag};
use crate::documents::{StorageDoc, StorageState};
use crate::stages::Measured;

/// One histogram, cumulative as the format wants it.
fn histogram(page: &mut Page, name: &str, labels: &[(&str, &str)], durations: &Durations) {
    let bucket = format!("{name}_bucket");
    let mut below = 0;
    for (edge, count) in DURATION_EDGES_S.iter().zip(durations.buckets) {
        below += count;
        let edge = edge.to_string();
        page.sample(
            &bucket,
            &[labels, &[("le", edge.as_str())]].concat(),
            below as f64,
        );
    }
    let all = durations.count as f64;
    page.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), all);
    page.sample(&format!("{name}_sum"), labels, durations.sum_s);
    page.sample(&format!("{name}_count"), labels, all);
}

pub(super) fn stages(page: &mut Page, measured: &Measured) {
    let help =
        "Time that a stage takes: decode and align a frame, detect or stitch a packet, store a commit.";
    page.family("stage_seconds", "histogram", help);
    for (stage, durations) in &measured.stages {
        histogram(page, "stage_seconds", &[("stage", stage)], durations);
    }
    let help = "Time that a detector takes for a packet's pictures.";
    page.family("inference_seconds", "histogram", help);
    for ((detector, model), durations) in &measured.inference {
        let labels = [("detector", detector.as_str()), ("model", model)];
        histogram(page, "inference_seconds", &labels, durations);
    }
    let help = "What lies in a queue: frames before the aligner, packets before the detectors.";
    page.family("queue_depth", "gauge", help);
    for ((group, queue), depth) in &measured.depths {
        page.sample(
            "queue_depth",
            &[("group", group), ("queue", queue)],
            *depth as f64,
        );
    }
}

pub(super) fn storage(page: &mut Page, storage: &StorageDoc) {
    let figures = [
        (
            "storage_bytes",
            "gauge",
            "Bytes of both databases.",
            storage.bytes,
        ),
        (
            "storage_max_bytes",
            "gauge",
            "What they may have.",
            storage.max_bytes,
        ),
        (
            "storage_free_bytes",
            "gauge",
            "Free bytes on their disk.",
            storage.free_bytes,
        ),
        (
            "storage_min_free_bytes",
            "gauge",
            "What is never used up of it.",
            storage.min_free_bytes,
        ),
        (
            "storage_changes_waiting",
            "gauge",
            "Changes of events that are not in the database yet.",
            storage.waiting,
        ),
        (
            "storage_changes_spilled",
            "gauge",
            "Those of them that wait in the spill on disk.",
            storage.spilled,
        ),
        (
            "storage_events_removed_total",
            "counter",
            "Events removed by age or for space.",
            storage.events_removed,
        ),
        (
            "storage_changes_lost_total",
            "counter",
            "Changes of events that neither database nor spill took.",
            storage.lost,
        ),
    ];
    for (name, kind, help, value) in figures {
        page.family(name, kind, help);
        page.sample(name, &[], value as f64);
    }
    page.family("storage_state", "gauge", "1 for the state that holds.");
    for (state, name) in [
        (StorageState::Okay, "okay"),
        (StorageState::Full, "full"),
        (StorageState::DiskShort, "disk_short"),
        (StorageState::Failing, "failing"),
    ] {
        page.sample("storage_state", &[("state", name)], flag(storage.state == state));
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::Span;

    use super::*;
    use crate::stages::Stages;

    #[test]
    fn a_histogram_is_cumulative() {
        let measured = Stages::default();
        for ms in [1, 1, 30, 9_000] {
            measured.inferred("people", "yolox-nano", Span::from_millis(ms));
        }
        measured.took("align", Span::from_millis(3));
        measured.depth("main", "frames", 2);
        measured.depth("gone", "frames", 2);
        measured.forget("gone");
        let mut page = Page(String::new());
        stages(&mut page, &measured.snapshot());
        let series = "synoptic_inference_seconds_bucket{detector=\"people\",model=\"yolox-nano\",le=";
        for (edge, count) in [("0.001", 2), ("0.02", 2), ("0.05", 3), ("5", 3), ("+Inf", 4)] {
            let line = format!("{series}\"{edge}\"}} {count}\n");
            assert!(page.0.contains(&line), "{line}{}", page.0);
        }
        assert!(
            page.0
                .contains("synoptic_stage_seconds_count{stage=\"align\"} 1\n")
        );
        assert!(
            page.0
                .contains("synoptic_queue_depth{group=\"main\",queue=\"frames\"} 2\n")
        );
        assert!(!page.0.contains("gone"));
    }
}
