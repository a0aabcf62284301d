//! What a right file means.

use std::path::{Path, PathBuf};

use synoptic_base::{Rotation, Size, Span, StreamId};
use synoptic_gpu::trt::Precision;
use synoptic_media::{RtspTransport, Secret, Source, V4l2Format};
use synoptic_vision::onnx::EngineChoice;

use super::super::problem::Severity;
use super::super::{DetectorKind, MqttTls, TensorRtWish};
use super::{good, machine, parse_on};

fn id(text: &str) -> StreamId {
    StreamId::new(text).unwrap()
}

#[test]
fn the_smallest_file_is_a_fresh_box() {
    let config = good("schema_version = 1");
    assert_eq!(config.device.id, id("box-7-local"));
    assert_eq!(config.device.name, "box-7-local");
    assert_eq!(config.device.data_dir, Path::new("/var/lib/synoptic"));
    let models: Vec<PathBuf> = vec![
        "/var/lib/synoptic/models".into(),
        "/usr/share/synoptic/models".into(),
    ];
    assert_eq!(config.device.model_dirs, models);
    assert_eq!((config.cameras.len(), config.groups.len()), (0, 0));
    assert_eq!(config.detectors.len(), 1);
    assert_eq!(
        (config.detectors[0].name.as_str(), &config.detectors[0].kind),
        ("motion", &DetectorKind::Motion)
    );
    assert_eq!(config.mqtt, None);
    assert_eq!(config.web.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.web.tls, None);
    assert_eq!(config.store.keep_events, Span::from_secs(30 * 86_400));
    assert_eq!(config.store.keep_detections, Span::from_secs(12 * 3_600));
    assert_eq!(
        (config.store.max_bytes, config.store.min_free_bytes),
        (20_000_000_000, 1_000_000_000)
    );
}

#[test]
fn an_rtsp_camera_with_everything() {
    let machine = machine().with_file("/etc/synoptic/front.password", "pass word\n", 0o600);
    let text = r#"
        schema_version = 1
        [[camera]]
        id = "front"
        name = "Front door"
        source = "rtsps://cam:322/1"
        sub_source = "rtsps://cam:322/2"
        user = "me"
        password = { file = "front.password" }
        transport = "udp"
        tls_ca = "front.crt"
        rotate = 270
        detector = "none"
        stall_after = "3s"
        capture_bias_ms = -1.5
        capture_bias_error_ms = 2
    "#;
    let loaded = parse_on(text, &machine).unwrap();
    let [camera] = &loaded.config.cameras[..] else {
        panic!()
    };
    assert_eq!(
        (camera.name.as_str(), camera.enabled, &camera.detector),
        ("Front door", true, &None)
    );
    let options = &camera.options;
    assert_eq!(
        (options.id, options.rotation),
        (id("front"), Rotation::ThreeQuarter)
    );
    assert_eq!(options.stall_after, Span::from_secs(3));
    assert_eq!(options.capture_bias, Span::from_micros(-1500));
    assert_eq!(options.capture_bias_error, Span::from_millis(2));
    assert_eq!(
        options.source,
        Source::Rtsp {
            url: "rtsps://cam:322/1".to_owned(),
            sub_url: Some("rtsps://cam:322/2".to_owned()),
            transport: RtspTransport::Udp,
            user: Some("me".to_owned()),
            password: Some(Secret::new("pass word".to_owned())),
            tls_insecure: false,
            tls_ca: Some("/etc/synoptic/front.crt".into()),
        }
    );
    // RTP over UDP beside rtsps is worth a word.
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].path, "camera[0].transport");
    assert!(!format!("{loaded:?}").contains("pass word"));
}

#[test]
fn each_kind_of_source_has_its_defaults() {
    let config = good(
        r#"
        schema_version = 1
        camera = [
            { id = "r", source = "rtsp://cam/1" },
            { id = "f", source = "clip.mp4", repeat = false },
            { id = "v", source = "/dev/video2", format = "yuyv", size = "640x480", fps = 25 },
        ]
        "#,
    );
    let bias: Vec<_> = config
        .cameras
        .iter()
        .map(|c| c.options.capture_bias_error)
        .collect();
    assert_eq!(bias, [Span::from_millis(40), Span::ZERO, Span::from_millis(33)]);
    assert!(
        config
            .cameras
            .iter()
            .all(|c| c.options.capture_bias == Span::ZERO)
    );
    assert!(
        config
            .cameras
            .iter()
            .all(|c| c.options.stall_after == Span::from_secs(4))
    );
    assert!(
        config
            .cameras
            .iter()
            .all(|c| c.detector.as_deref() == Some("motion"))
    );
    let path = PathBuf::from("/etc/synoptic/clip.mp4");
    assert_eq!(
        config.cameras[1].options.source,
        Source::File { path, repeat: false }
    );
    assert_eq!(
        config.cameras[2].options.source,
        Source::V4l2 {
            device: "/dev/video2".into(),
            format: Some(V4l2Format::Yuyv),
            size: Some(Size::new(640, 480)),
            fps: Some(25),
        }
    );
}

