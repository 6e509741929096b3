//! Builds the copy: memory, image, page tables, start information, first vCPU.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::Errno;
use oxen_abi::arch_x86::{
    FLAT_KERNEL_CS, FLAT_KERNEL_SS, VGCF_IN_KERNEL, VGCF_ONLINE, VcpuGuestContext,
};
use oxen_abi::domctl as abi;
use oxen_abi::event_channel::{AllocUnbound, EVTCHNOP_ALLOC_UNBOUND};
use oxen_abi::hypercall::{
    HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_MEMORY_OP, HYPERVISOR_MMU_UPDATE, HYPERVISOR_MMUEXT_OP,
};
use oxen_abi::memory::{Reservation, XENMEM_POPULATE_PHYSMAP};
use oxen_abi::mmu::{MMUEXT_PIN_L4_TABLE, MmuUpdate, MmuextOp};
use oxen_abi::start_info::StartInfo;
use zerocopy::{FromZeros, IntoBytes};

use super::Layout;
use super::console::Reader;
use super::control::{self, Nothing, on_domain};
use crate::pagetable::{self, RO, RW, WINDOW, index};
use crate::sys::frame::{self, VIRT_BASE};
use crate::sys::hypercall::{self, Result};

/// Pages of a copy: 12 MiB, room for the image with its arena and the rest.
const PAGES: u64 = 3072;
const PAGES_INDEX: usize = 3072;
/// Pages that it may take beside these.
const MORE: u64 = 1024;
/// Pages handled in one hypercall.
const BATCH: usize = 128;
/// Where the copy's memory is mapped while it is built.
const AT: u64 = WINDOW + (256 << 20);

/// What a copy shall be.
pub struct Spec<'a> {
    /// Its command line.
    pub command_line: &'a [u8],
    /// How many vCPUs it may have; the first one is started.
    pub vcpus: u32,
}

impl<'a> Spec<'a> {
    /// A copy with one vCPU.
    #[must_use]
    pub fn new(command_line: &'a [u8]) -> Self {
        Spec {
            command_line,
            vcpus: 1,
        }
    }
}

/// A domain that was built. It is paused at first.
pub struct Domain {
    /// Its number.
    pub id: u16,
    /// Port of the domain for dom0's use, beside the console's: unbound, for dom0 to bind.
    pub port: u32,
    console: Reader,
    store: &'static [AtomicU64; 512],
}

/// Machine frames of the domain being built, by its frame numbers. One domain is built at a time.
static FRAMES: [AtomicU64; PAGES_INDEX] = [const { AtomicU64::new(0) }; PAGES_INDEX];

fn mfn(pfn: u64) -> u64 {
    usize::try_from(pfn)
        .ok()
        .and_then(|pfn| FRAMES.get(pfn))
        .map_or(u64::MAX, |frame| frame.load(Ordering::Relaxed))
}

impl Domain {
    /// Builds a domain; whatever fails, nothing is left of it.
    pub fn build(spec: &Spec<'_>) -> Result<Self> {
        let mut id = 0;
        let mut create = abi::CreateDomain {
            handle: *b"oxen-test-guest!",
            max_vcpus: spec.vcpus,
            max_evtchn_port: u32::MAX,
            max_grant_frames: 4,
            max_maptrack_frames: 4,
            grant_opts: 2,
            ..abi::CreateDomain::default()
        };
        control::domctl(abi::XEN_DOMCTL_CREATEDOMAIN, &mut id, &mut create)?;
        let built = Self::fill(id, spec);
        if built.is_err() {
            let _ = unmap_all();
            destroy(id)?;
        }
        built
    }

