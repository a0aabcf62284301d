//! What runs beside the configuration file: for each request two cameras, their group and their panorama. Nothing of it is
//! written; it is gone when the daemon ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use synoptic_base::StreamId;
use toml_edit::Value;

use crate::config::{self, Camera, Config, ConfigErrors, Credentials, Group, Panorama, ThisMachine};

/// What a request starts, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The request's; also that of the group.
    pub id: StreamId,
    /// Where the panorama is watched.
    pub panorama: StreamId,
    pub cameras: [StreamId; 2],
}

/// What a request starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Extra {
    cameras: Vec<Camera>,
    group: Group,
    panorama: Panorama,
}

impl Extra {
    /// Every option has the configuration's default; no detector looks at the cameras, so that they leave no events.
    ///
    /// # Errors
    /// When a source cannot be one.
    pub(super) fn new(names: &Names, sources: &[Credentials; 2]) -> Result<Extra, ConfigErrors> {
        let quoted = |text: &str| Value::from(text).to_string();
        let mut text = String::from("schema_version = 1\n");
        for (k, (id, source)) in names.cameras.iter().zip(sources).enumerate() {
            text += &format!(
                "[[camera]]\nid = {}\nname = \"{}, stream {}\"\nsource = {}\ndetector = \"none\"\n",
                quoted(id.as_str()),
                names.panorama,
                k + 1,
                quoted(&source.url)
            );
        }
        let [one, two] = names.cameras.map(|c| quoted(c.as_str()));
        text += &format!(
            "[[group]]\nid = {group}\ncameras = [{one}, {two}]\n[[panorama]]\nid = {panorama}\ngroup = {group}\n",
            group = quoted(names.id.as_str()),
            panorama = quoted(names.panorama.as_str())
        );
        // Relative paths are no sources here.
        let mut config = config::parse(&text, Path::new("/POST /stitch"), &ThisMachine)?.config;
        for (camera, source) in config.cameras.iter_mut().zip(sources) {
            let login = (source.user.clone(), source.password.clone());
            camera.options.source.log_in(login.0, login.1);
        }
        let group = config.groups.pop();
        let panorama = config.panoramas.pop();
        match (group, panorama) {
            (Some(group), Some(panorama)) => Ok(Extra {
                cameras: config.cameras,
                group,
                panorama,
            }),
            _ => Err(ConfigErrors {
                file: "POST /stitch".into(),
                problems: Vec::new(),
            }),
        }
    }
}

/// All that runs beside the file.
#[derive(Default)]
pub(crate) struct Extras(Mutex<BTreeMap<StreamId, Extra>>);

impl Extras {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Extra>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, id: StreamId, extra: Extra) {
        self.lock().insert(id, extra);
    }

    pub(super) fn remove(&self, id: &StreamId) {
        self.lock().remove(id);
    }

    /// A configuration with these. Where the file has come to name a stream as one of these, the file's runs.
    pub(crate) fn with(&self, file: &Config) -> Config {
        let mut all = file.clone();
        for (id, extra) in self.lock().iter() {
            let named = |stream: &StreamId| names_stream(file, stream);
            if named(&extra.panorama.id) || extra.cameras.iter().any(|c| named(&c.options.id)) {
                log::warn!("{id}: the configuration has a stream of the same id now: this one does not run");
                continue;
            }
            all.cameras.extend(extra.cameras.iter().cloned());
            all.groups.push(extra.group.clone());
            all.panoramas.push(extra.panorama.clone());
        }
        all
    }
}

/// Whether a camera, a panorama or a virtual camera of a configuration has this id.
pub(super) fn names_stream(config: &Config, id: &StreamId) -> bool {
    config.cameras.iter().any(|c| c.options.id == *id)
        || config.panoramas.iter().any(|p| p.id == *id)
        || config.virtual_cameras.iter().any(|v| v.id == *id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::split_credentials;
    use synoptic_media::{Secret, Source};

    fn names(panorama: &str) -> Names {
        let id = |text: &str| StreamId::new(text).unwrap();
        Names {
            id: id("stitch-1"),
            panorama: id(panorama),
            cameras: [id("stitch-1-1"), id("stitch-1-2")],
        }
    }

    #[test]
    fn passwords_reach_the_cameras_and_the_file_comes_first() {
        let sources = [
            split_credentials("rtsp://u:p%20w@cam/1?a=\"b\"").unwrap(),
            split_credentials("rtmp://host/live/two").unwrap(),
        ];
        let extra = Extra::new(&names("whole"), &sources).unwrap();
        let Source::Rtsp { user, password, .. } = &extra.cameras[0].options.source else {
            panic!("{extra:?}");
        };
        assert_eq!(user.as_deref(), Some("u"));
        assert_eq!(password.as_ref().map(Secret::expose), Some("p w"));
        assert!(extra.cameras.iter().all(|c| c.detector.is_none()));

        let extras = Extras::default();
        extras.put(names("whole").id, extra);
        let file = |text: &str| {
            config::parse(text, Path::new("/c.toml"), &ThisMachine)
                .unwrap()
                .config
        };
        let alone = file("schema_version = 1\n");
        let both = extras.with(&alone);
        assert_eq!(
            (both.cameras.len(), both.groups.len(), both.panoramas.len()),
            (2, 1, 1)
        );
        let taken = file("schema_version = 1\n[[camera]]\nid = \"whole\"\nsource = \"a.mp4\"\n");
        assert_eq!(extras.with(&taken), taken);
        extras.remove(&names("whole").id);
        assert_eq!(extras.with(&alone), alone);
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let sources = ["gopher://host/x", "rtsp://cam/2"].map(|url| Credentials {
            url: url.to_owned(),
            user: None,
            password: None,
        });
        let refused = Extra::new(&names("whole"), &sources).unwrap_err();
        assert_eq!(refused.problems[0].path, "camera[0].source");
    }
}
