//! The public Xen ABI: types and constants, no logic, no unsafe.
