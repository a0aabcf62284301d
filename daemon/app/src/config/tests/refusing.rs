//! Every kind of error of one value: at the right key, with a hint.

use super::{CAMERA, FILE, MQTT, machine, only, parse_on};

const TLS: &str = "schema_version = 1\n[mqtt]\nurl = \"mqtts://broker\"\n";
const WEB: &str = "schema_version = 1\n[web]\n";
const DEVICE: &str = "schema_version = 1\n[device]\n";
const STORE: &str = "schema_version = 1\n[store]\n";
const DETECTOR: &str = "schema_version = 1\n[[detector]]\nname = \"d\"\n";

#[test]
fn a_metrics_token_that_can_be_guessed_is_refused() {
    let text = "schema_version = 1\n[web]\nmetrics_token = { env = \"TOKEN\" }\n";
    let with = |token: &str| parse_on(text, &machine().with_var("TOKEN", token));
    let errors = with("0123456789").err().unwrap().problems;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].path, "web.metrics_token");
    assert!(
        errors[0]
            .hint
            .as_deref()
            .is_some_and(|h| h.contains("openssl rand"))
    );
    let token = with("0123456789abcdef").unwrap().config.web.metrics_token;
    assert_eq!(token.unwrap().expose(), "0123456789abcdef");
}

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
            "known here: audio, capture_bias_error_ms",
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
        (FILE, "user = \"u\"", "camera[0].user", "is for network", "remove"),
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
        (
            DETECTOR,
            "kind = \"onnx\"\nmodel = \"m\"\nengine = \"ort\"",
            "detector[0].engine",
            "not known",
            "onnxruntime",
        ),
        (
            DETECTOR,
            "kind = \"onnx\"\nmodel = \"m\"\nengine = \"rten\"\nlibrary = \"/l.so\"",
            "detector[0].library",
            "needs no library",
            "another engine",
        ),
        (
            DETECTOR,
            "kind = \"onnx\"\nmodel = \"m\"\nengine = \"onnx-cpu\"\nprecision = \"fp16\"",
            "detector[0].precision",
            "is for engine",
            "remove",
        ),
        (
            DETECTOR,
            "kind = \"onnx\"\nmodel = \"m\"\nfallback = \"off\"",
            "detector[0].fallback",
            "is for engine",
            "remove",
        ),
        (
            DETECTOR,
            "kind = \"motion\"\nengine = \"rten\"",
            "detector[0].engine",
            "is for kind",
            "remove",
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
fn sources_and_addresses_that_are_none() {
    for (source, message) in [
        ("exec:rm -rf /", "`exec:` is not supported"),
        ("http://cam/1", "`http:` is read when it ends in"),
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
