//! The committed JSON Schemas are those of the types. `UPDATE=1` writes them anew.

use std::path::PathBuf;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;

use crate::documents::{
    CameraStatus, CameraTime, CommandDoc, CommandRequest, DetectorDoc, DeviceInfo, DeviceStatus,
    EventMessage, GpuDoc, StitchStatus, SyncStatus, SystemEventDoc,
};
use crate::mqtt::telemetry::Telemetry;
use crate::mqtt::{event_message, samples, system_message};
use crate::outputs::OutputDoc;
use crate::recorder::system_doc;
use synoptic_base::{Mono, SystemChange};

fn schema<T: JsonSchema>() -> Schema {
    // "For serialising": every field is required, as documents always have all of them.
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
}

/// File name without `.json`, and schema, of every payload.
fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("device-status", schema::<DeviceStatus>()),
        ("device-info", schema::<DeviceInfo>()),
        ("camera-status", schema::<CameraStatus>()),
        ("camera-time", schema::<CameraTime>()),
        ("sync-status", schema::<SyncStatus>()),
        ("stitch-status", schema::<StitchStatus>()),
        ("detector-status", schema::<DetectorDoc>()),
        ("gpu-status", schema::<GpuDoc>()),
        ("output-status", schema::<OutputDoc>()),
        ("event", schema::<EventMessage>()),
        ("system-event", schema::<SystemEventDoc>()),
        ("command-state", schema::<CommandDoc>()),
        // Written by others: what has a default may be left out.
        ("command-request", schema_for!(CommandRequest)),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/schemas"
    ))
}

/// Checks a payload against the committed schema of its topic. Panics with what is wrong.
pub(crate) fn validate(topic: &str, payload: &[u8]) {
    let levels: Vec<_> = topic.split('/').collect();
    let name = match levels[4..] {
        ["status"] => "device-status",
        ["info"] => "device-info",
        ["cam", _, "status"] => "camera-status",
        ["cam", _, "time"] => "camera-time",
        ["sync", _, "status"] => "sync-status",
        ["stitch", _, "status"] => "stitch-status",
        ["detector", _, _, "status"] => "detector-status",
        ["gpu", _, "status"] => "gpu-status",
        ["output", _, "status"] => "output-status",
        ["cmd", _, _] => "command-request",
        ["cmd", _, _, "state"] => "command-state",
        ["event", "track"] => "event",
        ["event", kind] if SystemChange::NAMES.contains(&kind) => "system-event",
        _ => panic!("{topic} has no schema"),
    };
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let payload: Value = serde_json::from_slice(payload).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&payload).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{topic}: {errors:?} in {payload}");
}

#[test]
fn committed_schemas_are_current() {
    let update = std::env::var_os("UPDATE").is_some();
    for (name, schema) in schemas() {
        let path = folder().join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            committed, text,
            "{name}.json is not current: run this test with UPDATE=1"
        );
    }
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    // The schemas of the configuration and of commands' arguments lie beside those of the payloads.
    files.retain(|name| name != "config.json" && name != "command-args.json");
    files.sort();
    let mut wanted: Vec<_> = schemas().iter().map(|(name, _)| format!("{name}.json")).collect();
    wanted.sort();
    assert_eq!(files, wanted, "a schema without a payload");
}

#[test]
fn committed_schemas_of_arguments_are_current() {
    let schemas: serde_json::Map<String, Value> = crate::command::schemas()
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema.to_value()))
        .collect();
    assert!(
        schemas.keys().eq(crate::command::NAMES.iter()),
        "each command has its arguments"
    );
    let text = serde_json::to_string_pretty(&schemas).unwrap() + "\n";
    let path = folder().join("command-args.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        committed, text,
        "command-args.json is not current: run this test with UPDATE=1"
    );
}

