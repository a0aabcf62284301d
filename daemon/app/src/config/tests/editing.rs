//! What the page does to the file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::{
    BiasEdit, EditError, NewCamera, SaveError, SecretChange, add_camera, example, load, remove_camera,
    set_biases,
};
use super::good;

const HOUSE: &str = r#"# The house.
schema_version = 1

[device]
data_dir = "data" # beside this file

# ---- Cameras ----

# The first one.
[[camera]]
id = "a"   # do not change
source = "a.mp4"

# The second one.
[[camera]]
id = "b"
source = "b.mp4"

# ---- Groups ----

[[group]]
id = "g"
cameras = ["a", "b"] # both

[[group]]
id = "h"
cameras = [
    "c", # lone
]

[[camera]]
id = "c"
source = "c.mp4"
# The end.
"#;

fn camera(name: &str, source: &str) -> NewCamera {
    NewCamera {
        name: name.to_owned(),
        source: source.to_owned(),
        ..NewCamera::default()
    }
}

#[test]
fn a_camera_is_added_and_everything_else_stays() {
    let edit = add_camera(HOUSE, &camera("Front door", "rtsp://cam/1")).unwrap();
    assert_eq!(
        (edit.id.as_str(), &edit.secret),
        ("front-door", &SecretChange::Keep)
    );
    let block = "\n[[camera]]\nid = \"front-door\"\nname = \"Front door\"\nsource = \"rtsp://cam/1\"\n";
    assert!(edit.text.contains(block), "{}", edit.text);
    assert!(
        edit.text
            .contains("cameras = [\"a\", \"b\", \"front-door\"] # both"),
        "{}",
        edit.text
    );
    for line in HOUSE.lines().filter(|l| !l.contains("# both")) {
        assert!(edit.text.contains(line), "{line}");
    }
    let config = good(&edit.text);
    assert_eq!((config.cameras.len(), config.groups[0].cameras.len()), (4, 3));
    // And back again: byte for byte what it was.
    assert_eq!(remove_camera(&edit.text, "front-door").unwrap().text, HOUSE);
}

#[test]
fn a_camera_joins_the_group_it_names() {
    let mut new = camera("x", "x.mp4");
    new.group = Some("h".to_owned());
    let text = add_camera(HOUSE, &new).unwrap().text;
    assert!(text.contains("\"c\", # lone\n"), "{text}");
    assert_eq!(good(&text).groups[1].cameras.len(), 2);
    new.group = Some("z".to_owned());
    assert!(matches!(add_camera(HOUSE, &new), Err(EditError::NoGroup(_))));
}

#[test]
fn a_first_camera_in_a_file_of_any_shape() {
    for text in [
        "schema_version = 1\n",
        "schema_version = 1",
        example(),
        "schema_version = 1\ncamera = []\n",
        "schema_version = 1\ncamera = [{ id = \"a\", source = \"a.mp4\" }]\n",
        "schema_version = 1\ncamera = [\n  { id = \"a\", source = \"a.mp4\" }, # one\n]\n",
        "schema_version = 1\ncamera = [\n  { id = \"a\", source = \"a.mp4\" }\n]\n",
        "schema_version = 1\r\n[web]\r\n",
    ] {
        let text = add_camera(text, &camera("new", "new.mp4")).unwrap().text;
        let config = good(&text);
        assert!(
            config.cameras.iter().any(|c| c.options.id.as_str() == "new"),
            "{text}"
        );
        assert_eq!(config.groups[0].cameras.len(), config.cameras.len());
    }
}

#[test]
fn an_id_is_made_from_the_name_and_is_free() {
    let id = |name: &str| add_camera(HOUSE, &camera(name, "x.mp4")).unwrap().id.to_string();
    assert_eq!(id("A"), "a-2");
    assert_eq!(id("大门"), "cam");
    assert_eq!(id(&"x".repeat(50)).len(), 31);
    let mut new = camera("x", "x.mp4");
    new.id = Some("b".to_owned());
    assert!(matches!(add_camera(HOUSE, &new), Err(EditError::Taken(_))));
    new.id = Some("B!".to_owned());
    assert!(matches!(add_camera(HOUSE, &new), Err(EditError::Id(_))));
}

