//! Every file in configs/, the JSON Schema and the reference say the same as the program.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::load::read;
use super::super::surroundings::fake::FakeMachine;
use super::super::{RawConfig, example, parse, schema};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn generous() -> FakeMachine {
    FakeMachine {
        generous: true,
        ..FakeMachine::default()
    }
}

/// The example with every `#key = …` and `#[table]` set; prose begins with `# `.
fn uncommented() -> String {
    let set = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    example().lines().map(set).collect()
}

fn shipped() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["configs", "configs/examples"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files
}

/// The schema's properties as paths like `camera[].source`, each with its own schema.
fn schema_keys(schema: &Value) -> Vec<(String, Value)> {
    fn resolved<'s>(root: &'s Value, node: &'s Value) -> &'s Value {
        match node.get("$ref").and_then(Value::as_str) {
            Some(reference) => root.pointer(&reference[1..]).unwrap(),
            None => node,
        }
    }
    fn walk(root: &Value, node: &Value, path: &str, keys: &mut Vec<(String, Value)>) {
        let node = resolved(root, node);
        let choices = node.get("oneOf").and_then(Value::as_array);
        for node in choices.map_or_else(|| vec![node], |c| c.iter().collect()) {
            let Some(properties) = node.get("properties").and_then(Value::as_object) else {
                continue;
            };
            for (name, property) in properties {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let required = node["required"]
                    .as_array()
                    .is_some_and(|r| r.contains(&name.as_str().into()));
                let mut own = property.clone();
                own["required"] = required.into();
                keys.push((path.clone(), own));
                match property.get("items") {
                    Some(items) => walk(root, items, &format!("{path}[]"), keys),
                    None => walk(root, property, &path, keys),
                }
            }
        }
    }
    let mut keys = Vec::new();
    walk(schema, schema, "", &mut keys);
    keys
}

/// Compares a generated file with the committed one, or writes it when `UPDATE=1`.
fn check_generated(path: &str, generated: &str, same: impl Fn(&str) -> bool) {
    let path = root().join(path);
    if std::env::var("UPDATE").is_ok_and(|v| v == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        same(&committed),
        "{} is stale: run the tests with UPDATE=1",
        path.display()
    );
}

#[test]
fn every_shipped_file_is_right_and_fits_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut files = shipped();
    assert!(files.len() >= 6, "{files:?}");
    files.push((PathBuf::from("synoptic.toml with all keys"), uncommented()));
    for (path, text) in files {
        let loaded = parse(&text, &path, &generous()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [], "{}", path.display());
        let raw: RawConfig = toml::from_str(&text).unwrap();
        assert_eq!(raw.schema_version, 1);
        let json: Value = toml::from_str(&text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0], "{}", path.display());
    }
}

#[test]
fn the_example_as_it_is_changes_no_default() {
    let file = Path::new("/etc/synoptic/synoptic.toml");
    let example = parse(example(), file, &generous()).unwrap();
    let minimal = parse("schema_version = 1", file, &generous()).unwrap();
    assert_eq!(example.config, minimal.config);
}

#[test]
fn schema_program_and_example_know_the_same_keys() {
    let schema: BTreeSet<String> = schema_keys(&schema()).into_iter().map(|(path, _)| path).collect();
    let (config, _, asked) = read(&uncommented(), Path::new("/"), &generous());
    assert!(config.is_some());
    // References to passwords are read only as far as they are written.
    let open = |keys: &BTreeSet<String>| -> BTreeSet<String> {
        keys.iter()
            .filter(|k| !k.contains("password.") && !k.contains("metrics_token."))
            .cloned()
            .collect()
    };
    assert_eq!(open(&asked), open(&schema));
    let parsed: Value = toml::from_str(&uncommented()).unwrap();
    for key in open(&schema) {
        assert!(
            !values_at(&parsed, &key).is_empty(),
            "{key} is not in configs/synoptic.toml"
        );
    }
}

