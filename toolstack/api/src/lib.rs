//! xend's HTTP/JSON interface: what goes over its Unix socket, and a small blocking client.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/xend` | [`Xend`] |
//! | `GET /v1/host` | [`Host`] |
//! | `GET /v1/host/dmesg?clear=BOOL` | the hypervisor's messages, as text |
//! | `GET /v1/domains` | a list of [`Domain`] |
//! | `POST /v1/domains` with [`Create`] | [`Created`], or [`CreateEvent`]s, one a line, where the request accepts [`EVENTS`] |
//! | `GET /v1/domains/REF` | [`Domain`] |
//! | `DELETE /v1/domains/REF` | nothing: the domain is destroyed |
//! | `POST /v1/domains/REF/pause`, `/unpause` | nothing |
//! | `POST /v1/domains/REF/shutdown` with [`Shutdown`] | nothing, once the guest has acknowledged it |
//! | `GET /v1/domains/REF/wait` | [`Ended`], once the domain has ended |
//! | `GET /v1/domains/REF/console` | [`Console`], once there is one |
//! | `GET /v1/domains/REF/vcpus` | a list of [`Vcpu`] |
//!
//! `REF` is a domain's name or its id. Errors have a status of 4xx or 5xx and a [`Failure`] as body.
#![forbid(unsafe_code)]

mod client;
mod domain;
mod host;

pub use client::{Client, Error, Response};
pub use domain::{
    Console, Create, CreateEvent, Created, Domain, Ended, Phase, Shutdown, ShutdownKind, State,
    Vcpu,
};
pub use host::{Host, Xend};

use serde::{Deserialize, Serialize};

/// Where xend listens.
pub const SOCKET: &str = "/run/xend/xend.sock";
/// The media type of a stream of JSON values, one a line.
pub const EVENTS: &str = "application/x-ndjson";
/// Largest body of a request, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A sentence for the user, without a final stop where it ends in a cause.
    pub error: String,
}