#[test]
fn removing_takes_the_camera_its_comment_and_its_mentions() {
    let edit = remove_camera(HOUSE, "a").unwrap();
    assert_eq!(edit.secret, SecretChange::Keep);
    let expected = HOUSE
        .replace(
            "# The first one.\n[[camera]]\nid = \"a\"   # do not change\nsource = \"a.mp4\"\n\n",
            "",
        )
        .replace("[\"a\", \"b\"]", "[\"b\"]");
    assert_eq!(edit.text.replace("\n\n\n", "\n\n"), expected);
    good(&edit.text);

    // The last camera of a group takes the group with it, and leaves the file's last word.
    let edit = remove_camera(HOUSE, "c").unwrap();
    assert!(!edit.text.contains("\"h\""), "{}", edit.text);
    assert!(edit.text.contains("# The end."), "{}", edit.text);
    good(&edit.text);

    let edit = remove_camera(HOUSE, "b").unwrap();
    assert!(edit.text.contains("# ---- Groups ----"), "{}", edit.text);
    good(&edit.text);
    assert!(matches!(remove_camera(HOUSE, "z"), Err(EditError::NoCamera(_))));
}

#[test]
fn a_password_goes_into_a_file_of_its_own_and_goes_with_the_camera() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("synoptic.toml");
    std::fs::write(&path, HOUSE).unwrap();
    let edit = add_camera(HOUSE, &camera("Gate", "rtsp://me:hunter2@cam/1")).unwrap();
    assert!(!edit.text.contains("hunter2") && !format!("{edit:?}").contains("hunter2"));
    assert!(
        edit.text.contains(
            "source = \"rtsp://cam/1\"\nuser = \"me\"\npassword = { file = \"data/secrets/gate.password\" }"
        ),
        "{}",
        edit.text
    );
    edit.save(&path).unwrap();
    let secret = folder.path().join("data/secrets/gate.password");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "hunter2");
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&secret), mode(secret.parent().unwrap())), (0o600, 0o700));
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.warnings, []);
    let backup = std::fs::read_to_string(folder.path().join("synoptic.toml.bak")).unwrap();
    assert_eq!(backup, HOUSE);

    remove_camera(&loaded.text, "gate").unwrap().save(&path).unwrap();
    assert!(!secret.exists());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), HOUSE);
}

#[test]
fn what_is_wrong_or_late_is_not_saved_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("synoptic.toml");
    std::fs::write(&path, HOUSE).unwrap();
    let mut new = camera("Gate", "rtsp://me:hunter2@cam/1");
    new.transport = Some("quic".to_owned());
    let error = add_camera(HOUSE, &new).unwrap().save(&path).unwrap_err();
    assert!(
        matches!(&error, EditError::Save(SaveError::Invalid(_))),
        "{error}"
    );
    assert!(
        error.to_string().contains("tcp or udp") && !error.to_string().contains("hunter2"),
        "{error}"
    );
    assert!(!folder.path().join("data").exists());

    let edit = add_camera(HOUSE, &camera("Gate", "x.mp4")).unwrap();
    std::fs::write(&path, format!("{HOUSE}# edited by hand\n")).unwrap();
    assert!(matches!(edit.save(&path), Err(EditError::Changed(_))));
    let wrong = add_camera("a = ", &camera("Gate", "x.mp4")).unwrap_err();
    assert!(matches!(wrong, EditError::Unreadable(_)));
    assert!(matches!(
        add_camera(HOUSE, &camera("Gate", "rtsp://")),
        Err(EditError::Source(_))
    ));
}

#[test]
fn a_new_camera_never_shows_its_password() {
    let mut new = camera("Gate", "rtsp://me:hunter2@cam/1");
    new.password = Some("hunter2".to_owned());
    assert!(!format!("{new:?}").contains("hunter2"));
}

#[test]
fn measured_biases_are_written_and_everything_else_stays() {
    let text = HOUSE.replace(
        "source = \"b.mp4\"",
        "source = \"b.mp4\"\ncapture_bias_ms = 3 # typed in",
    );
    let of = |name: &str, bias_ms| BiasEdit {
        camera: synoptic_base::StreamId::new(name).unwrap(),
        bias_ms,
        error_ms: 6.5,
    };
    let edit = set_biases(&text, &[of("b", 37.25), of("a", -4.0)]).unwrap();
    assert!(
        edit.text.contains("capture_bias_ms = 37.25 # typed in"),
        "{}",
        edit.text
    );
    let config = good(&edit.text);
    let bias = |i: usize| config.cameras[i].options.capture_bias.as_millis_f64();
    assert_eq!((bias(0), bias(1), bias(2)), (-4.0, 37.25, 0.0));
    for line in HOUSE.lines() {
        assert!(edit.text.contains(line), "{line}");
    }
    assert!(matches!(
        set_biases(&text, &[of("z", 1.0)]),
        Err(EditError::NoCamera(_))
    ));
}
