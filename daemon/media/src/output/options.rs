//! Where pictures are pushed to, and what can go wrong there, in words for the person who has to mend it.

use std::path::PathBuf;

use synoptic_base::Span;
use url::Url;

use crate::{RtspTransport, Secret};

/// What a server is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushKind {
    /// RTMP, or RTMP over TLS.
    Rtmp,
    /// RTSP with RECORD (RFC 2326 section 10.11), or that over TLS.
    Rtsp,
}

/// A server that takes pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushOptions {
    /// `rtmp://…`, `rtmps://…`, `rtsp://…` or `rtsps://…`, without user and password.
    pub url: String,
    /// User, if the server wants one.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// RTSP: how RTP travels.
    pub transport: RtspTransport,
    /// Over TLS: accept any certificate.
    pub tls_insecure: bool,
    /// `rtsps://`: PEM file of the authorities that may have signed the server's certificate; `None`: the system's.
    pub tls_ca: Option<PathBuf>,
}

impl PushOptions {
    /// A push to `url` with every option at its default.
    ///
    /// # Errors
    /// When it is no address of a server that pictures can be pushed to; the text says what is wrong.
    pub fn new(url: &str) -> Result<PushOptions, String> {
        let parsed = Url::parse(url).map_err(|e| format!("is no address: {e}"))?;
        let kind = kind_of(parsed.scheme()).ok_or_else(|| {
            format!(
                "`{}:` is nothing to push to: write rtmp://, rtmps://, rtsp:// or rtsps://",
                parsed.scheme()
            )
        })?;
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err("is no address: the host is missing".to_owned());
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("user and password do not belong into the address: give them apart".to_owned());
        }
        let path = parsed.path().trim_matches('/');
        if path.is_empty() || kind == PushKind::Rtmp && path.split_once('/').is_none() {
            return Err(match kind {
                PushKind::Rtmp => "lacks application or stream: write rtmp://host/application/stream",
                PushKind::Rtsp => "lacks the path: write rtsp://host:port/path",
            }
            .to_owned());
        }
        Ok(PushOptions {
            url: url.to_owned(),
            user: None,
            password: None,
            transport: RtspTransport::default(),
            tls_insecure: false,
            tls_ca: None,
        })
    }

    /// Which protocol.
    pub fn kind(&self) -> PushKind {
        let scheme = self.url.split(':').next().unwrap_or_default();
        kind_of(&scheme.to_ascii_lowercase()).unwrap_or(PushKind::Rtmp)
    }

    /// Whether the line is encrypted.
    pub fn tls(&self) -> bool {
        let scheme = self.url.split(':').next().unwrap_or_default();
        scheme.to_ascii_lowercase().ends_with('s')
    }

    /// The address as it may be shown and logged: without what servers take for a password, which is a query, and over RTMP
    /// the stream's name.
    pub fn shown(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        let masked = match (self.kind(), url.rsplit_once('/')) {
            (PushKind::Rtmp, Some((application, _))) => format!("{application}/***"),
            _ => url.to_owned(),
        };
        if url.len() < self.url.len() && self.kind() == PushKind::Rtsp {
            return format!("{masked}?***");
        }
        masked
    }

    /// A text of a library without what is not to be shown.
    pub(super) fn masked(&self, text: &str) -> String {
        let mut text = text.replace(&self.url, &self.shown());
        let rest = self.url.split(['?', '#']).nth(1).unwrap_or_default();
        let name = self.url.split(['?', '#']).next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        let stream = (self.kind() == PushKind::Rtmp).then_some(name);
        let secrets = [Some(rest), stream, self.password.as_ref().map(Secret::expose)];
        // Of three letters and less nothing is secret, and every text would be full of stars.
        for secret in secrets.into_iter().flatten().filter(|s| s.len() > 3) {
            text = text.replace(secret, "***");
        }
        text
    }
}

fn kind_of(scheme: &str) -> Option<PushKind> {
    match scheme {
        "rtmp" | "rtmps" => Some(PushKind::Rtmp),
        "rtsp" | "rtsps" => Some(PushKind::Rtsp),
        _ => None,
    }
}

/// Why a push ended or could not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The server refuses the user or password.
    #[error("{to} refuses the user or password; set `user` and `password` of this output")]
    Refused {
        /// The address as it may be shown.
        to: String,
    },
    /// There is nothing there, or it does not answer, or it wants no stream.
    #[error("cannot push to {to}: {why}")]
    Broken {
        /// The address as it may be shown.
        to: String,
        /// What the network or the server said.
        why: String,
    },
    /// It takes nothing.
    #[error("{to} has taken nothing for {after}; connecting anew")]
    Stalled {
        /// The address as it may be shown.
        to: String,
        /// For how long.
        after: Span,
    },
    /// The box lacks something.
    #[error("this box lacks the GStreamer element `{element}`; install {package}")]
    Missing {
        /// The element.
        element: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_its_secrets_are_never_shown() {
        let shown = |url: &str| PushOptions::new(url).map(|o| o.shown());
        assert_eq!(
            shown("rtmp://a.example/live2/abcd-efgh").as_deref(),
            Ok("rtmp://a.example/live2/***")
        );
        assert_eq!(
            shown("rtmp://h:1935/live/name?key=secret").as_deref(),
            Ok("rtmp://h:1935/live/***")
        );
        assert_eq!(shown("rtsp://h:8554/x/y").as_deref(), Ok("rtsp://h:8554/x/y"));
        assert_eq!(
            shown("rtsps://h/x?token=secret").as_deref(),
            Ok("rtsps://h/x?***")
        );
        for (url, why) in [
            ("rtmp://h/live", "application or stream"),
            ("rtsp://h", "lacks the path"),
            ("srt://h/x", "nothing to push to"),
            ("rtsp://u:p@h/x", "give them apart"),
            ("no", "no address"),
        ] {
            let error = PushOptions::new(url).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn what_a_library_says_is_masked() {
        let options = PushOptions {
            user: Some("u".to_owned()),
            password: Some(Secret::new("hunter2".to_owned())),
            ..PushOptions::new("rtmp://h/live/streamkey?sig=abcdef").unwrap()
        };
        let text = options.masked("no rtmp://h/live/streamkey?sig=abcdef, streamkey, sig=abcdef, hunter2");
        assert_eq!(text, "no rtmp://h/live/***, ***, ***, ***");
        assert!(options.tls_ca.is_none() && !options.tls());
    }
}