#[test]
fn the_defaults_shown_are_the_defaults() {
    let parsed: Value = toml::from_str(&uncommented()).unwrap();
    for (key, own) in schema_keys(&schema()) {
        let Some(default) = own.get("default") else {
            continue;
        };
        let shown = values_at(&parsed, &key);
        let equal = |v: &Value| *v == *default || v.as_f64().is_some_and(|v| default.as_f64() == Some(v));
        assert!(
            shown.iter().any(equal),
            "{key}: default {default}, shown {shown:?}"
        );
    }
}

#[test]
fn a_default_written_out_is_no_change() {
    // What serde fills in is what the reader fills in.
    let short = "schema_version = 1\n[device]\n[web]\n[mqtt]\nurl = \"mqtt://h\"\n[store]\n\
        [[camera]]\nid = \"a\"\nsource = \"a.mp4\"\n[[group]]\nid = \"g\"\ncameras = [\"a\"]\n";
    let raw: RawConfig = toml::from_str(short).unwrap();
    let long = toml::to_string(&raw).unwrap();
    assert!(long.contains("keep_detections"), "{long}");
    let file = Path::new("/etc/a.toml");
    let config = |text: &str| {
        parse(text, file, &generous())
            .unwrap_or_else(|e| panic!("{e}"))
            .config
    };
    assert_eq!(config(short), config(&long));
}

#[test]
fn the_schema_is_committed() {
    let generated = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    check_generated("docs/reference/schemas/config.json", &generated, |committed| {
        serde_json::from_str::<Value>(committed).is_ok_and(|c| c == schema())
    });
}

const BEGIN: &str = "<!-- keys: begin (made by a test, UPDATE=1 writes it) -->\n";
const END: &str = "<!-- keys: end -->";

#[test]
fn the_reference_lists_all_keys() {
    let path = "docs/reference/configuration.md";
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let (head, rest) = text.split_once(BEGIN).expect("the marker of the table");
    let (_, tail) = rest.split_once(END).expect("the end of the table");
    let generated = format!("{head}{BEGIN}{}{END}{tail}", tables());
    check_generated(path, &generated, |committed| committed == generated);
}

/// One Markdown table for each table of the file, keys in the order of the example.
fn tables() -> String {
    let keys = schema_keys(&schema());
    let example = uncommented();
    let mut out = String::new();
    let titles = [
        ("", "At the top"),
        ("device", "`[device]`"),
        ("web", "`[web]`"),
        ("web.webrtc", "`[web.webrtc]`"),
        ("store", "`[store]`"),
        ("mqtt", "`[mqtt]`"),
        ("mqtt.commands", "`[mqtt.commands]`"),
        ("packets", "`[packets]`"),
        ("stitch", "`[stitch]`"),
        ("camera[]", "`[[camera]]`"),
        ("group[]", "`[[group]]`"),
        ("panorama[]", "`[[panorama]]`"),
        ("virtual_camera[]", "`[[virtual_camera]]`"),
        ("rtsp", "`[rtsp]`"),
        ("output[]", "`[[output]]`"),
        ("detector[]", "`[[detector]]`"),
    ];
    for (table, title) in titles {
        let about = keys.iter().find(|(k, _)| k == table.trim_end_matches("[]"));
        let about = about
            .and_then(|(_, own)| own["description"].as_str())
            .unwrap_or("");
        let _ = write!(out, "\n### {title}\n\n");
        if !about.is_empty() {
            let _ = write!(out, "{}\n\n", one_line(about));
        }
        out.push_str("| key | what is written | default | meaning |\n|---|---|---|---|\n");
        let start = example.find(&title.replace('`', "")).unwrap_or(0);
        let mut rows: Vec<_> = keys
            .iter()
            .filter(|(k, own)| {
                let name = k.strip_prefix(table).map(|n| n.trim_start_matches('.'));
                let leaf = name.is_some_and(|n| !n.is_empty() && !n.contains(['.', '[']));
                let top = !table.is_empty() || k == "schema_version";
                // A table in a table has a section of its own.
                let table = own["$ref"]
                    .as_str()
                    .is_some_and(|r| ["Commands", "WebRtc"].iter().any(|end| r.ends_with(end)));
                leaf && top && !table && own.get("properties").is_none()
            })
            .map(|(k, own)| (k.rsplit('.').next().unwrap(), own))
            .collect();
        rows.sort_by_key(|(name, _)| {
            example[start..]
                .find(&format!("\n{name} = "))
                .unwrap_or(usize::MAX)
        });
        for (name, own) in rows {
            let default = match (own.get("default"), own["required"] == true) {
                (_, true) => "needed".to_owned(),
                (Some(default), _) => format!("`{default}`"),
                (None, _) => String::new(),
            };
            let about = one_line(own["description"].as_str().unwrap_or(""));
            let (about, told) = match about.split_once("Default: ") {
                Some((about, told)) => (about.trim().to_owned(), told.trim_end_matches('.').to_owned()),
                None => (about, String::new()),
            };
            let default = if default.is_empty() { told } else { default };
            let _ = writeln!(out, "| `{name}` | {} | {default} | {about} |", kind(own));
        }
    }
    out.push('\n');
    out
}

