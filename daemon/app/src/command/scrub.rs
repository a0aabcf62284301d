//! Taking secrets out of a text that leaves the box.
//!
//! Three nets, each for what the others may miss: the secrets that are known, whatever stands around them; user and
//! password, queries and stream keys of addresses; and in logs what stands behind words such as `password` and `token`.

/// What is written in a secret's place.
const HIDDEN: &str = "***";
/// Parts of words whose values are hidden in logs.
const WORDS: [&str; 7] = ["passw", "pwd", "secret", "token", "psk", "apikey", "api_key"];
/// Words behind which the whole line is hidden.
const HEADERS: [&str; 2] = ["authorization", "cookie"];
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";

/// Takes the known secrets (longest first) and the secrets of addresses and keys out of any text.
pub(super) fn scrub(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret.as_str(), HIDDEN);
    }
    keys(&addresses(&text))
}

/// The same for a log, where a secret may stand in words.
pub(super) fn scrub_log(text: &str, secrets: &[String]) -> String {
    let text = scrub(text, secrets);
    text.split_inclusive('\n').map(line).collect()
}

/// Hides `user:password@`, the query, and for RTMP what comes behind the application: the stream key.
fn addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let scheme = head[..at]
            .rsplit(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default(); // there always is one: splitting nothing gives one empty part
        let end = tail
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`'))
            .unwrap_or(tail.len());
        let (address, after) = tail.split_at(end);
        out.push_str(&hidden_address(
            &scheme.to_ascii_lowercase().replace("rtmps", "rtmp"),
            address,
        ));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn hidden_address(scheme: &str, address: &str) -> String {
    let (address, query) = match address.find(['?', '#']) {
        Some(at) => (&address[..at], &address[at..]),
        None => (address, ""),
    };
    // The last one: a password may hold the sign itself.
    let (user, address) = match address.rfind('@') {
        Some(at) => (HIDDEN, &address[at..]),
        None => ("", address),
    };
    let mut shown = format!("{user}{address}");
    if scheme == "rtmp" {
        let mut slashes = address.match_indices('/').map(|(at, _)| at);
        if let (Some(_), Some(key)) = (slashes.next(), slashes.next()) {
            shown = format!("{user}{}{HIDDEN}", &address[..=key]);
        }
    }
    if !query.is_empty() {
        shown.push_str(&query[..1]);
        shown.push_str(HIDDEN);
    }
    shown
}

/// Hides private keys in PEM.
fn keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut hiding = false;
    for line in text.split_inclusive('\n') {
        let begins = line.contains(PEM_BEGIN) && line.contains("PRIVATE KEY");
        if begins {
            hiding = true;
            out.push_str(HIDDEN);
            out.push('\n');
        }
        if !hiding {
            out.push_str(line);
        }
        if line.contains(PEM_END) {
            hiding = false;
        }
    }
    out
}

fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (head, tail) = rest.split_at(at + 1);
        out.push_str(head);
        let word = head[..at]
            .trim_end_matches(['"', '\'', ' '])
            .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .next()
            .unwrap_or_default() // there always is one, as above
            .to_ascii_lowercase();
        if HEADERS.iter().any(|w| word.ends_with(w)) {
            out.push(' ');
            out.push_str(HIDDEN);
            if text.ends_with('\n') {
                out.push('\n');
            }
            return out;
        }
        rest = tail;
        if WORDS.iter().any(|w| word.contains(w)) {
            let value = tail.trim_start_matches([' ', '"', '\'']);
            out.push_str(&tail[..tail.len() - value.len()]);
            let end = value
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '&'))
                .unwrap_or(value.len());
            if end > 0 {
                out.push_str(HIDDEN);
            }
            rest = &value[end..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_what_tells_something() {
        for (text, shown) in [
            ("rtsp://me:hun@ter2@cam:554/1 ok", "rtsp://***@cam:554/1 ok"),
            (
                "\"rtmp://live.example/app/s3cret-key\"",
                "\"rtmp://live.example/app/***\"",
            ),
            (
                "RTMPS://u:p@live.example/app/key/more",
                "RTMPS://***@live.example/app/***",
            ),
            (
                "http://h/a.flv?token=abc&x=1 and https://h/",
                "http://h/a.flv?*** and https://h/",
            ),
            ("no address: a@b", "no address: a@b"),
            ("://", "://"),
        ] {
            assert_eq!(addresses(text), shown);
        }
    }

    #[test]
    fn known_secrets_and_keys_are_hidden() {
        let secrets = vec!["hunter22".to_owned(), "hunter2".to_owned()];
        assert_eq!(scrub("a hunter22 b hunter2", &secrets), "a *** b ***");
        let pem = "x\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\ny\n";
        assert_eq!(scrub(pem, &[]), "x\n***\ny\n");
        let certificate = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";
        assert_eq!(scrub(certificate, &[]), certificate);
    }

    #[test]
    fn words_of_logs_hide_what_stands_behind_them() {
        for (text, shown) in [
            ("login password=hunter2 ok\n", "login password=*** ok\n"),
            (
                "{\"Password\": \"hunter2\", \"a\": 1}",
                "{\"Password\": \"***\", \"a\": 1}",
            ),
            ("api_token: hunter2", "api_token: ***"),
            (
                "12:00:01 Authorization: Digest username=\"a\", response=\"b\"\n",
                "12:00:01 Authorization: ***\n",
            ),
            ("12:00:01 camera a: online", "12:00:01 camera a: online"),
            ("passed: 3, bypass=1", "passed: 3, bypass=1"),
        ] {
            assert_eq!(scrub_log(text, &[]), shown);
        }
    }
}
