//! What the C headers must say about `oxen_abi::io::xs_wire`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::io::xs_wire as abi;
    constants!(table, abi;
        XS_CONTROL = "XS_CONTROL",
        XS_DIRECTORY = "XS_DIRECTORY",
        XS_READ = "XS_READ",
        XS_GET_PERMS = "XS_GET_PERMS",
        XS_WATCH = "XS_WATCH",
        XS_UNWATCH = "XS_UNWATCH",
        XS_TRANSACTION_START = "XS_TRANSACTION_START",
        XS_TRANSACTION_END = "XS_TRANSACTION_END",
        XS_INTRODUCE = "XS_INTRODUCE",
        XS_RELEASE = "XS_RELEASE",
        XS_GET_DOMAIN_PATH = "XS_GET_DOMAIN_PATH",
        XS_WRITE = "XS_WRITE",
        XS_MKDIR = "XS_MKDIR",
        XS_RM = "XS_RM",
        XS_SET_PERMS = "XS_SET_PERMS",
        XS_WATCH_EVENT = "XS_WATCH_EVENT",
        XS_ERROR = "XS_ERROR",
        XS_IS_DOMAIN_INTRODUCED = "XS_IS_DOMAIN_INTRODUCED",
        XS_RESUME = "XS_RESUME",
        XS_SET_TARGET = "XS_SET_TARGET",
        XS_RESET_WATCHES = "XS_RESET_WATCHES",
        XS_DIRECTORY_PART = "XS_DIRECTORY_PART",
        XS_TYPE_COUNT = "XS_TYPE_COUNT",
        XS_INVALID = "XS_INVALID",
        XENSTORE_RING_SIZE = "XENSTORE_RING_SIZE",
        XENSTORE_PAYLOAD_MAX = "XENSTORE_PAYLOAD_MAX",
        XENSTORE_ABS_PATH_MAX = "XENSTORE_ABS_PATH_MAX",
        XENSTORE_REL_PATH_MAX = "XENSTORE_REL_PATH_MAX",
        XENSTORE_SERVER_FEATURE_RECONNECTION = "XENSTORE_SERVER_FEATURE_RECONNECTION",
        XENSTORE_SERVER_FEATURE_ERROR = "XENSTORE_SERVER_FEATURE_ERROR",
        XENSTORE_CONNECTED = "XENSTORE_CONNECTED",
        XENSTORE_RECONNECT = "XENSTORE_RECONNECT",
        XENSTORE_ERROR_NONE = "XENSTORE_ERROR_NONE",
        XENSTORE_ERROR_COMM = "XENSTORE_ERROR_COMM",
        XENSTORE_ERROR_RINGIDX = "XENSTORE_ERROR_RINGIDX",
        XENSTORE_ERROR_PROTO = "XENSTORE_ERROR_PROTO",
        XENBUS_STATE_UNKNOWN = "XenbusStateUnknown",
        XENBUS_STATE_INITIALISING = "XenbusStateInitialising",
        XENBUS_STATE_INIT_WAIT = "XenbusStateInitWait",
        XENBUS_STATE_INITIALISED = "XenbusStateInitialised",
        XENBUS_STATE_CONNECTED = "XenbusStateConnected",
        XENBUS_STATE_CLOSING = "XenbusStateClosing",
        XENBUS_STATE_CLOSED = "XenbusStateClosed",
        XENBUS_STATE_RECONFIGURING = "XenbusStateReconfiguring",
        XENBUS_STATE_RECONFIGURED = "XenbusStateReconfigured",
    );
    structs!(table, abi::SockMsg, "struct xsd_sockmsg";
        type_ = "type",
        req_id = "req_id",
        tx_id = "tx_id",
        len = "len",
    );
    structs!(table, abi::XenstoreInterface, "struct xenstore_domain_interface";
        req = "req",
        rsp = "rsp",
        req_cons = "req_cons",
        req_prod = "req_prod",
        rsp_cons = "rsp_cons",
        rsp_prod = "rsp_prod",
        server_features = "server_features",
        connection = "connection",
        error = "error",
    );
}
