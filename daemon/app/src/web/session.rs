//! Routes of the session: set the first password, sign in, sign out.

use std::fmt;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Auth, Token};
use super::guard::{self, Access};
use super::problem::{Body, NO_STORE};
use super::{Problem, WebState};

/// Where the caller stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionDoc {
    /// Whether this address wants a sign-in at all.
    pub needed: bool,
    /// Whether a password is set; until then only setting one is possible.
    pub set_up: bool,
    /// Whether the caller is signed in.
    pub signed_in: bool,
}

/// A password on its way in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordDoc {
    /// The password.
    #[schema(min_length = 10, max_length = 1024, format = Password, write_only)]
    pub password: String,
}
impl fmt::Debug for PasswordDoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordDoc(***)")
    }
}

/// A change of the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password so far.
    #[schema(format = Password, write_only)]
    pub old: String,
    /// The password from now on.
    #[schema(min_length = 10, max_length = 1024, format = Password, write_only)]
    pub new: String,
}
impl fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordChange(***)")
    }
}

/// Says whether a sign-in is needed, and whether it was done.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 200, body = SessionDoc)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let known = guard::token(&headers, access).is_some_and(|token| state.auth.is_signed_in(token));
    let doc = SessionDoc {
        needed: access.sign_in,
        set_up: state.auth.is_set_up(),
        signed_in: known || !access.sign_in,
    };
    (NO_STORE, Json(doc))
}

/// Sets the first password and signs in.
#[utoipa::path(post, path = "/api/v1/session/setup", tag = "session", security(()), request_body = PasswordDoc,
    responses((status = 204, description = "Set; the session cookie is in `Set-Cookie`"),
        (status = 409, description = "A password is set already", body = Problem),
        (status = 422, description = "Too short", body = Problem),
        (status = 429, description = "Too many tries", body = Problem)))]
pub(super) async fn set_up(
    State(state): State<WebState>,
    Extension(access): Extension<Access>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Body(doc): Body<PasswordDoc>,
) -> Result<Response, Problem> {
    begin(state, access, move |auth| auth.set_up(client.ip(), &doc.password)).await
}

/// Signs in.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", security(()), request_body = PasswordDoc,
    responses((status = 204, description = "Signed in; the session cookie is in `Set-Cookie`"),
        (status = 403, description = "Wrong password", body = Problem),
        (status = 409, description = "No password is set yet", body = Problem),
        (status = 429, description = "Too many tries", body = Problem)))]
pub(super) async fn sign_in(
    State(state): State<WebState>,
    Extension(access): Extension<Access>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Body(doc): Body<PasswordDoc>,
) -> Result<Response, Problem> {
    begin(state, access, move |auth| {
        auth.sign_in(client.ip(), &doc.password)
    })
    .await
}

/// Changes the password. Every session ends; the caller gets a new one.
#[utoipa::path(post, path = "/api/v1/password", tag = "session", request_body = PasswordChange,
    responses((status = 204, description = "Changed; the new session cookie is in `Set-Cookie`"),
        (status = 403, description = "The old password is wrong", body = Problem),
        (status = 409, description = "No password is set yet", body = Problem),
        (status = 422, description = "Too short", body = Problem),
        (status = 429, description = "Too many tries", body = Problem)))]
pub(super) async fn change(
    State(state): State<WebState>,
    Extension(access): Extension<Access>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Body(doc): Body<PasswordChange>,
) -> Result<Response, Problem> {
    begin(state, access, move |auth| {
        auth.change(client.ip(), &doc.old, &doc.new)
    })
    .await
}

/// Signs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 204, description = "Signed out")))]
pub(super) async fn sign_out(
    State(state): State<WebState>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(token) = guard::token(&headers, access) {
        state.auth.sign_out(token);
    }
    with_cookie(access, "", "; Max-Age=0")
}

async fn begin(
    state: WebState,
    access: Access,
    check: impl FnOnce(&Auth) -> Result<Token, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let token = super::blocking(move || check(&state.auth)).await??;
    with_cookie(access, &token.0, "")
}

fn with_cookie(access: Access, value: &str, extra: &str) -> Result<Response, Problem> {
    let secure = if access.https { "; Secure" } else { "" };
    let name = access.cookie_name();
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{extra}");
    let cookie = HeaderValue::from_str(&cookie).map_err(|e| Problem::internal("making the cookie", e))?;
    Ok((StatusCode::NO_CONTENT, NO_STORE, [(header::SET_COOKIE, cookie)]).into_response())
}
