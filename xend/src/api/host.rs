//! Requests about the host and xend.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use xend_api::{Host, Xend};

use super::Shared;
use super::failure::Answer;
use crate::error::Error;

pub(super) async fn xend() -> Json<Xend> {
    Json(Xend {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
    })
}

pub(super) async fn host(State(manager): Shared) -> Answer<Json<Host>> {
    Ok(Json(crate::host::info(manager.hypervisor())?))
}

#[derive(Deserialize)]
pub(super) struct DmesgQuery {
    #[serde(default)]
    clear: bool,
}

/// The hypervisor's messages as they are: its console need not be UTF-8.
pub(super) async fn dmesg(
    State(manager): Shared,
    query: Result<Query<DmesgQuery>, QueryRejection>,
) -> Answer<Vec<u8>> {
    let Query(query) = query?;
    let ring = manager
        .hypervisor()
        .console_ring(query.clear)
        .map_err(Error::hypervisor("read the hypervisor's messages"))?;
    Ok(ring.text)
}