#[test]
fn the_commands_in_the_reference_and_the_guide_are_valid() {
    let texts = [
        include_str!("../../../../docs/reference/mqtt.md"),
        include_str!("../../../../docs/guide/fleet.md"),
    ];
    let schemas = crate::command::schemas();
    let mut seen = std::collections::BTreeSet::new();
    for (name, args) in texts.iter().flat_map(|t| examples_of_arguments(t)) {
        let schema = schemas.iter().find(|(known, _)| *known == name);
        let schema = &schema.unwrap_or_else(|| panic!("there is no command {name}")).1;
        let validator = jsonschema::draft202012::new(schema.as_value()).unwrap();
        let args: Value = serde_json::from_str(&args).unwrap_or_else(|e| panic!("{name} {args}: {e}"));
        let errors: Vec<_> = validator.iter_errors(&args).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name} {args}: {errors:?}");
        seen.insert(name);
    }
    assert!(
        seen.iter().eq(crate::command::NAMES.iter()),
        "an example of each: {seen:?}"
    );
}

/// Rows of the table of commands: | `name` | `arguments` | ….
fn examples_of_arguments(text: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | `{")?;
        let (args, _) = rest.split_once("}` |")?;
        Some((name.to_owned(), format!("{{{args}}}")))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_payload_is_valid() {
    let mut status = samples::status(&["front", "yard"]);
    let (detector, gpu) = samples::engines();
    status.detectors.push(detector);
    status.gpus.push(gpu);
    status.outputs.push(samples::output());
    let mut telemetry = Telemetry::new(samples::topics(), None, &status.device, &status.status);
    telemetry.update(&status);
    // What is not known is null, and that is valid, too.
    let full: Vec<_> = std::iter::from_fn(|| telemetry.next(Mono::from_nanos(0))).collect();
    let time = &mut status.cameras[0].time;
    (
        time.source,
        time.offset_ms,
        time.uncertainty_ms,
        time.drift_ppm,
        time.sr_age_s,
        time.doctor,
    ) = Default::default();
    status.groups[0].spread_ms = None;
    status.groups[0].complete_ratio = None;
    let stitch = &mut status.panoramas[0].status;
    (stitch.width, stitch.height, stitch.latency_ms) = Default::default();
    (stitch.compose_ms, stitch.calibration) = Default::default();
    let seam = &mut stitch.seams[0];
    (
        seam.psnr_db,
        seam.ssim,
        seam.gradient_correlation,
        seam.residual_px,
    ) = Default::default();
    (seam.ghost_edge_fraction, seam.delta_e00, seam.jitter_px) = Default::default();
    (seam.skew_ms, seam.skew_error_ms) = Default::default();
    status.detectors[0].engine.running = None;
    let gpu = &mut status.gpus[0];
    (gpu.temperature_c, gpu.power_w, gpu.load) = Default::default();
    (gpu.clock_mhz, gpu.clock_max_mhz) = Default::default();
    telemetry.update(&status);
    telemetry.reconnected();
    let empty = std::iter::from_fn(|| telemetry.next(Mono::from_nanos(0)));
    let all: Vec<_> = full.into_iter().chain(empty).collect();
    assert_eq!(all.len(), 22);
    for due in all {
        validate(&due.topic, &due.payload);
    }
    for (seq, change) in samples::changes().iter().enumerate() {
        let message = event_message(&samples::topics(), change, &samples::context(seq as u32)).unwrap();
        validate(&message.topic, &message.payload);
    }
    for event in samples::system_events() {
        let doc = system_doc(&event, samples::boot());
        let message = system_message(&samples::topics(), &doc, event.change.name());
        validate(&message.topic, &message.payload);
        let back: SystemEventDoc = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(back, doc);
        let kind = serde_json::to_value(doc.kind).unwrap();
        assert_eq!(kind, event.change.name(), "the type is the topic's last level");
    }
}

#[test]
fn a_schema_refuses_what_lacks_a_field() {
    let lacking = std::panic::catch_unwind(|| validate("r/v1/t/d/status", br#"{"state":"online"}"#));
    assert!(lacking.is_err());
}

#[test]
fn the_examples_in_the_reference_are_valid() {
    let text = include_str!("../../../../docs/reference/mqtt.md");
    let mut checked = Vec::new();
    for section in text.split("\n### `").skip(1) {
        let (topic, rest) = section.split_once('`').unwrap();
        let (_, rest) = rest.split_once("```json\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        validate(
            &topic.replace("…", "synoptic/v1/default/box-1"),
            example.as_bytes(),
        );
        checked.push(topic);
    }
    assert_eq!(checked.len(), schemas().len(), "{checked:?}");
}