#[test]
fn without_groups_all_enabled_cameras_form_main() {
    let config = good(
        r#"
        schema_version = 1
        camera = [
            { id = "b", source = "b.mp4" },
            { id = "off", source = "c.mp4", enabled = false },
            { id = "a", source = "a.mp4" },
        ]
        "#,
    );
    let [group] = &config.groups[..] else { panic!() };
    assert_eq!(
        (group.id, &group.cameras[..]),
        (id("main"), &[id("b"), id("a")][..])
    );
    assert_eq!((group.tolerance, group.max_wait), (None, Span::from_millis(250)));
    assert_eq!(config.cameras.len(), 3);
}

#[test]
fn groups_have_slots_for_enabled_cameras_only() {
    let text = r#"
        schema_version = 1
        camera = [
            { id = "a", source = "a.mp4" },
            { id = "b", source = "b.mp4" },
            { id = "off", source = "c.mp4", enabled = false },
            { id = "lone", source = "d.mp4" },
        ]
        [[group]]
        id = "g"
        cameras = ["b", "off", "a"]
        tolerance = "20ms"
        max_wait = "1s"
        max_initial_stream_offset = "5s"
        max_read_errors = 0
        frame_packet_buffer_maxsize = -1
        [[group]]
        id = "dark"
        cameras = []
    "#;
    let text = text.replace("cameras = []", "cameras = [\"lone\"]");
    let text = text.replace("source = \"d.mp4\"", "source = \"d.mp4\", enabled = false");
    let config = good(&text);
    let [group] = &config.groups[..] else { panic!() };
    assert_eq!(&group.cameras[..], [id("b"), id("a")]);
    assert_eq!(
        (group.tolerance, group.max_wait),
        (Some(Span::from_millis(20)), Span::from_secs(1))
    );
    let align = group.align();
    assert_eq!(align.max_initial_stream_offset, Span::from_secs(5));
    assert_eq!(
        (align.max_read_errors, align.frame_packet_buffer_maxsize),
        (None, None)
    );
}

#[test]
fn a_camera_in_no_group_is_a_warning() {
    let text = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n\
        [[camera]]\nid = \"b\"\nsource = \"b.mp4\"\n[[group]]\nid = \"g\"\ncameras = [\"a\"]\n";
    let loaded = parse_on(text, &machine()).unwrap();
    let [warning] = &loaded.warnings[..] else {
        panic!("{:?}", loaded.warnings)
    };
    assert_eq!(
        (warning.severity, warning.path.as_str(), warning.line),
        (Severity::Warning, "camera[1]", 5)
    );
}

#[test]
fn a_broker_with_everything() {
    let machine = machine().with_var("MQTT_PW", "x y");
    let text = r#"
        schema_version = 1
        [mqtt]
        url = "mqtts://[::1]"
        root = "a"
        tenant = "b"
        user = "u"
        password = { env = "MQTT_PW" }
        ca = "ca.pem"
        client_cert = "c.pem"
        client_key = "/k.pem"
        home_assistant = "ha/x"
    "#;
    let mqtt = parse_on(text, &machine).unwrap().config.mqtt.unwrap();
    assert_eq!((mqtt.host.as_str(), mqtt.port), ("::1", 8883));
    assert_eq!((mqtt.root.as_str(), mqtt.tenant.as_str()), ("a", "b"));
    assert_eq!(
        (mqtt.user.as_deref(), mqtt.password.as_ref().map(Secret::expose)),
        (Some("u"), Some("x y"))
    );
    assert_eq!(mqtt.home_assistant.as_deref(), Some("ha/x"));
    let client = Some(("/etc/synoptic/c.pem".into(), "/k.pem".into()));
    assert_eq!(
        mqtt.tls,
        Some(MqttTls {
            ca: Some("/etc/synoptic/ca.pem".into()),
            client
        })
    );
    let plain = good("schema_version = 1\n[mqtt]\nurl = \"mqtt://broker\"")
        .mqtt
        .unwrap();
    assert_eq!(
        (plain.port, plain.tls, plain.root.as_str(), plain.tenant.as_str()),
        (1883, None, "synoptic", "default")
    );
    assert_eq!((plain.home_assistant, plain.commands), (None, None));
}

