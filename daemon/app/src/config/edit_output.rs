//! Changing the outputs of the configuration file by machine.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use synoptic_base::StreamId;
use synoptic_media::Secret;
use toml_edit::{DocumentMut, InlineTable, Item, Value};
use utoipa::ToSchema;

use super::document::{for_each_table, ids, push_entry, remove_entry};
use super::edit::{Edit, EditError, SecretChange, parse, secret_path};
use super::source::split_credentials;

/// An output to add or to change, with the keys of the configuration.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOutput {
    /// Its id: 1 to 31 of a-z, 0-9, _ and -, beginning with a letter or digit.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,30}$")]
    pub id: String,
    /// Id of the camera or panorama that is shown.
    pub stream: String,
    /// Whether it runs; it does when `null`.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// `rtmp://…`, `rtmps://…`, `rtsp://…` or `rtsps://…` to push to; user and password in it are taken out of it.
    #[serde(default)]
    pub url: Option<String>,
    /// `rtsp`: served by the box's RTSP server.
    #[serde(default)]
    pub serve: Option<String>,
    /// Path where it is served; the id when `null`.
    #[serde(default)]
    pub path: Option<String>,
    /// `standard` or `onvif`: how RTP headers of what is served tell capture times.
    #[serde(default)]
    pub rtp_times: Option<String>,
    /// User of the server that is pushed to.
    #[serde(default)]
    pub user: Option<String>,
    /// Password. Kept in a file of its own, never shown again; when `null` in a change, it stays as it is.
    #[serde(default)]
    #[schema(write_only, format = "password")]
    pub password: Option<String>,
    /// `tcp` or `udp`, for a push over RTSP.
    #[serde(default)]
    pub transport: Option<String>,
    /// Over TLS: accept any certificate.
    #[serde(default)]
    pub tls_insecure: Option<bool>,
    /// `rtsps://`: a PEM file on the box.
    #[serde(default)]
    pub tls_ca: Option<String>,
    /// Whether the sound goes with the pictures; it does when `null`.
    #[serde(default)]
    pub audio: Option<bool>,
    /// `auto` or `always`.
    #[serde(default)]
    pub transcode: Option<String>,
    /// Bit rate in kbit/s, where it is coded anew.
    #[serde(default)]
    pub bitrate_kbps: Option<u32>,
    /// Seconds from one picture that decoding can begin at to the next.
    #[serde(default)]
    pub gop_s: Option<f64>,
    /// Pixels across, with `height`.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels down.
    #[serde(default)]
    pub height: Option<u32>,
    /// Pictures a second at most.
    #[serde(default)]
    pub fps: Option<u32>,
    /// Whether there are exactly so many pictures a second.
    #[serde(default)]
    pub constant_fps: Option<bool>,
    /// `nvidia`, `va`, `x264` or `openh264`.
    #[serde(default)]
    pub encoder: Option<String>,
}

impl fmt::Debug for NewOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may still have a password in it, and over RTMP it is one.
        write!(
            f,
            "NewOutput {{ id: {:?}, stream: {:?}, .. }}",
            self.id, self.stream
        )
    }
}

/// Adds an output behind the others.
///
/// The new text is checked by [`Edit::save`], not here. Fails when the text is no TOML or the id is wrong or taken.
pub fn add_output(text: &str, output: &NewOutput) -> Result<Edit, EditError> {
    let mut doc = parse(text)?;
    let id = StreamId::new(&output.id)?;
    if ids(&doc, "output").iter().any(|i| i == id.as_str()) {
        return Err(EditError::OutputTaken(id));
    }
    let (rows, secret) = rows(&doc, output, id, None)?;
    push_entry(&mut doc, "output", rows).map_err(|why| EditError::Unreadable(why.to_owned()))?;
    Ok(Edit::new(id, &doc, secret, text))
}

