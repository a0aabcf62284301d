//! Every kind of error: at the right key, line and column, with a hint.

use std::path::Path;

use super::super::problem::Severity;
use super::super::{Problem, load};
use super::{machine, parse_on};

fn problems(text: &str) -> Vec<Problem> {
    match parse_on(text, &machine()) {
        Ok(_) => panic!("taken for right: {text}"),
        Err(errors) => errors.problems,
    }
}

/// The only error of `text`, which must be at the key `path`.
fn only(text: &str, path: &str) -> Problem {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
    let problem = problems.remove(0);
    assert_eq!(problem.severity, Severity::Error);
    assert_eq!(problem.path, path, "{problem:?}");
    problem
}

const CAMERA: &str = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"rtsp://cam/1\"\n";
const FILE: &str = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n";
const MQTT: &str = "schema_version = 1\n[mqtt]\nurl = \"mqtt://broker\"\n";
const TLS: &str = "schema_version = 1\n[mqtt]\nurl = \"mqtts://broker\"\n";
const WEB: &str = "schema_version = 1\n[web]\n";
const DEVICE: &str = "schema_version = 1\n[device]\n";
const STORE: &str = "schema_version = 1\n[store]\n";
const DETECTOR: &str = "schema_version = 1\n[[detector]]\nname = \"d\"\n";

