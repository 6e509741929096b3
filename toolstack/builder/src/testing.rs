//! A domain made of an array, and kernels made by hand.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use oxen_abi::arch_x86::{PTE_PRESENT, PTE_RW, VcpuGuestContext};

use crate::domain::Domain;
use crate::error::Error;
use crate::{PAGE_BYTES, PAGE_SIZE};

/// The machine frame of shared_info.
pub(crate) const SHARED_INFO: u64 = 0xabc;

#[derive(Default)]
pub(crate) struct FakeDomain {
    frames: RefCell<HashMap<u64, Vec<u8>>>,
    next: Cell<u64>,
    /// Frames that the host has left; large extents run out at half of them.
    pub(crate) free: Cell<u64>,
    pub(crate) pinned: Cell<Option<u64>>,
    pub(crate) context: RefCell<Option<VcpuGuestContext>>,
    pub(crate) hypercall_page: Cell<Option<u64>>,
    pub(crate) granted: Cell<Option<(u64, u64)>>,
    ports: Cell<u32>,
}

impl FakeDomain {
    pub(crate) fn new(free: u64) -> Self {
        let fake = Self::default();
        fake.free.set(free);
        fake.next.set(0x10_0000);
        fake
    }

    pub(crate) fn frame(&self, mfn: u64) -> Vec<u8> {
        let frames = self.frames.borrow();
        frames.get(&mfn).cloned().unwrap_or(vec![0; PAGE_BYTES])
    }

    fn word(&self, mfn: u64, index: u64) -> u64 {
        let at = usize::try_from(index).unwrap() * 8;
        u64::from_le_bytes(self.frame(mfn)[at..at + 8].try_into().unwrap())
    }

    /// What an address maps to, as the CPU would find it: the machine frame and whether it is writable.
    pub(crate) fn translate(&self, address: u64) -> Option<(u64, bool)> {
        let mut mfn = self.pinned.get().expect("an L4");
        let mut writable = true;
        for shift in [39, 30, 21, 12] {
            let entry = self.word(mfn, (address >> shift) & 511);
            if entry & PTE_PRESENT == 0 {
                return None;
            }
            writable &= entry & PTE_RW != 0;
            mfn = (entry & 0xf_ffff_ffff_f000) / PAGE_SIZE;
        }
        Some((mfn, writable))
    }

    /// Reads virtual memory.
    pub(crate) fn read(&self, address: u64, len: usize) -> Vec<u8> {
        (0..len as u64)
            .map(|i| {
                let at = address + i;
                let (mfn, _) = self.translate(at).expect("mapped");
                self.frame(mfn)[usize::try_from(at % PAGE_SIZE).unwrap()]
            })
            .collect()
    }
}

impl Domain for FakeDomain {
    fn populate(&self, order: u8, pfns: &[u64]) -> Result<Vec<u64>, Error> {
        let step = 1u64 << order;
        let mut got = Vec::new();
        for _ in pfns {
            let reserve = if order > 0 { self.free.get() / 2 } else { 0 };
            if self.free.get() < reserve + step {
                break;
            }
            self.free.set(self.free.get() - step);
            // Extents are not next to each other, so that no PFN can be mistaken for an MFN.
            got.push(self.next.get());
            self.next.set(self.next.get() + step + 1);
        }
        if got.is_empty() {
            return Err(Error::Unexpected {
                doing: "allocate",
                problem: "nothing left".into(),
            });
        }
        Ok(got)
    }

    fn write(&self, mfns: &[u64], data: &[u8]) -> Result<(), Error> {
        assert_eq!(mfns.len(), data.len().div_ceil(PAGE_BYTES));
        for (mfn, page) in mfns.iter().zip(data.chunks(PAGE_BYTES)) {
            self.write_part(*mfn, 0, page)?;
        }
        Ok(())
    }

    fn write_part(&self, mfn: u64, offset: usize, data: &[u8]) -> Result<(), Error> {
        assert!(self.pinned.get().is_none(), "no writes after pinning");
        let mut frames = self.frames.borrow_mut();
        let frame = frames.entry(mfn).or_insert_with(|| vec![0; PAGE_BYTES]);
        frame[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn shared_info(&self) -> Result<u64, Error> {
        Ok(SHARED_INFO)
    }

    fn init_hypercall_page(&self, mfn: u64) -> Result<(), Error> {
        self.hypercall_page.set(Some(mfn));
        Ok(())
    }

    fn alloc_port(&self) -> Result<u32, Error> {
        self.ports.set(self.ports.get() + 1);
        Ok(self.ports.get())
    }

    fn grant_rings(&self, console_mfn: u64, xenstore_mfn: u64) -> Result<(), Error> {
        self.granted.set(Some((console_mfn, xenstore_mfn)));
        Ok(())
    }

    fn pin_l4(&self, mfn: u64) -> Result<(), Error> {
        self.pinned.set(Some(mfn));
        Ok(())
    }

    fn set_context(&self, context: &VcpuGuestContext) -> Result<(), Error> {
        *self.context.borrow_mut() = Some(*context);
        Ok(())
    }
}

/// Where the test kernels are linked, like Linux.
pub(crate) const BASE: u64 = 0xffff_ffff_8000_0000;

/// A note of the name `Xen`.
pub(crate) fn note(kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(4u32.to_le_bytes());
    out.extend(u32::try_from(desc.len()).unwrap().to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(b"Xen\0");
    out.extend(desc);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// An ELF file with one loaded segment at 16 MiB (`text`, then `bss` zero bytes) and `notes`.
pub(crate) fn elf(text: &[u8], bss: u64, notes: &[u8]) -> Vec<u8> {
    let paddr = 0x100_0000u64;
    let offset = 64 + 2 * 56;
    let header = |kind: u32, offset: u64, file: u64, memory: u64, align: u64| {
        let mut h = Vec::new();
        h.extend(kind.to_le_bytes());
        h.extend(7u32.to_le_bytes());
        for word in [offset, BASE + paddr, paddr, file, memory, align] {
            h.extend(word.to_le_bytes());
        }
        h
    };
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    for half in [2u16, 62] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1u32.to_le_bytes());
    for word in [BASE + paddr + 8, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 2, 64, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    let (t, n) = (text.len() as u64, notes.len() as u64);
    out.extend(header(1, offset, t, t + bss, 4096));
    out.extend(header(4, offset + t, n, n, 4));
    out.extend(text);
    out.extend(notes);
    out
}

/// The notes of a kernel like today's Linux.
pub(crate) fn linux_notes() -> Vec<u8> {
    [
        note(6, b"linux\0"),
        note(5, b"xen-3.0\0"),
        note(3, &BASE.to_le_bytes()),
        note(15, &0x80_0000_0000u64.to_le_bytes()),
        note(1, &(BASE + 0x100_0010).to_le_bytes()),
        note(2, &(BASE + 0x100_1000).to_le_bytes()),
        note(10, b"!writable_page_tables|pae_pgdir_above_4gb\0"),
        note(16, &1u64.to_le_bytes()),
        note(8, b"generic\0"),
        note(14, &1u32.to_le_bytes()),
    ]
    .concat()
}
