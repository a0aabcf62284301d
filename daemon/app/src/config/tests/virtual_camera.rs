//! What a `[[virtual_camera]]` may be.

use synoptic_base::{Ptz, Size};
use synoptic_vision::panorama::ViewShape;

use super::super::ViewSource;
use super::{good, only};

const TWO: &str = "schema_version = 1\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n[[camera]]\nid = \"b\"\nsource = \"b.mp4\"\n\
    [[group]]\nid = \"g\"\ncameras = [\"a\", \"b\"]\n[[panorama]]\nid = \"whole\"\n[[virtual_camera]]\n";

#[test]
fn defaults_are_filled_in_and_the_source_is_known() {
    let config = good(&format!("{TWO}id = \"stage\"\nstream = \"whole\"\n"));
    let view = &config.virtual_cameras[0];
    assert_eq!(
        (view.source, view.size),
        (ViewSource::Panorama, Size::new(1280, 720))
    );
    assert_eq!(
        (view.home, view.shape, view.hfov_deg),
        (Ptz::AHEAD, ViewShape::Rectilinear, None)
    );
    assert!(view.enabled && !view.follow && view.name == "stage");
    let config = good(&format!(
        "{TWO}id = \"door\"\nstream = \"a\"\ncamera_hfov = 60\nzoom = 8\nfollow = \"action\"\nprojection = \"crop\"\n"
    ));
    let view = &config.virtual_cameras[0];
    assert_eq!(view.source, ViewSource::Camera { hfov_deg: 60.0 });
    assert_eq!(
        (view.max_zoom, view.follow, view.shape),
        (8.0, true, ViewShape::Crop)
    );
    // An output may show it.
    let output = "[[output]]\nid = \"o\"\nstream = \"stage\"\nserve = \"rtsp\"\n";
    good(&format!("{TWO}id = \"stage\"\nstream = \"whole\"\n{output}"));
}

#[test]
fn what_cannot_be_is_refused_at_its_key() {
    for (lines, path, message) in [
        (
            "id = \"a\"\nstream = \"whole\"",
            "virtual_camera[0].id",
            "is the id of a camera or a panorama",
        ),
        (
            "id = \"whole\"\nstream = \"a\"",
            "virtual_camera[0].id",
            "is the id of a camera or a panorama",
        ),
        ("id = \"v\"", "virtual_camera[0].stream", "missing"),
        (
            "id = \"v\"\nstream = \"whol\"",
            "virtual_camera[0].stream",
            "did you mean `whole`?",
        ),
        (
            "id = \"v\"\nstream = \"whole\"\nwidth = 321",
            "virtual_camera[0].width",
            "is odd",
        ),
        (
            "id = \"v\"\nstream = \"whole\"\nhfov = 200",
            "virtual_camera[0].hfov",
            "a plane cannot show",
        ),
        (
            "id = \"v\"\nstream = \"whole\"\nzoom = 0.5",
            "virtual_camera[0].zoom",
            "out of range",
        ),
        (
            "id = \"v\"\nstream = \"whole\"\ncamera_hfov = 60",
            "virtual_camera[0].camera_hfov",
            "is for a camera",
        ),
        (
            "id = \"v\"\nstream = \"whole\"\nfollow = \"ball\"",
            "virtual_camera[0].follow",
            "not known",
        ),
        (
            "id = \"v\"\nstream = \"v\"",
            "virtual_camera[0].stream",
            "there is no camera or panorama `v`",
        ),
    ] {
        let problem = only(&format!("{TWO}{lines}\n"), path);
        assert!(
            problem.message.contains(message) || problem.hint.as_ref().is_some_and(|h| h.contains(message)),
            "{lines}: {problem:?}"
        );
    }
    let twice = format!("{TWO}id = \"v\"\nstream = \"a\"\n[[virtual_camera]]\nid = \"v\"\nstream = \"b\"\n");
    only(&twice, "virtual_camera[1].id");
}
