//! Builds PV domains: kernel image, memory, page tables, start of day.
