//! The socket: for root only.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::net::{UnixListener, UnixStream};
use xend_api::SOCKET;

/// A listener that talks to root's processes only. The socket's mode says the same already; the
/// peer's credentials hold also where somebody has changed the mode.
pub(crate) struct RootOnly(UnixListener);

/// Opens the socket. The pid file's lock is held, so whatever is there is a leftover.
pub(crate) fn listen() -> Result<RootOnly> {
    remove_socket();
    let listener =
        UnixListener::bind(SOCKET).with_context(|| format!("cannot listen at {SOCKET}"))?;
    std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {SOCKET}"))?;
    Ok(RootOnly(listener))
}

/// Removes the socket's file, if there is one.
pub(crate) fn remove_socket() {
    let path = Path::new(SOCKET);
    if path.exists()
        && let Err(e) = std::fs::remove_file(path)
    {
        tracing::warn!("cannot remove {SOCKET}: {e}");
    }
}

impl axum::serve::Listener for RootOnly {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // axum's own listener waits a moment when descriptors run out.
            let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == 0 => return (stream, address),
                Ok(peer) => tracing::warn!("refused a connection of user {}", peer.uid()),
                Err(e) => tracing::warn!("refused a connection of unknown origin: {e}"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
