//! Words of error messages: what was probably meant.

use synoptic_base::StreamId;

/// Similarity (Jaro-Winkler, 0 to 1) from which a known key is offered for an unknown one. By eye: `soruce`
/// and `source` are 0.95 alike, `camera` and `cameras` 0.97, `url` and `user` 0.75.
const ALIKE: f64 = 0.8;

/// The candidate most like `name`, if one is like it at all.
pub(super) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    candidates
        .map(|c| (strsim::jaro_winkler(&name, c), c))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}

/// `a, b or c`
pub(super) fn listed(words: &[&str], last: &str) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}

/// A text as an id: lower case, everything else a `-`. `None` when no letter or digit is left.
pub(super) fn slug(text: &str) -> Option<StreamId> {
    let mut id = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            id.push(c.to_ascii_lowercase());
        } else if !id.ends_with('-') {
            id.push('-');
        }
    }
    let id = id.trim_matches(|c| c == '-' || c == '_');
    let id = &id[..id.len().min(StreamId::MAX_LEN)];
    StreamId::new(id.trim_end_matches(['-', '_'])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_an_id_or_nothing() {
        let slug = |t| slug(t).map(|id| id.to_string());
        assert_eq!(slug("Front door!").as_deref(), Some("front-door"));
        assert_eq!(slug("__A  b__").as_deref(), Some("a-b"));
        assert_eq!(slug("大门 2").as_deref(), Some("2"));
        assert_eq!(slug("大门"), None);
        assert_eq!(slug(&"x".repeat(40)).map(|s| s.len()), Some(StreamId::MAX_LEN));
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let known = ["source", "user", "transport", "tls_insecure"];
        assert_eq!(nearest("soruce", known.into_iter()), Some("source"));
        assert_eq!(nearest("tls-insecure", known.into_iter()), Some("tls_insecure"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
