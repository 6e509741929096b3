//! End-to-end tests over the serial console.
