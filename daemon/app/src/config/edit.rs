//! Changing the configuration file by machine, as a careful person would: comments, order and everything that
//! is not meant stay as they are.
//!
//! [`add_camera`] and [`remove_camera`] make an [`Edit`], a plain value; [`Edit::save`] does it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use synoptic_base::StreamId;
use synoptic_media::Secret;
use toml_edit::{DocumentMut, InlineTable, Item, Value};
use utoipa::ToSchema;

use super::document::{for_each_table, ids, push_entry, push_like_others, remove_entry, remove_text};
use super::load::folder_of;
use super::raw;
use super::save::{SaveError, save_with, write_atomically};
use super::source::{SourceError, is_network, scheme, split_credentials};
use super::surroundings::{SmallFile, Surroundings, ThisMachine};
use super::words::slug;

/// Folder of the passwords given on the page, in `data_dir`.
const SECRETS: &str = "secrets";

/// A camera to add, as the page's form gives it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCamera {
    /// Id; made from the name when absent.
    pub id: Option<String>,
    /// Name for people.
    pub name: String,
    /// Source; user and password in an address are taken out of it.
    pub source: String,
    /// User.
    pub user: Option<String>,
    /// Password; goes into a file of its own.
    #[schema(write_only, format = "password")]
    pub password: Option<String>,
    /// `tcp` or `udp`.
    pub transport: Option<String>,
    /// Name of a detector, or `none`.
    pub detector: Option<String>,
    /// Group to join; the first when absent.
    pub group: Option<String>,
}

impl fmt::Debug for NewCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The source may still have a password in it.
        let (id, name) = (&self.id, &self.name);
        write!(f, "NewCamera {{ id: {id:?}, name: {name:?}, .. }}")
    }
}

/// Why the file cannot be changed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file is no TOML now.
    #[error("the configuration file cannot be read: {0}. Mend it first: `synoptic check` says where")]
    Unreadable(String),
    /// The camera's source is none.
    #[error("source: {0}")]
    Source(#[from] SourceError),
    /// The id is none.
    #[error("{0}")]
    Id(#[from] synoptic_base::IdError),
    /// The id is taken.
    #[error("there is a camera `{0}` already: choose another id")]
    Taken(StreamId),
    /// The group does not exist.
    #[error("there is no group `{0}`")]
    NoGroup(String),
    /// The id is another output's.
    #[error("there is an output `{0}` already: choose another id")]
    OutputTaken(StreamId),
    /// The output does not exist.
    #[error("there is no output `{0}` in the configuration")]
    NoOutput(String),
    /// The camera does not exist.
    #[error("there is no camera `{0}`")]
    NoCamera(String),
    /// The id is that of another stream.
    #[error("there is a camera, panorama or virtual camera `{0}` already: choose another id")]
    StreamTaken(StreamId),
    /// The panorama does not exist.
    #[error("there is no panorama `{0}` in the configuration")]
    NoPanorama(StreamId),
    /// The virtual camera does not exist.
    #[error("there is no virtual camera `{0}` in the configuration")]
    NoVirtualCamera(StreamId),
    /// A setting is not known, or of another type.
    #[error("{0}")]
    Setting(String),
    /// Somebody else changed the file.
    #[error("{} was changed by somebody else in the meantime: try again", .0.display())]
    Changed(PathBuf),
    /// Checking or writing failed.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// A change of the configuration file: what will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The camera, panorama, virtual camera or output.
    pub id: StreamId,
    /// The new text of the configuration.
    pub text: String,
    /// What happens to its password.
    pub secret: SecretChange,
    before: String,
}

/// What an [`Edit`] does with the file of a password. Relative paths begin at the configuration's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretChange {
    /// Nothing.
    Keep,
    /// It is written, readable for Synoptic's user only.
    Write(PathBuf, Secret),
    /// It is removed, since the page made it and nobody refers to it any more.
    Remove(PathBuf),
}

