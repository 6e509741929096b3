//! The asynchronous client, on tokio.

mod connection;
mod store;
mod transaction;
mod watch;

use core::ops::Deref;
use std::sync::Arc;

use connection::Connection;

pub use store::Store;
pub use transaction::Transaction;
pub use watch::Watch;

use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::request::Request;
use crate::wire::MessageType;

/// A connection to xenstored. Clones share it. The operations on nodes are those of [`Store`].
#[derive(Clone, Debug)]
pub struct Client {
    store: Arc<Store>,
}

impl Deref for Client {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Client {
    /// Connects to the usual endpoint. To be called in a tokio runtime, which drives the connection from then on.
    ///
    /// # Errors
    /// [`crate::Error::Connect`].
    pub async fn connect() -> Result<Self> {
        Self::connect_to(&Endpoint::usual()).await
    }

    /// Connects to a certain endpoint.
    ///
    /// # Errors
    /// [`crate::Error::Connect`].
    pub async fn connect_to(endpoint: &Endpoint) -> Result<Self> {
        let (from, to) = endpoint.open_async()?;
        let connection = Connection::start(from, to);
        Ok(Self {
            store: Arc::new(Store::new(Arc::new(connection), 0)),
        })
    }

    /// Watches a path and all below it. The first event comes at once. Special paths: `@introduceDomain` and
    /// `@releaseDomain`.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn watch(&self, path: &str) -> Result<Watch> {
        Watch::start(Arc::clone(self.connection()), path).await
    }

    /// Tells xenstored of a new domain: the machine frame of its xenstore ring and the port it offers.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn introduce(&self, domain: u16, frame: u64, port: u32) -> Result<()> {
        let args = [domain.to_string(), frame.to_string(), port.to_string()];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.acknowledged(MessageType::Introduce, &args).await
    }

    /// Tells xenstored that a domain is gone.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn release(&self, domain: u16) -> Result<()> {
        self.acknowledged(MessageType::Release, &[&domain.to_string()])
            .await
    }

    /// Tells xenstored that a domain runs on after a suspend.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn resume(&self, domain: u16) -> Result<()> {
        self.acknowledged(MessageType::Resume, &[&domain.to_string()])
            .await
    }

    /// Gives `domain` the rights of `target` over `target`'s nodes, as a device-model domain needs.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn set_target(&self, domain: u16, target: u16) -> Result<()> {
        self.acknowledged(
            MessageType::SetTarget,
            &[&domain.to_string(), &target.to_string()],
        )
        .await
    }

    /// Whether xenstored knows the domain.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn is_introduced(&self, domain: u16) -> Result<bool> {
        let request = Request::of(MessageType::IsDomainIntroduced, &[&domain.to_string()])?;
        request.truth(self.connection().ask(&request, 0).await?)
    }

    /// The directory of a domain, `/local/domain/N`; the domain need not exist.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn domain_path(&self, domain: u16) -> Result<String> {
        let request = Request::of(MessageType::GetDomainPath, &[&domain.to_string()])?;
        request.text(self.connection().ask(&request, 0).await?)
    }

    /// Removes all watches of this connection, on xenstored's side.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn reset_watches(&self) -> Result<()> {
        self.acknowledged(MessageType::ResetWatches, &[]).await
    }

    /// A control command of xenstored, such as `help`, and its answer.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], or a broken connection.
    pub async fn control(&self, command: &[&str]) -> Result<String> {
        let request = Request::of(MessageType::Control, command)?;
        request.text(self.connection().ask(&request, 0).await?)
    }

    /// Starts a transaction: a view of the whole store of which others' later changes are no part, and whose own
    /// changes appear all at once or not at all. [`Client::transaction`] also retries.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], with `EBUSY` where there are too many, or a broken connection.
    pub async fn begin(&self) -> Result<Transaction> {
        Transaction::start(Arc::clone(self.connection())).await
    }

    /// Runs `body` in a transaction and commits it, anew as long as others interfered. An error of `body` aborts.
    ///
    /// # Errors
    /// What `body` returns; [`crate::Error::Contended`] after very many collisions; a broken connection.
    pub async fn transaction<T, E, F>(&self, body: F) -> core::result::Result<T, E>
    where
        E: From<crate::Error>,
        F: AsyncFn(&Transaction) -> core::result::Result<T, E>,
    {
        transaction::run(Arc::clone(self.connection()), body).await
    }
}
