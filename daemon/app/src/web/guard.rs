//! What stands before every route: who may come in, and what every answer says to the browser.
//!
//! * A loopback address is served over plain HTTP and needs no sign-in: who is on the box is in already. Since
//!   any page in a browser on the box can send requests there, only names of loopback are answered (against DNS
//!   rebinding).
//! * Any other address is served over HTTPS only and needs a sign-in.
//! * Requests that change something must come from the page itself (against CSRF), on either.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use sha2::{Digest, Sha256};

use super::{Problem, WebState};

/// How an address is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// HTTPS, not HTTP.
    pub https: bool,
    /// A sign-in is needed for all but the page's own files and the session routes.
    pub sign_in: bool,
}

impl Access {
    /// The rule: loopback is plain and open, all else is neither. `0.0.0.0` and `::` are not loopback.
    pub fn of(address: SocketAddr) -> Access {
        let loopback = match address.ip() {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
        };
        Access {
            https: !loopback,
            sign_in: !loopback,
        }
    }

    /// Name of the session cookie. `__Host-` makes browsers insist on HTTPS and on this very host.
    pub(super) fn cookie_name(self) -> &'static str {
        if self.https { "__Host-synoptic" } else { "synoptic" }
    }
}

/// The session's token in the cookies, if any.
pub(super) fn token(headers: &HeaderMap, access: Access) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == access.cookie_name())
        .map(|(_, value)| value)
}

/// Lets signed-in requests pass, and all where no sign-in is needed.
pub(super) async fn signed_in(
    State(state): State<WebState>,
    axum::Extension(access): axum::Extension<Access>,
    request: Request,
    next: Next,
) -> Response {
    let known = token(request.headers(), access).is_some_and(|token| state.auth.is_signed_in(token));
    let known = known || request.uri().path() == METRICS && has_metrics_token(&state, request.headers());
    if access.sign_in && !known {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "sign in first: POST /api/v1/session");
        return problem.into_response();
    }
    next.run(request).await
}

/// The one route that a token opens.
const METRICS: &str = "/metrics";

/// Whether a request carries the configured token (RFC 6750 section 2.1). Digests are compared, so that the time it
/// takes tells nothing of the token.
fn has_metrics_token(state: &WebState, headers: &HeaderMap) -> bool {
    let Some(wanted) = &state.metrics_token else {
        return false;
    };
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    given.is_some_and(|(_, token)| {
        Sha256::digest(token.trim().as_bytes()) == Sha256::digest(wanted.expose().as_bytes())
    })
}

/// Refuses requests from other sites, and adds the security headers.
pub(super) async fn at_the_door(
    axum::Extension(access): axum::Extension<Access>,
    request: Request,
    next: Next,
) -> Response {
    let host = request
        .uri()
        .authority()
        .map(ToString::to_string)
        .or_else(|| Some(request.headers().get(header::HOST)?.to_str().ok()?.to_owned()));
    let mut response = match check(access, host.as_deref(), request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(value);
    }
    response
}

fn check(access: Access, host: Option<&str>, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(host) = host else {
        return Err(Problem::bad_request("the request has no Host header"));
    };
    if !access.https && !names_loopback(host) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this address answers to localhost only, not to `{host}`"),
        ));
    }
    // Browsers open WebSockets to any site with the site's cookies, so these are held to the rule of changes.
    let upgrade = headers.contains_key(header::UPGRADE);
    if method.is_safe() && !upgrade {
        return Ok(());
    }
    let foreign = || {
        Problem::new(
            StatusCode::FORBIDDEN,
            "the request comes from another site; changes are taken from the box's own page only",
        )
    };
    match headers.get(header::ORIGIN) {
        Some(origin) => {
            let scheme = if access.https { "https" } else { "http" };
            let own = format!("{scheme}://{host}");
            if !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()) {
                return Err(foreign());
            }
        }
        // Browsers send one of the two; what sends neither is no browser and has no cookie to steal.
        None => {
            let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
            if site.is_some_and(|s| s != b"same-origin" && s != b"none") {
                return Err(foreign());
            }
        }
    }
    Ok(())
}

/// Whether a Host header (name or address, port or none) can only mean this machine (RFC 6761 section 6.3).
fn names_loopback(host: &str) -> bool {
    let name = if let Some(rest) = host.strip_prefix('[') {
        rest.split(']').next().unwrap_or_default()
    } else {
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Headers of every answer. The page loads nothing from elsewhere and is never framed.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
             media-src blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Access = Access {
        https: false,
        sign_in: false,
    };
    const CLOSED: Access = Access {
        https: true,
        sign_in: true,
    };

    #[test]
    fn only_loopback_is_plain_and_open() {
        for (address, access) in [
            ("127.0.0.1:80", OPEN),
            ("127.8.8.8:0", OPEN),
            ("[::1]:80", OPEN),
            ("[::ffff:127.0.0.1]:80", OPEN),
            ("0.0.0.0:80", CLOSED),
            ("[::]:80", CLOSED),
            ("192.168.1.5:443", CLOSED),
            ("[fd00::1]:443", CLOSED),
        ] {
            assert_eq!(Access::of(address.parse().unwrap()), access, "{address}");
        }
    }

    fn status(access: Access, host: &str, method: &Method, pairs: &[(&'static str, &str)]) -> u16 {
        let headers = pairs
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap()))
            .collect();
        check(access, Some(host), method, &headers).map_or_else(|p| p.status, |()| 200)
    }

    #[test]
    fn loopback_answers_to_its_own_names_only() {
        for good in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:1",
            "[::1]:8080",
            "box.localhost",
        ] {
            assert_eq!(status(OPEN, good, &Method::GET, &[]), 200, "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example:80",
            "192.0.2.1",
            "",
            "[::2]",
        ] {
            assert_eq!(status(OPEN, bad, &Method::GET, &[]), 421, "{bad}");
        }
        assert_eq!(status(CLOSED, "box.local", &Method::GET, &[]), 200);
    }

    #[test]
    fn changes_come_from_the_own_page() {
        let post = |pairs: &[(&'static str, &str)]| status(CLOSED, "box.local:8443", &Method::POST, pairs);
        assert_eq!(post(&[]), 200);
        assert_eq!(post(&[("origin", "https://box.local:8443")]), 200);
        assert_eq!(post(&[("sec-fetch-site", "same-origin")]), 200);
        for bad in [
            "https://evil.example",
            "http://box.local:8443",
            "https://box.local",
            "null",
        ] {
            assert_eq!(post(&[("origin", bad)]), 403, "{bad}");
        }
        assert_eq!(post(&[("sec-fetch-site", "cross-site")]), 403);
    }
}
