//! Policy of the Oxen hypervisor: no unsafe code, runs on the host too.
