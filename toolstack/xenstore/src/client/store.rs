//! Operations on nodes, inside a transaction or outside.

use std::sync::Arc;

use super::connection::Connection;
use crate::error::{Error, ErrorCode, Result};
use crate::permission::Permissions;
use crate::request::{Parts, Request};
use crate::wire::MessageType;

/// The tree, as a [`Client`](crate::Client) or a [`Transaction`](crate::Transaction) sees it. Paths are absolute, or
/// relative to this domain's own directory.
#[derive(Debug)]
pub struct Store {
    connection: Arc<Connection>,
    transaction: u32,
}

impl Store {
    pub(super) fn new(connection: Arc<Connection>, transaction: u32) -> Self {
        Self {
            connection,
            transaction,
        }
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(super) fn transaction_id(&self) -> u32 {
        self.transaction
    }

    /// A node's value.
    ///
    /// # Errors
    /// [`Error::Refused`], with [`ErrorCode::ENOENT`] where there is no such node; a broken connection.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>> {
        let request = Request::of(MessageType::Read, &[path])?;
        self.connection.ask(&request, self.transaction).await
    }

    /// A node's value as text.
    ///
    /// # Errors
    /// As [`Store::read`]; [`Error::NotText`].
    pub async fn read_string(&self, path: &str) -> Result<String> {
        String::from_utf8(self.read(path).await?).map_err(|_| Error::NotText(path.to_owned()))
    }

    /// A node's value as text, `None` where there is no such node.
    ///
    /// # Errors
    /// As [`Store::read_string`].
    pub async fn read_optional(&self, path: &str) -> Result<Option<String>> {
        match self.read_string(path).await {
            Ok(value) => Ok(Some(value)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sets a node's value and makes the node, and those above it, where they are missing.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::TooLong`], or a broken connection.
    pub async fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let request = Request::write(path, value.as_ref())?;
        self.connection
            .ask(&request, self.transaction)
            .await
            .map(drop)
    }

    /// Makes a node with an empty value; it is no error where it exists.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub async fn mkdir(&self, path: &str) -> Result<()> {
        self.acknowledged(MessageType::MakeDirectory, &[path]).await
    }

    /// Removes a node and all below it; it is no error where it does not exist.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub async fn remove(&self, path: &str) -> Result<()> {
        match self.acknowledged(MessageType::Remove, &[path]).await {
            Err(e) if e.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Names of a node's children.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub async fn directory(&self, path: &str) -> Result<Vec<String>> {
        let request = Request::of(MessageType::Directory, &[path])?;
        match self.connection.ask(&request, self.transaction).await {
            Ok(payload) => request.texts(&payload),
            Err(e) if e.code() == Some(ErrorCode::E2BIG) => self.directory_in_parts(path).await,
            Err(e) => Err(e),
        }
    }

    async fn directory_in_parts(&self, path: &str) -> Result<Vec<String>> {
        let mut parts = Parts::default();
        loop {
            let request = parts.next(path)?;
            let payload = self.connection.ask(&request, self.transaction).await?;
            if let Some(children) = parts.push(&request, &payload)? {
                return Ok(children);
            }
        }
    }

    /// A node's permissions.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub async fn permissions(&self, path: &str) -> Result<Permissions> {
        let request = Request::of(MessageType::GetPermissions, &[path])?;
        request.permissions(&self.connection.ask(&request, self.transaction).await?)
    }

    /// Sets a node's permissions.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub async fn set_permissions(&self, path: &str, permissions: &Permissions) -> Result<()> {
        let request = Request::set_permissions(path, permissions)?;
        self.connection
            .ask(&request, self.transaction)
            .await
            .map(drop)
    }

    /// A request whose answer says only that it was done.
    pub(super) async fn acknowledged(&self, kind: MessageType, strings: &[&str]) -> Result<()> {
        self.connection
            .ask(&Request::of(kind, strings)?, self.transaction)
            .await
            .map(drop)
    }
}
