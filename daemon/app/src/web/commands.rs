//! Routes of the commands, and of what they leave: the support bundle, the configuration as one document.
#![allow(
    unused_qualifications,
    reason = "utoipa's macro writes them for `ImportParams`"
)]

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::problem::{Body, NO_STORE, Params, Path};
use super::{BoxFuture, Problem, WebState, blocking};
use crate::documents::{CommandDoc, CommandsDoc, NewCommand};

/// Largest document of a configuration, in bytes: eight calibrations and a long file.
pub(super) const MAX_IMPORT: usize = 4 << 20;

/// Takes commands and tells what became of them. `support_bundle` and `export` may block; the server calls them off its
/// own threads.
pub trait CommandAdmin: Send + Sync {
    /// Takes a command, with an id of its own or a drawn one. 404 when there is none of this name, 409 when the id was used
    /// for another one.
    fn ask(
        &self,
        name: &str,
        id: Option<String>,
        args: Map<String, Value>,
    ) -> BoxFuture<'_, Result<CommandDoc, Problem>>;
    /// What is known of a command; `None` when it is not remembered.
    fn get(&self, id: &str) -> Option<CommandDoc>;
    /// All of them.
    fn list(&self) -> CommandsDoc;
    /// The newest support bundle, if there is one.
    fn support_bundle(&self) -> Option<PathBuf>;
    /// The configuration as one document.
    fn export(&self) -> Result<Value, Problem>;
}

/// A box that takes no commands, for shows of the page.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCommands;

impl CommandAdmin for NoCommands {
    fn ask(
        &self,
        name: &str,
        _: Option<String>,
        _: Map<String, Value>,
    ) -> BoxFuture<'_, Result<CommandDoc, Problem>> {
        let missing = Problem::not_found(format!("there is no command `{name}`"));
        Box::pin(async move { Err(missing) })
    }
    fn get(&self, _: &str) -> Option<CommandDoc> {
        None
    }
    fn list(&self) -> CommandsDoc {
        CommandsDoc::default()
    }
    fn support_bundle(&self) -> Option<PathBuf> {
        None
    }
    fn export(&self) -> Result<Value, Problem> {
        Err(Problem::not_found("this box has no configuration"))
    }
}

/// The commands that this box knows, and those that it remembers.
#[utoipa::path(get, path = "/api/v1/commands", tag = "commands", responses((status = 200, body = CommandsDoc)))]
pub(super) async fn list(State(state): State<WebState>) -> impl IntoResponse {
    (NO_STORE, Json(state.commands.list()))
}

/// Gives a command. The answer says how it was taken; where to ask how it goes on is in `Location`.
#[utoipa::path(post, path = "/api/v1/commands/{command}", tag = "commands", request_body = NewCommand,
    params(("command" = String, Path, description = "Name of the command")),
    responses((status = 202, description = "Taken, or failed at once: its state says", body = CommandDoc),
        (status = 404, description = "No such command", body = Problem),
        (status = 409, description = "The id was used for another command", body = Problem),
        (status = 422, description = "The id is none", body = Problem)))]
pub(super) async fn ask(
    State(state): State<WebState>,
    Path(name): Path<String>,
    Body(new): Body<NewCommand>,
) -> Result<impl IntoResponse, Problem> {
    taken(state.commands.ask(&name, new.id, new.args).await?)
}

/// What became of a command.
#[utoipa::path(get, path = "/api/v1/commands/{command}", tag = "commands",
    params(("command" = String, Path, description = "Id of the command")),
    responses((status = 200, body = CommandDoc), (status = 404, description = "Not remembered", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let doc = state.commands.get(&id);
    let doc = doc.ok_or_else(|| Problem::not_found("no command of this id is remembered"))?;
    Ok((NO_STORE, Json(doc)))
}

/// The newest support bundle: versions, configuration, state, log lines and checks, without secrets.
#[utoipa::path(get, path = "/api/v1/support-bundle", tag = "commands",
    responses((status = 200, description = "A .tar.gz", content_type = "application/gzip", body = Vec<u8>),
        (status = 404, description = "None was made", body = Problem)))]
pub(super) async fn support_bundle(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    let (name, bytes) = blocking(move || {
        let none = || Problem::not_found("there is none yet: POST /api/v1/commands/support-bundle");
        let path = state.commands.support_bundle().ok_or_else(none)?;
        let bytes = std::fs::read(&path).map_err(|e| Problem::internal("reading the bundle", e))?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok::<_, Problem>((name, bytes))
    })
    .await??;
    let attachment = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        .map_err(|e| Problem::internal("naming the bundle", e))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/gzip")),
        (header::CONTENT_DISPOSITION, attachment),
    ];
    Ok((NO_STORE, headers, bytes))
}

/// The configuration and the calibrations of this box as one document. Secrets are left out; it says which.
#[utoipa::path(get, path = "/api/v1/configuration/export", tag = "commands",
    responses((status = 200, description = "For `import`", body = Object)))]
pub(super) async fn export(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    let document = blocking(move || state.commands.export()).await??;
    let attachment = [(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"synoptic-configuration.json\""),
    )];
    Ok((NO_STORE, attachment, Json(document)))
}

/// How an import is done.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportParams {
    /// Seconds in which `confirm-config` must come, or the configuration of before is back. Default: 0, it needs not.
    #[serde(default)]
    confirm_within_s: u32,
    /// Whether the box keeps its own id, name and data folder.
    #[serde(default)]
    keep_device: bool,
}

/// Takes a document of `export`, here or on another box, into use: the command `import-config`.
#[utoipa::path(post, path = "/api/v1/configuration/import", tag = "commands", request_body(content = Object),
    params(ImportParams),
    responses((status = 202, description = "Taken, or failed at once: its state says", body = CommandDoc),
        (status = 422, description = "No JSON object", body = Problem)))]
pub(super) async fn import(
    State(state): State<WebState>,
    Params(params): Params<ImportParams>,
    Body(document): Body<Map<String, Value>>,
) -> Result<impl IntoResponse, Problem> {
    let args = json!({
        "document": document, "confirm_within_s": params.confirm_within_s, "keep_device": params.keep_device,
    });
    let Value::Object(args) = args else {
        return Err(Problem::internal("reading an import", "an object is none"));
    };
    taken(state.commands.ask("import-config", None, args).await?)
}

fn taken(doc: CommandDoc) -> Result<impl IntoResponse, Problem> {
    log::info!("web: command {} {} was given", doc.name, doc.id);
    let place = HeaderValue::from_str(&format!("/api/v1/commands/{}", doc.id))
        .map_err(|e| Problem::internal("naming the command", e))?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, place)], Json(doc)))
}
