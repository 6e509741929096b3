//! Requests about domains.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use xend_api::{Console, Create, Domain, EVENTS, Ended, Shutdown, Vcpu};

use super::failure::Answer;
use super::{Shared, events};

pub(super) async fn list(State(manager): Shared) -> Answer<Json<Vec<Domain>>> {
    Ok(Json(manager.domains().await?))
}

pub(super) async fn show(
    State(manager): Shared,
    Path(reference): Path<String>,
) -> Answer<Json<Domain>> {
    Ok(Json(manager.domain(&reference).await?))
}

/// Starts a domain, with one answer at the end or with events on the way.
pub(super) async fn create(
    State(manager): Shared,
    headers: HeaderMap,
    request: Result<Json<Create>, JsonRejection>,
) -> Answer<Response> {
    let Json(request) = request?;
    let wants_events = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept == EVENTS);
    let running = events::create(manager, request);
    if wants_events {
        Ok(running.stream())
    } else {
        let created = running.result().await?;
        Ok((StatusCode::CREATED, Json(created)).into_response())
    }
}

pub(super) async fn destroy(
    State(manager): Shared,
    Path(reference): Path<String>,
) -> Answer<StatusCode> {
    // In a task of its own: the request may be cut off, the work must not.
    let task = tokio::spawn(async move { manager.destroy(&reference).await });
    events::joined(task.await)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(manager): Shared,
    Path(reference): Path<String>,
) -> Answer<StatusCode> {
    manager.pause(&reference).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unpause(
    State(manager): Shared,
    Path(reference): Path<String>,
) -> Answer<StatusCode> {
    manager.unpause(&reference).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn shutdown(
    State(manager): Shared,
    Path(reference): Path<String>,
    request: Result<Json<Shutdown>, JsonRejection>,
) -> Answer<StatusCode> {
    let Json(request) = request?;
    manager.shut_down(&reference, request.kind).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn wait(
    State(manager): Shared,
    Path(reference): Path<String>,
) -> Answer<Json<Ended>> {
    Ok(Json(manager.wait_end(&reference).await?))
}

pub(super) async fn console(
    State(manager): Shared,
    Path(reference): Path<String>,
) -> Answer<Json<Console>> {
    Ok(Json(manager.console(&reference).await?))
}

pub(super) async fn vcpus(
    State(manager): Shared,
    Path(reference): Path<String>,
) -> Answer<Json<Vec<Vcpu>>> {
    Ok(Json(manager.vcpus(&reference).await?))
}
