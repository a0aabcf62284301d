//! Changing the panoramas of the configuration file by machine; as `edit`.

use serde::Deserialize;
use synoptic_base::StreamId;
use utoipa::ToSchema;

use super::edit::{Edit, EditError};
use super::edit_settings::{Kind, SettingsMap, known};

/// What can be set of a panorama, as in `[[panorama]]` of the configuration; of a change, what is absent stays as it is and
/// `null` means the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PanoramaSettings {
    /// Its id: 1 to 31 of a-z, 0-9, _ and -; no camera has the same. Needed to add one, and never changes.
    pub id: Option<String>,
    /// Name for people.
    pub name: Option<String>,
    /// Id of the group whose cameras it is made of.
    pub group: Option<String>,
    /// Ids of 2 to 8 cameras of one group.
    pub cameras: Option<Vec<String>>,
    /// Whether it runs.
    pub enabled: Option<bool>,
    /// `calibrated`, `learned`
    pub method: Option<String>,
    /// How often the networks of `learned` look, in Hz.
    pub learned_rate: Option<f64>,
    /// Whether the box calibrates by itself when there is no calibration.
    pub auto_calibrate: Option<bool>,
    /// `auto`, `rectilinear`, `cylindrical`, `spherical`; of the next calibration.
    pub projection: Option<String>,
    /// `all`, `inside`; of the next calibration.
    pub crop: Option<String>,
    /// `radial`, `fisheye`; of the next calibration.
    pub lens: Option<String>,
    /// Degrees that a camera sees across its longer side; of the next calibration.
    pub hfov: Option<f64>,
    /// Pixels of the panorama for a pixel of the cameras; of the next calibration.
    pub scale: Option<f64>,
    /// `feather`, `multi_band`
    pub blend: Option<String>,
    /// `fade`, `hold`
    pub missing: Option<String>,
    /// How long the last picture of a camera stands in, such as `300ms`.
    pub patience: Option<String>,
    /// Threads that compose, 1 to 64.
    pub threads: Option<u32>,
}

const KIND: Kind = Kind {
    key: "panorama",
    name: "panorama",
    example: "yard",
    missing: EditError::NoPanorama,
};

/// Adds a panorama behind the others. The new text is checked by [`Edit::save`], not here.
///
/// # Errors
/// When the text is no TOML, the id is none or taken, or a setting is not known or of another type.
pub fn add_panorama(text: &str, settings: &SettingsMap) -> Result<Edit, EditError> {
    known::<PanoramaSettings>(settings)?;
    KIND.add(text, settings)
}

/// Changes a panorama; settings that are absent stay as they are, with their comments.
///
/// # Errors
/// When the text is no TOML, there is no such panorama, or a setting is not known or of another type.
pub fn change_panorama(text: &str, id: &StreamId, settings: &SettingsMap) -> Result<Edit, EditError> {
    known::<PanoramaSettings>(settings)?;
    KIND.change(text, id, settings)
}

/// Removes a panorama.
///
/// # Errors
/// When the text is no TOML, or there is no such panorama.
pub fn remove_panorama(text: &str, id: &StreamId) -> Result<Edit, EditError> {
    KIND.remove(text, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    const FILE: &str = "# The yard.\nschema_version = 1\n\n[[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n\n\
        # Both.\n[[panorama]]\nid = \"whole\" # all of it\nscale = 0.5 # half\nmissing = \"hold\"\n# The end.\n";

    fn settings(json: &Json) -> SettingsMap {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn a_change_keeps_what_is_not_meant() {
        let id = StreamId::new("whole").unwrap();
        let change = settings(&json!({"scale": 1, "missing": null, "threads": 2, "name": "All"}));
        let edit = change_panorama(FILE, &id, &change).unwrap();
        let expected = FILE.replace(
            "scale = 0.5 # half\nmissing = \"hold\"\n",
            "scale = 1 # half\nthreads = 2\nname = \"All\"\n",
        );
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&edit.text), sorted(&expected), "{}", edit.text);
        let stop = change_panorama(FILE, &id, &settings(&json!({"enabled": false}))).unwrap();
        assert!(stop.text.contains("enabled = false"), "{}", stop.text);
    }

    #[test]
    fn what_is_wrong_is_told_and_changes_nothing() {
        let id = StreamId::new("whole").unwrap();
        for (change, part) in [
            (json!({"colour": "red"}), "colour"),
            (json!({"scale": "big"}), "f64"),
            (json!({"id": "other"}), "never changes"),
        ] {
            let error = change_panorama(FILE, &id, &settings(&change)).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        let other = StreamId::new("other").unwrap();
        let missing = change_panorama(FILE, &other, &settings(&json!({})));
        assert!(matches!(missing, Err(EditError::NoPanorama(_))));
        for (new, taken) in [("whole", true), ("a", true), ("Not an id", false)] {
            let error = add_panorama(FILE, &settings(&json!({"id": new}))).unwrap_err();
            assert_eq!(matches!(error, EditError::StreamTaken(_)), taken, "{error}");
        }
        assert!(add_panorama(FILE, &settings(&json!({}))).is_err());
    }

    #[test]
    fn one_is_added_and_removed() {
        let wish = settings(&json!({"id": "gate", "cameras": ["a", "b"], "auto_calibrate": false}));
        let added = add_panorama(FILE, &wish).unwrap();
        let table = "[[panorama]]\nid = \"gate\"\n";
        assert!(added.text.contains(table), "{}", added.text);
        assert!(added.text.contains("cameras = [\"a\", \"b\"]"), "{}", added.text);
        let gate = StreamId::new("gate").unwrap();
        let removed = remove_panorama(&added.text, &gate).unwrap();
        assert!(!removed.text.contains("gate"), "{}", removed.text);
        assert!(removed.text.contains("# The yard.") && removed.text.contains("# all of it"));
    }
}
