//! Event channels on tokio.

use core::ops::Deref;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::evtchn::{EventChannels, LocalPort};
use crate::{Error, Result};

/// [`EventChannels`] whose pending ports are waited for on tokio. Clones share them; one task should wait.
#[derive(Clone, Debug)]
pub struct AsyncEventChannels(Arc<AsyncFd<EventChannels>>);

impl AsyncEventChannels {
    /// Opens the device. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Device`].
    pub fn open() -> Result<Self> {
        let channels = EventChannels::open()?;
        // SAFETY: the descriptor is open, `EventChannels` owns it and never replaces it, and nothing here gives out
        // mutable access to it, so it stays open and the same until it is deregistered.
        let fd = unsafe { AsyncFd::register(channels) };
        let fd = fd.map_err(|e| waiting(std::io::Error::from(e)))?;
        Ok(Self(Arc::new(fd)))
    }

    /// Waits until a port is pending and takes it; it stays masked until [`EventChannels::unmask`].
    ///
    /// # Errors
    /// As [`EventChannels::pending`].
    pub async fn next(&self) -> Result<LocalPort> {
        loop {
            let mut ready = self.0.readable().await.map_err(waiting)?;
            match self.0.get_ref().pending()? {
                Some(port) => return Ok(port),
                None => ready.clear_ready(),
            }
        }
    }
}

impl Deref for AsyncEventChannels {
    type Target = EventChannels;

    fn deref(&self) -> &EventChannels {
        self.0.get_ref()
    }
}

fn waiting(error: std::io::Error) -> Error {
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
    Error::Device {
        op: "waiting for events",
        domain: None,
        errno,
    }
}
