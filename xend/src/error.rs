//! Why xend refuses a request.

use domain_config::Invalid;
use xend_api::Phase;

/// A request's failure; its text is for the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No domain has this name or id.
    #[error("Domain '{0}' does not exist.")]
    NoDomain(String),
    /// The name is taken.
    #[error(
        "VM name '{name}' already exists as domain {domid}; give another name, or destroy that domain first"
    )]
    NameInUse { name: String, domid: u16 },
    /// A domain of this name is just being started.
    #[error("VM name '{0}' is just being used to start a domain")]
    NameReserved(String),
    /// The UUID is taken.
    #[error("the UUID {uuid} already belongs to domain {domid}; leave uuid out to get a new one")]
    UuidInUse { uuid: uuid::Uuid, domid: u16 },
    /// A value out of range.
    #[error("{}: {}; {}", .0.key, .0.message, .0.help)]
    Invalid(#[from] Invalid),
    /// The domain cannot be built.
    #[error(transparent)]
    Build(#[from] domain_builder::Error),
    /// What is asked makes no sense for this domain, or not now.
    #[error("{0}")]
    NotNow(String),
    /// The guest did not react.
    #[error("{0}")]
    NoReaction(String),
    /// The hypervisor refused.
    #[error("cannot {doing}: {source}")]
    Hypervisor {
        doing: String,
        source: hypercall::Error,
    },
    /// xenstore refused.
    #[error("cannot {doing}: {source}")]
    Store {
        doing: String,
        source: xenstore::Error,
    },
    /// A file of xend's own.
    #[error("cannot {doing}: {source}")]
    File {
        doing: String,
        source: std::io::Error,
    },
    /// A part of xend panicked; the cause is in the debug log.
    #[error("xend failed while {0}; see {log}", log = crate::paths::DEBUG_LOG)]
    Panicked(Phase),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps a hypercall's error.
    pub(crate) fn hypervisor(doing: impl Into<String>) -> impl FnOnce(hypercall::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Hypervisor { doing, source }
    }

    /// Wraps xenstore's error.
    pub(crate) fn store(doing: impl Into<String>) -> impl FnOnce(xenstore::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Store { doing, source }
    }
}
