//! `mode=peer`: the copy's side of the two-domain checks. It does what dom0 asks through the page
//! that they share, and answers with an event.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::arch_x86::PTE_PCD;
use oxen_abi::event_channel::{EVTCHNOP_SEND, Send};
use oxen_abi::grant_table::{
    GTF_ACCEPT_TRANSFER, GTF_PERMIT_ACCESS, GTF_READONLY, GTF_SUB_PAGE, GTF_TRANSITIVE,
};
use oxen_abi::hypercall::{HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_SCHED_OP};
use oxen_abi::sched::{
    SCHEDOP_BLOCK, SCHEDOP_SHUTDOWN_CODE, SCHEDOP_WATCHDOG, SHUTDOWN_CRASH, SHUTDOWN_POWEROFF,
    Shutdown, Watchdog,
};

use crate::conformance::{Table, TableV2};
use crate::pagetable::{self, RO};
use crate::println;
use crate::sys::frame::Frame;
use crate::sys::{hypercall, probe, shared};
use crate::touched::Touched;

/// Words of the shared page: the port to answer on, written by dom0 before the start.
pub(crate) const PORT: usize = 1;
/// What dom0 asks for.
pub(crate) const COMMAND: usize = 2;
/// Number of answers.
pub(crate) const ANSWERS: usize = 3;
/// A value that goes with an answer.
pub(crate) const VALUE: usize = 4;
/// Counts while the peer spins.
pub(crate) const SPINS: usize = 5;

/// Adds one to the first word of the page granted read-write.
pub(crate) const INCREMENT: u64 = 1;
/// Reports the flags of the read-write grant.
pub(crate) const REPORT_FLAGS: u64 = 2;
/// Powers off.
pub(crate) const POWEROFF: u64 = 3;
/// Crashes.
pub(crate) const CRASH: u64 = 4;
/// Spins for ever, with events masked.
pub(crate) const SPIN: u64 = 5;

/// Changes to version 2 of the grant table, where the first page is granted as before, a part of
/// the second one, and the reference in [`VALUE`] of dom0 is passed on to it.
pub(crate) const VERSION_2: u64 = 6;
/// Makes an entry ready to take a frame of dom0's.
pub(crate) const ACCEPT: u64 = 7;
/// Reports the flags of that entry.
pub(crate) const REPORT_ACCEPTED: u64 = 8;

/// Reports ECX of a CPUID leaf that is in [`VALUE`].
pub(crate) const REPORT_CPUID: u64 = 9;

/// Maps a page of its own uncached, and reports the error, or 0.
pub(crate) const UNCACHED: u64 = 10;

/// Says how its end is to be understood ([`VALUE`]), without an end.
pub(crate) const SAY_CODE: u64 = 11;
/// Starts a watchdog of a second, and spins.
pub(crate) const WATCHDOG: u64 = 12;

/// Reports the first of the [`PAGES`] frames, which follow each other.
pub(crate) const REPORT_PAGES: u64 = 13;
/// Writes to those of the frames whose bits are set in [`VALUE`], and reports how many frames don't have what they should.
pub(crate) const TOUCH: u64 = 14;
/// Maps its frames elsewhere, writes to them there, and reports the number of the first step that went wrong, or 0.
pub(crate) const REMAP: u64 = 15;
/// Reports the frame that is granted read-write.
pub(crate) const REPORT_GRANTED: u64 = 16;

/// Frames that it writes to when it is told.
pub(crate) const PAGES: usize = 64;

/// Reference of the page granted read-write to dom0.
pub(crate) const WRITABLE: u32 = 8;
/// Reference of the page granted read-only to dom0, and what is in it.
pub(crate) const READABLE: u32 = 9;
/// First byte and number of bytes that are granted of it in version 2.
pub(crate) const PART: (u16, u16) = (128, 64);
/// Reference that passes on a grant of dom0's, in version 2.
pub(crate) const PASSED_ON: u32 = 10;
/// Reference that takes a frame.
pub(crate) const TAKES: u32 = 11;
/// The word that fills the read-only page.
pub(crate) const PATTERN: u64 = 0x0b0b_0b0b_1234_5678;

