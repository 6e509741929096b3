//! Starting a domain in a task of its own, and telling how it goes.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use xend_api::{Create, CreateEvent, Created, EVENTS, Failure, Phase};

use crate::error::{Error, Result};
use crate::manager::Manager;

/// A domain that is being started. It is finished whether somebody listens or not.
pub(super) struct Running {
    events: mpsc::UnboundedReceiver<CreateEvent>,
    task: JoinHandle<Result<Created>>,
}

pub(super) fn create(manager: Arc<Manager>, request: Create) -> Running {
    let (sender, events) = mpsc::unbounded_channel();
    let phases = sender.clone();
    let task = tokio::spawn(async move {
        // Nobody may be listening any more; there are five phases, so nothing piles up.
        let progress = Arc::new(move |phase| drop(phases.send(CreateEvent::Phase(phase))));
        let created = manager.create(request, progress).await;
        let last = match &created {
            Ok(created) => CreateEvent::Created(created.clone()),
            Err(e) => CreateEvent::Failed(Failure {
                error: e.to_string(),
            }),
        };
        drop(sender.send(last));
        created
    });
    Running { events, task }
}

impl Running {
    /// The events as they come, one a line.
    pub(super) fn stream(self) -> Response {
        let lines = UnboundedReceiverStream::new(self.events).map(|event| {
            serde_json::to_vec(&event).map(|mut line| {
                line.push(b'\n');
                Bytes::from(line)
            })
        });
        ([(header::CONTENT_TYPE, EVENTS)], Body::from_stream(lines)).into_response()
    }

    /// Waits for the end.
    pub(super) async fn result(self) -> Result<Created> {
        joined(self.task.await)
    }
}

/// The result of a task, of which panicking is one.
pub(super) fn joined<T>(result: std::result::Result<Result<T>, JoinError>) -> Result<T> {
    result.unwrap_or(Err(Error::Panicked(Phase::Devices)))
}
