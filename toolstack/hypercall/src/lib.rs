//! Hypercalls from dom0 user space: privcmd, evtchn, gntdev. The toolstack's only crate with unsafe.