#[test]
fn each_error_says_where_what_and_how() {
    // Text before, wrong line, key path, part of the message, part of the hint.
    for (before, line, path, message, hint) in [
        // Keys and types.
        (
            CAMERA,
            "soruce = 1",
            "camera[0].soruce",
            "unknown key `soruce`",
            "did you mean `source`",
        ),
        (
            CAMERA,
            "colour = 1",
            "camera[0].colour",
            "unknown key",
            "known here: capture_bias_error_ms",
        ),
        (
            "schema_version = 1\n",
            "listen = []",
            "listen",
            "unknown key",
            "belongs under [web]",
        ),
        (
            "schema_version = 1\n",
            "cameras = []",
            "cameras",
            "unknown key",
            "did you mean `camera`",
        ),
        (
            WEB,
            "source = \"x\"",
            "web.source",
            "unknown key",
            "belongs under [[camera]]",
        ),
        (
            CAMERA,
            "name = 5",
            "camera[0].name",
            "should be a text, but is a whole number",
            "quotes",
        ),
        (CAMERA, "name = \" \"", "camera[0].name", "is empty", "remove"),
        (
            CAMERA,
            "enabled = \"yes\"",
            "camera[0].enabled",
            "should be true or false",
            "enabled = true",
        ),
        (
            CAMERA,
            "rotate = \"90\"",
            "camera[0].rotate",
            "should be a whole number",
            "",
        ),
        (
            CAMERA,
            "rotate = 45",
            "camera[0].rotate",
            "45 degrees",
            "0, 90, 180 or 270",
        ),
        (
            CAMERA,
            "stall_after = 4",
            "camera[0].stall_after",
            "should be a length of time",
            "\"250ms\"",
        ),
        (
            CAMERA,
            "stall_after = \"4\"",
            "camera[0].stall_after",
            "no length of time",
            "\"250ms\"",
        ),
        (
            CAMERA,
            "stall_after = \"1h\"",
            "camera[0].stall_after",
            "out of range",
            "500ms to 10min",
        ),
        (
            CAMERA,
            "capture_bias_ms = 1e9",
            "camera[0].capture_bias_ms",
            "out of range",
            "10000",
        ),
        (
            CAMERA,
            "capture_bias_ms = nan",
            "camera[0].capture_bias_ms",
            "out of range",
            "",
        ),
        (
            CAMERA,
            "capture_bias_error_ms = -1",
            "camera[0].capture_bias_error_ms",
            "out of range",
            "from 0",
        ),
        (
            CAMERA,
            "transport = \"quic\"",
            "camera[0].transport",
            "`quic` is not known",
            "tcp or udp",
        ),
        (
            "schema_version = 1\n",
            "camera = 1",
            "camera",
            "should be a list of tables",
            "[[camera]]",
        ),
        (
            "schema_version = 1\n",
            "camera = [1]",
            "camera[0]",
            "should be a table",
            "[[camera]]",
        ),
        (
            "schema_version = 1\n",
            "web = 1",
            "web",
            "should be a table",
            "[web]",
        ),
        (
            "schema_version = 1\n",
            "[[web]]",
            "web",
            "should be one table",
            "[web] once",
        ),
        (
            "schema_version = 1\n",
            "[camera]",
            "camera",
            "should be a list of tables",
            "[[camera]]",
        ),
        // Sources.
        (
            CAMERA,
            "sub_source = \"clip.mp4\"",
            "camera[0].sub_source",
            "no RTSP address",
            "rtsp://",
        ),
        (
            CAMERA,
            "repeat = true",
            "camera[0].repeat",
            "is for files",
            "remove",
        ),
        (CAMERA, "fps = 5", "camera[0].fps", "is for /dev/videoN", "remove"),
        (
            CAMERA,
            "tls_insecure = true",
            "camera[0].tls_insecure",
            "is for rtsps://",
            "remove",
        ),
        (FILE, "user = \"u\"", "camera[0].user", "is for RTSP", "remove"),
        (
            FILE,
            "size = \"640x480\"",
            "camera[0].size",
            "is for /dev/videoN",
            "remove",
        ),
        (
            CAMERA,
            "detector = \"peopel\"",
            "camera[0].detector",
            "no detector `peopel`",
            "one of: motion, none",
        ),
        (
            CAMERA,
            "detector = \"Motion\"",
            "camera[0].detector",
            "no detector `Motion`",
            "did you mean `motion`",
        ),
        // Passwords.
        (
            CAMERA,
            "user = \"u\"\npassword = \"hunter2\"",
            "camera[0].password",
            "never written",
            "{ file = ",
        ),
        (
            CAMERA,
            "user = \"u\"\npassword = 5",
            "camera[0].password",
            "should be a reference",
            "{ file = ",
        ),
        (
            CAMERA,
            "user = \"u\"\npassword = {}",
            "camera[0].password",
            "exactly one of",
            "{ file = ",
        ),
        (
            CAMERA,
            "user = \"u\"\npassword = { file = \"a\", env = \"B\" }",
            "camera[0].password",
            "exactly one",
            "",
        ),
        (
            CAMERA,
            "user = \"u\"\npassword = { file = \"gone\" }",
            "camera[0].password.file",
            "/etc/synoptic/gone",
            "create",
        ),
        (
            CAMERA,
            "user = \"u\"\npassword = { env = \"GONE\" }",
            "camera[0].password.env",
            "`GONE` is not set",
            "unit",
        ),
        (
            CAMERA,
            "user = \"u\"\npassword = { credential = \"c\" }",
            "camera[0].password.credential",
            "systemd",
            "LoadCredential",
        ),
        (
            CAMERA,
            "user = \"u\"\npassword = { credential = \"../c\" }",
            "camera[0].password.credential",
            "not a path",
            "LoadCredential",
        ),
        // The broker.
        (
            MQTT,
            "root = \"a/b\"",
            "mqtt.root",
            "cannot be part of a topic",
            "no /",
        ),
        (
            MQTT,
            "tenant = \"+\"",
            "mqtt.tenant",
            "cannot be part of a topic",
            "",
        ),
        (
            MQTT,
            "tenant = \"\"",
            "mqtt.tenant",
            "cannot be part of a topic",
            "empty",
        ),
        (
            MQTT,
            "home_assistant = \"/x\"",
            "mqtt.home_assistant",
            "cannot be part of a topic",
            "",
        ),
        (MQTT, "ca = \"x\"", "mqtt.ca", "is for TLS", "remove"),
        (
            TLS,
            "client_cert = \"x\"",
            "mqtt.client_key",
            "`client_key` is missing",
            "add client_key",
        ),
        (
            TLS,
            "client_key = \"x\"",
            "mqtt.client_cert",
            "`client_cert` is missing",
            "add client_cert",
        ),
        // The page, the box, the store.
        (
            WEB,
            "listen = \"127.0.0.1:80\"",
            "web.listen",
            "should be a list of texts",
            "listen = [",
        ),
        (WEB, "listen = []", "web.listen", "is empty", "name an address"),
        (
            WEB,
            "listen = [\"localhost:80\"]",
            "web.listen[0]",
            "no address and port",
            "127.0.0.1:8080",
        ),
        (
            WEB,
            "listen = [\"0.0.0.0:1\", \"0.0.0.0:1\"]",
            "web.listen[1]",
            "twice",
            "remove",
        ),
        (
            WEB,
            "listen = [80]",
            "web.listen[0]",
            "should be a text",
            "quotes",
        ),
        (
            WEB,
            "tls_cert = \"x\"",
            "web.tls_key",
            "`tls_key` is missing",
            "add tls_key",
        ),
        (
            DEVICE,
            "id = \"Box One\"",
            "device.id",
            "is no id",
            "id = \"box-one\"",
        ),
        (
            DEVICE,
            "model_dirs = []",
            "device.model_dirs",
            "is empty",
            "name a folder",
        ),
        (
            STORE,
            "keep_events = \"forever\"",
            "store.keep_events",
            "no length of time",
            "30d",
        ),
        (
            STORE,
            "keep_events = \"1s\"",
            "store.keep_events",
            "out of range",
            "1min",
        ),
        (
            STORE,
            "max_size = 20",
            "store.max_size",
            "should be an amount of bytes",
            "20GB",
        ),
        (
            STORE,
            "max_size = \"20\"",
            "store.max_size",
            "no amount of bytes",
            "20GB",
        ),
        (
            STORE,
            "max_size = \"1kB\"",
            "store.max_size",
            "out of range",
            "10MB",
        ),
        // Detectors.
        (
            DETECTOR,
            "kind = \"tensorrt\"",
            "detector[0].kind",
            "not known",
            "motion or onnx",
        ),
        (
            DETECTOR,
            "kind = \"onnx\"",
            "detector[0].model",
            "`model` is missing",
            "models list",
        ),
        (
            DETECTOR,
            "kind = \"onnx\"\nmodel = \"a/b.onnx\"",
            "detector[0].model",
            "no name of a model",
            "models list",
        ),
        (
            DETECTOR,
            "kind = \"motion\"\nmodel = \"m\"",
            "detector[0].model",
            "is for kind",
            "remove",
        ),
        (
            DETECTOR,
            "kind = \"motion\"\nthreshold = 2",
            "detector[0].threshold",
            "out of range",
            "0 to 1",
        ),
        (
            DETECTOR,
            "kind = \"onnx\"\nmodel = \"m\"\nthreads = 0",
            "detector[0].threads",
            "out of range",
            "1 to 256",
        ),
    ] {
        let problem = only(&format!("{before}{line}\n"), path);
        assert!(problem.message.contains(message), "{line}: {}", problem.message);
        let got = problem.hint.as_deref().unwrap_or("");
        assert!(got.contains(hint), "{line}: {got}");
        assert!(!got.is_empty(), "{line}");
        assert!(!format!("{problem:?}").contains("hunter2"));
    }
}