    fn fill(id: u16, spec: &Spec<'_>) -> Result<Self> {
        let layout = Layout::new(PAGES, frame::image_end_pfn()).ok_or(Errno::E2BIG)?;
        on_domain(
            abi::XEN_DOMCTL_MAX_VCPUS,
            id,
            &mut abi::MaxVcpus { max: spec.vcpus },
        )?;
        on_domain(
            abi::XEN_DOMCTL_MAX_MEM,
            id,
            &mut abi::MaxMem {
                max_memkb: (PAGES + MORE) * 4,
            },
        )?;
        populate(id)?;
        map_all(id)?;
        copy_image();
        write_tables(&layout);
        let console_port = unbound_port(id)?;
        let store_port = unbound_port(id)?;
        let port = unbound_port(id)?;
        let mut info = start_information(id, &layout, spec)?;
        info.console_evtchn = console_port;
        info.store_evtchn = store_port;
        put_bytes(layout.start_info, info.as_bytes());
        for pfn in 0..PAGES {
            words(layout.p2m + pfn / 512)[usize::try_from(pfn % 512).unwrap_or(0)]
                .store(mfn(pfn), Ordering::Relaxed);
        }
        // The tables may have no writable mapping when they are pinned.
        unmap_all()?;
        let mut pin = MmuextOp {
            cmd: MMUEXT_PIN_L4_TABLE,
            arg1: mfn(layout.tables),
            ..MmuextOp::default()
        };
        hypercall::call(
            HYPERVISOR_MMUEXT_OP,
            [hypercall::address(&mut pin), 1, 0, u64::from(id)],
        )?;
        on_domain(
            abi::XEN_DOMCTL_HYPERCALL_INIT,
            id,
            &mut abi::HypercallInit {
                gmfn: mfn(frame::hypercall_page_pfn()),
            },
        )?;
        clear_shared_info(id, info.shared_info)?;
        start_vcpu(id, &layout)?;
        // These two stay mapped while the domain lives.
        map_one(id, layout.console)?;
        map_one(id, layout.store)?;
        Ok(Domain {
            id,
            port,
            console: Reader::new(id, AT + layout.console * 4096, console_port)?,
            store: words(layout.store),
        })
    }

    /// Lets it run.
    pub fn unpause(&self) -> Result {
        on_domain::<Nothing>(abi::XEN_DOMCTL_UNPAUSEDOMAIN, self.id, &mut [])
    }

    /// Prints what the domain wrote to its console, line by line; `line` sees each before.
    pub fn drain_console(&mut self, line: impl FnMut(&str)) {
        self.console.drain(line);
    }

    /// A word of the page that it shares with dom0.
    pub fn shared(&self, index: usize) -> &AtomicU64 {
        &self.store[index % 512]
    }

    /// Its shutdown reason, once it has shut down.
    pub fn shut_down(&self) -> Result<Option<u32>> {
        let flags = control::domain_info(self.id)?.flags;
        Ok((flags & abi::XEN_DOMINF_SHUTDOWN != 0)
            .then_some(flags >> abi::XEN_DOMINF_SHUTDOWNSHIFT & abi::XEN_DOMINF_SHUTDOWNMASK))
    }

    /// Destroys it and gives up all that dom0 holds of it.
    pub fn destroy(self) -> Result {
        self.console.close();
        unmap_all()?;
        destroy(self.id)
    }
}

/// Makes a domain with one vCPU that is never given memory or a context. Its number.
pub fn create_idle() -> Result<u16> {
    let mut id = 0;
    let mut create = abi::CreateDomain {
        handle: *b"oxen-test-guest!",
        max_vcpus: 1,
        max_evtchn_port: 1023,
        max_grant_frames: 64,
        max_maptrack_frames: 1024,
        grant_opts: 2,
        ..abi::CreateDomain::default()
    };
    control::domctl(abi::XEN_DOMCTL_CREATEDOMAIN, &mut id, &mut create)?;
    on_domain(abi::XEN_DOMCTL_MAX_VCPUS, id, &mut abi::MaxVcpus { max: 1 })?;
    Ok(id)
}

