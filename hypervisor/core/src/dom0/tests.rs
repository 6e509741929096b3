//! dom0 as it stands when it is about to run, on the simulated machine.

use alloc::vec::Vec;
use std::string::ToString;

use oxen_abi::arch_x86::{PTE_ADDR_MASK, PTE_PRESENT, PTE_RW};
use oxen_abi::elfnote::*;
use oxen_abi::start_info::*;
use zerocopy::FromBytes;

use super::elf::tests::{NOTES, kernel};
use super::{Boot, Module, build};
use crate::domain::Domain;
use crate::machine::Machine;
use crate::sync::atomic::Ordering;
use crate::testing::{Host, Sim};
use crate::types::{Mfn, PAGE_SIZE};

const BASE: u64 = 0xffff_ffff_8000_0000;

/// What dom0 sees at an address: the frame and whether it may write there.
fn walk(machine: &Sim, l4: Mfn, address: u64) -> Option<(Mfn, bool)> {
    let mut table = l4;
    let mut entry = 0;
    for shift in [39, 30, 21, 12] {
        let slot = usize::try_from(address >> shift & 511).unwrap();
        entry = machine.page(table)?[slot].load(Ordering::Acquire);
        if entry & PTE_PRESENT == 0 {
            return None;
        }
        table = Mfn::containing(entry & PTE_ADDR_MASK);
    }
    Some((table, entry & PTE_RW != 0))
}

struct Guest<'a> {
    machine: &'a Sim,
    l4: Mfn,
}

impl Guest<'_> {
    fn read(&self, address: u64, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for at in (address..).take(size) {
            let (mfn, _) = walk(self.machine, self.l4, at).unwrap();
            let mut byte = [0];
            let offset = usize::try_from(at % PAGE_SIZE).unwrap();
            assert!(self.machine.read_frame(mfn, offset, &mut byte));
            bytes.push(byte[0]);
        }
        bytes
    }
}

fn started(host: &Host, notes: &[(u32, &[u8])], initrd: &[u8]) -> alloc::sync::Arc<Domain<Sim>> {
    let file = kernel(b"the kernel's code", notes);
    let modules = [
        Module {
            bytes: &file,
            command_line: "root=/dev/sda1 quiet",
        },
        Module {
            bytes: initrd,
            command_line: "",
        },
    ];
    let modules = if initrd.is_empty() {
        &modules[..1]
    } else {
        &modules[..]
    };
    let boot = Boot {
        modules,
        vga: Some(Dom0VgaConsoleInfo::default()),
        pm_timer: Some(0x608),
    };
    build(&host.cpu, &boot)
        .map_err(|error| error.to_string())
        .unwrap();
    alloc::sync::Arc::clone(host.hv.dom0.get().unwrap())
}

fn check(host: &Host, domain: &Domain<Sim>, initrd: &[u8]) -> StartInfo {
    let machine = host.machine();
    let vcpu = domain.vcpu(crate::VcpuId(0)).unwrap();
    let (l4, regs) = {
        let arch = vcpu.arch.lock();
        (arch.kernel_root.unwrap(), arch.regs)
    };
    let guest = Guest { machine, l4 };
    assert_eq!(regs.rip, BASE + 0x10_0010);
    assert_eq!(guest.read(BASE + 0x10_0000, 17), b"the kernel's code");
    let bytes = guest.read(regs.rsi, size_of::<StartInfo>());
    let info = StartInfo::read_from_bytes(&bytes).unwrap();
    assert!(info.magic.starts_with(b"xen-3.0-x86_64\0"));
    assert!(info.cmd_line.starts_with(b"root=/dev/sda1 quiet\0"));
    assert_eq!(
        info.flags & !SIF_MOD_START_PFN,
        SIF_PRIVILEGED | SIF_INITDOMAIN
    );
    assert_eq!((info.store_mfn, info.store_evtchn), (0, 0));
    assert_eq!(info.console_mfn, 1168 | 40 << 32);
    assert_eq!(
        info.shared_info,
        domain.memory.shared_info.get().unwrap().address()
    );
    assert_eq!(info.nr_pages, domain.memory.total_frames());
    assert_eq!(info.mod_len, initrd.len() as u64);
    // The tables are seen read-only, the first of them is the L4, and it is pinned.
    assert_eq!(walk(machine, l4, info.pt_base), Some((l4, false)));
    for page in 1..info.nr_pt_frames {
        assert!(
            !walk(machine, l4, info.pt_base + page * PAGE_SIZE)
                .unwrap()
                .1
        );
    }
    assert!(machine.frame(l4).unwrap().types().pinned());
    // The stack's last word can be pushed to, and lies behind the tables.
    assert!(walk(machine, l4, regs.rsp - 8).unwrap().1);
    assert_eq!(regs.rsp, info.pt_base + (info.nr_pt_frames + 1) * PAGE_SIZE);
    // P2M and M2P agree, and the P2M's place is what the kernel finds there.
    let mut seen = alloc::collections::BTreeSet::new();
    for frame in 0..info.nr_pages {
        let entry = guest.read(info.mfn_list + frame * 8, 8);
        let mfn = Mfn(u64::from_le_bytes(entry.try_into().unwrap()));
        assert_eq!(machine.m2p(mfn), frame);
        assert!(seen.insert(mfn));
    }
    assert_eq!(
        machine.m2p(walk(machine, l4, BASE + 0x10_0000).unwrap().0),
        0x100
    );
    info
}

