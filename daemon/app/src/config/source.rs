//! A camera's source as a person writes it: an address, a file or a device.

use std::path::{Path, PathBuf};

use synoptic_media::{PullKind, RtspTransport, Secret, Source};

/// The sources there are, for hints.
const SUPPORTED: &str = "use rtsp://…, rtmp://…, http://….flv, http://….m3u8, a video file (file:///… or a path) or a device (/dev/video0)";

/// Why a text is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {hint}")]
pub struct SourceError {
    /// What is wrong; never contains a password.
    pub message: String,
    /// How to mend it.
    pub hint: String,
}

impl SourceError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> SourceError {
        SourceError {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// An RTSP address taken apart: what may be shown, and what may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The address without user and password.
    pub url: String,
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// Reads a source with every option at its default. Relative paths begin at `folder`.
///
/// Fails on an unknown scheme, an address that does not parse, one with user or password in it
/// (see [`split_credentials`]), and a device that is no video device.
pub fn parse_source(text: &str, folder: &Path) -> Result<Source, SourceError> {
    if text.trim().is_empty() {
        return Err(SourceError::new("is empty", SUPPORTED));
    }
    match scheme(text) {
        Some(scheme) if is_rtsp(&scheme) => Ok(Source::Rtsp {
            url: rtsp_url(text)?,
            sub_url: None,
            transport: RtspTransport::default(),
            user: None,
            password: None,
            tls_insecure: false,
            tls_ca: None,
        }),
        Some(scheme) if is_network(&scheme) => relayed(text, &scheme),
        Some(scheme) if scheme == "file" => file_url(text).map(file),
        Some(scheme) => Err(SourceError::new(
            format!("`{scheme}:` is not supported as a source"),
            SUPPORTED,
        )),
        None if Path::new(text).starts_with("/dev") => device(text),
        None => Ok(file(folder.join(text))),
    }
}

/// Checks an RTSP address and gives it back as it is written: cameras are picky about theirs.
pub(super) fn rtsp_url(text: &str) -> Result<String, SourceError> {
    let example = "write rtsp://host:port/path";
    if !scheme(text).is_some_and(|s| is_rtsp(&s)) {
        return Err(SourceError::new("is no RTSP address", example));
    }
    bare_url(text, example)
}

/// A stream that a server relays.
fn relayed(text: &str, scheme: &str) -> Result<Source, SourceError> {
    let rtmp = scheme.starts_with("rtmp");
    let example = if rtmp {
        "write rtmp://host/application/stream"
    } else {
        "write http://host/path.flv or http://host/path.m3u8"
    };
    let url = bare_url(text, example)?;
    let parsed =
        url::Url::parse(&url).map_err(|e| SourceError::new(format!("is no address: {e}"), example))?;
    let kind = if rtmp {
        // Without both, servers answer with silence.
        if parsed.path().trim_matches('/').split_once('/').is_none() {
            return Err(SourceError::new("lacks application or stream", example));
        }
        PullKind::Rtmp
    } else {
        match parsed.path().to_ascii_lowercase().rsplit_once('.') {
            Some((_, "flv")) => PullKind::HttpFlv,
            Some((_, "m3u8" | "m3u")) => PullKind::Hls,
            _ => {
                return Err(SourceError::new(
                    format!("`{scheme}:` is read when it ends in .flv (HTTP-FLV) or .m3u8 (HLS)"),
                    example,
                ));
            }
        }
    };
    Ok(Source::Pull {
        kind,
        url,
        user: None,
        password: None,
        tls_insecure: false,
        tls_ca: None,
    })
}

/// An address without user and password, as it is written.
fn bare_url(text: &str, example: &str) -> Result<String, SourceError> {
    let parts = split_credentials(text).map_err(|error| SourceError::new(error.message, example))?;
    if parts.user.is_some() || parts.password.is_some() {
        return Err(SourceError::new(
            "user and password do not belong into the address, where everyone sees them",
            "write user = \"…\" and password = { file = \"…\" } on lines of their own, and the address without them",
        ));
    }
    if text.chars().any(char::is_whitespace) {
        return Err(SourceError::new(
            "there is a blank in the address",
            "write %20 for a blank",
        ));
    }
    Ok(text.to_owned())
}

/// Takes user and password out of an address, as pasted from a camera's manual. Percent-escapes in them are
/// undone (RFC 3986 section 2.1); the rest stays as it is written. Works for any scheme with `//`.
pub fn split_credentials(text: &str) -> Result<Credentials, SourceError> {
    let bad = |why: &str| SourceError::new(format!("is no address: {why}"), "write scheme://host:port/path");
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(bad("`://` is missing"));
    };
    // People paste passwords with `/` and `@` in them, unescaped: the last `@` before the path of a parsed
    // address is wrong for those, so look for the last `@` of all that is followed by something like a host.
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let at = rest[..authority_end].rfind('@').or_else(|| {
        let late = rest.rfind('@')?;
        let host = rest[late + 1..].split(['/', '?', '#']).next()?;
        let colon = rest[..authority_end].find(':')?;
        // `host:554/path@x` has a port before its `/`: then the `@` belongs to the path.
        let port = rest[colon + 1..authority_end].bytes().all(|b| b.is_ascii_digit());
        (!host.is_empty() && !port).then_some(late)
    });
    let (user_info, rest) = at.map_or((None, rest), |at| (Some(&rest[..at]), &rest[at + 1..]));
    let url = format!("{scheme}://{rest}");
    let parsed = url::Url::parse(&url).map_err(|error| bad(&error.to_string()))?;
    if !parsed.has_host() || parsed.host_str().is_some_and(str::is_empty) {
        return Err(bad("the host is missing"));
    }
    let decode = |part: &str| {
        percent_encoding::percent_decode_str(part)
            .decode_utf8_lossy()
            .into_owned()
    };
    let (user, password) = match user_info {
        None => (None, None),
        Some(info) => match info.split_once(':') {
            None => (Some(decode(info)), None),
            Some((user, password)) => (Some(decode(user)), Some(decode(password))),
        },
    };
    Ok(Credentials {
        url,
        user: user.filter(|u| !u.is_empty()),
        password: password.filter(|p| !p.is_empty()).map(Secret::new),
    })
}

/// The scheme of RFC 3986 section 3.1, lower case. A path with a colon is written `./a:b`.
pub(super) fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once(':')?;
    let mut chars = scheme.chars();
    let ok = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    ok.then(|| scheme.to_ascii_lowercase())
}

