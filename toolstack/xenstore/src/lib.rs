//! The xenstore protocol and a client.
