//! Registers of virtual CPUs.
