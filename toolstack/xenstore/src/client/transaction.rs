//! Transactions.

use core::ops::Deref;
use std::sync::Arc;

use super::connection::Connection;
use super::store::Store;
use crate::error::{Error, Result};
use crate::request::Request;
use crate::wire::MessageType;

/// Collisions after which a transaction is given up. Each means that somebody else got through, so this many in a row
/// are a sign of something wrong.
const MOST_COLLISIONS: u32 = 1000;

/// An open transaction; dropped without a commit, it is aborted. The operations on nodes are those of [`Store`].
#[derive(Debug)]
pub struct Transaction {
    store: Store,
    open: bool,
}

impl Deref for Transaction {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Transaction {
    pub(super) async fn start(connection: Arc<Connection>) -> Result<Self> {
        let request = Request::of(MessageType::TransactionStart, &[])?;
        let id = request.number(connection.ask(&request, 0).await?)?;
        Ok(Self {
            store: Store::new(connection, id),
            open: true,
        })
    }

    /// Makes the changes visible to others, all at once.
    ///
    /// # Errors
    /// [`Error::Refused`], for which [`Error::is_again`] says whether a new attempt may succeed.
    pub async fn commit(mut self) -> Result<()> {
        self.open = false;
        self.store
            .acknowledged(MessageType::TransactionEnd, &["T"])
            .await
    }

    /// Forgets the changes and waits until that is done.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn abort(mut self) -> Result<()> {
        self.open = false;
        self.store
            .acknowledged(MessageType::TransactionEnd, &["F"])
            .await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open
            && let Ok(request) = Request::of(MessageType::TransactionEnd, &["F"])
        {
            self.store
                .connection()
                .send(&request, self.store.transaction_id());
        }
    }
}

/// Runs `body` until it commits without a collision.
pub(super) async fn run<T, E, F>(connection: Arc<Connection>, body: F) -> core::result::Result<T, E>
where
    E: From<Error>,
    F: AsyncFn(&Transaction) -> core::result::Result<T, E>,
{
    for _ in 0..MOST_COLLISIONS {
        let transaction = Transaction::start(Arc::clone(&connection)).await?;
        let value = body(&transaction).await?;
        match transaction.commit().await {
            Ok(()) => return Ok(value),
            Err(e) if e.is_again() => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(Error::Contended(MOST_COLLISIONS).into())
}
