//! `mode=machine-check`: waits until dom0 is told of an error that the hardware has corrected, and
//! prints the record. The tests' emulator makes the error.

use oxen_abi::mca::{
    MC_TYPE_BANK, McInfo, McInfoBank, McInfoGlobal, XEN_MC_ACK, XEN_MC_FETCH, XEN_MC_NODATA,
    XEN_MC_NONURGENT,
};
use oxen_abi::xen::VIRQ_MCA;
use zerocopy::{FromBytes, IntoBytes};

use crate::conformance::{bind_virq, mca_call, set_mask};
use crate::sys::hypercall;
use crate::time::now;
use crate::{event, pair, println};

/// Longer than the hypervisor takes between two looks.
const PATIENCE: u64 = 60_000_000_000;

/// The next record that nobody has fetched, and its id.
fn fetch(info: &mut McInfo) -> Option<u64> {
    let mut u = [0; 18];
    (u[0], u[2]) = (u64::from(XEN_MC_NONURGENT), hypercall::address(info));
    mca_call(XEN_MC_FETCH, &mut u).ok()?;
    (u[0] & 0xffff_ffff != u64::from(XEN_MC_NODATA)).then_some(u[1])
}

fn acknowledge(id: u64) {
    let mut u = [0; 18];
    (u[0], u[1]) = (u64::from(XEN_MC_NONURGENT | XEN_MC_ACK), id);
    let _ = mca_call(XEN_MC_FETCH, &mut u);
}

fn print(info: &McInfo) {
    let bytes = info.mi_data.as_bytes();
    let Ok((global, rest)) = McInfoGlobal::read_from_prefix(bytes) else {
        return;
    };
    let Ok((bank, _)) = McInfoBank::read_from_prefix(rest) else {
        return;
    };
    println!(
        "RECORD of {} entries, flags {:#x}: bank {} status {:#x} address {:#x} misc {:#x}",
        info.mi_nentries, global.mc_flags, bank.mc_bank, bank.mc_status, bank.mc_addr, bank.mc_misc
    );
    if bank.type_ != MC_TYPE_BANK {
        println!("ERROR the second entry is of type {}", bank.type_);
    }
}

/// Waits, prints, and returns.
pub(crate) fn run() {
    let (Ok(()), Ok(port)) = (pair::prepare(), bind_virq(VIRQ_MCA, 0)) else {
        println!("ERROR the VIRQ cannot be bound");
        return;
    };
    let _ = set_mask(port, false);
    println!("WAITING for a machine check");
    let end = now() + PATIENCE;
    while event::count(port) == 0 && now() < end {
        pair::wait();
    }
    let mut info = McInfo::default();
    while let Some(id) = fetch(&mut info) {
        print(&info);
        acknowledge(id);
    }
    println!("NO FURTHER RECORD");
}
