//! The daemon's configuration file as the demo writes it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

/// The root of the file; the daemon's reference describes the keys.
#[derive(Debug, Serialize)]
pub(super) struct Config {
    pub schema_version: u32,
    pub device: Device,
    pub web: Web,
    pub mqtt: Mqtt,
    #[serde(rename = "camera")]
    pub cameras: Vec<Camera>,
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
    #[serde(rename = "panorama", skip_serializing_if = "Vec::is_empty")]
    pub panoramas: Vec<Panorama>,
    #[serde(rename = "detector", skip_serializing_if = "Vec::is_empty")]
    pub detectors: Vec<Detector>,
}

#[derive(Debug, Serialize)]
pub(super) struct Device {
    pub id: String,
    pub name: String,
    pub data_dir: PathBuf,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model_dirs: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
pub(super) struct Web {
    pub listen: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Mqtt {
    pub url: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Camera {
    pub id: String,
    pub name: String,
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// Regions `[x, y, width, height]` in which nothing is detected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<[f32; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_bias_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_bias_error_ms: Option<f64>,
    /// A table: TOML wants it after the plain keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Secret {
    File(PathBuf),
}

#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub id: String,
    pub cameras: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Panorama {
    pub id: String,
    pub name: String,
    pub group: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Detector {
    pub name: String,
    pub kind: String,
    pub model: String,
}

impl Config {
    /// Writes the file.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self).context("the configuration is no TOML")?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Cameras from what people type: sources with blanks between them. A password in a URL goes into a file of
/// its own in `folder`, as the daemon wants it.
pub(super) fn own_cameras(sources: &str, folder: &Path) -> anyhow::Result<Vec<Camera>> {
    let cameras: Vec<_> = sources
        .split_whitespace()
        .enumerate()
        .map(|(i, source)| own_camera(i + 1, source, folder))
        .collect::<anyhow::Result<_>>()?;
    anyhow::ensure!(
        !cameras.is_empty(),
        "no camera given: write for example \"rtsp://192.168.1.20/stream /dev/video0 clip.mp4\""
    );
    Ok(cameras)
}

fn own_camera(number: usize, text: &str, folder: &Path) -> anyhow::Result<Camera> {
    let mut camera = Camera {
        id: format!("cam{number}"),
        name: format!("Camera {number}"),
        source: text.to_owned(),
        detector: Some("motion".to_owned()),
        ..Camera::default()
    };
    if let Some((scheme, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if scheme != "file"
            && let Some((login, host)) = authority.rsplit_once('@')
        {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            camera.source = format!("{scheme}://{host}{}", &rest[authority.len()..]);
            camera.user = Some(user.to_owned());
            let file = folder.join(format!("{}.password", camera.id));
            write_secret(&file, password)?;
            camera.password = Some(Secret::File(file));
        }
        camera.repeat = (scheme == "file").then_some(true);
    } else if !text.starts_with("/dev/") {
        let path = std::fs::canonicalize(text)
            .with_context(|| format!("`{text}` is neither a file here nor rtsp://… nor /dev/videoN"))?;
        camera.source = path.display().to_string();
        camera.repeat = Some(true);
    }
    Ok(camera)
}

fn write_secret(file: &Path, secret: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(file).and_then(|mut f| writeln!(f, "{secret}"));
    written.with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn sources_as_people_type_them() {
        let folder = tempfile::tempdir().unwrap();
        let clip = folder.path().join("clip.mp4");
        std::fs::write(&clip, "").unwrap();
        let text = format!(
            "rtsp://me:p@ss@10.0.0.9:554/a/b?c=d /dev/video0 {}",
            clip.display()
        );
        let cameras = own_cameras(&text, folder.path()).unwrap();
        assert_eq!(cameras[0].source, "rtsp://10.0.0.9:554/a/b?c=d");
        assert_eq!(cameras[0].user.as_deref(), Some("me"));
        let secret = folder.path().join("cam1.password");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "p@ss\n");
        assert_eq!(
            std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(cameras[1].source, "/dev/video0");
        assert_eq!(cameras[2].repeat, Some(true));
        assert!(own_cameras("nothing.mp4", folder.path()).is_err());
        assert!(own_cameras(" ", folder.path()).is_err());
    }

    #[test]
    fn the_file_is_toml_with_tables_last() {
        let camera = Camera {
            id: "a".to_owned(),
            password: Some(Secret::File("/run/secret".into())),
            capture_bias_ms: Some(20.0),
            ..Camera::default()
        };
        let config = Config {
            schema_version: 1,
            device: Device {
                id: "demo".to_owned(),
                name: "Demo".to_owned(),
                data_dir: "data".into(),
                model_dirs: vec![],
            },
            web: Web {
                listen: vec!["127.0.0.1:1".to_owned()],
            },
            mqtt: Mqtt {
                url: "mqtt://127.0.0.1:2".to_owned(),
            },
            cameras: vec![camera.clone(), camera],
            groups: vec![],
            panoramas: vec![],
            detectors: vec![],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        config.write(&path).unwrap();
        let back: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        assert_eq!(
            back["camera"][1]["password"]["file"].as_str(),
            Some("/run/secret")
        );
        assert_eq!(back["camera"][0]["capture_bias_ms"].as_float(), Some(20.0));
    }
}
