//! A reader of TOML that goes on after a problem.
//!
//! Deserializers stop at the first problem; a person wants all of them. A [`Section`] is one table of the file:
//! its methods give a value of the asked type, or note the problem with its place and give `None`. The keys
//! asked for are the keys that exist: [`Section::finish`] notes all others.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use synoptic_base::{BBox, Span, StreamId};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mask::Mask;
use super::problem::{Problem, Severity};
use super::units;
use super::words::{listed, nearest, slug};

/// Collects the problems of one text.
pub(super) struct Reader<'t> {
    text: &'t str,
    mask: Mask,
    problems: RefCell<Vec<Problem>>,
    asked: RefCell<BTreeSet<String>>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    /// The value.
    pub(super) value: T,
    /// Its bytes in the text.
    pub(super) span: Range<usize>,
    /// Its key path.
    pub(super) path: String,
}

impl<T> Found<T> {
    fn with<U>(&self, value: U) -> Found<U> {
        Found {
            value,
            span: self.span.clone(),
            path: self.path.clone(),
        }
    }
}

impl<'t> Reader<'t> {
    /// A reader of `text`, whose tree is `root`.
    pub(super) fn new(text: &'t str, root: &DeTable<'t>) -> Reader<'t> {
        Reader {
            text,
            mask: Mask::new(text, root),
            problems: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    /// Notes an error.
    pub(super) fn error(
        &self,
        path: &str,
        span: Range<usize>,
        message: impl Display,
        hint: impl Into<String>,
    ) {
        self.note(Severity::Error, path, span, message.to_string(), hint.into());
    }

    /// Notes a warning.
    pub(super) fn warn(
        &self,
        path: &str,
        span: Range<usize>,
        message: impl Display,
        hint: impl Into<String>,
    ) {
        self.note(Severity::Warning, path, span, message.to_string(), hint.into());
    }

    /// Notes an error at a value.
    pub(super) fn error_at<T>(&self, at: &Found<T>, message: impl Display, hint: impl Into<String>) {
        self.error(&at.path, at.span.clone(), message, hint);
    }

    /// Notes a warning at a value.
    pub(super) fn warn_at<T>(&self, at: &Found<T>, message: impl Display, hint: impl Into<String>) {
        self.warn(&at.path, at.span.clone(), message, hint);
    }

    /// The problems, in the order of the file, and the keys that were asked for (`camera[].source`).
    pub(super) fn finish(self) -> (Vec<Problem>, BTreeSet<String>) {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|p| (p.line, p.column));
        (problems, self.asked.into_inner())
    }

    /// Whether an error was noted.
    pub(super) fn failed(&self) -> bool {
        self.problems
            .borrow()
            .iter()
            .any(|p| p.severity == Severity::Error)
    }

    fn note(&self, severity: Severity, path: &str, span: Range<usize>, message: String, hint: String) {
        let text = self.text;
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let line_end = line_start + text[line_start..line_end].trim_end().len();
        let meant = text.get(start..span.end.min(line_end)).unwrap_or("");
        self.problems.borrow_mut().push(Problem {
            severity,
            path: path.to_owned(),
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: meant.chars().count().max(1),
            excerpt: self.mask.apply(text, line_start..line_end.max(line_start)),
            message,
            hint: Some(hint).filter(|h| !h.is_empty()),
        });
    }
}

/// One table of the file.
pub(super) struct Section<'r, 't> {
    pub(super) reader: &'r Reader<'t>,
    table: &'r DeTable<'t>,
    /// Where to point when a key is missing.
    span: Range<usize>,
    path: String,
    /// The path without indices, for comparing with the schema.
    shape: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'r, 't> Section<'r, 't> {
    /// The root of the file.
    pub(super) fn root(reader: &'r Reader<'t>, table: &'r DeTable<'t>) -> Section<'r, 't> {
        Section {
            reader,
            table,
            span: 0..0,
            path: String::new(),
            shape: String::new(),
            known: RefCell::default(),
        }
    }

    /// The section itself as a place.
    pub(super) fn place(&self) -> Found<()> {
        Found {
            value: (),
            span: self.span.clone(),
            path: self.path.clone(),
        }
    }

    /// Whether the key is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<Found<&'r str>> {
        let found = self.find(key)?;
        self.as_text(&found)
    }

