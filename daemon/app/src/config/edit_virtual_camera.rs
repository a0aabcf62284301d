//! Changing the virtual cameras of the configuration file by machine; as `edit`.

use serde::{Deserialize, Serialize};
use synoptic_base::StreamId;
use synoptic_vision::panorama::ViewShape;
use utoipa::ToSchema;

use super::edit::{Edit, EditError};
use super::edit_settings::{Kind, SettingsMap, known};
use super::resolved::{ViewSource, VirtualCamera};

const KIND: Kind = Kind {
    key: "virtual_camera",
    name: "virtual camera",
    example: "stage",
    missing: EditError::NoVirtualCamera,
};

/// What can be set of a virtual camera, as in `[[virtual_camera]]` of the configuration; of a change, what is absent stays as it
/// is and `null` means the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualCameraSettings {
    /// Its id: 1 to 31 of a-z, 0-9, _ and -; no camera and no panorama has the same. Needed to add one, and never changes.
    pub id: Option<String>,
    /// Name for people.
    pub name: Option<String>,
    /// Id of the panorama or the camera that it looks at. Needed to add one.
    pub stream: Option<String>,
    /// Whether it runs.
    pub enabled: Option<bool>,
    /// Pixels across, 16 to 7680; even.
    pub width: Option<u32>,
    /// Pixels down, 16 to 4320; even.
    pub height: Option<u32>,
    /// `rectilinear`, `cylindrical`, `crop`
    pub projection: Option<String>,
    /// Degrees across at zoom 1; as much as fits without black where it is not set.
    pub hfov: Option<f64>,
    /// Degrees across that the real camera sees; for a camera only.
    pub camera_hfov: Option<f64>,
    /// Where it looks at first: degrees to the right.
    pub pan: Option<f64>,
    /// Degrees up.
    pub tilt: Option<f64>,
    /// How much larger than at zoom 1, 1 to 32.
    pub zoom: Option<f64>,
    /// Largest zoom, 1 to 32.
    pub max_zoom: Option<f64>,
    /// Degrees a second at zoom 1 at the most, when it moves.
    pub speed: Option<f64>,
    /// By how many degrees a second its speed changes in a second at the most.
    pub acceleration: Option<f64>,
    /// `action`, `none`
    pub follow: Option<String>,
    /// Labels of what is followed; everything where it is not set.
    pub labels: Option<Vec<String>>,
}

impl From<&VirtualCamera> for VirtualCameraSettings {
    /// What a virtual camera runs with, defaults among it.
    fn from(view: &VirtualCamera) -> VirtualCameraSettings {
        VirtualCameraSettings {
            id: Some(view.id.to_string()),
            name: Some(view.name.clone()),
            stream: Some(view.stream.to_string()),
            enabled: Some(view.enabled),
            width: Some(view.size.width),
            height: Some(view.size.height),
            projection: Some(shape_word(view.shape).to_owned()),
            hfov: view.hfov_deg,
            camera_hfov: match view.source {
                ViewSource::Camera { hfov_deg } => Some(hfov_deg),
                ViewSource::Panorama => None,
            },
            pan: Some(view.home.pan_deg),
            tilt: Some(view.home.tilt_deg),
            zoom: Some(view.home.zoom),
            max_zoom: Some(view.max_zoom),
            speed: Some(view.speed_deg_s),
            acceleration: Some(view.acceleration_deg_s2),
            follow: Some(if view.follow { "action" } else { "none" }.to_owned()),
            labels: Some(view.labels.clone()).filter(|labels| !labels.is_empty()),
        }
    }
}

fn shape_word(shape: ViewShape) -> &'static str {
    match shape {
        ViewShape::Rectilinear => "rectilinear",
        ViewShape::Cylindrical => "cylindrical",
        ViewShape::Crop => "crop",
    }
}

/// Adds a virtual camera behind the others. The new text is checked by [`Edit::save`], not here.
///
/// # Errors
/// When the text is no TOML, the id is none or taken, or a setting is not known or of another type.
pub fn add_virtual_camera(text: &str, settings: &SettingsMap) -> Result<Edit, EditError> {
    known::<VirtualCameraSettings>(settings)?;
    KIND.add(text, settings)
}

/// Changes a virtual camera; settings that are absent stay as they are, with their comments.
///
/// # Errors
/// When the text is no TOML, there is no such virtual camera, or a setting is not known or of another type.
pub fn change_virtual_camera(text: &str, id: &StreamId, settings: &SettingsMap) -> Result<Edit, EditError> {
    known::<VirtualCameraSettings>(settings)?;
    KIND.change(text, id, settings)
}

/// Removes a virtual camera.
///
/// # Errors
/// When the text is no TOML, or there is no such virtual camera.
pub fn remove_virtual_camera(text: &str, id: &StreamId) -> Result<Edit, EditError> {
    KIND.remove(text, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    const FILE: &str = "[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n\n# The door.\n[[virtual_camera]]\nid = \"door\"\n\
        stream = \"a\" # not b\nzoom = 2 # near\n";

    fn settings(json: &Json) -> SettingsMap {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn one_is_added_changed_and_removed_and_the_rest_stays() {
        let wish = settings(
            &json!({"id": "gate", "stream": "a", "width": 640, "height": 360, "labels": ["person"]}),
        );
        let added = add_virtual_camera(FILE, &wish).unwrap();
        assert!(added.text.starts_with(FILE), "{}", added.text);
        assert!(
            added.text.contains("[[virtual_camera]]\nid = \"gate\"\n"),
            "{}",
            added.text
        );
        assert!(added.text.contains("labels = [\"person\"]"), "{}", added.text);
        let door = StreamId::new("door").unwrap();
        let change = settings(&json!({"zoom": 3, "follow": "action"}));
        let changed = change_virtual_camera(FILE, &door, &change).unwrap();
        assert!(changed.text.contains("zoom = 3 # near\n"), "{}", changed.text);
        assert!(changed.text.contains("follow = \"action\""), "{}", changed.text);
        let back = change_virtual_camera(&changed.text, &door, &settings(&json!({"follow": null}))).unwrap();
        assert!(!back.text.contains("follow"), "{}", back.text);
        let removed = remove_virtual_camera(FILE, &door).unwrap();
        assert!(!removed.text.contains("door"), "{}", removed.text);
        assert!(removed.text.contains("a.mp4"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let none = StreamId::new("none").unwrap();
        let missing = remove_virtual_camera(FILE, &none).unwrap_err();
        assert!(matches!(missing, EditError::NoVirtualCamera(id) if id == none));
        for (new, part) in [
            (json!({"id": "a", "stream": "a"}), "already"),
            (json!({"id": "door", "stream": "a"}), "already"),
            (json!({"stream": "a"}), "id is missing"),
            (json!({"id": "b", "colour": "red"}), "colour"),
            (json!({"id": "b", "width": "wide"}), "u32"),
        ] {
            let error = add_virtual_camera(FILE, &settings(&new)).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
