//! Two CPUs, each a thread here, load an update.

use std::thread;

use super::*;
use crate::hypervisor::HostInfo;
use crate::testing::{CPU, Host, Sim, SimMicrocode};

const CALLER: (DomId, VcpuId) = (DomId::DOM0, VcpuId(1));
const REQUEST: (u64, u32) = (0x1000, 2048);
const REVISION: u32 = 0x1234;

fn machine(threads: u32, state: SimMicrocode) -> &'static Hypervisor<Sim> {
    let host = Host::with(HostInfo {
        total_frames: 2048,
        threads_per_core: threads,
        ..HostInfo::default()
    });
    *host.machine().microcode.lock() = state;
    host.hv
}

fn patch(vendor: Vendor) -> Patch {
    let bytes = [REVISION.to_le_bytes(); 16];
    let found = Found {
        revision: REVISION,
        bytes: bytes.as_flattened(),
    };
    let patch = Patch::new(vendor, &found, Vec::new());
    let loaded = patch.chunks.as_slice().as_bytes();
    assert!(loaded.len() >= ROOM && loaded.starts_with(found.bytes));
    assert!(loaded.as_ptr().addr().is_multiple_of(16));
    patch
}

/// A CPU goes to the meeting.
fn attend(hv: &'static Hypervisor<Sim>, number: u16) {
    CPU.set(usize::from(number));
    meeting::attend(crate::start::cpu(hv, CpuId(number)));
}

/// What came of it on both CPUs, and which of them loaded it.
fn load_on_both(vendor: Vendor, threads: u32, refuse: [bool; 2]) -> (Result<(), Stop>, Vec<usize>) {
    let hv = machine(
        threads,
        SimMicrocode {
            one_core: threads > 1,
            refuse,
            ..SimMicrocode::default()
        },
    );
    begin(hv, CALLER, REQUEST, patch(vendor)).unwrap();
    assert!(matches!(finished(hv, CALLER, REQUEST), Err(Errno::EBUSY)));
    thread::scope(|scope| {
        scope.spawn(|| attend(hv, 1));
        scope.spawn(|| attend(hv, 0));
    });
    // Another caller finds nothing, and the same one finds it once.
    let other = (DomId::DOM0, VcpuId(0));
    assert!(matches!(finished(hv, other, REQUEST), Ok(None)));
    let order = finished(hv, CALLER, REQUEST).unwrap().unwrap();
    assert!(matches!(finished(hv, CALLER, REQUEST), Ok(None)));
    let loads = core::mem::take(&mut hv.machine.microcode.lock().loads);
    (outcome(hv, &order), loads)
}

#[test]
fn each_core_loads_it_and_the_first_one_begins() {
    for vendor in [Vendor::Intel, Vendor::Amd] {
        let (outcome, loads) = load_on_both(vendor, 1, [false; 2]);
        assert_eq!((outcome, loads.as_slice()), (Ok(()), &[0, 1][..]));
    }
}

#[test]
fn the_second_thread_of_a_core_loads_it_on_amds() {
    let (outcome, loads) = load_on_both(Vendor::Intel, 2, [false; 2]);
    assert_eq!((outcome, loads.as_slice()), (Ok(()), &[0][..]));
    let (outcome, loads) = load_on_both(Vendor::Amd, 2, [false; 2]);
    assert_eq!((outcome, loads.as_slice()), (Ok(()), &[0, 1][..]));
}

#[test]
fn a_refusal_is_told_and_the_first_ones_is_enough() {
    let refused = Err(Stop::Errno(Errno::EIO));
    let (outcome, loads) = load_on_both(Vendor::Amd, 1, [true, false]);
    assert_eq!((outcome, loads.as_slice()), (refused, &[0][..]));
    let (outcome, loads) = load_on_both(Vendor::Amd, 1, [false, true]);
    assert_eq!((outcome, loads.as_slice()), (refused, &[0, 1][..]));
}

#[test]
fn nothing_is_loaded_unless_all_come() {
    const LONG: u64 = 1_000_000_000;
    let hv = machine(1, SimMicrocode::default());
    begin(hv, CALLER, REQUEST, patch(Vendor::Intel)).unwrap();
    // One at a time.
    assert_eq!(
        begin(hv, CALLER, REQUEST, patch(Vendor::Intel)),
        Err(Errno::EBUSY)
    );
    thread::scope(|scope| {
        let cpu = scope.spawn(|| attend(hv, 0));
        while !cpu.is_finished() {
            hv.machine
                .time
                .fetch_add(LONG, crate::sync::atomic::Ordering::AcqRel);
            thread::yield_now();
        }
    });
    let order = finished(hv, CALLER, REQUEST).unwrap().unwrap();
    assert_eq!(outcome(hv, &order), Err(Stop::Errno(Errno::EBUSY)));
    assert!(hv.machine.microcode.lock().loads.is_empty());
    // The one that comes too late finds nothing to do, and a new meeting can be called.
    attend(hv, 1);
    assert_eq!(begin(hv, CALLER, REQUEST, patch(Vendor::Intel)), Ok(()));
}