/// Changes an output to what `output` says, at its place; comments above it stay. Fails when the text is no TOML or there is
/// no such output.
pub fn replace_output(text: &str, output: &NewOutput) -> Result<Edit, EditError> {
    let mut doc = parse(text)?;
    let id = StreamId::new(&output.id)?;
    let index = index(&doc, &output.id)?;
    let mut kept = None;
    for_each_table(&mut doc, "output", |i, table| {
        if i == index {
            kept = table.get("password").and_then(Item::as_value).cloned();
        }
    });
    let (rows, secret) = rows(&doc, output, id, kept)?;
    for_each_table(&mut doc, "output", |i, table| {
        if i == index {
            let keys: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
            for key in keys {
                if !rows.iter().any(|(name, _)| *name == key) {
                    table.remove(&key);
                }
            }
            for (key, value) in &rows {
                match table.get_mut(key).and_then(Item::as_value_mut) {
                    // What stands behind the value is a person's.
                    Some(before) => {
                        let decor = before.decor().clone();
                        *before = value.clone();
                        *before.decor_mut() = decor;
                    }
                    None => drop(table.insert(key, Item::Value(value.clone()))),
                }
            }
        }
    });
    Ok(Edit::new(id, &doc, secret, text))
}

/// Removes an output. Fails when the text is no TOML or there is no such output.
pub fn remove_output(text: &str, id: &str) -> Result<Edit, EditError> {
    let mut doc = parse(text)?;
    let index = index(&doc, id)?;
    let path = password_file(&doc, id);
    remove_entry(&mut doc, "output", index);
    let after = doc.to_string();
    let name = path.to_string_lossy();
    // Only a file that was made for this output, and that nothing else refers to.
    let secret = match text.contains(name.as_ref()) && !after.contains(name.as_ref()) {
        true => SecretChange::Remove(path),
        false => SecretChange::Keep,
    };
    Ok(Edit::new(StreamId::new(id)?, &doc, secret, text))
}

fn index(doc: &DocumentMut, id: &str) -> Result<usize, EditError> {
    let found = ids(doc, "output").iter().position(|i| i == id);
    found.ok_or_else(|| EditError::NoOutput(id.to_owned()))
}

/// The file of an output's password: a camera may have the same id.
fn password_file(doc: &DocumentMut, id: &str) -> PathBuf {
    secret_path(doc, &format!("output-{id}"))
}

type Rows = Vec<(&'static str, Value)>;

fn rows(
    doc: &DocumentMut,
    output: &NewOutput,
    id: StreamId,
    kept: Option<Value>,
) -> Result<(Rows, SecretChange), EditError> {
    let filled = |text: &Option<String>| text.clone().filter(|t| !t.trim().is_empty());
    let (mut url, mut user, mut password) = (
        filled(&output.url),
        filled(&output.user),
        filled(&output.password),
    );
    if let Some(written) = &url {
        let parts = split_credentials(written.trim())?;
        url = Some(parts.url);
        user = user.or(parts.user);
        password = password.or(parts.password.map(|p| p.expose().to_owned()));
    }
    let mut rows: Rows = vec![
        ("id", id.as_str().into()),
        ("stream", output.stream.as_str().into()),
    ];
    let mut put = |key, value: Option<Value>| rows.extend(value.map(|value| (key, value)));
    let text = |text: Option<String>| text.map(Value::from);
    let number = |n: Option<u32>| n.map(|n| Value::from(i64::from(n)));
    put("enabled", output.enabled.filter(|on| !on).map(Value::from));
    put("url", text(url));
    put("serve", text(filled(&output.serve)));
    put("path", text(filled(&output.path)));
    put("rtp_times", text(filled(&output.rtp_times)));
    let has_user = user.is_some();
    put("user", text(user));
    let secret = match password {
        Some(password) => {
            let path = password_file(doc, id.as_str());
            let mut reference = InlineTable::new();
            reference.insert("file", path.to_string_lossy().as_ref().into());
            put("password", Some(reference.into()));
            SecretChange::Write(path, Secret::new(password))
        }
        None => {
            put("password", kept.filter(|_| has_user));
            SecretChange::Keep
        }
    };
    put("transport", text(filled(&output.transport)));
    put("tls_insecure", output.tls_insecure.map(Value::from));
    put("tls_ca", text(filled(&output.tls_ca)));
    put("audio", output.audio.filter(|on| !on).map(Value::from));
    put("transcode", text(filled(&output.transcode)));
    put("bitrate_kbps", number(output.bitrate_kbps));
    put("gop_s", output.gop_s.map(Value::from));
    put("width", number(output.width));
    put("height", number(output.height));
    put("fps", number(output.fps));
    put(
        "constant_fps",
        output.constant_fps.filter(|on| *on).map(Value::from),
    );
    put("encoder", text(filled(&output.encoder)));
    Ok((rows, secret))
}
