//! Every secret that a configuration refers to: what must be in no support bundle.

use std::path::Path;

use crate::config::{Surroundings, ThisMachine};

/// Ways in which a configuration refers to a secret (docs/reference/configuration.md).
const REFERENCES: [&str; 3] = ["file", "credential", "env"];
/// Folder of the passwords given on the page, in the data folder.
const PAGE_SECRETS: &str = "secrets";
/// Shorter texts are in every other word, and replacing them would leave nothing to read.
const SHORTEST: usize = 4;

/// A reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Reference {
    /// The key, as `camera[0].password`.
    pub(super) key: String,
    /// `file`, `credential` or `env`.
    pub(super) kind: String,
    /// Which one.
    pub(super) name: String,
}

/// All references of a configuration's text, in the order of its tables.
pub(super) fn references(text: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        walk(&toml::Value::Table(table), "", &mut found);
    }
    found
}

fn walk(value: &toml::Value, path: &str, found: &mut Vec<Reference>) {
    match value {
        toml::Value::Table(table) => {
            let mut fields = table.iter();
            if let (Some((kind, toml::Value::String(name))), None) = (fields.next(), fields.next())
                && REFERENCES.contains(&kind.as_str())
            {
                found.push(Reference {
                    key: path.to_owned(),
                    kind: kind.clone(),
                    name: name.clone(),
                });
                return;
            }
            for (key, value) in table {
                let dot = if path.is_empty() { "" } else { "." };
                walk(value, &format!("{path}{dot}{key}"), found);
            }
        }
        toml::Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{n}]"), found);
            }
        }
        _ => {}
    }
}

/// The secrets themselves, with every way in which they may be written; the longest first.
pub(super) fn all(text: &str, folder: &Path, data_dir: &Path) -> Vec<String> {
    let machine = ThisMachine;
    let mut secrets = Vec::new();
    let file = |path: &Path| machine.read_secret(path).ok().map(|f| f.text);
    for reference in references(text) {
        secrets.extend(match reference.kind.as_str() {
            "file" => file(&folder.join(&reference.name)),
            "credential" => machine
                .env("CREDENTIALS_DIRECTORY")
                .and_then(|dir| file(&Path::new(&dir).join(&reference.name))),
            _ => machine.env(&reference.name),
        });
    }
    let own = std::fs::read_dir(data_dir.join(PAGE_SECRETS));
    for entry in own.into_iter().flatten().flatten() {
        secrets.extend(file(&entry.path()));
    }
    secrets.extend(file(&data_dir.join("web-password")));
    let mut written: Vec<String> = secrets.iter().flat_map(|secret| ways(secret.trim())).collect();
    written.retain(|s| s.chars().count() >= SHORTEST);
    written.sort_by_key(|s| std::cmp::Reverse(s.len()));
    written.dedup();
    written
}

/// As it is, as JSON writes it, and as an address does.
fn ways(secret: &str) -> [String; 3] {
    let json = serde_json::Value::from(secret).to_string();
    let encoded =
        percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
    [secret.to_owned(), json[1..json.len() - 1].to_owned(), encoded]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_wherever_they_stand() {
        let text = "[mqtt]\npassword = { file = \"m\" }\n[[camera]]\nid = \"a\"\n[camera.password]\nenv = \"P\"\n\
                    [web]\nmetrics_token = { credential = \"t\" }\n";
        let mut found: Vec<_> = references(text)
            .into_iter()
            .map(|r| format!("{} {} {}", r.key, r.kind, r.name))
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                "camera[0].password env P",
                "mqtt.password file m",
                "web.metrics_token credential t"
            ]
        );
        assert!(references("= no toml").is_empty());
    }

    #[test]
    fn every_way_to_write_a_secret_is_known() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m"), "a \"b\"/c\n").unwrap();
        std::fs::create_dir(dir.path().join("secrets")).unwrap();
        std::fs::write(dir.path().join("secrets/x.password"), "hunter2").unwrap();
        std::fs::write(dir.path().join("s"), "abc").unwrap();
        let text =
            "[mqtt]\npassword = { file = \"m\" }\n[a]\np = { file = \"s\" }\nq = { file = \"not there\" }\n";
        let found = all(text, dir.path(), dir.path());
        for secret in ["a \"b\"/c", "a \\\"b\\\"/c", "a%20%22b%22%2Fc", "hunter2"] {
            assert!(found.iter().any(|s| s == secret), "{secret}: {found:?}");
        }
        assert!(!found.iter().any(|s| s == "abc"), "too short");
        assert!(found.is_sorted_by_key(|s| std::cmp::Reverse(s.len())));
    }
}
