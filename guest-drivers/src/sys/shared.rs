//! The pages shared with the hypervisor, as atomics.

use core::mem::offset_of;
use core::sync::atomic::{AtomicI8, AtomicU8, AtomicU32, AtomicU64, Ordering};

use oxen_abi::arch_x86::{PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW};
use oxen_abi::hypercall::HYPERVISOR_UPDATE_VA_MAPPING;
use oxen_abi::io::console::ConsoleInterface;
use oxen_abi::mmu::UVMF_INVLPG;
use oxen_abi::xen as abi;

use super::frame::{self, Frame};
use super::hypercall;

/// `vcpu_time_info`.
#[repr(C)]
pub struct VcpuTime {
    /// Odd while the hypervisor writes.
    pub version: AtomicU32,
    pad0: u32,
    /// TSC at the snapshot.
    pub tsc_timestamp: AtomicU64,
    /// Nanoseconds at the snapshot.
    pub system_time: AtomicU64,
    /// Multiplier.
    pub tsc_to_system_mul: AtomicU32,
    /// Shift.
    pub tsc_shift: AtomicI8,
    /// Flags.
    pub flags: AtomicU8,
    pad1: [u8; 2],
}

/// `vcpu_info`.
#[repr(C)]
pub struct VcpuInfo {
    /// An event is pending.
    pub upcall_pending: AtomicU8,
    /// Events are masked.
    pub upcall_mask: AtomicU8,
    pad: [u8; 6],
    /// Words of `evtchn_pending` with news.
    pub pending_sel: AtomicU64,
    /// Address of the last page fault.
    pub cr2: AtomicU64,
    pad1: u64,
    /// Time.
    pub time: VcpuTime,
}

/// `shared_info`.
#[repr(C)]
pub struct SharedInfo {
    vcpu_info: [VcpuInfo; abi::XEN_LEGACY_MAX_VCPUS],
    /// Pending bits.
    pub pending: [AtomicU64; 64],
    /// Mask bits.
    pub mask: [AtomicU64; 64],
    /// Odd while the hypervisor writes the wall clock.
    pub wc_version: AtomicU32,
    /// Wall clock, seconds.
    pub wc_sec: AtomicU32,
    /// Wall clock, nanoseconds.
    pub wc_nsec: AtomicU32,
    /// Wall clock, high half of the seconds.
    pub wc_sec_hi: AtomicU32,
}

const _: () = {
    assert!(size_of::<VcpuTime>() == size_of::<abi::VcpuTimeInfo>());
    assert!(size_of::<VcpuInfo>() == size_of::<abi::VcpuInfo>());
    assert!(offset_of!(VcpuInfo, time) == offset_of!(abi::VcpuInfo, time));
    assert!(offset_of!(SharedInfo, pending) == offset_of!(abi::SharedInfo, evtchn_pending));
    assert!(offset_of!(SharedInfo, wc_sec_hi) == offset_of!(abi::SharedInfo, wc_sec_hi));
};

/// Address of the mapped shared page, 0 before.
static SHARED: AtomicU64 = AtomicU64::new(0);
/// Addresses of the vCPUs' own `vcpu_info`, 0: in the shared page.
static VCPU_INFO: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Maps the shared page over an arena frame; the frame behind it is given up.
pub fn map() -> hypercall::Result {
    let address = Frame::new().address();
    let entry = super::start_info().shared_info | PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY;
    let result = hypercall::call(HYPERVISOR_UPDATE_VA_MAPPING, [address, entry, UVMF_INVLPG])?;
    SHARED.store(address, Ordering::Relaxed);
    Ok(result)
}

/// The shared page, once it is mapped.
pub fn info() -> Option<&'static SharedInfo> {
    let address = SHARED.load(Ordering::Relaxed);
    if address == 0 {
        return None;
    }
    // SAFETY: the page is mapped read-write for good, in the arena where no Rust object lives,
    // and all fields that change are atomics.
    Some(unsafe { &*(address as *const SharedInfo) })
}

/// The `vcpu_info` of a vCPU, wherever it is.
pub fn vcpu_info(vcpu: usize) -> Option<&'static VcpuInfo> {
    let own = VCPU_INFO.get(vcpu)?.load(Ordering::Relaxed);
    if own != 0 {
        // SAFETY: `set_vcpu_info` was given arena memory that stays mapped.
        return Some(unsafe { &*(own as *const VcpuInfo) });
    }
    info()?.vcpu_info.get(vcpu)
}

/// Notes that a vCPU's `vcpu_info` is now in a frame of the arena.
pub fn set_vcpu_info(vcpu: usize, frame: Frame, offset: u64) {
    if let Some(slot) = VCPU_INFO.get(vcpu)
        && offset <= 4096 - size_of::<VcpuInfo>() as u64
        && offset.is_multiple_of(8)
    {
        slot.store(frame.address() + offset, Ordering::Relaxed);
    }
}

/// A `vcpu_time_info` in a frame of the arena.
///
/// # Panics
/// When it does not fit at the offset.
pub fn vcpu_time(frame: Frame, offset: u64) -> &'static VcpuTime {
    assert!(offset.is_multiple_of(8) && offset <= 4096 - size_of::<VcpuTime>() as u64);
    // SAFETY: arena memory where no Rust object lives; all fields that change are atomics.
    unsafe { &*((frame.address() + offset) as *const VcpuTime) }
}

/// The console ring.
#[repr(C)]
pub struct ConsoleRing {
    /// To the guest.
    pub in_: [AtomicU8; 1024],
    /// From the guest.
    pub out: [AtomicU8; 2048],
    /// Consumer of `in_`.
    pub in_cons: AtomicU32,
    /// Producer of `in_`.
    pub in_prod: AtomicU32,
    /// Consumer of `out`.
    pub out_cons: AtomicU32,
    /// Producer of `out`.
    pub out_prod: AtomicU32,
}

const _: () = assert!(size_of::<ConsoleRing>() == size_of::<ConsoleInterface>());

/// The ring in a page of the windows.
#[must_use]
pub fn console_at(address: u64) -> &'static ConsoleRing {
    let page = frame::window_words(address);
    // SAFETY: as for the page; the ring is smaller and all its fields are atomics.
    unsafe { &*core::ptr::from_ref(page).cast::<ConsoleRing>() }
}

/// The page of a machine frame that the domain builder mapped for this domain.
fn given_page(mfn: u64) -> Option<u64> {
    let pfn = frame::m2p(mfn)?;
    (mfn != 0 && !frame::is_image(pfn) && pfn < super::start_info().nr_pages)
        .then(|| frame::address_of_pfn(pfn))
}

/// This domain's console ring, if it is not dom0.
#[must_use]
pub fn own_console() -> Option<&'static ConsoleRing> {
    let address = given_page(super::start_info().console_mfn)?;
    // SAFETY: the builder mapped the page read-write outside the image, where no Rust object lives.
    Some(unsafe { &*(address as *const ConsoleRing) })
}

/// This domain's xenstore page, if it is not dom0.
#[must_use]
pub fn own_store() -> Option<&'static [AtomicU64; 512]> {
    let address = given_page(super::start_info().store_mfn)?;
    // SAFETY: as for the console.
    Some(unsafe { &*(address as *const [AtomicU64; 512]) })
}
