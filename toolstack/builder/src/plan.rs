//! The half of the work that needs no domain.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, ImageError};
use crate::image::Kernel;
use crate::layout::{Layout, Wanted};

/// What to boot, and with how much memory.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The kernel image.
    pub kernel: &'a Path,
    /// The initial RAM disk.
    pub ramdisk: Option<&'a Path>,
    /// The kernel's command line, at most 1023 bytes.
    pub command_line: &'a str,
    /// Memory in pages.
    pub pages: u64,
}

/// A kernel that is unpacked and a layout that it fits into.
#[derive(Debug)]
pub struct Plan {
    pub(crate) kernel: Kernel,
    pub(crate) ramdisk: Option<RamDisk>,
    pub(crate) command_line: String,
    /// Where everything goes.
    pub layout: Layout,
}

/// An open RAM disk; it is read when it is copied into the domain.
#[derive(Debug)]
pub(crate) struct RamDisk {
    pub(crate) path: std::path::PathBuf,
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

impl Plan {
    /// Reads and unpacks the kernel, and plans the layout.
    ///
    /// # Errors
    /// A file cannot be read, the kernel cannot be started, or the memory does not suffice.
    pub fn new(request: &Request<'_>) -> Result<Self, Error> {
        // The cheap check first: a missing RAM disk is found before a kernel is unpacked.
        let ramdisk = request.ramdisk.map(RamDisk::open).transpose()?;
        let kernel = Kernel::read(request.kernel)?;
        let layout = layout(&kernel, ramdisk.as_ref(), request.pages)?;
        check_entry(&kernel, &layout).map_err(|source| Error::Image {
            path: request.kernel.to_owned(),
            source,
        })?;
        Ok(Self {
            kernel,
            ramdisk,
            command_line: request.command_line.to_owned(),
            layout,
        })
    }
}

impl RamDisk {
    fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::File {
            what: "ramdisk",
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        if !meta.is_file() {
            return Err(fail(std::io::Error::other("it is not a regular file")));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes: meta.len(),
        })
    }
}

fn layout(kernel: &Kernel, ramdisk: Option<&RamDisk>, pages: u64) -> Result<Layout, Error> {
    Layout::plan(&Wanted {
        virt_base: kernel.notes.virt_base,
        kernel_end: kernel.end(),
        ramdisk: ramdisk.map_or(0, |r| r.bytes),
        unmapped_ramdisk: kernel.notes.unmapped_ramdisk,
        init_p2m: kernel.notes.init_p2m,
        pages,
    })
}

/// The addresses that the kernel names must be inside of it.
fn check_entry(kernel: &Kernel, layout: &Layout) -> Result<(), ImageError> {
    let kernel_end = kernel.end().div_ceil(crate::PAGE_SIZE);
    let inside = |address| layout.pfn_of(address).is_some_and(|pfn| pfn < kernel_end);
    let notes = &kernel.notes;
    if !inside(notes.entry) {
        return Err(ImageError::Addresses(format!(
            "its entry point {:#x} is outside of it",
            notes.entry
        )));
    }
    match notes.hypercall_page {
        Some(page) if !inside(page) || !page.is_multiple_of(crate::PAGE_SIZE) => Err(
            ImageError::Addresses(format!("its hypercall page {page:#x} is not a page of it")),
        ),
        _ => Ok(()),
    }
}
