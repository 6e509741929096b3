//! Guest drivers and a small kernel for paravirtualised x86-64 guests, without `std`.
//!
//! The kernel (`oxen-test-guest`) is the tests' favourite guest. Its command line says what it
//! does: `mode=hello` prints a line and powers off, `mode=conformance` checks the hypercalls,
//! `mode=pair` (dom0) what takes two domains, with copies of itself that it builds, `mode=fuzz`
//! (dom0) has such copies send random hypercalls on two vCPUs, `mode=bench` measures them,
//! `mode=machine-check` (dom0) prints the first error that the hardware corrects,
//! `mode=nmi` (dom0) counts the platform's NMIs, `mode=watchdog` lets its watchdog expire,
//! `mode=refused` reads an MSR that there is not, `mode=end` ends with the reason `code=`.
//!
//! `sys` is the lowest module and the only one with unsafe code. It is there on bare metal
//! only; the parts above it that are plain logic build and are tested on the host as well.

#![no_std]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
mod bench;
pub mod cmdline;
#[cfg(target_os = "none")]
mod conformance;
#[cfg(target_os = "none")]
pub mod console;
pub mod domain;
pub mod event;
pub mod fuzz;
#[cfg(target_os = "none")]
mod kernel;
#[cfg(target_os = "none")]
mod machine_check;
#[cfg(target_os = "none")]
pub mod pagetable;
#[cfg(target_os = "none")]
mod pair;
#[cfg(target_os = "none")]
mod peer;
#[cfg(target_os = "none")]
mod provoke;
pub mod rng;
#[cfg(target_os = "none")]
#[allow(unsafe_code)]
pub mod sys;
pub mod time;
#[cfg(target_os = "none")]
mod touched;
