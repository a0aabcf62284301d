//! Errors that show only in the file as a whole: references, what is missing, the order, the syntax.

use std::path::Path;

use super::super::load;
use super::super::problem::Severity;
use super::{CAMERA, MQTT, machine, only, parse_on, problems};

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
            "[[group]]\nid = \"g\"\ncameras = [\"a\", \"b\"]\nframe_packet_buffer_maxsize = 0",
            "group[0].frame_packet_buffer_maxsize",
            "no packet",
            "1 or more",
        ),
        (
            "[packets]\ngroups = [\"mian\"]",
            "packets.groups[0]",
            "no group `mian`",
            "did you mean `main`?",
        ),
        (
            "[packets]\nmax_memory = \"1kB\"",
            "packets.max_memory",
            "range",
            "8",
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

#[test]
fn a_buffer_without_a_limit_is_for_files_only() {
    let text = "schema_version = 1\n[[camera]]\nid = \"c\"\nsource = \"rtsp://10.0.0.1/\"\n\
        [[group]]\nid = \"g\"\ncameras = [\"c\"]\nframe_packet_buffer_maxsize = -1\n";
    let problem = only(text, "group[0].frame_packet_buffer_maxsize");
    assert!(
        problem.message.contains("camera `c` is no file"),
        "{}",
        problem.message
    );
}