/// Whether an address of this scheme may have user and password.
pub(super) fn is_network(scheme: &str) -> bool {
    is_rtsp(scheme) || matches!(scheme, "rtmp" | "rtmps" | "http" | "https")
}

fn is_rtsp(scheme: &str) -> bool {
    scheme == "rtsp" || scheme == "rtsps"
}

fn file(path: PathBuf) -> Source {
    Source::File { path, repeat: true }
}

fn file_url(text: &str) -> Result<PathBuf, SourceError> {
    let bad = || {
        SourceError::new(
            "is no file address",
            "write file:///folder/clip.mp4, or only the path",
        )
    };
    // `Url` would quietly turn `file:clip.mp4` into `/clip.mp4`.
    if !text.get(5..).is_some_and(|rest| rest.starts_with('/')) {
        return Err(bad());
    }
    let url = url::Url::parse(text).map_err(|_| bad())?;
    url.to_file_path().map_err(|()| bad())
}

fn device(text: &str) -> Result<Source, SourceError> {
    let number = text.strip_prefix("/dev/video");
    let named = text.starts_with("/dev/v4l/by-id/") || text.starts_with("/dev/v4l/by-path/");
    if !named && !number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
        return Err(SourceError::new(
            "is no video device",
            "use /dev/videoN or a link in /dev/v4l/by-id/; `synoptic devices` lists them",
        ));
    }
    Ok(Source::V4l2 {
        device: text.into(),
        format: None,
        size: None,
        fps: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, SourceError> {
        parse_source(text, Path::new("/etc/synoptic")).map(|s| match s {
            Source::Rtsp { url, .. } => format!("rtsp {url}"),
            Source::Pull { kind, url, .. } => format!("{} {url}", kind.name()),
            Source::File { path, .. } => format!("file {}", path.display()),
            Source::V4l2 { device, .. } => format!("v4l2 {}", device.display()),
        })
    }

    #[test]
    fn sources_as_people_write_them() {
        for (text, expected) in [
            ("rtsp://10.0.0.5/1", "rtsp rtsp://10.0.0.5/1"),
            (
                "RTSPS://cam.local:322/a?b=c&d",
                "rtsp RTSPS://cam.local:322/a?b=c&d",
            ),
            ("rtsp://[fe80::1]:554/x", "rtsp rtsp://[fe80::1]:554/x"),
            ("rtsp://cam:554/path@2", "rtsp rtsp://cam:554/path@2"),
            ("rtmp://relay/live/cam1", "RTMP rtmp://relay/live/cam1"),
            (
                "rtmps://relay:443/live/cam1?k=1",
                "RTMP rtmps://relay:443/live/cam1?k=1",
            ),
            (
                "http://relay/live/cam1.flv?k=1",
                "HTTP-FLV http://relay/live/cam1.flv?k=1",
            ),
            ("https://relay/hls/cam1.m3u8", "HLS https://relay/hls/cam1.m3u8"),
            ("file:///srv/a%20b.mp4", "file /srv/a b.mp4"),
            ("clip.mp4", "file /etc/synoptic/clip.mp4"),
            ("./a:b.mp4", "file /etc/synoptic/./a:b.mp4"),
            ("/srv/clip.mp4", "file /srv/clip.mp4"),
            ("/dev/video0", "v4l2 /dev/video0"),
            (
                "/dev/v4l/by-id/usb-cam-video-index0",
                "v4l2 /dev/v4l/by-id/usb-cam-video-index0",
            ),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused_with_what_is() {
        for (text, part) in [
            ("", "is empty"),
            ("exec:rm -rf /", "`exec:` is not supported"),
            ("http://cam/mjpeg", "`http:` is read when it ends in .flv"),
            ("rtmp://relay/live", "lacks application or stream"),
            ("rtmp://", "no address"),
            ("srt://relay:9000", "`srt:` is not supported"),
            ("rtsp://", "no address"),
            ("rtsp:cam", "no address"),
            ("rtsp://cam:99999/", "no address"),
            ("rtsp://cam/a b", "blank"),
            ("file:clip.mp4", "no file address"),
            ("/dev/sda", "no video device"),
            ("/dev/video", "no video device"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error}");
            assert!(!error.hint.is_empty());
        }
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        for text in [
            "rtsp://me:hunter2@cam/1",
            "rtsp://me:hun/hunter2@cam/1",
            "rtsp://me@cam/1",
            "rtmp://me:hunter2@relay/live/1",
            "https://me:hunter2@relay/1.m3u8",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains("do not belong"), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn credentials_are_taken_out_of_a_pasted_address() {
        for (text, url, user, password) in [
            ("rtsp://cam/1", "rtsp://cam/1", None, None),
            ("rtsp://me@cam/1", "rtsp://cam/1", Some("me"), None),
            (
                "rtsp://me:a%40b@cam:554/1?x=1",
                "rtsp://cam:554/1?x=1",
                Some("me"),
                Some("a@b"),
            ),
            ("rtsp://me:a@b@cam/1", "rtsp://cam/1", Some("me"), Some("a@b")),
            ("rtsp://me:a/b@cam/1", "rtsp://cam/1", Some("me"), Some("a/b")),
            ("rtsp://:x@cam/1", "rtsp://cam/1", None, Some("x")),
        ] {
            let parts = split_credentials(text).unwrap();
            let got = parts.password.as_ref().map(Secret::expose);
            assert_eq!(
                (parts.url.as_str(), parts.user.as_deref(), got),
                (url, user, password)
            );
        }
        assert!(split_credentials("cam").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,40}", tail in "\\PC{0,40}") {
            let _ = parse(&text);
            let _ = parse(&format!("rtsp://{tail}"));
        }
    }
}