#[test]
fn cameras_and_groups_are_checked_against_each_other() {
    let two = "schema_version = 1\ncamera = [{ id = \"a\", source = \"a.mp4\" }, { id = \"b\", source = \"b.mp4\" }]\n";
    for (tail, path, message, hint) in [
        (
            "[[group]]\nid = \"g\"\ncameras = [\"a\", \"b\", \"c\"]",
            "group[0].cameras[2]",
            "no camera `c`",
            "[[camera]]",
        ),
        (
            "[[group]]\nid = \"g\"\ncameras = [\"a\", \"b\", \"a\"]",
            "group[0].cameras[2]",
            "in group `g` already",
            "one group",
        ),
        (
            "[[group]]\nid = \"g\"\ncameras = [\"a\"]\n[[group]]\nid = \"h\"\ncameras = [\"b\", \"a\"]",
            "group[1].cameras[1]",
            "in group `g` already",
            "one group",
        ),
        (
            "[[group]]\nid = \"g\"\ncameras = [\"a\"]\n[[group]]\nid = \"g\"\ncameras = [\"b\"]",
            "group[1].id",
            "two groups",
            "another id",
        ),
        (
            "[[group]]\nid = \"g\"\ncameras = [\"a\", \"b\"]\ntolerance = \"1h\"",
            "group[0].tolerance",
            "range",
            "5s",
        ),
        (
            "[[group]]\nid = \"g\"\ncameras = [\"a\", \"b\"]\nmax_wait = \"1h\"",
            "group[0].max_wait",
            "range",
            "10s",
        ),
        (
            "[[group]]\ncameras = [\"a\", \"b\"]",
            "group[0].id",
            "is missing",
            "main",
        ),
    ] {
        let problem = only(&format!("{two}{tail}\n"), path);
        assert!(problem.message.contains(message), "{tail}: {}", problem.message);
        assert!(
            problem.hint.as_deref().unwrap_or("").contains(hint),
            "{tail}: {problem:?}"
        );
    }
    let near = "schema_version = 1\ncamera = [{ id = \"front\", source = \"a.mp4\" }]\n[[group]]\nid = \"g\"\ncameras = [\"frnot\"]";
    let errors: Vec<_> = problems(near)
        .into_iter()
        .filter(|p| p.severity == Severity::Error)
        .collect();
    assert_eq!(errors[0].hint.as_deref(), Some("did you mean `front`?"));
    let twice = "schema_version = 1\ncamera = [{ id = \"a\", source = \"a.mp4\" }, { id = \"a\", source = \"b.mp4\" }]";
    assert!(only(twice, "camera[1].id").message.contains("two cameras"));
    let detectors = "schema_version = 1\ndetector = [{ name = \"d\", kind = \"motion\" }, { name = \"d\", kind = \"motion\" }]";
    assert!(
        only(detectors, "detector[1].name")
            .message
            .contains("two detectors")
    );
    let reserved = "schema_version = 1\ndetector = [{ name = \"none\", kind = \"motion\" }]";
    assert!(only(reserved, "detector[0].name").message.contains("no detector"));
    let built_in = "schema_version = 1\ndetector = [{ name = \"motion\", kind = \"onnx\", model = \"m\" }]";
    assert!(only(built_in, "detector[0].name").message.contains("built-in"));
}

