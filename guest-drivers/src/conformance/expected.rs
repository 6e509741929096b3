//! What the boot options have made of the machine and of dom0. `expect=` on the command line lists
//! what is to be seen, as `name:value` with commas between.

use oxen_abi::hypercall::{HYPERVISOR_MEMORY_OP, HYPERVISOR_VCPU_OP};
use oxen_abi::memory::{MemoryDomain, XENMEM_CURRENT_RESERVATION, XENMEM_MAXIMUM_RESERVATION};
use oxen_abi::sysctl::{PhysInfo, ReadConsole, XEN_SYSCTL_PHYSINFO, XEN_SYSCTL_READCONSOLE};
use oxen_abi::vcpu::{GetPhysid, VCPUOP_GET_PHYSID, VCPUOP_IS_UP};
use oxen_abi::xen::DOMID_SELF;

use super::{Outcome, Suite, ensure, good, same, screen, some};
use crate::cmdline::CommandLine;
use crate::domain::control::{debug_keys, sysctl};
use crate::println;
use crate::sys::{self, frame, hypercall};

/// The most vCPUs that a domain has.
const MAX_VCPUS: u64 = 128;
/// Frames to a MiB.
const MIB: u64 = 256;

pub(super) fn run(s: &mut Suite<'_>, line: &CommandLine<'_>) {
    if let Some(list) = line.value("expect") {
        s.check("expected", || {
            list.split(',').try_for_each(|item| check(line, item))
        });
    }
}

fn check(line: &CommandLine<'_>, item: &str) -> Outcome {
    let (name, value) = some!(item.split_once(':'));
    let host = || {
        let mut info = PhysInfo::default();
        good!(sysctl(XEN_SYSCTL_PHYSINFO, &mut info));
        Ok(info)
    };
    match name {
        // CPUs of the host, dom0's vCPUs.
        "cpus" => equal(item, u64::from(host()?.nr_cpus), number(value)?),
        "vcpus" => equal(item, vcpus(), number(value)?),
        // Each vCPU has a CPU of its own.
        "pinned" => pinned(),
        // Pages that dom0 has and may have.
        "pages" => {
            equal(item, sys::start_info().nr_pages, number(value)?)?;
            equal(
                item,
                reservation(XENMEM_CURRENT_RESERVATION)?,
                number(value)?,
            )
        }
        "maxpages" => equal(
            item,
            reservation(XENMEM_MAXIMUM_RESERVATION)?,
            number(value)?,
        ),
        // MiB of the host's memory: as much, or somewhat less.
        "total" => between(
            item,
            host()?.total_pages / MIB,
            number(value)? - 32,
            number(value)?,
        ),
        // MiB that nobody has, from-to.
        "free" => {
            let (least, most) = some!(value.split_once('-'));
            between(
                item,
                host()?.free_pages / MIB,
                number(least)?,
                number(most)?,
            )
        }
        // A frame that is not dom0's.
        "absent" => {
            let mfn = number(value)?;
            let owned = (0..sys::start_info().nr_pages).any(|pfn| frame::p2m(pfn) == mfn);
            ensure!(!owned, "{item}: dom0 has it");
            Ok(())
        }
        // bits/MiB: dom0 has no more than that below 2^bits.
        "low" => {
            let (bits, most) = some!(value.split_once('/'));
            let end = 1 << (number(bits)? - 12);
            let pages = sys::start_info().nr_pages;
            let low = (0..pages).filter(|pfn| frame::p2m(*pfn) < end).count() as u64;
            between(item, low.div_ceil(MIB), 0, number(most)?)
        }
        // A word of the command line.
        "word" => {
            ensure!(line.flag(value), "{item}: {}", line.text());
            Ok(())
        }
        // Bytes of the module.
        "module" => equal(item, sys::start_info().mod_len, number(value)?),
        // Whether dom0's lines are in the console ring.
        "ring" => {
            println!("LOOKING FOR THIS");
            let found = in_ring(b"LOOKING FOR THIS")?;
            ensure!(found == (value == "yes"), "{item}: {found}");
            Ok(())
        }
        // Whether the hypervisor's lines still go to the screen.
        "screen" => {
            debug_keys([b'h']);
            let shown = screen::shown()?;
            let has = |text: &[u8]| shown.windows(text.len()).any(|part| part == text);
            ensure!(has(b"(XEN) "), "{item}: the screen is empty");
            let kept = has(b"list the keys");
            ensure!(kept == (value == "kept"), "{item}: {kept}");
            Ok(())
        }
        _ => {
            ensure!(false, "{item} is not known");
            Ok(())
        }
    }
}

/// A number, decimal or behind 0x hexadecimal.
fn number(text: &str) -> Outcome<u64> {
    let parsed = match text.strip_prefix("0x") {
        Some(text) => u64::from_str_radix(text, 16),
        None => text.parse(),
    };
    Ok(good!(parsed))
}

fn equal(item: &str, found: u64, wanted: u64) -> Outcome {
    between(item, found, wanted, wanted)
}

fn between(item: &str, found: u64, least: u64, most: u64) -> Outcome {
    ensure!((least..=most).contains(&found), "{item}: there are {found}");
    Ok(())
}

/// How many vCPUs there are, up or down.
fn vcpus() -> u64 {
    let there = |vcpu: &u64| {
        hypercall::call(HYPERVISOR_VCPU_OP, [u64::from(VCPUOP_IS_UP), *vcpu, 0]).is_ok()
    };
    (0..MAX_VCPUS).take_while(there).count() as u64
}

fn pinned() -> Outcome {
    let mut seen = 0u64;
    for vcpu in 0..vcpus() {
        let mut id = GetPhysid::default();
        let args = [
            u64::from(VCPUOP_GET_PHYSID),
            vcpu,
            hypercall::address(&mut id),
        ];
        same!(hypercall::call(HYPERVISOR_VCPU_OP, args), Ok(0));
        let cpu = 1 << (id.phys_id & 63);
        ensure!(seen & cpu == 0, "vCPU {vcpu} shares a CPU");
        seen |= cpu;
    }
    Ok(())
}

fn reservation(cmd: u32) -> Outcome<u64> {
    let mut domain = MemoryDomain { domid: DOMID_SELF };
    Ok(good!(hypercall::op(HYPERVISOR_MEMORY_OP, cmd, &mut domain)))
}

/// Looks through the console ring, in pieces that overlap.
fn in_ring(text: &[u8]) -> Outcome<bool> {
    let mut buffer = [0u8; 2048];
    let mut kept = 0;
    let mut request = ReadConsole::default();
    loop {
        let room = some!(buffer.get_mut(kept..));
        request.buffer = hypercall::slice_address(room);
        request.count = u32::try_from(room.len()).unwrap_or(0);
        good!(sysctl(XEN_SYSCTL_READCONSOLE, &mut request));
        let end = (kept + request.count as usize).min(buffer.len());
        let read = some!(buffer.get(..end));
        if read.windows(text.len()).any(|part| part == text) {
            return Ok(true);
        }
        if request.count == 0 {
            return Ok(false);
        }
        kept = end.min(text.len());
        buffer.copy_within(end - kept..end, 0);
        request.incremental = 1;
    }
}
