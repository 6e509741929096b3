use std::path::{Path, PathBuf};

use oxen_abi::start_info::{SIF_MOD_START_PFN, StartInfo};
use zerocopy::FromBytes;

use super::*;
use crate::plan::Request;
use crate::testing::{BASE, FakeDomain, SHARED_INFO, elf, linux_notes, note};

const PAGES: u64 = 64 * 256;

fn file(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Builds a kernel of these notes with a RAM disk.
fn build(notes: &[u8], free: u64) -> Result<(Plan, FakeDomain, Rings), Error> {
    let dir = tempfile::tempdir().unwrap();
    let text: Vec<u8> = (0..9000u32).map(|i| i.to_le_bytes()[0]).collect();
    let kernel = file(dir.path(), "vmlinux", &elf(&text, 20_000, notes));
    let disk: Vec<u8> = (0..3_000_001u32)
        .map(|i| (i / 7).to_le_bytes()[0])
        .collect();
    let disk = file(dir.path(), "initrd", &disk);
    let plan = Plan::new(&Request {
        kernel: &kernel,
        ramdisk: Some(&disk),
        command_line: "console=hvc0 quiet",
        pages: PAGES,
    })?;
    let domain = FakeDomain::new(free);
    let rings = plan.build(&domain, &|_| {})?;
    Ok((plan, domain, rings))
}

fn start_info_of(plan: &Plan, domain: &FakeDomain) -> StartInfo {
    let rsi = domain.context.borrow().unwrap().user_regs.rsi;
    assert_eq!(rsi, plan.layout.address(plan.layout.start_info));
    StartInfo::read_from_bytes(&domain.read(rsi, size_of::<StartInfo>())).unwrap()
}

#[test]
fn a_kernel_like_linux_finds_everything_in_its_place() {
    let (plan, domain, rings) = build(&linux_notes(), 2 * PAGES).unwrap();
    let info = start_info_of(&plan, &domain);
    let layout = &plan.layout;
    assert!(info.magic.starts_with(b"xen-3.0-x86_64\0"));
    assert!(info.cmd_line.starts_with(b"console=hvc0 quiet\0"));
    assert_eq!(
        (info.nr_pages, info.shared_info),
        (PAGES, SHARED_INFO * 4096)
    );
    assert_eq!(
        (info.console_mfn, info.console_evtchn),
        (rings.console_mfn, 1)
    );
    assert_eq!((info.store_mfn, info.store_evtchn), (rings.xenstore_mfn, 2));
    assert_eq!(
        domain.granted.get(),
        Some((rings.console_mfn, rings.xenstore_mfn))
    );
    assert_eq!(info.flags, SIF_MOD_START_PFN);
    assert_eq!(info.mod_len, 3_000_001);
    assert_eq!(info.mfn_list, 0x80_0000_0000);

    // The P2M list, at its own address, gives each frame's machine frame.
    let p2m = |pfn: u64| {
        let bytes = domain.read(info.mfn_list + pfn * 8, 8);
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    assert_eq!(p2m(layout.console), rings.console_mfn);
    for pfn in [0, 511, 512, 4095, layout.region.frames.count - 1] {
        let (mfn, writable) = domain.translate(layout.address(pfn)).unwrap();
        assert_eq!((mfn, writable), (p2m(pfn), true), "{pfn}");
    }
    // The RAM disk is not mapped, and whole.
    let frame = domain.frame(p2m(info.mod_start + 1));
    assert_eq!(frame[0], (4096u32 / 7).to_le_bytes()[0]);
    let last = domain.frame(p2m(info.mod_start + 732));
    assert_eq!(last[3_000_000 % 4096], (3_000_000u32 / 7).to_le_bytes()[0]);

    // Tables are mapped read-only, from pt_base on; the L4 is the first and in CR3.
    let context = domain.context.borrow().unwrap();
    assert_eq!(info.nr_pt_frames, layout.region_tables());
    for i in 0..info.nr_pt_frames {
        let (mfn, writable) = domain.translate(info.pt_base + i * 4096).unwrap();
        assert!(!writable);
        if i == 0 {
            assert_eq!(context.ctrlreg[3], mfn * 4096);
        }
    }
    assert_eq!(info.first_p2m_pfn, layout.p2m.pfn);
    assert_eq!(info.nr_p2m_frames, 32 + 3);
    assert_eq!(
        domain.translate(layout.address(layout.region.frames.count)),
        None
    );

    // The registers, and the kernel with its zeroed end.
    assert_eq!(context.user_regs.rip, BASE + 0x100_0010);
    assert_eq!(context.user_regs.rsp, layout.address(layout.stack + 1));
    assert!(domain.translate(context.user_regs.rsp - 8).unwrap().1);
    let text = domain.read(BASE + 0x100_0000, 9100);
    assert_eq!(text[8999], 8999u32.to_le_bytes()[0]);
    assert!(text[9000..].iter().all(|b| *b == 0));
    assert_eq!(domain.hypercall_page.get(), Some(p2m(0x1001)));
    let shared = domain.frame(SHARED_INFO);
    assert_eq!((shared[1], shared[64 + 1]), (1, 1), "events are masked");
}

#[test]
fn a_plain_kernel_gets_ramdisk_and_p2m_in_the_region() {
    let (plan, domain, _) = build(&note(3, &BASE.to_le_bytes()), 2 * PAGES).unwrap();
    let info = start_info_of(&plan, &domain);
    assert_eq!(
        (info.flags, info.first_p2m_pfn, info.nr_p2m_frames),
        (0, 0, 0)
    );
    assert_eq!(info.mfn_list, plan.layout.address(plan.layout.p2m.pfn));
    let disk = domain.read(info.mod_start + 7000, 2);
    assert_eq!(disk[0], 1000u32.to_le_bytes()[0]);
    // No ENTRY note: the ELF header's entry point counts.
    assert_eq!(
        domain.context.borrow().unwrap().user_regs.rip,
        BASE + 0x100_0008
    );
}

#[test]
fn memory_in_small_pieces_is_taken_as_well() {
    let (plan, domain, _) = build(&linux_notes(), PAGES).unwrap();
    assert_eq!(domain.free.get(), 0);
    assert_eq!(start_info_of(&plan, &domain).nr_pages, PAGES);
}

#[test]
fn running_out_of_memory_is_an_error() {
    let e = build(&linux_notes(), PAGES - 1).err().unwrap().to_string();
    assert!(e.contains("ran out") || e.contains("nothing left"), "{e}");
}

#[test]
fn missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = file(dir.path(), "vmlinux", &elf(&[0; 32], 0, &linux_notes()));
    let none = dir.path().join("none");
    let request = |kernel, ramdisk| Request {
        kernel,
        ramdisk,
        command_line: "",
        pages: PAGES,
    };
    for (request, what) in [
        (request(&none, None), "kernel"),
        (request(&kernel, Some(&none)), "ramdisk"),
        (request(dir.path(), None), "kernel"),
    ] {
        let e = Plan::new(&request).unwrap_err().to_string();
        assert!(
            e.contains(what) && e.contains(dir.path().to_str().unwrap()),
            "{e}"
        );
    }
}
