//! `/metrics` in the Prometheus text format, version 0.0.4. Base units, one prefix.

use std::fmt::Write;
use std::sync::PoisonError;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::tally::{SPREAD_EDGES_S, Tally};
use super::{WebState, engine_metrics, live_metrics, output_metrics, stitch_metrics, workings};
use crate::documents::{CameraState, StatusDoc, SyncState, TrafficDoc};
use crate::stages::Measured;

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "status", security(("session" = []), ("metrics_token" = [])),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn get(State(state): State<WebState>) -> impl IntoResponse {
    let status = state.hub.status.borrow().clone();
    let tally = state
        .shared
        .tally
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let mut page = render(status.as_deref(), &tally, &state.hub.stages.snapshot());
    page.push_str(&live_metrics::render(&state.hub.relay.streams()));
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    (headers, page)
}

/// Samples under a family's name.
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.0,
            "# HELP synoptic_{name} {help}\n# TYPE synoptic_{name} {kind}"
        );
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "synoptic_{name}");
        for (n, (label, text)) in labels.iter().enumerate() {
            let open = if n == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escape(text));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

/// What the format wants escaped in a label's value.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

pub(super) fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn render(status: Option<&StatusDoc>, tally: &Tally, measured: &Measured) -> String {
    let mut page = Page(String::new());
    page.family("build_info", "gauge", "Version of the daemon.");
    page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    if let Some(status) = status {
        device(&mut page, status);
        cameras(&mut page, status);
        streams(&mut page, status);
        groups(&mut page, status);
        stitch_metrics::panoramas(&mut page, &status.panoramas);
        engine_metrics::detectors(&mut page, &status.detectors);
        engine_metrics::attention(&mut page, &status.cameras);
        engine_metrics::gpus(&mut page, &status.gpus);
        output_metrics::outputs(&mut page, &status.outputs);
        workings::storage(&mut page, &status.storage);
    }
    workings::stages(&mut page, measured);
    counted(&mut page, tally);
    page.0
}

fn device(page: &mut Page, status: &StatusDoc) {
    page.family("uptime_seconds", "gauge", "Time since the daemon started.");
    page.sample("uptime_seconds", &[], status.uptime_s);
    page.family("clock_synchronised", "gauge", "1 when UTC is known.");
    page.sample("clock_synchronised", &[], flag(status.clock.synchronised));
    if let Some(error) = status.clock.error_ms {
        page.family("clock_uncertainty_seconds", "gauge", "Bound of the box's UTC.");
        page.sample("clock_uncertainty_seconds", &[], error / 1e3);
    }
    page.family("mqtt_connected", "gauge", "1 when the broker is connected.");
    page.sample("mqtt_connected", &[], flag(status.mqtt.state == "connected"));
    page.family("outbox_messages", "gauge", "Messages that wait for the broker.");
    page.sample("outbox_messages", &[], status.mqtt.outbox as f64);
}

fn cameras(page: &mut Page, status: &StatusDoc) {
    page.family("camera_up", "gauge", "1 when frames come.");
    for camera in &status.cameras {
        let up = camera.status.state == CameraState::Online;
        page.sample("camera_up", &[("camera", &camera.id)], flag(up));
    }
    let streams = || {
        status
            .cameras
            .iter()
            .filter_map(|c| Some((c, c.stream.as_ref()?)))
    };
    page.family(
        "camera_frames_per_second",
        "gauge",
        "Frames a second as they come.",
    );
    for (camera, stream) in streams() {
        let labels = [("camera", camera.id.as_str())];
        page.sample("camera_frames_per_second", &labels, stream.fps_delivered);
    }
    page.family(
        "camera_epoch",
        "gauge",
        "Runs of the stream so far: goes up with every reconnect.",
    );
    for (camera, stream) in streams() {
        page.sample("camera_epoch", &[("camera", &camera.id)], f64::from(stream.epoch));
    }
    page.family(
        "camera_frames_dropped_total",
        "counter",
        "Frames dropped, by reason.",
    );
    for camera in &status.cameras {
        for (reason, count) in &camera.drops {
            let labels = [("camera", camera.id.as_str()), ("reason", reason)];
            page.sample("camera_frames_dropped_total", &labels, *count as f64);
        }
    }
    page.family(
        "camera_clock_offset_seconds",
        "gauge",
        "The camera's own clock minus the box's.",
    );
    for camera in &status.cameras {
        if let Some(offset) = camera.time.offset_ms {
            page.sample(
                "camera_clock_offset_seconds",
                &[("camera", &camera.id)],
                offset / 1e3,
            );
        }
    }
    page.family(
        "camera_clock_uncertainty_seconds",
        "gauge",
        "Bound of the camera's capture times.",
    );
    for camera in &status.cameras {
        if let (Some(bound), source) = (camera.time.uncertainty_ms, &camera.time.source) {
            let labels = [
                ("camera", camera.id.as_str()),
                ("source", source.as_deref().unwrap_or("")),
            ];
            page.sample("camera_clock_uncertainty_seconds", &labels, bound / 1e3);
        }
    }
}

/// One sample of a family: labels beside camera and stream, and the value.
type Sample = (Option<(&'static str, &'static str)>, f64);

