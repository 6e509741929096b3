//! What can go wrong.

use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with a kernel image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// Neither ELF nor bzImage nor a compressed ELF.
    #[error("it is neither an ELF file nor a bzImage")]
    UnknownFormat,
    /// A structure of the file reaches outside of it or contradicts itself.
    #[error("it is damaged or cut short: {0}")]
    Damaged(&'static str),
    /// Compressed in a way that is not known here.
    #[error(
        "its payload is compressed with {0}, which is not supported; use gzip, xz, zstd, lz4 or lzma"
    )]
    Compression(&'static str),
    /// The payload does not unpack.
    #[error("its {format} payload does not unpack: {reason}")]
    Payload {
        /// The compression format.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// Unpacked, it would be larger than any kernel.
    #[error("it would take {bytes} bytes unpacked; the limit is {limit}")]
    TooLarge {
        /// The size it claims, in bytes.
        bytes: u64,
        /// The most that is allowed, in bytes.
        limit: u64,
    },
    /// ELF, but for another machine.
    #[error("it is {0}; only 64-bit x86 kernels can be started")]
    Machine(&'static str),
    /// No Xen ELF notes.
    #[error("it has no Xen ELF notes, so it is not made to run as a PV guest (CONFIG_XEN_PV)")]
    NoNotes,
    /// Notes that say PVH only.
    #[error("it can start as a PVH guest only (CONFIG_XEN_PV is off in it)")]
    PvhOnly,
    /// A note whose value cannot be served.
    #[error("its Xen ELF note {note} {problem}")]
    Note {
        /// The note's name in elfnote.h.
        note: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Addresses that do not fit together.
    #[error("its addresses do not fit together: {0}")]
    Addresses(String),
}

/// Why a domain could not be built.
#[derive(Debug, Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read the {what} {path}: {source}", path = path.display())]
    File {
        /// "kernel" or "ramdisk".
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The kernel cannot be started.
    #[error("the kernel {path} cannot be started: {source}", path = path.display())]
    Image {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: ImageError,
    },
    /// The domain is too small for what it is to boot.
    #[error(
        "memory = {have_mib} MiB is too little for this kernel and ramdisk, which need {need_mib} MiB to start"
    )]
    DomainTooSmall {
        /// The domain's memory, in MiB.
        have_mib: u64,
        /// The least that works, in MiB.
        need_mib: u64,
    },
    /// The layout does not fit into the address space.
    #[error("kernel and ramdisk do not fit: {0}")]
    Layout(String),
    /// The host has not enough memory.
    #[error(
        "not enough free memory: {asked_mib} MiB asked for, {free_mib} MiB free; stop or shrink another domain, or lower memory"
    )]
    HostMemory {
        /// What the domain asks for, in MiB.
        asked_mib: u64,
        /// What is free, in MiB.
        free_mib: u64,
    },
    /// The hypervisor refused something.
    #[error("cannot {doing}: {source}")]
    Hypervisor {
        /// What was being done.
        doing: &'static str,
        /// The hypercall's error.
        source: hypercall::Error,
    },
    /// The hypervisor gave an answer that makes no sense.
    #[error("cannot {doing}: {problem}")]
    Unexpected {
        /// What was being done.
        doing: &'static str,
        /// What came back.
        problem: String,
    },
}

impl Error {
    /// Wraps a hypercall's error with what was being done.
    pub(crate) fn doing(doing: &'static str) -> impl Fn(hypercall::Error) -> Self {
        move |source| Self::Hypervisor { doing, source }
    }
}