#[test]
fn a_reference_to_something_that_is_itself_wrong_is_no_second_error() {
    let text = "schema_version = 1\n[[camera]]\nid = \"Front\"\nsource = \"a.mp4\"\ndetector = \"Big\"\n\
        [[group]]\nid = \"g\"\ncameras = [\"Front\"]\n[[detector]]\nname = \"Big\"\nkind = \"onnx\"\nmodel = \"m\"\n";
    let paths: Vec<_> = problems(text).into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["camera[0].id", "detector[0].name"]);
}

#[test]
fn sources_and_addresses_that_are_none() {
    for (source, message) in [
        ("exec:rm -rf /", "`exec:` is not supported"),
        ("http://cam/1", "`http:` is not supported"),
        ("rtsp://me:hunter2@cam/1", "do not belong into the address"),
        ("rtsp://cam:x/1", "no address"),
        ("/dev/null", "no video device"),
        ("", "is empty"),
    ] {
        let problem = only(&FILE.replace("a.mp4", source), "camera[0].source");
        assert!(problem.message.contains(message), "{source}: {}", problem.message);
        assert!(problem.hint.is_some());
        assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
    }
    for (url, message) in [
        ("http://broker", "`http:` is not supported"),
        ("broker:1883", "`broker:` is not supported"),
        ("broker", "is no address"),
        ("mqtt://me:hunter2@broker", "do not belong into the address"),
        ("mqtt://broker:1/topic", "more than host and port"),
        ("mqtt://broker:99999", "is no address"),
        ("mqtt://", "is no address"),
    ] {
        let problem = only(&MQTT.replace("mqtt://broker", url), "mqtt.url");
        assert!(problem.message.contains(message), "{url}: {}", problem.message);
        assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
    }
    let device = FILE.replace("a.mp4", "/dev/video0");
    for (line, path) in [
        ("fps = 0", "camera[0].fps"),
        ("fps = 241", "camera[0].fps"),
        ("size = \"big\"", "camera[0].size"),
        ("size = \"8x8\"", "camera[0].size"),
        ("size = \"99999x10\"", "camera[0].size"),
        ("format = \"rgb\"", "camera[0].format"),
    ] {
        only(&format!("{device}{line}\n"), path);
    }
}

