//! What a `[[panorama]]` may be.

use synoptic_base::StreamId;

use super::{good, only};

#[test]
fn a_panorama_that_cannot_be_is_refused_at_its_key() {
    const TWO: &str = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n[[camera]]\nid = \"b\"\n\
        source = \"b.mp4\"\n[[camera]]\nid = \"c\"\nsource = \"c.mp4\"\n[[group]]\nid = \"g\"\ncameras = [\"a\", \"b\"]\n\
        [[group]]\nid = \"h\"\ncameras = [\"c\"]\n[[panorama]]\nid = \"p\"\n";
    for (lines, path, message) in [
        ("", "panorama[0].group", "missing"),
        ("group = \"x\"", "panorama[0].group", "there is no group `x`"),
        ("cameras = [\"a\"]", "panorama[0].cameras", "names 1 cameras"),
        (
            "cameras = [\"a\", \"d\"]",
            "panorama[0].cameras[1]",
            "there is no camera `d`",
        ),
        (
            "cameras = [\"a\", \"a\"]",
            "panorama[0].cameras[0]",
            "is there twice",
        ),
        (
            "cameras = [\"a\", \"c\"]",
            "panorama[0].cameras",
            "is not in group `g`",
        ),
        (
            "group = \"g\"\nprojection = \"flat\"",
            "panorama[0].projection",
            "not known",
        ),
        (
            "group = \"g\"\nmethod = \"magic\"",
            "panorama[0].method",
            "not known",
        ),
        (
            "group = \"g\"\nmethod = \"learned\"\nlearned_rate = 9.0",
            "panorama[0].learned_rate",
            "out of range",
        ),
        ("group = \"g\"\nscale = 9.0", "panorama[0].scale", "out of range"),
        (
            "group = \"g\"\nthreads = 0",
            "panorama[0].threads",
            "out of range",
        ),
        (
            "group = \"g\"\naudio = \"c\"",
            "panorama[0].audio",
            "none of its enabled cameras",
        ),
        ("group = \"g\"\naudio = \"a\"", "panorama[0].audio", "is not read"),
    ] {
        let problem = only(&format!("{TWO}{lines}\n"), path);
        assert!(
            problem.message.contains(message) || problem.hint.as_ref().is_some_and(|h| h.contains(message)),
            "{lines}: {problem:?}"
        );
    }
    only(
        &format!("{TWO}group = \"g\"\n").replace("id = \"p\"", "id = \"a\""),
        "panorama[0].id",
    );
    let config = good(&format!("{TWO}cameras = [\"b\", \"a\"]\npatience = \"1s\"\n"));
    let panorama = &config.panoramas[0];
    let ids: Vec<_> = panorama.cameras.iter().map(StreamId::as_str).collect();
    assert_eq!((panorama.group.as_str(), ids), ("g", vec!["b", "a"]));
    assert_eq!((&panorama.learned, panorama.audio), (&None, None));
    let heard =
        format!("{TWO}group = \"g\"\naudio = \"b\"\n").replace("\"b.mp4\"\n", "\"b.mp4\"\naudio = true\n");
    let config = good(&heard);
    assert_eq!(
        config.panoramas[0].audio.map(|id| id.to_string()).as_deref(),
        Some("b")
    );
    let audio: Vec<bool> = config.cameras.iter().map(|c| c.audio).collect();
    assert_eq!(audio, [false, true, false], "off where nobody asks for it");
    only(&heard.replace("b.mp4", "/dev/video0"), "camera[1].audio");
    let config = good(&format!("{TWO}group = \"g\"\nmethod = \"learned\"\n"));
    let learned = config.panoramas[0].learned.as_ref().unwrap();
    assert_eq!(
        (learned.rate_hz, &learned.model_dirs),
        (2.0, &config.device.model_dirs)
    );
    let three = format!("{TWO}group = \"g\"\nmethod = \"learned\"\n")
        .replace("[\"a\", \"b\"]", "[\"a\", \"b\", \"c\"]")
        .replace("[[group]]\nid = \"h\"\ncameras = [\"c\"]\n", "");
    let problem = only(&three, "panorama[0].method");
    assert!(problem.message.contains("two cameras, not 3"), "{problem:?}");
}
