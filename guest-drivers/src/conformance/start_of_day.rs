//! What the domain builder leaves: start information, first tables, the lists of frames.

use oxen_abi::arch_x86::{PTE_PRESENT, PTE_RW};
use oxen_abi::start_info::{SIF_INITDOMAIN, SIF_MOD_START_PFN, SIF_PRIVILEGED};

use super::traps::faulted;
use super::{Suite, ensure, good, same, some};
use crate::pagetable;
use crate::sys::frame::{self, VIRT_BASE};
use crate::sys::{self, probe};

/// Runs before other checks change what is looked at.
pub(super) fn run(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("start_info/magic_and_flags", || {
        let info = sys::start_info();
        ensure!(
            info.magic.starts_with(b"xen-3.0-x86_64"),
            "magic {:x?}",
            &info.magic[..16]
        );
        let control = SIF_PRIVILEGED | SIF_INITDOMAIN;
        same!(info.flags & control, if privileged { control } else { 0 });
        // There is no module, whatever the flags say of how it would be given.
        ensure!(
            info.mod_len == 0,
            "a module of {} bytes, flags {:#x}",
            info.mod_len,
            info.flags & SIF_MOD_START_PFN
        );
        ensure!(info.cmd_line.contains(&0), "a command line without end");
        Ok(())
    });
    s.check("start_info/console_and_store", || {
        let info = sys::start_info();
        if privileged {
            // dom0 has neither a console ring nor a store's; instead of them what it knows of the
            // screen, which begins inside the page and ends there.
            same!((info.store_mfn, info.store_evtchn), (0, 0));
            let (offset, size) = (info.console_mfn & 0xffff_ffff, info.console_mfn >> 32);
            ensure!(
                offset == 0 && size == 0 || offset + size <= 4096 && size >= 4,
                "the screen at {offset:#x}, {size:#x} bytes"
            );
        } else {
            for mfn in [info.store_mfn, info.console_mfn] {
                let pfn = some!(frame::m2p(mfn));
                same!(frame::p2m(pfn), mfn);
            }
            ensure!(
                info.store_evtchn != 0 && info.console_evtchn != info.store_evtchn,
                "ports {} and {}",
                info.store_evtchn,
                info.console_evtchn
            );
        }
        Ok(())
    });
    s.check("start_info/frame_lists_agree", || {
        let info = sys::start_info();
        let pages = info.nr_pages;
        for pfn in (0..pages).step_by(61).chain([pages - 1]) {
            let mfn = frame::p2m(pfn);
            ensure!(
                frame::m2p(mfn) == Some(pfn),
                "frame {pfn:#x} is {mfn:#x}, and that is {:x?}",
                frame::m2p(mfn)
            );
        }
        Ok(())
    });
    s.check("start_info/first_tables", || {
        let info = sys::start_info();
        ensure!(
            info.pt_base >= VIRT_BASE && info.nr_pt_frames >= 4,
            "{} tables at {:#x}",
            info.nr_pt_frames,
            info.pt_base
        );
        // The root comes first; all are mapped, and none can be written to.
        let root = (info.pt_base - VIRT_BASE) / 4096;
        same!(good!(probe::read_cr3()) >> 12, frame::p2m(root));
        for number in 0..info.nr_pt_frames {
            let address = info.pt_base + number * 4096;
            let entry = some!(pagetable::entry(address, 1)).value;
            ensure!(
                entry & (PTE_PRESENT | PTE_RW) == PTE_PRESENT,
                "table {number} is mapped by {entry:#x}"
            );
        }
        let fault = faulted(probe::write(info.pt_base, 0), probe::PF)?;
        same!(fault.error & 3, 3);
        Ok(())
    });
    s.check("start_info/room_behind", || {
        // The boot stack, and half a MiB behind it that is mapped and can be written to.
        let info = sys::start_info();
        let end = info.pt_base + info.nr_pt_frames * 4096;
        for address in [end, end + (512 << 10)] {
            let entry = some!(pagetable::entry(address, 1)).value;
            ensure!(
                entry & (PTE_PRESENT | PTE_RW) == PTE_PRESENT | PTE_RW,
                "{address:#x} is mapped by {entry:#x}"
            );
        }
        Ok(())
    });
}