#[test]
fn what_is_missing_is_named() {
    assert!(
        only("", "schema_version")
            .hint
            .unwrap()
            .contains("schema_version = 1")
    );
    let camera = problems("schema_version = 1\n[[camera]]\n");
    let paths: Vec<_> = camera.iter().map(|p| (p.path.as_str(), p.line)).collect();
    assert_eq!(paths, [("camera[0].id", 2), ("camera[0].source", 2)]);
    only("schema_version = 1\n[mqtt]\n", "mqtt.url");
    let machine = machine().with_file("/p", "x", 0o600);
    for text in [CAMERA, MQTT] {
        let errors = parse_on(&format!("{text}password = {{ file = \"/p\" }}\n"), &machine).unwrap_err();
        assert!(
            errors.problems.iter().any(|p| p.message == "`user` is missing"),
            "{errors}"
        );
    }
    let machine = machine.with_file("/p", "\n", 0o600);
    let errors = parse_on(
        &format!("{CAMERA}user = \"u\"\npassword = {{ file = \"/p\" }}\n"),
        &machine,
    );
    assert!(errors.unwrap_err().problems[0].message.contains("is empty"));
}

#[test]
fn another_version_is_said_once_and_nothing_else() {
    let problem = only("schema_version = 2\nnew_key = 1\n", "schema_version");
    assert!(problem.message.contains("version 2"));
    only("schema_version = \"1\"\n", "schema_version");
    only("schema_version = 0\n", "schema_version");
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let text = "schema_version = 1\nlsiten = 1\n[web]\nlisten = [\"x\", \"y\"]\n[mqtt]\nurl = \"x\"\nroot = 1\n\
        [[camera]]\nid = \"A\"\nsource = \"exec:x\"\nfps = \"a\"\nenabled = 1\n";
    let found: Vec<_> = problems(text).into_iter().map(|p| (p.line, p.path)).collect();
    let expected = [
        (2, "lsiten"),
        (4, "web.listen[0]"),
        (4, "web.listen[1]"),
        (6, "mqtt.url"),
        (7, "mqtt.root"),
        (9, "camera[0].id"),
        (10, "camera[0].source"),
        (11, "camera[0].fps"),
        (12, "camera[0].enabled"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn syntax_errors_have_their_line_and_never_show_a_password() {
    let text = "schema_version = 1\n[web\nlisten = ]\n[mqtt]\npassword = \"hunter2\n";
    let problems = problems(text);
    assert!(problems.len() >= 2, "{problems:#?}");
    assert_eq!((problems[0].line, problems[0].excerpt.as_str()), (2, "[web"));
    assert!(problems.iter().all(|p| p.message.starts_with("this is no TOML")));
    assert!(!format!("{problems:?}").contains("hunter2"));
    let twice = only("schema_version = 1\nschema_version = 1\n", "");
    assert_eq!(twice.line, 2);
}

#[test]
fn columns_count_characters_and_the_caret_is_under_the_value() {
    let text = "schema_version = 1\ncamera = [{ id = \"a\", name = \"大门ü\", source = \"x:y\" }]\n";
    let errors = parse_on(text, &machine()).unwrap_err();
    assert_eq!((errors.problems[0].line, errors.problems[0].column), (2, 46));
    let shown = errors.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[0],
        "error: /etc/synoptic/synoptic.toml:2:46: camera[0].source: `x:` is not supported as a source"
    );
    let at = |line: &str, c: &str| line.split(c).next().unwrap().chars().count();
    assert_eq!(at(lines[2], "\"x:y\""), at(lines[3], "^^^^^"));
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let errors = load(Path::new("/nowhere/synoptic.toml")).unwrap_err();
    assert_eq!(errors.problems[0].line, 0);
    assert!(
        errors
            .to_string()
            .starts_with("error: /nowhere/synoptic.toml: cannot be read: No such file")
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "(\\PC|\n){0,200}") {
        let _ = parse_on(&text, &machine()).map_err(|e| e.to_string());
    }

    #[test]
    fn a_damaged_example_is_read_or_refused_without_a_panic(at in 0_usize..4000, c in proptest::char::any(), cut in 0_usize..20) {
        let text = super::super::example().replace("\n#", "\n");
        let clamp = |mut i: usize| {
            while !text.is_char_boundary(i.min(text.len())) { i -= 1; }
            i.min(text.len())
        };
        let (from, to) = (clamp(at), clamp(at + cut));
        let damaged = format!("{}{c}{}", &text[..from], &text[to..]);
        let _ = parse_on(&damaged, &machine()).map_err(|e| e.to_string());
    }
}
