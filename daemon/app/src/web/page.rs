//! The page's own files: embedded in a release build, read from `daemon/ui/dist` by a debug build.

use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{Html, IntoResponse, Response};

use super::Problem;

#[derive(rust_embed::RustEmbed)]
#[folder = "../ui/dist"]
#[allow_missing = true]
struct Dist;

/// What a debug build without the page says.
const NO_PAGE: &str = "<!doctype html><meta charset=utf-8><title>Synoptic</title>\
    <p>The page is not built: run <code>make ui</code> and reload. The API is at <code>/api/v1</code>.";

/// Answers everything that is no route.
pub(super) async fn get(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") {
        return Problem::not_found(format!("there is no {method} /{path}; see /api/v1/openapi.json"))
            .into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        let problem = Problem::new(
            axum::http::StatusCode::METHOD_NOT_ALLOWED,
            "the page is only read",
        );
        return ([(header::ALLOW, "GET, HEAD")], problem).into_response();
    }
    let path = if path.is_empty() { "index.html" } else { path };
    match Dist::get(path) {
        Some(file) => serve(path, &file, &headers),
        None if path == "index.html" => Html(NO_PAGE).into_response(),
        None => Problem::not_found(format!("there is no /{path}")).into_response(),
    }
}

fn serve(path: &str, file: &rust_embed::EmbeddedFile, headers: &HeaderMap) -> Response {
    let digest = super::auth::hex(&file.metadata.sha256_hash()[..16]);
    let Ok(tag) = HeaderValue::from_str(&format!("\"{digest}\"")) else {
        return Problem::internal("naming a file of the page", path).into_response();
    };
    // The names of built assets hold a hash of what is in them.
    let keep = if path.starts_with("assets/") {
        HeaderValue::from_static("public, max-age=31536000, immutable")
    } else {
        HeaderValue::from_static("no-cache")
    };
    let same = headers.get(header::IF_NONE_MATCH) == Some(&tag);
    let shared = [(header::CACHE_CONTROL, keep), (header::ETAG, tag)];
    if same {
        return (axum::http::StatusCode::NOT_MODIFIED, shared).into_response();
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type(path)))];
    (shared, kind, file.data.clone().into_owned()).into_response()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webmanifest" | "json") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
