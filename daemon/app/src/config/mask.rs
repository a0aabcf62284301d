//! Where passwords stand in a text, so that an error message never shows one.
//!
//! A refused file is just the one that may hold a password in plain text, so both the text (which works in
//! spite of syntax errors) and the parsed tree (which knows about strings over several lines) are searched.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Parts of key names whose values are taken for secrets.
const SECRET_WORDS: [&str; 6] = ["pass", "pwd", "secret", "token", "psk", "apikey"];
/// Keys that say where a secret is, and may be shown.
const REFERENCE_KEYS: [&str; 3] = ["file", "credential", "env"];

/// Byte ranges of a configuration text that are never shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask(Vec<Range<usize>>);

impl Mask {
    /// Finds the secrets of a text and of its tree.
    pub(super) fn new(text: &str, root: &DeTable<'_>) -> Mask {
        let mut mask = Mask::default();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            mask.search_line(line, start);
            start += line.len();
        }
        mask.search_table(text, root, false);
        mask
    }

    /// The part `range` of `text`, with `*` for each character that is secret.
    pub(super) fn apply(&self, text: &str, range: Range<usize>) -> String {
        let start = range.start;
        let shown = |at: usize| !self.0.iter().any(|secret| secret.contains(&at));
        text[range]
            .char_indices()
            .map(|(i, c)| if shown(start + i) { c } else { '*' })
            .collect()
    }

    fn search_line(&mut self, line: &str, start: usize) {
        if let Some((_, value)) = line
            .char_indices()
            .filter(|(_, c)| *c == '=')
            .find_map(|(at, _)| {
                let key = line[..at].trim_end();
                let from = key.rfind([' ', '\t', '{', ',', '.', '[']).map_or(0, |i| i + 1);
                is_secret_key(&key[from..]).then_some((from, at + 1))
            })
        {
            self.hide_value(line, value, start);
        }
        let mut rest = 0;
        while let Some(at) = line[rest..].find("://").map(|i| rest + i + 3) {
            let end = line[at..]
                .find(|c: char| c.is_whitespace() || c == '"' || c == '\'')
                .map_or(line.len(), |i| at + i);
            if let Some(host) = line[at..end].rfind('@') {
                self.0.push(start + at..start + at + host);
            }
            rest = end;
        }
    }

    /// Hides what stands behind `password =`: all of it, or the strings of `{ … }` that are no references.
    fn hide_value(&mut self, line: &str, from: usize, start: usize) {
        let value = &line[from..];
        if !value.trim_start().starts_with('{') {
            self.0.push(start + from..start + line.trim_end().len().max(from));
            return;
        }
        let mut at = from;
        while let Some(open) = line[at..].find(['"', '\'']).map(|i| at + i) {
            let quote = if line[open..].starts_with('"') { '"' } else { '\'' };
            let close = line[open + 1..].find(quote).map_or(line.len(), |i| open + 1 + i);
            let key = line[at..open].trim_end().trim_end_matches('=').trim_end();
            if !REFERENCE_KEYS.iter().any(|name| key.ends_with(name)) {
                self.0.push(start + open + 1..start + close);
            }
            at = (close + 1).min(line.len());
        }
    }

    fn search_table(&mut self, text: &str, table: &DeTable<'_>, secret: bool) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            let reference = secret && REFERENCE_KEYS.contains(&name);
            let secret = !reference && (secret || is_secret_key(name));
            self.search_value(text, value.get_ref(), value.span(), secret);
        }
    }

    fn search_value(&mut self, text: &str, value: &DeValue<'_>, span: Range<usize>, secret: bool) {
        match value {
            DeValue::Table(table) => self.search_table(text, table, secret),
            DeValue::Array(items) => {
                for item in items {
                    self.search_value(text, item.get_ref(), item.span(), secret);
                }
            }
            _ if secret => self.0.push(span),
            _ => {}
        }
    }
}

/// A configuration's text with `*` in the place of its secrets.
pub(crate) fn masked(text: &str) -> String {
    let (root, _) = DeTable::parse_recoverable(text);
    Mask::new(text, root.get_ref()).apply(text, 0..text.len())
}

fn is_secret_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['_', '-'], "");
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_writing_a_password_is_shown() {
        for text in [
            "password = \"hunter2\"",
            "password=\"hunter2",
            "passwort = 'hunter2' # mine",
            "\"password\" = \"hunter2\"",
            "camera = [{ id = \"a\", password = \"hunter2\" }]",
            "camera = [{ id = \"a\", password = \"hunter2\"",
            "password = hunter2",
            "password = { plain = \"hunter2\" }",
            "password = { plain = 'hunter2'",
            "[camera.password]\nplain = \"hunter2\"",
            "password = \"\"\"\nhunter2\"\"\"",
            "mqtt.api_token = [\n\"hunter2\"\n]",
            "source = \"rtsp://me:hunter2@cam/1\"",
            "source = \"rtsp://me:hun/hunter2@cam/1\"",
            "source = \"rtsp://me:hunter2@cam/1",
        ] {
            let shown = masked(text);
            assert!(!shown.contains("hunter2"), "{shown}");
            assert_eq!(shown.chars().count(), text.chars().count());
        }
    }

    #[test]
    fn references_and_other_values_are_shown() {
        for text in [
            "password = { file = \"front.password\" }",
            "[mqtt.password]\ncredential = \"broker\"",
            "source = \"rtsp://cam/1\" # by a@b.c",
            "name = \"Bypass\"",
            "fps = 5",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
