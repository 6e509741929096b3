//! Mechanism of the Oxen hypervisor: the only bare-metal crate with unsafe.
