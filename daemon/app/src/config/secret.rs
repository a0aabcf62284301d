//! Passwords by reference: where they are is written in the file, what they are is not.

use std::path::Path;

use synoptic_media::Secret;
use toml::de::DeValue;

use super::reader::{Found, Section};
use super::surroundings::Surroundings;

/// Where systemd puts credentials (systemd.exec(5), `LoadCredential=`).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// Permission bits that let others than owner and group in.
const OTHERS: u32 = 0o007;

const HOW: &str = "write it to a file of its own (chmod 600) and refer to it: password = { file = \"name.password\" }, \
                   or password = { credential = \"name\" } (systemd), or password = { env = \"VARIABLE\" }";

/// Reads the secret that `key` refers to. Relative files are looked for in `folder`.
pub(super) fn read(
    section: &Section<'_, '_>,
    key: &'static str,
    folder: &Path,
    machine: &dyn Surroundings,
) -> Option<Secret> {
    let found = section.find(key)?;
    match found.value {
        DeValue::Table(_) => {}
        DeValue::String(_) => {
            let message = "a password is never written in the configuration itself";
            section.reader.error_at(&found, message, HOW);
            return None;
        }
        _ => {
            section.wrong_type(&found, "a reference to a password", HOW);
            return None;
        }
    }
    let reference = section.section(key)?;
    let (file, credential, env) = (
        reference.filled("file"),
        reference.filled("credential"),
        reference.filled("env"),
    );
    let written = ["file", "credential", "env"]
        .iter()
        .filter(|k| reference.has(k))
        .count();
    reference.finish(|_| None);
    if written != 1 {
        let message = "a reference has exactly one of `file`, `credential` and `env`";
        section.reader.error_at(&found, message, HOW);
        return None;
    }
    let (at, text) = if let Some(file) = file {
        let text = read_file(section, &file, &folder.join(file.value), machine)?;
        (file, text)
    } else if let Some(name) = credential {
        if name.value.contains('/') || name.value.starts_with('.') {
            let hint = "write the ID of LoadCredential= in the unit";
            section
                .reader
                .error_at(&name, "a credential has a name, not a path", hint);
            return None;
        }
        let Some(credentials) = machine.env(CREDENTIALS_DIRECTORY) else {
            let message = format!(
                "credential `{}` is not there: Synoptic was not started by systemd",
                name.value
            );
            let hint = "start it by its unit with LoadCredential= or SetCredential=, or use { file = \"…\" }";
            section.reader.error_at(&name, message, hint);
            return None;
        };
        let text = read_file(section, &name, &Path::new(&credentials).join(name.value), machine)?;
        (name, text)
    } else if let Some(name) = env {
        let Some(text) = machine.env(name.value) else {
            let message = format!("environment variable `{}` is not set", name.value);
            section
                .reader
                .error_at(&name, message, "set it in the unit, or use { file = \"…\" }");
            return None;
        };
        (name, text)
    } else {
        return None;
    };
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        section
            .reader
            .error_at(&at, "what it refers to is empty", "put the password there");
        return None;
    }
    Some(Secret::new(secret.to_owned()))
}

fn read_file(
    section: &Section<'_, '_>,
    at: &Found<&str>,
    path: &Path,
    machine: &dyn Surroundings,
) -> Option<String> {
    match machine.read_secret(path) {
        Ok(file) => {
            if file.mode & OTHERS != 0 {
                let message = format!("everyone on this machine can read {}", path.display());
                section
                    .reader
                    .warn_at(at, message, format!("chmod 600 {}", path.display()));
            }
            Some(file.text)
        }
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            let hint = "create it, readable for the user that Synoptic runs as";
            section.reader.error_at(at, message, hint);
            None
        }
    }
}
