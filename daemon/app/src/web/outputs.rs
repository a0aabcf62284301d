//! Routes of the outputs: list, add, change, remove.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use synoptic_base::StreamId;

use super::cameras::{CreatedDoc, camera_id};
use super::problem::{Body, NO_STORE, Path};
use super::{Problem, WebState, blocking};
use crate::config::NewOutput;
use crate::outputs::OutputDoc;

/// Changes and tells the outputs. Every method may block; the server calls them off its own threads.
pub trait OutputAdmin: Send + Sync {
    /// How all of them do.
    fn list(&self) -> Vec<OutputDoc>;
    /// How one does; `None` when there is none of this id.
    fn get(&self, id: &StreamId) -> Option<OutputDoc>;
    /// Writes an output into the configuration file and starts it. 409 when the id is taken.
    fn add(&self, output: &NewOutput) -> Result<(), Problem>;
    /// Changes an output of the configuration file. 404 when there is none.
    fn replace(&self, output: &NewOutput) -> Result<(), Problem>;
    /// Takes an output out of the configuration file and stops it; one that is not in it is stopped. 404 when there is none.
    fn remove(&self, id: &StreamId) -> Result<(), Problem>;
}

/// A box that sends nothing anywhere, for shows of the page.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutputs;

impl OutputAdmin for NoOutputs {
    fn list(&self) -> Vec<OutputDoc> {
        Vec::new()
    }
    fn get(&self, _: &StreamId) -> Option<OutputDoc> {
        None
    }
    fn add(&self, _: &NewOutput) -> Result<(), Problem> {
        Err(Problem::conflict("this box sends nothing anywhere"))
    }
    fn replace(&self, output: &NewOutput) -> Result<(), Problem> {
        Err(missing(&output.id))
    }
    fn remove(&self, id: &StreamId) -> Result<(), Problem> {
        Err(missing(id.as_str()))
    }
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no output `{id}`"))
}

/// Every output and how it does. Addresses are shown without passwords, RTMP stream names and queries.
#[utoipa::path(get, path = "/api/v1/outputs", tag = "outputs", responses((status = 200, body = Vec<OutputDoc>)))]
pub(super) async fn list(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    let docs = blocking(move || state.outputs.list()).await?;
    Ok((NO_STORE, Json(docs)))
}

/// One output and how it does.
#[utoipa::path(get, path = "/api/v1/outputs/{id}", tag = "outputs", params(("id" = String, Path, description = "Output id")),
    responses((status = 200, body = OutputDoc), (status = 404, description = "No such output", body = Problem)))]
pub(super) async fn get(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let output = camera_id(&id)?;
    let doc = blocking(move || state.outputs.get(&output)).await?;
    Ok((NO_STORE, Json(doc.ok_or_else(|| missing(&id))?)))
}

/// Adds an output: writes it into the configuration file and starts it.
#[utoipa::path(post, path = "/api/v1/outputs", tag = "outputs", request_body = NewOutput,
    responses((status = 201, description = "Added", body = CreatedDoc),
        (status = 409, description = "The id is taken", body = Problem),
        (status = 422, description = "A field's value cannot be", body = Problem)))]
pub(super) async fn add(
    State(state): State<WebState>,
    Body(output): Body<NewOutput>,
) -> Result<impl IntoResponse, Problem> {
    let id = StreamId::new(&output.id).map_err(|e| Problem::invalid("id", e.to_string()))?;
    blocking(move || state.outputs.add(&output)).await??;
    log::info!("web: output {id} was added");
    let place = HeaderValue::from_str(&format!("/api/v1/outputs/{id}"))
        .map_err(|e| Problem::internal("naming the output", e))?;
    let doc = CreatedDoc { id: id.to_string() };
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(doc)))
}

/// Changes an output of the configuration to what is sent, and starts it anew; `enabled: false` stops it. A password that is
/// not sent stays as it is.
#[utoipa::path(put, path = "/api/v1/outputs/{id}", tag = "outputs", request_body = NewOutput,
    params(("id" = String, Path, description = "Output id")),
    responses((status = 204, description = "Changed"), (status = 404, description = "No such output", body = Problem),
        (status = 422, description = "A field's value cannot be", body = Problem)))]
pub(super) async fn replace(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Body(output): Body<NewOutput>,
) -> Result<StatusCode, Problem> {
    camera_id(&id)?;
    if output.id != id {
        return Err(Problem::invalid("id", format!("write `{id}`, as in the address")));
    }
    blocking(move || state.outputs.replace(&output)).await??;
    log::info!("web: output {id} was changed");
    Ok(StatusCode::NO_CONTENT)
}

/// Removes an output from the configuration and stops it.
#[utoipa::path(delete, path = "/api/v1/outputs/{id}", tag = "outputs", params(("id" = String, Path, description = "Output id")),
    responses((status = 204, description = "Removed"), (status = 404, description = "No such output", body = Problem)))]
pub(super) async fn remove(
    State(state): State<WebState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let output = camera_id(&id)?;
    blocking(move || state.outputs.remove(&output)).await??;
    log::info!("web: output {id} was removed");
    Ok(StatusCode::NO_CONTENT)
}