fn kind(own: &Value) -> String {
    if let Some(words) = own.get("enum").and_then(Value::as_array) {
        let words: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
        return words.join(", ");
    }
    if let Some(choices) = own.get("oneOf").and_then(Value::as_array) {
        let words: Vec<String> = choices.iter().map(|c| format!("`{}`", c["const"])).collect();
        return words.join(", ");
    }
    if own.get("$ref").is_some_and(|r| r == "#/$defs/RawSecret") {
        return "[reference](#passwords)".to_owned();
    }
    if let Some(only) = own.get("const") {
        return format!("`{only}`");
    }
    let pattern = own.get("pattern").and_then(Value::as_str).unwrap_or("");
    let range = match (own.get("minimum"), own.get("maximum")) {
        (Some(low), Some(high)) => format!(", {low} to {high}"),
        _ => String::new(),
    };
    match own["type"].as_str().unwrap_or("") {
        "string" if pattern.contains("|min|") => "time".to_owned(),
        "string" if pattern.contains("iB") => "bytes".to_owned(),
        "string" => "text".to_owned(),
        "integer" => format!("whole number{range}"),
        "number" => format!("number{range}"),
        "boolean" => "`true`, `false`".to_owned(),
        "array" => "list of texts".to_owned(),
        other => panic!("no words for {other}: {own}"),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// All values at a path like `camera[].source`.
fn values_at(value: &Value, path: &str) -> Vec<Value> {
    let mut values = vec![value.clone()];
    for part in path.split('.') {
        let (name, list) = match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        values = values.iter().filter_map(|v| v.get(name).cloned()).collect();
        if list {
            values = values
                .iter()
                .filter_map(Value::as_array)
                .flatten()
                .cloned()
                .collect();
        }
    }
    values
}

#[test]
fn the_broker_listens_on_loopback_only_and_keeps_what_is_retained() {
    let text = std::fs::read_to_string(root().join("configs/mosquitto.conf")).unwrap();
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let mut settings: Vec<(&str, &str)> = Vec::new();
    for line in lines {
        settings.push(line.split_once(' ').unwrap_or_else(|| panic!("no value: {line}")));
    }
    let listeners: Vec<_> = settings.iter().filter(|(k, _)| *k == "listener").collect();
    assert!(!listeners.is_empty());
    assert!(
        listeners.iter().all(|(_, v)| v.ends_with(" 127.0.0.1")),
        "{listeners:?}"
    );
    assert!(settings.contains(&("persistence", "true")));
}
