//! Records of corrected errors, until dom0 has fetched and acknowledged them.

use alloc::collections::VecDeque;

use oxen_abi::mca::{
    MC_FLAG_CORRECTABLE, MC_FLAG_POLLED, MC_TYPE_BANK, MC_TYPE_GLOBAL, McInfo, McInfoBank,
    McInfoGlobal,
};
use oxen_abi::xen::DOMID_INVALID;
use zerocopy::IntoBytes;

use super::Place;
use crate::sync::Mutex;

/// Records that are kept; further errors are in the log only.
const MOST: usize = 32;

/// What a bank of machine-check registers said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Number of the bank.
    pub bank: u16,
    /// MCi_STATUS.
    pub status: u64,
    /// MCi_ADDR, 0 where it says nothing.
    pub address: u64,
    /// MCi_MISC, 0 where it says nothing.
    pub misc: u64,
    /// The TSC when it was found.
    pub tsc: u64,
}

struct Record {
    id: u64,
    fetched: bool,
    info: McInfo,
}

#[derive(Default)]
struct Queue {
    records: VecDeque<Record>,
    last_id: u64,
}

/// The records of the host.
#[derive(Default)]
pub struct MachineChecks(Mutex<Queue>);

impl MachineChecks {
    /// Keeps a record; `false` when there is no room for it.
    pub(super) fn note(&self, place: &Place, report: Report) -> bool {
        let mut queue = self.0.lock();
        if queue.records.len() >= MOST || queue.records.try_reserve(1).is_err() {
            return false;
        }
        queue.last_id += 1;
        let id = queue.last_id;
        queue.records.push_back(Record {
            id,
            fetched: false,
            info: record(place, report),
        });
        true
    }

    /// The oldest record that was not fetched yet, and its id.
    pub(super) fn oldest(&self) -> Option<(u64, McInfo)> {
        let queue = self.0.lock();
        let record = queue.records.iter().find(|record| !record.fetched)?;
        Some((record.id, record.info))
    }

    /// A record has reached dom0.
    pub(super) fn fetched(&self, id: u64) {
        let mut queue = self.0.lock();
        if let Some(record) = queue.records.iter_mut().find(|record| record.id == id) {
            record.fetched = true;
        }
    }

    /// dom0 has dealt with a record that it has fetched. Other ids mean nothing.
    pub(super) fn forget(&self, id: u64) {
        let mut queue = self.0.lock();
        queue
            .records
            .retain(|record| record.id != id || !record.fetched);
    }
}

/// Two entries: where it was, and what the bank said.
fn record(place: &Place, report: Report) -> McInfo {
    let global = McInfoGlobal {
        type_: MC_TYPE_GLOBAL,
        size: size(size_of::<McInfoGlobal>()),
        // Found later: nobody knows who ran.
        mc_domid: DOMID_INVALID,
        mc_vcpuid: u16::MAX,
        mc_socketid: place.socket,
        mc_coreid: place.core,
        mc_core_threadid: place.thread,
        mc_apicid: place.apic,
        mc_flags: MC_FLAG_CORRECTABLE | MC_FLAG_POLLED,
        mc_gstatus: 0,
    };
    let bank = McInfoBank {
        type_: MC_TYPE_BANK,
        size: size(size_of::<McInfoBank>()),
        mc_bank: report.bank,
        mc_domid: DOMID_INVALID,
        mc_status: report.status,
        mc_addr: report.address,
        mc_misc: report.misc,
        mc_ctrl2: 0,
        mc_tsc: report.tsc,
    };
    let mut info = McInfo {
        mi_nentries: 2,
        ..McInfo::default()
    };
    // Both fit: 80 bytes of 760.
    let (first, rest) = info
        .mi_data
        .as_mut_bytes()
        .split_at_mut(size_of::<McInfoGlobal>());
    let _ = global.write_to(first);
    let _ = bank.write_to_prefix(rest);
    info
}

const fn size(bytes: usize) -> u16 {
    #[allow(clippy::cast_possible_truncation, reason = "it is 48 at most")]
    let size = bytes as u16;
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    const PLACE: Place = Place {
        socket: 0,
        core: 1,
        thread: 0,
        apic: 2,
    };

    fn report(bank: u16) -> Report {
        Report {
            bank,
            status: 0x9c00_0000_0000_0134,
            address: 0x1000,
            misc: 0x8c,
            tsc: 77,
        }
    }

    #[test]
    fn fetched_in_order_and_kept_until_acknowledged() {
        let checks = MachineChecks::default();
        assert!(checks.oldest().is_none());
        assert!(checks.note(&PLACE, report(3)) && checks.note(&PLACE, report(4)));
        let (first, info) = checks.oldest().unwrap();
        assert_eq!(info.mi_nentries, 2);
        let bytes = info.mi_data.as_bytes();
        let (global, rest) = McInfoGlobal::read_from_prefix(bytes).unwrap();
        assert_eq!((global.mc_coreid, global.mc_apicid), (1, 2));
        let (bank, _) = McInfoBank::read_from_prefix(rest).unwrap();
        assert_eq!((bank.mc_bank, bank.mc_addr, bank.mc_tsc), (3, 0x1000, 77));
        // What was not fetched is not forgotten.
        checks.forget(first);
        assert_eq!(checks.oldest().unwrap().0, first);
        checks.fetched(first);
        let (second, _) = checks.oldest().unwrap();
        assert_ne!(first, second);
        checks.forget(first);
        checks.fetched(second);
        checks.forget(second);
        assert!(checks.oldest().is_none());
        assert!(checks.0.lock().records.is_empty());
    }

    #[test]
    fn there_is_an_end_of_room() {
        let checks = MachineChecks::default();
        let kept = (0..100).filter(|_| checks.note(&PLACE, report(1))).count();
        assert_eq!(kept, MOST);
    }
}
