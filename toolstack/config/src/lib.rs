//! Domain configuration files.
