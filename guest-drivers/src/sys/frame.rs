//! Frames: the arena that tests play with, and the maps between PFN, MFN and address.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use oxen_abi::arch_x86::MACH2PHYS_VIRT_START;

use zerocopy::{Immutable, IntoBytes};

use super::{probe, start_info};

/// Virtual address of pseudo-physical address 0.
pub const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;
/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;

unsafe extern "C" {
    static _image_start: u8;
    static _image_end: u8;
    static _arena_start: u8;
    static _arena_end: u8;
    static _zeroed_start: u8;
    static hypercall_page: u8;
}

fn arena() -> (u64, u64) {
    (
        (&raw const _arena_start) as u64,
        (&raw const _arena_end) as u64,
    )
}

/// Whether Rust objects (or code, or the boot stack) may live at the address.
pub fn is_rust_memory(address: u64) -> bool {
    let (arena_start, arena_end) = arena();
    let image = (&raw const _image_start) as u64..(&raw const _image_end) as u64;
    image.contains(&address) && !(arena_start..arena_end).contains(&address)
}

/// First PFN behind the image.
pub fn image_end_pfn() -> u64 {
    ((&raw const _image_end) as u64 - VIRT_BASE).div_ceil(PAGE_SIZE)
}

/// The parts of this kernel's image, in frame numbers.
pub struct Image {
    /// Code and constants: the same in every copy.
    pub constant: core::ops::Range<u64>,
}

/// The image's parts.
#[must_use]
pub fn image() -> Image {
    let pfn = |address: u64| (address - VIRT_BASE) / PAGE_SIZE;
    Image {
        constant: pfn((&raw const _image_start) as u64)..pfn((&raw const _zeroed_start) as u64),
    }
}

/// Whether a frame holds part of the image, arena included.
#[must_use]
pub fn is_image(pfn: u64) -> bool {
    (image().constant.start..image_end_pfn()).contains(&pfn)
}

/// A page of the image's constant part.
///
/// # Panics
/// When the frame is not one of it.
#[must_use]
pub fn image_words(pfn: u64) -> &'static [AtomicU64; 512] {
    assert!(
        image().constant.contains(&pfn),
        "frame {pfn:#x} is not in the image"
    );
    // SAFETY: code and constants of this image, which nobody writes; atomic loads read them.
    unsafe { &*(address_of_pfn(pfn) as *const [AtomicU64; 512]) }
}

/// Frame number of the hypercall page.
#[must_use]
pub fn hypercall_page_pfn() -> u64 {
    ((&raw const hypercall_page) as u64 - VIRT_BASE) / PAGE_SIZE
}

/// The page that the hypervisor has filled with code for each hypercall.
#[must_use]
pub fn hypercall_page_words() -> &'static [AtomicU64; 512] {
    // SAFETY: the image has a whole page of its own there, which nobody writes to.
    unsafe { &*(&raw const hypercall_page).cast() }
}

/// A page that is mapped in the windows above the kernel.
///
/// # Panics
/// When the address is not there, or not a page's.
#[must_use]
pub fn window_words(address: u64) -> &'static [AtomicU64; 512] {
    assert!(
        address >= crate::pagetable::WINDOW && address.is_multiple_of(PAGE_SIZE),
        "{address:#x} is no page of a window"
    );
    // SAFETY: no Rust object lives in the windows; atomics may be shared with other domains. An
    // access where nothing is mapped traps and ends the domain.
    unsafe { &*(address as *const [AtomicU64; 512]) }
}

/// A frame of the arena. Its kernel mapping is read-write until a test changes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    address: u64,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Frame {
    /// Takes an unused, zeroed frame.
    ///
    /// # Panics
    /// When the arena is used up; it is sized for one run of all checks.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::take().expect("the arena of test frames is used up")
    }

    /// Takes an unused, zeroed frame, if there is one left.
    pub fn take() -> Option<Self> {
        let (start, _) = arena();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let frame = Self::at(start + u64::from(number) * PAGE_SIZE);
        if frame.is_none() {
            // Stay at the end, lest the counter comes round.
            NEXT.store(number, Ordering::Relaxed);
        }
        frame
    }

    /// The frame at a kernel address, if it is one of the arena.
    #[must_use]
    pub fn at(address: u64) -> Option<Self> {
        let (start, end) = arena();
        ((start..end).contains(&address) && address.is_multiple_of(PAGE_SIZE))
            .then_some(Frame { address })
    }

    /// Kernel address.
    #[must_use]
    pub fn address(self) -> u64 {
        self.address
    }

    /// Pseudo-physical frame number.
    #[must_use]
    pub fn pfn(self) -> u64 {
        (self.address - VIRT_BASE) / PAGE_SIZE
    }

    /// Machine frame number.
    #[must_use]
    pub fn mfn(self) -> u64 {
        p2m(self.pfn())
    }

    /// The frame as 64-bit words.
    #[must_use]
    pub fn words(self) -> &'static [AtomicU64; 512] {
        // SAFETY: the arena is memory of this image where no Rust object lives; atomics may be
        // shared with the hypervisor and other domains. Where a test took the mapping away, an
        // access traps and ends the domain.
        unsafe { &*(self.address as *const [AtomicU64; 512]) }
    }

    /// The frame as 32-bit words.
    #[must_use]
    pub fn words32(self) -> &'static [AtomicU32; 1024] {
        // SAFETY: as for `words`.
        unsafe { &*(self.address as *const [AtomicU32; 1024]) }
    }

    /// Copies structures to the frame's start, in whole words; what does not fit is left out.
    pub fn fill_with<T: IntoBytes + Immutable>(self, list: &[T]) {
        for (slot, chunk) in self.words().iter().zip(list.as_bytes().chunks(8)) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            slot.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
    }

    /// Fills the frame with a word.
    pub fn fill(self, word: u64) {
        for slot in self.words() {
            slot.store(word, Ordering::Relaxed);
        }
    }
}

fn p2m_slot(pfn: u64) -> Option<&'static AtomicU64> {
    let info = start_info();
    if pfn >= info.nr_pages {
        return None;
    }
    // SAFETY: the domain builder maps a list of `nr_pages` words there, which only this module
    // uses.
    Some(unsafe { &*((info.mfn_list + pfn * 8) as *const AtomicU64) })
}

/// Machine frame of a PFN, all ones if there is none.
#[must_use]
pub fn p2m(pfn: u64) -> u64 {
    p2m_slot(pfn).map_or(u64::MAX, |slot| slot.load(Ordering::Relaxed))
}

/// Notes the machine frame of a PFN.
pub fn set_p2m(pfn: u64, mfn: u64) {
    if let Some(slot) = p2m_slot(pfn) {
        slot.store(mfn, Ordering::Relaxed);
    }
}

/// PFN of a machine frame, `None` where the machine-to-physical table has no page.
#[must_use]
pub fn m2p(mfn: u64) -> Option<u64> {
    let address = MACH2PHYS_VIRT_START.wrapping_add(mfn.wrapping_mul(8));
    probe::read(address).ok()
}

/// Kernel address of a PFN, if the initial mapping reaches it.
#[must_use]
pub fn address_of_pfn(pfn: u64) -> u64 {
    VIRT_BASE.wrapping_add(pfn.wrapping_mul(PAGE_SIZE))
}