#[test]
fn commands_are_taken_only_where_that_is_written() {
    let commands = |more: &str| {
        let text = format!("schema_version = 1\n[mqtt]\nurl = \"mqtt://broker\"\n[mqtt.commands]\n{more}");
        good(&text).mqtt.unwrap().commands
    };
    assert_eq!(commands(""), None);
    assert_eq!(commands("allow = [\"restart\"]"), None, "off is the default");
    assert_eq!(commands("enabled = false\nallow = [\"restart\"]"), None);
    let some = commands("enabled = true\nallow = [\"restart\", \"run-probe\"]").unwrap();
    assert!(some.iter().eq(["restart", "run-probe"]));
    assert_eq!(commands("enabled = true\nallow = []").unwrap().len(), 0);
}

#[test]
fn a_systemd_credential_and_a_file_that_everyone_can_read() {
    let machine = machine()
        .with_var("CREDENTIALS_DIRECTORY", "/run/credentials/synoptic")
        .with_file("/run/credentials/synoptic/broker", "one\r\n", 0o400)
        .with_file("/p", "two", 0o644);
    let text = |reference: &str| {
        format!(
            "schema_version = 1\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\nuser = \"u\"\npassword = {reference}\n"
        )
    };
    let loaded = parse_on(&text("{ credential = \"broker\" }"), &machine).unwrap();
    assert_eq!(loaded.config.mqtt.unwrap().password.unwrap().expose(), "one");
    assert_eq!(loaded.warnings, []);
    let loaded = parse_on(&text("{ file = \"/p\" }"), &machine).unwrap();
    assert_eq!(loaded.config.mqtt.unwrap().password.unwrap().expose(), "two");
    let [warning] = &loaded.warnings[..] else { panic!() };
    assert_eq!(warning.path, "mqtt.password.file");
    assert_eq!(warning.hint.as_deref(), Some("chmod 600 /p"));
}

#[test]
fn detectors_by_name() {
    let config = good(
        r#"
        schema_version = 1
        [[detector]]
        name = "people"
        kind = "onnx"
        model = "yolox-nano"
        threshold = 0.25
        labels = ["person"]
        threads = 3
        engine = "onnxruntime"
        library = "/opt/libonnxruntime.so"
        [[detector]]
        name = "motion"
        kind = "motion"
        threshold = 0.5
        every = 2
        [[detector]]
        name = "fast"
        kind = "onnx"
        model = "yolox-nano"
        engine = "tensorrt"
        precision = "fp16"
        device = 1
        fallback = "off"
        every = 3
        gate = "motion"
        [[camera]]
        id = "a"
        source = "a.mp4"
        detector = "people"
        detect_max_fps = 2.5
        detect_region = [0, 0.5, 1, 0.5]
        "#,
    );
    assert_eq!(config.detectors.len(), 3);
    let fast = &config.detectors[2];
    assert_eq!((fast.every, fast.gated, config.detectors[1].every), (3, true, 2));
    let DetectorKind::Onnx { tensorrt, .. } = &fast.kind else {
        panic!("{fast:?}");
    };
    let wish = TensorRtWish {
        must: true,
        precision: Precision::Half,
        device: 1,
        on_cpu_meanwhile: false,
    };
    assert_eq!(*tensorrt, Some(wish));
    let attention = config.cameras[0].attention;
    assert_eq!(attention.max_fps, Some(2.5));
    assert_eq!(attention.region.map(|r| (r.y, r.h)), Some((0.5, 0.5)));
    let people = &config.detectors[0];
    assert_eq!(
        (people.threshold, &people.labels[..]),
        (Some(0.25), &["person".to_owned()][..])
    );
    let kind = DetectorKind::Onnx {
        model: "yolox-nano".to_owned(),
        threads: Some(3),
        engine: EngineChoice::OnnxRuntime,
        tensorrt: None,
        library: Some("/opt/libonnxruntime.so".into()),
    };
    assert_eq!(people.kind, kind);
    assert_eq!(config.detectors[1].threshold, Some(0.5));
    assert_eq!(config.cameras[0].detector.as_deref(), Some("people"));
}

#[test]
fn a_password_in_clear_over_the_network_is_a_warning() {
    let machine = machine().with_file("/p", "x", 0o600);
    let text =
        "schema_version = 1\n[mqtt]\nurl = \"mqtt://broker\"\nuser = \"u\"\npassword = { file = \"/p\" }\n";
    let loaded = parse_on(text, &machine).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].path, "mqtt.url");
}