/// Adds a camera behind the others. When the file has groups it joins the one named, or the first.
///
/// The new text is checked by [`Edit::save`], not here. Fails when the text is no TOML, the id is wrong or
/// taken, or the group does not exist.
pub fn add_camera(text: &str, camera: &NewCamera) -> Result<Edit, EditError> {
    let mut doc = parse(text)?;
    let taken = ids(&doc, "camera");
    let id = match &camera.id {
        Some(id) => {
            let id = StreamId::new(id)?;
            if taken.iter().any(|t| t == id.as_str()) {
                return Err(EditError::Taken(id));
            }
            id
        }
        None => free_id(&camera.name, &taken)?,
    };
    let mut source = camera.source.trim().to_owned();
    let (mut user, mut password) = (camera.user.clone(), camera.password.clone().map(Secret::new));
    if scheme(&source).is_some_and(|s| is_network(&s)) {
        let parts = split_credentials(&source)?;
        source = parts.url;
        user = user.filter(|u| !u.is_empty()).or(parts.user);
        password = password.filter(|p| !p.expose().is_empty()).or(parts.password);
    }
    let mut rows: Vec<(&str, Value)> = vec![("id", id.as_str().into())];
    let mut row = |key, text: Option<&str>| {
        if let Some(text) = text.filter(|t| !t.trim().is_empty()) {
            rows.push((key, text.into()));
        }
    };
    row("name", Some(camera.name.trim()).filter(|n| *n != id.as_str()));
    row("source", Some(&source));
    row("user", user.as_deref());
    row("transport", camera.transport.as_deref());
    row("detector", camera.detector.as_deref());
    let secret = match password.filter(|p| !p.expose().is_empty()) {
        Some(password) => {
            let path = secret_path(&doc, id.as_str());
            let mut reference = InlineTable::new();
            reference.insert("file", path.to_string_lossy().as_ref().into());
            let at = rows
                .iter()
                .position(|(k, _)| *k == "user")
                .map_or(rows.len(), |i| i + 1);
            rows.insert(at, ("password", reference.into()));
            SecretChange::Write(path, password)
        }
        None => SecretChange::Keep,
    };
    join_group(&mut doc, camera.group.as_deref().filter(|g| !g.is_empty()), &id)?;
    push_entry(&mut doc, "camera", rows).map_err(|why| EditError::Unreadable(why.to_owned()))?;
    Ok(Edit {
        id,
        text: doc.to_string(),
        secret,
        before: text.to_owned(),
    })
}

/// Removes a camera and its mention in groups and panoramas; a group left empty goes too, and a panorama of one camera. Fails when the text is no TOML or
/// there is no such camera.
pub fn remove_camera(text: &str, id: &str) -> Result<Edit, EditError> {
    let mut doc = parse(text)?;
    let missing = || EditError::NoCamera(id.to_owned());
    let index = ids(&doc, "camera")
        .iter()
        .position(|i| i == id)
        .ok_or_else(missing)?;
    remove_entry(&mut doc, "camera", index);
    let mut empty = Vec::new();
    for_each_table(&mut doc, "group", |index, group| {
        let Some(cameras) = group.get_mut("cameras").and_then(Item::as_array_mut) else {
            return;
        };
        let before = cameras.len();
        remove_text(cameras, id);
        if before > 0 && cameras.is_empty() {
            empty.push(index);
        }
    });
    let groups = ids(&doc, "group");
    let gone: Vec<&String> = empty.iter().filter_map(|index| groups.get(*index)).collect();
    let mut alone = Vec::new();
    for_each_table(&mut doc, "panorama", |index, panorama| {
        let group = panorama.get("group").and_then(Item::as_str);
        let groupless = group.is_some_and(|group| gone.iter().any(|g| *g == group));
        let Some(cameras) = panorama.get_mut("cameras").and_then(Item::as_array_mut) else {
            alone.extend(groupless.then_some(index));
            return;
        };
        remove_text(cameras, id);
        if groupless || cameras.len() < 2 {
            alone.push(index);
        }
    });
    for index in alone.into_iter().rev() {
        remove_entry(&mut doc, "panorama", index);
    }
    for index in empty.into_iter().rev() {
        remove_entry(&mut doc, "group", index);
    }
    let after = doc.to_string();
    let secret = secret_path(&doc, id);
    let name = secret.to_string_lossy();
    // Only a file that the page made for this camera, and that nothing else refers to.
    let secret = match text.contains(name.as_ref()) && !after.contains(name.as_ref()) {
        true => SecretChange::Remove(secret),
        false => SecretChange::Keep,
    };
    Ok(Edit {
        id: StreamId::new(id)?,
        text: after,
        secret,
        before: text.to_owned(),
    })
}

/// A measured bias to write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BiasEdit {
    /// The camera.
    pub camera: StreamId,
    /// Its `capture_bias_ms`.
    pub bias_ms: f64,
    /// Its `capture_bias_error_ms`.
    pub error_ms: f64,
}

/// Sets the capture biases of cameras. Fails when the text is no TOML, or one of the cameras is not in it.
pub fn set_biases(text: &str, biases: &[BiasEdit]) -> Result<Edit, EditError> {
    let mut doc = parse(text)?;
    let known = ids(&doc, "camera");
    let missing = |b: &&BiasEdit| !known.iter().any(|id| id == b.camera.as_str());
    if let Some(missing) = biases.iter().find(missing) {
        return Err(EditError::NoCamera(missing.camera.to_string()));
    }
    for_each_table(&mut doc, "camera", |index, camera| {
        let of = |b: &&BiasEdit| known.get(index).is_some_and(|id| id == b.camera.as_str());
        for bias in biases.iter().filter(of) {
            for (key, ms) in [
                ("capture_bias_ms", bias.bias_ms),
                ("capture_bias_error_ms", bias.error_ms),
            ] {
                match camera.get_mut(key).and_then(Item::as_value_mut) {
                    // What stands behind the value is a person's.
                    Some(value) => {
                        let decor = value.decor().clone();
                        *value = ms.into();
                        *value.decor_mut() = decor;
                    }
                    None => {
                        camera.insert(key, Item::Value(ms.into()));
                    }
                }
            }
        }
    });
    let first = biases.first().map(|b| b.camera);
    Ok(Edit {
        id: first.ok_or_else(|| EditError::NoCamera("-".to_owned()))?,
        text: doc.to_string(),
        secret: SecretChange::Keep,
        before: text.to_owned(),
    })
}

