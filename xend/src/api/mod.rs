//! The HTTP/JSON interface on the Unix socket; [`xend_api`] describes it.

mod domains;
mod events;
mod failure;
mod host;
mod listener;

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::manager::Manager;
use listener::RootOnly;

pub(crate) use listener::{listen, remove_socket};

/// What the handlers share.
type Shared = axum::extract::State<Arc<Manager>>;

/// Serves requests for ever.
pub(crate) async fn serve(listener: RootOnly, manager: Arc<Manager>) -> Result<()> {
    axum::serve(listener, router(manager)).await?;
    Ok(())
}

fn router(manager: Arc<Manager>) -> Router {
    Router::new()
        .route("/v1/xend", get(host::xend))
        .route("/v1/host", get(host::host))
        .route("/v1/host/dmesg", get(host::dmesg))
        .route("/v1/domains", get(domains::list).post(domains::create))
        .route(
            "/v1/domains/{reference}",
            get(domains::show).delete(domains::destroy),
        )
        .route("/v1/domains/{reference}/pause", post(domains::pause))
        .route("/v1/domains/{reference}/unpause", post(domains::unpause))
        .route("/v1/domains/{reference}/shutdown", post(domains::shutdown))
        .route("/v1/domains/{reference}/wait", get(domains::wait))
        .route("/v1/domains/{reference}/console", get(domains::console))
        .route("/v1/domains/{reference}/vcpus", get(domains::vcpus))
        .fallback(failure::not_found)
        .layer(DefaultBodyLimit::max(xend_api::MAX_REQUEST))
        .with_state(manager)
}
