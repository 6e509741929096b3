//! xenstore's messages and ring (io/xs_wire.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Control commands.
pub const XS_CONTROL: u32 = 0;
/// List children.
pub const XS_DIRECTORY: u32 = 1;
/// Read a node.
pub const XS_READ: u32 = 2;
/// Ask permissions.
pub const XS_GET_PERMS: u32 = 3;
/// Set a watch.
pub const XS_WATCH: u32 = 4;
/// Remove a watch.
pub const XS_UNWATCH: u32 = 5;
/// Start a transaction.
pub const XS_TRANSACTION_START: u32 = 6;
/// End a transaction.
pub const XS_TRANSACTION_END: u32 = 7;
/// Introduce a domain.
pub const XS_INTRODUCE: u32 = 8;
/// Release a domain.
pub const XS_RELEASE: u32 = 9;
/// Ask a domain's path.
pub const XS_GET_DOMAIN_PATH: u32 = 10;
/// Write a node.
pub const XS_WRITE: u32 = 11;
/// Make a node.
pub const XS_MKDIR: u32 = 12;
/// Remove a node.
pub const XS_RM: u32 = 13;
/// Set permissions.
pub const XS_SET_PERMS: u32 = 14;
/// A watch fired.
pub const XS_WATCH_EVENT: u32 = 15;
/// An error.
pub const XS_ERROR: u32 = 16;
/// Ask whether a domain is known.
pub const XS_IS_DOMAIN_INTRODUCED: u32 = 17;
/// A domain was resumed.
pub const XS_RESUME: u32 = 18;
/// Set a domain's target.
pub const XS_SET_TARGET: u32 = 19;
/// Remove all watches.
pub const XS_RESET_WATCHES: u32 = 21;
/// List children, in parts.
pub const XS_DIRECTORY_PART: u32 = 22;
/// Number of types.
pub const XS_TYPE_COUNT: u32 = 23;
/// No type.
pub const XS_INVALID: u32 = 65535;

/// Header of a message.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SockMsg {
    /// `XS_*`.
    pub type_: u32,
    /// Chosen by the client, echoed.
    pub req_id: u32,
    /// Transaction, 0: none.
    pub tx_id: u32,
    /// Bytes that follow.
    pub len: u32,
}
crate::layout!(SockMsg, 16, {type_ @ 0, req_id @ 4, tx_id @ 8, len @ 12});
/// Bytes of each ring.
pub const XENSTORE_RING_SIZE: usize = 1024;
/// Most bytes of a payload.
pub const XENSTORE_PAYLOAD_MAX: usize = 4096;
/// Longest absolute path.
pub const XENSTORE_ABS_PATH_MAX: usize = 3072;
/// Longest relative path.
pub const XENSTORE_REL_PATH_MAX: usize = 2048;

/// The page that a guest and xenstored share.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct XenstoreInterface {
    /// Requests to xenstored.
    pub req: [u8; XENSTORE_RING_SIZE],
    /// Replies and watch events.
    pub rsp: [u8; XENSTORE_RING_SIZE],
    /// Consumer of `req`, counts on without end.
    pub req_cons: u32,
    /// Producer of `req`.
    pub req_prod: u32,
    /// Consumer of `rsp`.
    pub rsp_cons: u32,
    /// Producer of `rsp`.
    pub rsp_prod: u32,
    /// `XENSTORE_SERVER_FEATURE_*`.
    pub server_features: u32,
    /// `XENSTORE_CONNECTED` or `XENSTORE_RECONNECT`.
    pub connection: u32,
    /// `XENSTORE_ERROR_*`.
    pub error: u32,
}
crate::zeroed_default!(XenstoreInterface);
crate::layout!(XenstoreInterface, 2076, {req @ 0, rsp @ 1024, req_cons @ 2048, req_prod @ 2052, rsp_cons @ 2056, rsp_prod @ 2060, server_features @ 2064, connection @ 2068, error @ 2072});
/// The server can reconnect.
pub const XENSTORE_SERVER_FEATURE_RECONNECTION: u32 = 0x1;
/// The server reports errors.
pub const XENSTORE_SERVER_FEATURE_ERROR: u32 = 0x2;
/// Steady state.
pub const XENSTORE_CONNECTED: u32 = 0;
/// The guest asks for a reconnection.
pub const XENSTORE_RECONNECT: u32 = 1;
/// No error.
pub const XENSTORE_ERROR_NONE: u32 = 0;
/// Communication problem.
pub const XENSTORE_ERROR_COMM: u32 = 1;
/// Bad ring index.
pub const XENSTORE_ERROR_RINGIDX: u32 = 2;
/// Protocol violation.
pub const XENSTORE_ERROR_PROTO: u32 = 3;

// States of a device's end (io/xenbus.h).
/// Unknown.
pub const XENBUS_STATE_UNKNOWN: u32 = 0;
/// Initialising.
pub const XENBUS_STATE_INITIALISING: u32 = 1;
/// Waits for the other end.
pub const XENBUS_STATE_INIT_WAIT: u32 = 2;
/// Has written its details.
pub const XENBUS_STATE_INITIALISED: u32 = 3;
/// Connected.
pub const XENBUS_STATE_CONNECTED: u32 = 4;
/// Closing.
pub const XENBUS_STATE_CLOSING: u32 = 5;
/// Closed.
pub const XENBUS_STATE_CLOSED: u32 = 6;
/// Reconfiguring.
pub const XENBUS_STATE_RECONFIGURING: u32 = 7;
/// Reconfigured.
pub const XENBUS_STATE_RECONFIGURED: u32 = 8;
