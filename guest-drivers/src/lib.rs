//! no_std guest drivers and a small PV guest kernel.
