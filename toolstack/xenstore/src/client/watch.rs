//! Watches.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::connection::Connection;
use crate::error::Result;
use crate::request::Request;
use crate::wire::MessageType;

/// A watch on a path and all below it; removed when dropped.
#[derive(Debug)]
pub struct Watch {
    connection: Arc<Connection>,
    path: String,
    token: String,
    events: mpsc::UnboundedReceiver<String>,
}

impl Watch {
    pub(super) async fn start(connection: Arc<Connection>, path: &str) -> Result<Self> {
        let (token, events) = connection.add_watch();
        // Made before the request, so that it is removed again should the request fail.
        let watch = Self {
            connection,
            path: path.to_owned(),
            token,
            events,
        };
        let request = Request::of(MessageType::Watch, &[path, &watch.token])?;
        watch.connection.ask(&request, 0).await?;
        Ok(watch)
    }

    /// Waits for the next event: the path that changed, the first time the watched path itself. `None` when the
    /// connection broke.
    pub async fn next(&mut self) -> Option<String> {
        self.events.recv().await
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<String> {
        self.events.try_recv().ok()
    }

    /// The watched path.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.remove_watch(&self.token);
        if let Ok(request) = Request::of(MessageType::Unwatch, &[&self.path, &self.token]) {
            self.connection.send(&request, 0);
        }
    }
}