/// What came from every stream of every camera, main or sub.
fn streams(page: &mut Page, status: &StatusDoc) {
    let all = || {
        status.cameras.iter().flat_map(|camera| {
            let sub = camera.sub.as_ref().map(|s| ("sub", &s.traffic));
            let each = std::iter::once(("main", &camera.traffic)).chain(sub);
            each.map(|(stream, traffic)| (camera.id.as_str(), stream, traffic))
        })
    };
    let mut family = |name: &str, kind: &str, help: &str, of: &dyn Fn(&TrafficDoc) -> Vec<Sample>| {
        page.family(name, kind, help);
        for (camera, stream, traffic) in all() {
            for (label, value) in of(traffic) {
                let mut labels = vec![("camera", camera), ("stream", stream)];
                labels.extend(label);
                page.sample(name, &labels, value);
            }
        }
    };
    let one = |value: u64| vec![(None, value as f64)];
    family(
        "camera_frames_total",
        "counter",
        "Frames that came, by whether they could be decoded.",
        &|t| {
            vec![
                (Some(("status", "decoded")), t.frames_decoded as f64),
                (Some(("status", "unreadable")), t.frames_unreadable as f64),
            ]
        },
    );
    family(
        "camera_reconnects_total",
        "counter",
        "Connections that gave a picture, after the first.",
        &|t| one(t.connections.saturating_sub(1)),
    );
    family(
        "camera_rtp_packets_received_total",
        "counter",
        "RTP packets that came.",
        &|t| one(t.rtp_packets),
    );
    family(
        "camera_rtp_received_bytes_total",
        "counter",
        "Bytes of the RTP packets that came.",
        &|t| one(t.rtp_bytes),
    );
    family(
        "camera_rtp_packets_lost_total",
        "counter",
        "RTP packets that did not come in time.",
        &|t| one(t.rtp_lost),
    );
    family(
        "camera_rtp_packets_late_total",
        "counter",
        "RTP packets that came too late to be used.",
        &|t| one(t.rtp_late),
    );
    family(
        "camera_rtp_jitter_seconds",
        "gauge",
        "Mean deviation of the RTP packets' spacing.",
        &|t| t.rtp_jitter_ms.map(|ms| (None, ms / 1e3)).into_iter().collect(),
    );
    page.family(
        "camera_looked_total",
        "counter",
        "Frames of cameras with a sub stream, by what the detector looked at for them.",
    );
    for camera in &status.cameras {
        let Some(sub) = &camera.sub else { continue };
        for (at, count) in [
            ("sub", sub.looked_sub),
            ("main", sub.looked_main),
            ("nothing", sub.looked_nothing),
        ] {
            let labels = [("camera", camera.id.as_str()), ("at", at)];
            page.sample("camera_looked_total", &labels, count as f64);
        }
    }
}

fn groups(page: &mut Page, status: &StatusDoc) {
    page.family(
        "sync_locked",
        "gauge",
        "1 when packets are complete and within tolerance.",
    );
    for group in &status.groups {
        let locked = group.state == SyncState::Locked;
        page.sample("sync_locked", &[("group", &group.group)], flag(locked));
    }
    page.family(
        "sync_tolerance_seconds",
        "gauge",
        "Largest distance of a frame from its packet's instant.",
    );
    for group in &status.groups {
        let labels = [("group", group.group.as_str())];
        page.sample("sync_tolerance_seconds", &labels, group.tolerance_ms / 1e3);
    }
}

fn counted(page: &mut Page, tally: &Tally) {
    page.family(
        "sync_spread_seconds",
        "histogram",
        "Newest minus oldest capture time in complete packets.",
    );
    for (group, count) in &tally.groups {
        let mut below = 0;
        for (edge, bucket) in SPREAD_EDGES_S.iter().zip(count.buckets) {
            below += bucket;
            let labels = [("group", group.as_str()), ("le", &edge.to_string())];
            page.sample("sync_spread_seconds_bucket", &labels, below as f64);
        }
        let labels = [("group", group.as_str()), ("le", "+Inf")];
        page.sample("sync_spread_seconds_bucket", &labels, count.complete as f64);
        page.sample("sync_spread_seconds_sum", &[("group", group)], count.sum_s);
        page.sample(
            "sync_spread_seconds_count",
            &[("group", group)],
            count.complete as f64,
        );
    }
    page.family(
        "sync_sets_total",
        "counter",
        "Packets, by whether every camera is in them.",
    );
    for (group, count) in &tally.groups {
        for (result, value) in [("complete", count.complete), ("partial", count.partial)] {
            page.sample(
                "sync_sets_total",
                &[("group", group), ("result", result)],
                value as f64,
            );
        }
    }
    page.family(
        "sync_slots_total",
        "counter",
        "What packets held of each camera, by the slot's status.",
    );
    for (group, count) in &tally.groups {
        for ((camera, status), value) in &count.slots {
            let labels = [("group", group.as_str()), ("camera", camera), ("status", status)];
            page.sample("sync_slots_total", &labels, *value as f64);
        }
    }
    page.family("events_total", "counter", "Events, by camera and class.");
    for ((camera, label), count) in &tally.events {
        page.sample(
            "events_total",
            &[("camera", camera), ("type", label)],
            *count as f64,
        );
    }
    page.family(
        "metrics_missed_total",
        "counter",
        "Packets and events these counters missed.",
    );
    page.sample("metrics_missed_total", &[], tally.missed as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page(String::new());
        page.sample("x", &[("a", "q\"\\\n"), ("b", "猫")], 0.5);
        assert_eq!(page.0, "synoptic_x{a=\"q\\\"\\\\\\n\",b=\"猫\"} 0.5\n");
    }
}