#[test]
fn a_linux_like_kernel() {
    let host = Host::with_frames(8192);
    let free = host.hv.heap.free_frames();
    let initrd: Vec<u8> = (0..10_000u32).map(|n| (n % 253).to_le_bytes()[0]).collect();
    let mut notes = NOTES.to_vec();
    notes.push((XEN_ELFNOTE_INIT_P2M, &[0, 0, 0, 0, 0x80, 0, 0, 0]));
    notes.push((XEN_ELFNOTE_MOD_START_PFN, &[1, 0, 0, 0]));
    let domain = started(&host, &notes, &initrd);
    let info = check(&host, &domain, &initrd);
    assert_eq!(info.mfn_list, 0x80_0000_0000);
    assert_ne!(info.flags & SIF_MOD_START_PFN, 0);
    // One table of each level, then the list.
    assert_eq!(
        info.nr_p2m_frames,
        3 + (info.nr_pages * 8).div_ceil(PAGE_SIZE)
    );
    assert_eq!(
        host.hv.heap.free_frames() + host.hv.growth.frames(),
        free - domain.memory.total_frames() - 1
    );
    // The module lies in the frames that start_info tells of.
    let vcpu = domain.vcpu(crate::VcpuId(0)).unwrap();
    let l4 = vcpu.arch.lock().kernel_root.unwrap();
    let guest = Guest {
        machine: host.machine(),
        l4,
    };
    let mut found = Vec::new();
    for frame in 0..3 {
        let entry = guest.read(info.mfn_list + (info.mod_start + frame) * 8, 8);
        let mut page = [0; 4096];
        host.machine().read_frame(
            Mfn(u64::from_le_bytes(entry.try_into().unwrap())),
            0,
            &mut page,
        );
        found.extend_from_slice(&page);
    }
    assert_eq!(&found[..10_000], initrd);
    assert!(found[10_000..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_kernel_with_all_in_its_mapping() {
    let host = Host::with_frames(8192);
    let mut notes = NOTES.to_vec();
    notes.push((
        XEN_ELFNOTE_HYPERCALL_PAGE,
        &[0, 0x10, 0x10, 0x80, 0xff, 0xff, 0xff, 0xff],
    ));
    let initrd = b"a small module";
    let domain = started(&host, &notes, initrd);
    let info = check(&host, &domain, initrd);
    let vcpu = domain.vcpu(crate::VcpuId(0)).unwrap();
    let guest = Guest {
        machine: host.machine(),
        l4: vcpu.arch.lock().kernel_root.unwrap(),
    };
    assert_eq!(guest.read(info.mod_start, initrd.len()), initrd);
    assert_eq!((info.first_p2m_pfn, info.nr_p2m_frames), (0, 0));
    // push %rcx; push %r11; mov $0, %eax
    assert_eq!(
        guest.read(BASE + 0x10_1000, 8),
        [0x51, 0x41, 0x53, 0xb8, 0, 0, 0, 0]
    );
}

#[test]
fn what_the_hypervisor_keeps() {
    let host = Host::with_frames(8192);
    let domain = started(&host, &NOTES, b"");
    let permissions = domain.permissions.lock();
    for port in [0x20, 0xa1, 0x40, 0x61, 0xcfc, 0x608, 0x60b, 0x3f8, 0x3ff] {
        assert!(!permissions.ports.contains(port), "{port:#x}");
    }
    for port in [0x60, 0x64, 0x70, 0x2f8, 0x60c, 0xffff] {
        assert!(permissions.ports.contains(port), "{port:#x}");
    }
    assert!(permissions.irqs.contains(9));
}

#[test]
fn faults_are_told() {
    let host = Host::with_frames(8192);
    let told = |modules: &[Module<'_>]| {
        let boot = Boot {
            modules,
            ..Boot::default()
        };
        build(&host.cpu, &boot).unwrap_err().to_string()
    };
    assert!(told(&[]).contains("no dom0 kernel"));
    let file = kernel(b"code", &NOTES);
    let module = |bytes| Module {
        bytes,
        command_line: "",
    };
    assert!(told(&[module(&file[..file.len() - 2])]).contains("truncated"));
    assert!(told(&[module(b"#!/bin/sh")]).contains("neither an ELF file nor a Linux bzImage"));
    let bare = kernel(b"code", &[]);
    assert!(told(&[module(&bare)]).contains("no Xen notes"));
    let small = Host::with_frames(3000);
    let boot = Boot {
        modules: &[module(&file)],
        ..Boot::default()
    };
    let error = build(&small.cpu, &boot).unwrap_err().to_string();
    assert!(error.contains("MiB of free memory in one piece"), "{error}");
}
