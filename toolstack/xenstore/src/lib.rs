//! The xenstore protocol and a client.
//!
//! xenstore is the tree of small values that dom0 and its guests use to find each other. This crate has
//!
//! - the wire protocol ([`wire`]), paths ([`path`]) and permissions ([`permission`]), used by xenstored as well;
//! - [`Client`], asynchronous on tokio, for programs that watch many things at once;
//! - [`blocking::Client`], for programs that ask one thing after the other.
//!
//! A client reaches xenstored through its Unix socket, or through `/dev/xen/xenbus` in a domain that does not run
//! xenstored; [`Endpoint`] says which.
//!
//! ```no_run
//! # async fn example() -> Result<(), xenstore::Error> {
//! let store = xenstore::Client::connect().await?;
//! let name = store.read_string("/local/domain/0/name").await?;
//! store
//!     .transaction(async |t| {
//!         t.write("/tool/example/name", &name).await?;
//!         t.write("/tool/example/seen", "1").await
//!     })
//!     .await?;
//! let mut watch = store.watch("/local/domain").await?;
//! while let Some(path) = watch.next().await {
//!     println!("{path} changed");
//! }
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

pub mod blocking;
mod client;
mod endpoint;
mod error;
pub mod path;
pub mod permission;
mod request;
pub mod wire;

pub use client::{Client, Store, Transaction, Watch};
pub use endpoint::Endpoint;
pub use error::{Error, ErrorCode, Result};
pub use path::{InvalidPath, Path};
pub use permission::{Access, Permission, Permissions};
pub use wire::{Header, Message, MessageType};