/// Destroys a domain, of whose memory dom0 has nothing mapped.
pub fn destroy(id: u16) -> Result {
    loop {
        // Long work is done in steps, and the call asks to be made again.
        match on_domain::<Nothing>(abi::XEN_DOMCTL_DESTROYDOMAIN, id, &mut []) {
            Err(Errno::ERESTART | Errno::EAGAIN) => {}
            other => return other,
        }
    }
}

fn unbound_port(id: u16) -> Result<u32> {
    let mut arg = AllocUnbound {
        dom: id,
        remote_dom: 0,
        port: 0,
    };
    hypercall::op(
        HYPERVISOR_EVENT_CHANNEL_OP,
        EVTCHNOP_ALLOC_UNBOUND,
        &mut arg,
    )?;
    Ok(arg.port)
}

/// Gets the domain's memory.
fn populate(id: u16) -> Result<()> {
    let mut list = [0u64; BATCH];
    for chunk in FRAMES.chunks(BATCH).zip((0..).step_by(BATCH)) {
        let (frames, first) = chunk;
        for (slot, pfn) in list.iter_mut().zip(first..) {
            *slot = pfn;
        }
        let mut arg = Reservation {
            extent_start: hypercall::slice_address(&mut list),
            nr_extents: frames.len() as u64,
            domid: id,
            ..Reservation::default()
        };
        let done = hypercall::op(HYPERVISOR_MEMORY_OP, XENMEM_POPULATE_PHYSMAP, &mut arg)?;
        if done != frames.len() as u64 {
            return Err(Errno::ENOMEM);
        }
        for (slot, mfn) in frames.iter().zip(list) {
            slot.store(mfn, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Writes the L1 entries of the build window for a run of frames.
fn set_entries(id: u16, first: u64, entry: impl Fn(u64) -> u64) -> Result<()> {
    let mut list = [MmuUpdate::default(); BATCH];
    for (slot, pfn) in list.iter_mut().zip(first..) {
        let address = AT + pfn * 4096;
        let place = pagetable::entry(address, 1).ok_or(Errno::EFAULT)?;
        *slot = MmuUpdate {
            ptr: place.machine,
            val: entry(pfn),
        };
    }
    hypercall::call(
        HYPERVISOR_MMU_UPDATE,
        [
            hypercall::slice_address(&mut list),
            BATCH as u64,
            0,
            u64::from(id),
        ],
    )?;
    Ok(())
}

fn map_all(id: u16) -> Result<()> {
    for first in (0..PAGES).step_by(BATCH) {
        pagetable::reach(AT + first * 4096)?;
        set_entries(id, first, |pfn| mfn(pfn) << 12 | RW)?;
    }
    Ok(())
}

fn map_one(id: u16, pfn: u64) -> Result {
    let place = pagetable::entry(AT + pfn * 4096, 1).ok_or(Errno::EFAULT)?;
    pagetable::update_foreign(place.machine, mfn(pfn) << 12 | RW, id)
}

fn unmap_all() -> Result<()> {
    for first in (0..PAGES).step_by(BATCH) {
        if pagetable::entry(AT + first * 4096, 1).is_some() {
            set_entries(oxen_abi::xen::DOMID_SELF, first, |_| 0)?;
        }
    }
    pagetable::flush_all()?;
    Ok(())
}

/// A frame of the domain through the build window.
fn words(pfn: u64) -> &'static [AtomicU64; 512] {
    frame::window_words(AT + pfn * 4096)
}

/// The image from this kernel's own memory; what changes at run time starts as zeroes.
fn copy_image() {
    let image = frame::image();
    for pfn in 0..PAGES {
        let to = words(pfn);
        if image.constant.contains(&pfn) {
            for (slot, word) in to.iter().zip(frame::image_words(pfn)) {
                slot.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        } else {
            for slot in to {
                slot.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// The domain's page tables: all its memory from [`VIRT_BASE`] on.
fn write_tables(layout: &Layout) {
    let put = |table: u64, slot: u64, value: u64| {
        words(table)[usize::try_from(slot % 512).unwrap_or(0)].store(value, Ordering::Relaxed);
    };
    let (l4, l3, l2, l1) = (
        layout.tables,
        layout.tables + 1,
        layout.tables + 2,
        layout.tables + 3,
    );
    put(l4, index(VIRT_BASE, 4), mfn(l3) << 12 | RW);
    put(l3, index(VIRT_BASE, 3), mfn(l2) << 12 | RW);
    for table in 0..layout.table_count - 3 {
        put(l2, table, mfn(l1 + table) << 12 | RW);
    }
    for pfn in 0..layout.pages {
        let bits = if layout.is_table(pfn) { RO } else { RW };
        put(l1 + pfn / 512, pfn, mfn(pfn) << 12 | bits);
    }
}

fn start_information(id: u16, layout: &Layout, spec: &Spec<'_>) -> Result<StartInfo> {
    let address = |pfn: u64| VIRT_BASE + pfn * 4096;
    let mut info = StartInfo::new_zeroed();
    for (slot, byte) in info.magic.iter_mut().zip(b"xen-3.0-x86_64") {
        *slot = *byte;
    }
    info.nr_pages = layout.pages;
    info.shared_info = control::domain_info(id)?.shared_info_frame << 12;
    info.store_mfn = mfn(layout.store);
    info.console_mfn = mfn(layout.console);
    info.pt_base = address(layout.tables);
    info.nr_pt_frames = layout.table_count;
    info.mfn_list = address(layout.p2m);
    // The last byte stays the terminating zero.
    let room = info.cmd_line.len() - 1;
    for (slot, byte) in info.cmd_line.iter_mut().zip(spec.command_line).take(room) {
        *slot = *byte;
    }
    Ok(info)
}

/// Clears the page that the domain shares with the hypervisor, as libxc does, but for events, which start masked: it has no
/// callback for them yet.
fn clear_shared_info(id: u16, shared_info: u64) -> Result<()> {
    let place = pagetable::entry(AT, 1).ok_or(Errno::EFAULT)?;
    pagetable::update_foreign(place.machine, shared_info | RW, id)?;
    for word in words(0) {
        word.store(0, Ordering::Relaxed);
    }
    // Second byte of the first vcpu_info.
    words(0)[0].store(1 << 8, Ordering::Relaxed);
    pagetable::update(place.machine, 0)?;
    pagetable::flush(AT)?;
    Ok(())
}

fn put_bytes(pfn: u64, bytes: &[u8]) {
    for (slot, chunk) in words(pfn).iter().zip(bytes.chunks(8)) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        slot.store(u64::from_le_bytes(word), Ordering::Relaxed);
    }
}

fn start_vcpu(id: u16, layout: &Layout) -> Result {
    let mut context = VcpuGuestContext {
        flags: VGCF_IN_KERNEL | VGCF_ONLINE,
        kernel_ss: u64::from(FLAT_KERNEL_SS),
        kernel_sp: VIRT_BASE + (layout.stack + 1) * 4096,
        ..VcpuGuestContext::default()
    };
    let regs = &mut context.user_regs;
    regs.rip = crate::sys::entry_address();
    regs.rsp = VIRT_BASE + (layout.stack + 1) * 4096;
    regs.rsi = VIRT_BASE + layout.start_info * 4096;
    regs.rflags = 0x202;
    regs.cs = FLAT_KERNEL_CS;
    regs.ss = FLAT_KERNEL_SS;
    context.ctrlreg[3] = mfn(layout.tables) << 12;
    on_domain(
        abi::XEN_DOMCTL_SETVCPUCONTEXT,
        id,
        &mut abi::VcpuContext {
            vcpu: 0,
            ctxt: hypercall::address(&mut context),
            ..abi::VcpuContext::default()
        },
    )
}
