//! Walking the current address space by software.

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::pte;
use crate::mm::types::read_entry;
use crate::mm::{get_page, put_page};
use crate::types::{DomId, Mfn, PAGE_SIZE};

/// Whether an address is canonical.
pub const fn is_canonical(addr: u64) -> bool {
    addr < 0x0000_8000_0000_0000 || addr >= 0xffff_8000_0000_0000
}

/// Whether an address lies in the hypervisor's range (L4 slots 256-271).
pub const fn is_hypervisor(addr: u64) -> bool {
    addr >= oxen_abi::arch_x86::HYPERVISOR_VIRT_START
        && addr < oxen_abi::arch_x86::HYPERVISOR_VIRT_END
}

/// The L1 table and the index in it that translate `addr` under `root`; `None` where a level is
/// missing or the address is not a guest's.
pub fn find_l1<M: Machine>(machine: &M, root: Mfn, addr: u64) -> Option<(Mfn, usize)> {
    if !is_canonical(addr) || is_hypervisor(addr) {
        return None;
    }
    let mut table = root;
    for level in [4, 3, 2] {
        let entry = read_entry(machine, table, pte::index(addr, level));
        if !pte::present(entry) || entry & pte::PSE != 0 {
            return None;
        }
        table = pte::frame(entry);
    }
    Some((table, pte::index(addr, 1)))
}

/// The L1 entry that translates `addr`, and the rights of the levels above combined with its own
/// (RW and USER as the most restrictive level has them, NX if any has it).
pub fn translate<M: Machine>(machine: &M, root: Mfn, addr: u64) -> Option<(u64, u64)> {
    if !is_canonical(addr) || is_hypervisor(addr) {
        return None;
    }
    let mut table = root;
    let mut rights = pte::RW | pte::USER;
    let mut nx = 0;
    for level in [4, 3, 2, 1] {
        let entry = read_entry(machine, table, pte::index(addr, level));
        if !pte::present(entry) || (level > 1 && entry & pte::PSE != 0) {
            return None;
        }
        rights &= entry;
        nx |= entry & pte::NX;
        if level == 1 {
            return Some((entry, rights | nx));
        }
        table = pte::frame(entry);
    }
    None
}

/// A byte of the domain's memory at `addr` under `root`, which need not be the address space that
/// is loaded. The tables may change meanwhile, so that only a frame that is held counts.
pub fn read_byte<M: Machine>(hv: &Hypervisor<M>, owner: DomId, root: Mfn, addr: u64) -> Option<u8> {
    let (entry, _) = translate(&hv.machine, root, addr)?;
    let mfn = pte::frame(entry);
    if !get_page(&hv.machine, mfn, owner) {
        return None;
    }
    let mut byte = [0];
    let offset = usize::try_from(addr % PAGE_SIZE).unwrap_or(0);
    let read = hv.machine.read_frame(mfn, offset, &mut byte);
    put_page(hv, mfn);
    read.then_some(byte[0])
}