impl Edit {
    /// A change of `before` into what `doc` says.
    pub(super) fn new(id: StreamId, doc: &DocumentMut, secret: SecretChange, before: &str) -> Edit {
        Edit {
            id,
            text: doc.to_string(),
            secret,
            before: before.to_owned(),
        }
    }

    /// Checks the new text, writes or removes the password's file, and writes the configuration to `path`.
    ///
    /// Fails, and leaves the configuration as it is, when the new text is wrong, the file was changed since the
    /// edit was made, or the file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), EditError> {
        self.save_on(path, &ThisMachine)
    }

    fn save_on(&self, path: &Path, machine: &dyn Surroundings) -> Result<(), EditError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| EditError::Save(SaveError::Io { path, source })
        };
        if std::fs::read_to_string(path).map_err(io(path))? != self.before {
            return Err(EditError::Changed(path.to_owned()));
        }
        let folder = folder_of(path);
        match &self.secret {
            SecretChange::Keep => save_with(path, &self.text, machine)?,
            SecretChange::Write(file, secret) => {
                let file = folder.join(file);
                let with_secret = WithSecret {
                    machine,
                    file: &file,
                    secret,
                };
                // First look, then touch the disk.
                super::load::parse(&self.text, path, &with_secret).map_err(SaveError::Invalid)?;
                if let Some(secrets) = file.parent() {
                    make_private_folder(secrets).map_err(io(secrets))?;
                }
                write_atomically(&file, secret.expose().as_bytes(), 0o600)?;
                if let Err(error) = save_with(path, &self.text, machine) {
                    // The configuration does not refer to it. The first error is the one to tell.
                    let _ = std::fs::remove_file(&file);
                    return Err(error.into());
                }
            }
            SecretChange::Remove(file) => {
                save_with(path, &self.text, machine)?;
                let file = folder.join(file);
                if let Err(error) = std::fs::remove_file(&file)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    log::warn!("the password file {} was not removed: {error}", file.display());
                }
            }
        }
        Ok(())
    }
}

/// A machine on which a password's file exists already.
struct WithSecret<'m> {
    machine: &'m dyn Surroundings,
    file: &'m Path,
    secret: &'m Secret,
}

impl Surroundings for WithSecret<'_> {
    fn read_secret(&self, path: &Path) -> std::io::Result<SmallFile> {
        if path != self.file {
            return self.machine.read_secret(path);
        }
        Ok(SmallFile {
            text: self.secret.expose().to_owned(),
            mode: 0o600,
        })
    }
    fn env(&self, name: &str) -> Option<String> {
        self.machine.env(name)
    }
    fn host_name(&self) -> Option<String> {
        self.machine.host_name()
    }
}

fn make_private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

pub(super) fn parse(text: &str) -> Result<DocumentMut, EditError> {
    // The parser's own message shows the line, which may be one with a password.
    let unreadable = |error: toml_edit::TomlError| EditError::Unreadable(error.message().to_owned());
    text.parse().map_err(unreadable)
}

pub(super) fn secret_path(doc: &DocumentMut, id: &str) -> PathBuf {
    let device = doc.get("device").and_then(Item::as_table_like);
    let data_dir = device.and_then(|d| d.get("data_dir")).and_then(Item::as_str);
    Path::new(data_dir.unwrap_or(raw::DATA_DIR))
        .join(SECRETS)
        .join(format!("{id}.password"))
}

/// The id for a name: as the name, or `cam`, with a number when that is taken.
fn free_id(name: &str, taken: &[String]) -> Result<StreamId, EditError> {
    let base = slug(name).map_or_else(|| "cam".to_owned(), |s| s.to_string());
    let mut number = 1;
    loop {
        let tail = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        let room = base.len().min(StreamId::MAX_LEN - tail.len());
        let id = format!("{}{tail}", &base[..room]);
        if !taken.contains(&id) {
            return Ok(StreamId::new(&id)?);
        }
        number += 1;
    }
}

fn join_group(doc: &mut DocumentMut, name: Option<&str>, id: &StreamId) -> Result<(), EditError> {
    let groups = ids(doc, "group");
    let index = match name {
        None if groups.is_empty() => return Ok(()),
        None => 0,
        // Without groups in the file all cameras are in this one.
        Some(raw::MAIN_GROUP) if groups.is_empty() => return Ok(()),
        Some(name) => groups
            .iter()
            .position(|g| g == name)
            .ok_or_else(|| EditError::NoGroup(name.to_owned()))?,
    };
    for_each_table(doc, "group", |i, group| {
        if i == index
            && let Some(cameras) = group.get_mut("cameras").and_then(Item::as_array_mut)
        {
            push_like_others(cameras, id.as_str().into());
        }
    });
    Ok(())
}