    /// A text that is not empty.
    pub(super) fn filled(&self, key: &'static str) -> Option<Found<&'r str>> {
        let found = self.text(key)?;
        if found.value.trim().is_empty() {
            self.reader
                .error_at(&found, "is empty", "write a value or remove the line");
            return None;
        }
        Some(found)
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Found<&'r str>>> {
        let found = self.find(key)?;
        let DeValue::Array(items) = found.value else {
            let hint = format!("write a list: {key} = [\"…\"]");
            self.wrong_type(&found, "a list of texts", hint);
            return None;
        };
        let texts: Vec<_> = (items.iter().enumerate())
            .map(|(i, item)| self.as_text(&item_found(&found, i, item)))
            .collect();
        texts.into_iter().collect()
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        let found = self.find(key)?;
        match found.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.wrong_type(
                    &found,
                    "true or false",
                    format!("write {key} = true or {key} = false"),
                );
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<Found<i64>> {
        let found = self.find(key)?;
        let hint = format!("write a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = found.value else {
            self.wrong_type(&found, "a whole number", hint);
            return None;
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) if range.contains(&value) => Some(found.with(value)),
            _ => {
                self.reader
                    .error_at(&found, format!("{integer} is out of range"), hint);
                None
            }
        }
    }

    /// A number within `range`.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<Found<f64>> {
        let found = self.find(key)?;
        let hint = format!("write a number from {} to {}", range.start(), range.end());
        let value = match found.value {
            DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|i| i as f64),
            DeValue::Float(f) => f.as_str().parse().ok(),
            _ => {
                self.wrong_type(&found, "a number", hint);
                return None;
            }
        };
        // NaN is in no range.
        let Some(value) = value.filter(|v| range.contains(v)) else {
            self.reader.error_at(&found, "is out of range", hint);
            return None;
        };
        Some(found.with(value))
    }

    /// Parts of a picture, each `[x, y, width, height]` in fractions of it.
    pub(super) fn regions(&self, key: &'static str) -> Option<Vec<BBox>> {
        const HINT: &str =
            "write [[x, y, width, height], …] in fractions of the picture: [[0, 0, 1, 0.1]] is its top tenth";
        let found = self.find(key)?;
        let regions = match found.value {
            DeValue::Array(array) => array.iter().map(|v| region(v.get_ref())).collect(),
            _ => None,
        };
        if regions.is_none() {
            self.reader
                .error_at(&found, "is no list of regions inside the picture", HINT);
        }
        regions
    }

    /// A part of a picture, `[x, y, width, height]` in fractions of it.
    pub(super) fn region(&self, key: &'static str) -> Option<BBox> {
        const HINT: &str =
            "write [x, y, width, height] in fractions of the picture: [0, 0.5, 1, 0.5] is its lower half";
        let found = self.find(key)?;
        let region = region(found.value);
        if region.is_none() {
            self.reader
                .error_at(&found, "is no region inside the picture", HINT);
        }
        region
    }

    /// A length of time within `range`.
    pub(super) fn span(&self, key: &'static str, range: RangeInclusive<Span>) -> Option<Span> {
        let found = self.find(key)?;
        let text = self.as_text_or(&found, "a length of time", units::TIME_HINT)?;
        let Some(span) = units::parse_span(text.value) else {
            let message = format!("`{}` is no length of time", text.value);
            self.reader.error_at(&text, message, units::TIME_HINT);
            return None;
        };
        if !range.contains(&span) {
            let (low, high) = (units::write_span(*range.start()), units::write_span(*range.end()));
            let message = format!("`{}` is out of range", text.value);
            self.reader
                .error_at(&text, message, format!("use {low} to {high}"));
            return None;
        }
        Some(span)
    }

    /// An amount of bytes within `range`.
    pub(super) fn bytes(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<Found<u64>> {
        let found = self.find(key)?;
        let text = self.as_text_or(&found, "an amount of bytes", units::BYTES_HINT)?;
        let Some(bytes) = units::parse_bytes(text.value) else {
            let message = format!("`{}` is no amount of bytes", text.value);
            self.reader.error_at(&text, message, units::BYTES_HINT);
            return None;
        };
        if !range.contains(&bytes) {
            let (low, high) = (
                units::write_bytes(*range.start()),
                units::write_bytes(*range.end()),
            );
            let message = format!("`{}` is out of range", text.value);
            self.reader
                .error_at(&text, message, format!("use {low} to {high}"));
            return None;
        }
        Some(found.with(bytes))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<Found<T>> {
        let found = self.text(key)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == found.value) {
            return Some(found.with(*value));
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let message = format!("`{}` is not known here", found.value);
        self.reader
            .error_at(&found, message, format!("use {}", listed(&words, "or")));
        None
    }

    /// An id.
    pub(super) fn id(&self, key: &'static str) -> Option<Found<StreamId>> {
        let found = self.text(key)?;
        match StreamId::new(found.value) {
            Ok(id) => Some(found.with(id)),
            Err(error) => {
                let hint = match slug(found.value) {
                    Some(better) => format!("write {key} = \"{better}\""),
                    None => format!("write {key} = \"cam1\", for example"),
                };
                self.reader.error_at(&found, error, hint);
                None
            }
        }
    }

    /// A table.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'r, 't>> {
        let found = self.find(key)?;
        match found.value {
            DeValue::Table(table) => Some(self.child(&found, key, table, "")),
            DeValue::Array(_) => {
                self.wrong_type(&found, "one table", format!("write [{}] once", found.path));
                None
            }
            _ => {
                self.wrong_type(
                    &found,
                    "a table",
                    format!("write [{}] on a line of its own", found.path),
                );
                None
            }
        }
    }

    /// A list of tables; empty when the key is not written.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'r, 't>> {
        let Some(found) = self.find(key) else {
            return Vec::new();
        };
        let hint = format!("write [[{}]], once for each", found.path);
        let DeValue::Array(items) = found.value else {
            self.wrong_type(&found, "a list of tables", hint);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let item = item_found(&found, i, item);
            match item.value {
                DeValue::Table(table) => sections.push(self.child(&item, key, table, "[]")),
                _ => self.wrong_type(&item, "a table", hint.clone()),
            }
        }
        sections
    }

    /// Notes that a key is missing, unless it is there (and was itself noted as wrong).
    pub(super) fn need<T>(&self, key: &'static str, value: Option<T>, example: &str) -> Option<T> {
        if !self.has(key) {
            self.missing(key, format!("add {key} = {example}"));
        }
        value
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, hint: impl Into<String>) {
        self.reader.error(
            &self.join(key),
            self.span.clone(),
            format!("`{key}` is missing"),
            hint,
        );
    }

    /// Notes a key that is written but means nothing here.
    pub(super) fn out_of_place(&self, key: &str, why: &str) {
        if let Some((name, _)) = self.entry(key) {
            let hint = "remove the line".to_owned();
            let message = format!("`{key}` {why}");
            self.reader.error(&self.join(key), name.span(), message, hint);
        }
    }

    /// A value as it is written, for callers with a shape of their own.
    pub(super) fn find(&self, key: &'static str) -> Option<Found<&'r DeValue<'t>>> {
        self.known.borrow_mut().push(key);
        self.reader.asked.borrow_mut().insert(join(&self.shape, key));
        let (_, value) = self.entry(key)?;
        Some(Found {
            value: value.get_ref(),
            span: value.span(),
            path: self.join(key),
        })
    }

    /// Notes every key that was never asked for. `elsewhere` says where a key of that name belongs.
    pub(super) fn finish(&self, elsewhere: impl Fn(&str) -> Option<&'static str>) {
        let known = self.known.borrow();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let hint = match (nearest(name, known.iter().copied()), elsewhere(name)) {
                (Some(better), _) => format!("did you mean `{better}`?"),
                (None, Some(place)) => format!("`{name}` belongs under {place}"),
                (None, None) => {
                    let mut known = known.to_vec();
                    known.sort_unstable();
                    known.dedup();
                    format!("known here: {}", known.join(", "))
                }
            };
            self.reader.error(
                &self.join(name),
                key.span(),
                format!("unknown key `{name}`"),
                hint,
            );
        }
    }

    /// Notes a value of the wrong type.
    pub(super) fn wrong_type(&self, found: &Found<&DeValue<'_>>, wanted: &str, hint: impl Into<String>) {
        let is = match found.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.reader
            .error_at(found, format!("should be {wanted}, but is {is}"), hint);
    }

    fn entry(&self, key: &str) -> Option<(&'r Spanned<toml::de::DeString<'t>>, &'r Spanned<DeValue<'t>>)> {
        self.table.iter().find(|(name, _)| name.get_ref() == key)
    }

    fn as_text(&self, found: &Found<&'r DeValue<'t>>) -> Option<Found<&'r str>> {
        self.as_text_or(found, "a text", "write it in quotes: \"…\"")
    }

    fn as_text_or(&self, found: &Found<&'r DeValue<'t>>, wanted: &str, hint: &str) -> Option<Found<&'r str>> {
        match found.value {
            DeValue::String(text) => Some(found.with(&**text)),
            _ => {
                self.wrong_type(found, wanted, hint);
                None
            }
        }
    }

    fn child(
        &self,
        found: &Found<&'r DeValue<'t>>,
        key: &str,
        table: &'r DeTable<'t>,
        suffix: &str,
    ) -> Section<'r, 't> {
        Section {
            reader: self.reader,
            table,
            span: found.span.clone(),
            path: found.path.clone(),
            shape: format!("{}{suffix}", join(&self.shape, key)),
            known: RefCell::default(),
        }
    }

    fn join(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn item_found<'r, 't>(
    list: &Found<&'r DeValue<'t>>,
    index: usize,
    item: &'r Spanned<DeValue<'t>>,
) -> Found<&'r DeValue<'t>> {
    Found {
        value: item.get_ref(),
        span: item.span(),
        path: format!("{}[{index}]", list.path),
    }
}

/// `[x, y, width, height]` inside the picture.
fn region(value: &DeValue<'_>) -> Option<BBox> {
    let number = |value: &DeValue<'_>| match value {
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|i| i as f32),
        DeValue::Float(f) => f.as_str().parse().ok(),
        _ => None,
    };
    let DeValue::Array(array) = value else { return None };
    let all: Option<Vec<f32>> = array.iter().map(|v| number(v.get_ref())).collect();
    let [x, y, w, h] = all?[..] else { return None };
    let inside = |from: f32, size: f32| from >= 0.0 && size > 0.0 && from + size <= 1.0001;
    (inside(x, w) && inside(y, h)).then(|| BBox::new(x, y, w, h))
}