/// Runs until it is told to stop.
pub(crate) fn run() {
    let Some(page) = shared::own_store() else {
        println!("ERROR the peer has no page to share");
        return;
    };
    let Ok(table) = Table::new() else {
        println!("ERROR the peer has no grant table");
        return;
    };
    let (writable, readable) = (Frame::new(), Frame::new());
    readable.fill(PATTERN);
    table.grant_to(WRITABLE as usize, 0, writable.mfn(), GTF_PERMIT_ACCESS);
    table.grant_to(
        READABLE as usize,
        0,
        readable.mfn(),
        GTF_PERMIT_ACCESS | GTF_READONLY,
    );
    let mut version_2 = None;
    let mut touched = Touched::new();
    let port = u32::try_from(page[PORT].load(Ordering::SeqCst)).unwrap_or(0);
    loop {
        answer(page, port);
        let command = next_command(page, port);
        match command {
            INCREMENT => {
                writable.words()[0].fetch_add(1, Ordering::SeqCst);
            }
            REPORT_FLAGS => {
                let flags = match &version_2 {
                    None => table.flags(WRITABLE as usize),
                    Some(table) => u64::from(TableV2::status(table, WRITABLE as usize)),
                };
                page[VALUE].store(flags, Ordering::SeqCst);
            }
            VERSION_2 => {
                let passed_on = page[VALUE].load(Ordering::SeqCst);
                version_2 = change_version(&table, [&writable, &readable], passed_on);
            }
            REPORT_CPUID => {
                let leaf = u32::try_from(page[VALUE].load(Ordering::SeqCst)).unwrap_or(0);
                let seen = probe::cpuid(leaf, 0).map_or(0, |[_, _, ecx, _]| ecx);
                page[VALUE].store(u64::from(seen), Ordering::SeqCst);
            }
            UNCACHED => {
                let page_of_ours = Frame::new();
                let entry = page_of_ours.mfn() << 12 | RO | PTE_PCD;
                let error = pagetable::update_va(page_of_ours.address(), entry).err();
                let error = error.map_or(0, |errno| u64::from(errno.0.unsigned_abs()));
                page[VALUE].store(error, Ordering::SeqCst);
            }
            ACCEPT => table.grant_to(TAKES as usize, 0, 0x77, GTF_ACCEPT_TRANSFER),
            REPORT_ACCEPTED => page[VALUE].store(table.flags(TAKES as usize), Ordering::SeqCst),
            REPORT_PAGES => page[VALUE].store(touched.first().pfn(), Ordering::SeqCst),
            TOUCH => {
                let wrong = touched.touch(page[VALUE].load(Ordering::SeqCst));
                page[VALUE].store(wrong, Ordering::SeqCst);
            }
            REMAP => page[VALUE].store(touched.remap(), Ordering::SeqCst),
            REPORT_GRANTED => page[VALUE].store(writable.pfn(), Ordering::SeqCst),
            POWEROFF => crate::kernel::shutdown(SHUTDOWN_POWEROFF),
            CRASH => crate::kernel::shutdown(SHUTDOWN_CRASH),
            SAY_CODE => {
                let reason = u32::try_from(page[VALUE].load(Ordering::SeqCst)).unwrap_or(0);
                let mut code = Shutdown { reason };
                let said = hypercall::op(HYPERVISOR_SCHED_OP, SCHEDOP_SHUTDOWN_CODE, &mut code);
                page[VALUE].store(said.is_ok().into(), Ordering::SeqCst);
            }
            WATCHDOG => {
                let mut watchdog = Watchdog { id: 0, timeout: 1 };
                let _ = hypercall::op(HYPERVISOR_SCHED_OP, SCHEDOP_WATCHDOG, &mut watchdog);
                spin(page);
            }
            SPIN => spin(page),
            _ => {}
        }
    }
}

fn spin(page: &[AtomicU64; 512]) -> ! {
    loop {
        page[SPINS].fetch_add(1, Ordering::Relaxed);
    }
}

fn change_version(
    table: &Table,
    [writable, readable]: [&Frame; 2],
    passed_on: u64,
) -> Option<TableV2> {
    let Ok(table) = TableV2::new(table) else {
        println!("ERROR the peer has no table of version 2");
        return None;
    };
    let (first, length) = PART;
    let part = u32::from(first) | u32::from(length) << 16;
    table.write(WRITABLE as usize, GTF_PERMIT_ACCESS, 0, 0, writable.mfn());
    let flags = GTF_PERMIT_ACCESS | GTF_READONLY | GTF_SUB_PAGE;
    table.write(READABLE as usize, flags, 0, part, readable.mfn());
    table.write(PASSED_ON as usize, GTF_TRANSITIVE, 0, 0, passed_on);
    Some(table)
}

fn answer(page: &[AtomicU64; 512], port: u32) {
    page[ANSWERS].fetch_add(1, Ordering::SeqCst);
    let mut send = Send { port };
    let _ = hypercall::op(HYPERVISOR_EVENT_CHANNEL_OP, EVTCHNOP_SEND, &mut send);
}

/// Blocks until dom0 has put a command into the page.
fn next_command(page: &[AtomicU64; 512], _port: u32) -> u64 {
    loop {
        let command = page[COMMAND].swap(0, Ordering::SeqCst);
        if command != 0 {
            return command;
        }
        let _ = hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_BLOCK), 0]);
        if let Some(vcpu) = shared::vcpu_info(0) {
            vcpu.upcall_mask.store(1, Ordering::SeqCst);
        }
    }
}
