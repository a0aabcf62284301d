//! What `[rtsp]` and `[[output]]` may be.

use synoptic_base::{Size, Span};
use synoptic_media::RtspTransport;
use synoptic_media::encode::{EncoderKind, FrameRate};

use super::super::{EditError, NewOutput, add_output, load, remove_output, replace_output};
use super::{good, only, problems};
use crate::outputs::{OutputTarget, Transcode};

const CAMERA: &str = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n[[output]]\nid = \"o\"\nstream = \"a\"\n";

#[test]
fn an_output_that_cannot_be_is_refused_at_its_key() {
    let push = "url = \"rtmp://h/live/x\"\n";
    for (lines, path, said) in [
        ("", "output[0].url", "serve = \"rtsp\""),
        ("url = \"srt://h/x\"", "output[0].url", "nothing to push to"),
        ("url = \"rtmp://h/x\"", "output[0].url", "application or stream"),
        ("url = \"rtsp://h\"", "output[0].url", "lacks the path"),
        ("url = \"rtsp://u:secret@h/x\"", "output[0].url", "do not belong"),
        (
            "url = \"rtsp://h/x\"\nserve = \"rtsp\"",
            "output[0].serve",
            "pushed or served",
        ),
        ("serve = \"hls\"", "output[0].serve", "not known"),
        (
            "serve = \"rtsp\"\npath = \"../x\"",
            "output[0].path",
            "cannot be a path",
        ),
        ("serve = \"rtsp\"\nuser = \"u\"", "output[0].user", "[rtsp]"),
        ("url = \"rtsp://h/x\"\npath = \"x\"", "output[0].path", "served"),
        (
            "url = \"rtmp://h/a/b\"\ntransport = \"udp\"",
            "output[0].transport",
            "rtsp://",
        ),
        (
            "url = \"rtsp://h/x\"\ntls_insecure = true",
            "output[0].tls_insecure",
            "TLS",
        ),
        ("serve = \"rtsp\"\nwidth = 640", "output[0].height", "no size"),
        (
            "serve = \"rtsp\"\nwidth = 641\nheight = 360",
            "output[0].width",
            "odd",
        ),
        (
            "serve = \"rtsp\"\nbitrate_kbps = 1",
            "output[0].bitrate_kbps",
            "out of range",
        ),
        (
            "serve = \"rtsp\"\nencoder = \"h265\"",
            "output[0].encoder",
            "not known",
        ),
    ] {
        let problem = only(&format!("{CAMERA}{lines}\n"), path);
        let hint = problem.hint.clone().unwrap_or_default();
        assert!(
            problem.message.contains(said) || hint.contains(said),
            "{lines}: {problem:?}"
        );
        assert!(!problem.excerpt.contains("secret"), "{problem:?}");
    }
    only(
        &format!("{CAMERA}{push}").replace("stream = \"a\"", "stream = \"b\""),
        "output[0].stream",
    );
    let two = format!("{CAMERA}{push}[[output]]\nid = \"o\"\nstream = \"a\"\n{push}");
    only(&two, "output[1].id");
    let same = "serve = \"rtsp\"\npath = \"live\"\n";
    let two = format!("{CAMERA}{same}[[output]]\nid = \"p\"\nstream = \"a\"\n{same}");
    assert!(only(&two, "output[1]").message.contains("already"));
}

#[test]
fn everything_wrong_with_an_output_is_told_at_once() {
    let text = format!("{CAMERA}url = \"ftp://h\"\nfps = 0\nencodr = \"x264\"\n");
    let paths: Vec<String> = problems(&text).into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["output[0].url", "output[0].fps", "output[0].encodr"]);
}

#[test]
fn rtsp_for_the_network_needs_a_login() {
    let head = "schema_version = 1\n[rtsp]\nlisten = \"0.0.0.0:8554\"\n";
    assert!(only(head, "rtsp.listen").hint.unwrap().contains("password"));
    only(&format!("{head}user = \"u\"\n"), "rtsp.password");
    only("schema_version = 1\n[rtsp]\nlisten = \"8554\"\n", "rtsp.listen");
    let config = good("schema_version = 1");
    assert_eq!(config.rtsp.listen, "127.0.0.1:8554".parse().unwrap());
    assert!(config.rtsp.login.is_none());
}

#[test]
fn an_output_is_read_with_its_options() {
    let config = good(&format!(
        "{CAMERA}url = \"rtsp://h:8554/x\"\ntransport = \"udp\"\ntranscode = \"always\"\nbitrate_kbps = 800\ngop_s = 0.5\n\
         width = 320\nheight = 180\nfps = 10\nencoder = \"x264\"\n[[output]]\nid = \"a\"\nstream = \"a\"\n\
         serve = \"rtsp\"\nenabled = false\n"
    ));
    let [pushed, served] = config.outputs.as_slice() else {
        panic!("{:?}", config.outputs);
    };
    let OutputTarget::Push(push) = &pushed.wish.target else {
        panic!("{pushed:?}");
    };
    assert_eq!(push.transport, RtspTransport::Udp);
    let options = &pushed.wish.options;
    assert_eq!(options.transcode, Transcode::Always);
    assert_eq!(options.size, Some(Size::new(320, 180)));
    assert_eq!(options.gop, Some(Span::from_millis(500)));
    let encode = options.encode(Some(30.0));
    assert_eq!(
        (encode.bitrate_kbit, encode.gop, encode.fps),
        (800, 5, Some(FrameRate::AtMost(10)))
    );
    assert_eq!(encode.encoder, Some(EncoderKind::X264));
    // The path is the id.
    let path = "a".to_owned();
    assert_eq!(served.wish.target, OutputTarget::Serve { path });
    assert!(pushed.enabled && !served.enabled);
}

#[test]
fn a_constant_rate_needs_a_rate_and_is_what_the_gop_is_counted_by() {
    let config = good(&format!(
        "{CAMERA}serve = \"rtsp\"\nfps = 25\nconstant_fps = true\ngop_s = 2\n"
    ));
    let encode = config.outputs[0].wish.options.encode(Some(10.0));
    assert_eq!((encode.fps, encode.gop), (Some(FrameRate::Constant(25)), 50));
    let text = format!("{CAMERA}serve = \"rtsp\"\nconstant_fps = true\n");
    only(&text, "output[0].fps");
}

const HOUSE: &str = "schema_version = 1\n\n[device]\ndata_dir = \"data\"\n\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n\n\
    # To the world.\n[[output]]\nid = \"o\" # keep\nstream = \"a\"\nserve = \"rtsp\"\nfps = 10\n\n[store]\n";

fn pushed(id: &str) -> NewOutput {
    NewOutput {
        id: id.to_owned(),
        stream: "a".to_owned(),
        url: Some("rtsp://me:hunter2@relay:8554/x".to_owned()),
        ..NewOutput::default()
    }
}

#[test]
fn an_output_is_added_changed_and_removed_and_its_password_is_in_no_file_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("synoptic.toml");
    std::fs::write(&path, HOUSE).unwrap();
    let edit = add_output(HOUSE, &pushed("p")).unwrap();
    assert!(!edit.text.contains("hunter2") && edit.text.starts_with(HOUSE.trim_end_matches("\n[store]\n")));
    edit.save(&path).unwrap();
    let secret = folder.path().join("data/secrets/output-p.password");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "hunter2");
    let with = |text: &str| {
        load(&path)
            .unwrap_or_else(|e| panic!("{e}\n{text}"))
            .config
            .outputs
    };
    assert_eq!(with(&edit.text).len(), 2);

    // A change without a password keeps it; one without a user lets it go.
    let text = std::fs::read_to_string(&path).unwrap();
    let change = NewOutput {
        url: Some("rtsp://relay:8554/y".to_owned()),
        user: Some("me".to_owned()),
        enabled: Some(false),
        ..pushed("p")
    };
    replace_output(&text, &change).unwrap().save(&path).unwrap();
    let outputs = with(&text);
    let OutputTarget::Push(push) = &outputs[1].wish.target else {
        panic!("{outputs:?}");
    };
    assert!(!outputs[1].enabled && push.password.as_ref().is_some_and(|p| p.expose() == "hunter2"));
    let text = std::fs::read_to_string(&path).unwrap();
    remove_output(&text, "p").unwrap().save(&path).unwrap();
    assert!(!secret.exists());
    let text = std::fs::read_to_string(&path).unwrap();
    let other = NewOutput {
        stream: "a".to_owned(),
        serve: Some("rtsp".to_owned()),
        gop_s: Some(1.5),
        ..NewOutput {
            id: "o".to_owned(),
            ..NewOutput::default()
        }
    };
    let changed = replace_output(&text, &other).unwrap().text;
    assert!(
        changed.contains("# To the world.\n[[output]]\nid = \"o\" # keep\n"),
        "{changed}"
    );
    assert!(
        changed.contains("gop_s = 1.5") && !changed.contains("fps"),
        "{changed}"
    );
    assert!(matches!(
        add_output(&text, &other),
        Err(EditError::OutputTaken(_))
    ));
    assert!(matches!(remove_output(&text, "q"), Err(EditError::NoOutput(_))));
}
