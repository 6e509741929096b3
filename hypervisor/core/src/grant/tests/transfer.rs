//! Frames given away for good, and cache operations.

use oxen_abi::errno::Errno;
use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;

use super::guest::*;
use crate::error::{HcResult, Stop};
use crate::machine::Machine;
use crate::mm::{get_page, put_page};
use crate::sync::atomic::Ordering;
use crate::testing::Host;
use crate::types::{Mfn, VcpuId};

const COMPLETED: u16 = GTF_ACCEPT_TRANSFER | GTF_TRANSFER_COMMITTED | GTF_TRANSFER_COMPLETED;

fn give(host: &Host, giver: &Guest, mfn: Mfn, domid: u16, reference: u32) -> i16 {
    let op = Transfer {
        mfn: mfn.0,
        domid,
        ref_: reference,
        ..Default::default()
    };
    single(host, giver, GNTTABOP_TRANSFER, op).status
}

#[test]
fn a_frame_changes_hands_with_its_contents() {
    let host = Host::with_frames(128);
    let giver = host.domain(2, 1, 64);
    for (version, id) in [(1, 11), (2, 12)] {
        let taker = Granter::new(&host, id, 0);
        taker.set_version(&host, version).0.unwrap();
        taker.write(&host, 9, GTF_ACCEPT_TRANSFER, 2, 0x77);
        let mfn = host.ram(&giver);
        host.machine().write_frame(mfn, 0, b"contents");
        let (had, has) = (giver.memory.total_frames(), || {
            taker.guest.memory.total_frames()
        });
        assert_eq!(give(&host, &giver, mfn, id, 9), GNTST_OKAY);
        assert_eq!((giver.memory.total_frames(), has()), (had - 1, 1));
        assert_eq!(taker.flags(&host, 9), COMPLETED);
        let slot = taker.slot(&host, 9);
        let told = match slot.body {
            None => slot.head.load(Ordering::Acquire) >> 32,
            Some(body) => body.load(Ordering::Acquire),
        };
        assert_eq!(told, mfn.0);
        assert_eq!(host.machine().m2p(mfn), 0x77);
        assert!(get_page(host.machine(), mfn, taker.guest.id));
        put_page(host.hv, mfn);
        let mut bytes = [0; 8];
        host.machine().read_frame(mfn, 0, &mut bytes);
        assert_eq!(&bytes, b"contents");
        assert_eq!(give(&host, &giver, mfn, 2, 9), GNTST_BAD_PAGE, "gone");
        assert!(
            !taker
                .guest
                .memory
                .frames(host.machine(), taker.guest.id, 9)
                .is_empty()
        );
    }
}

#[test]
fn a_frame_in_use_stays_and_an_unwanted_one_is_freed() {
    let host = Host::with_frames(128);
    let giver = host.domain(2, 1, 64);
    let taker = Granter::new(&host, 1, 0);
    taker.write(&host, 9, GTF_ACCEPT_TRANSFER, 2, 0);
    let mapped = host.ram(&giver);
    assert!(get_page(host.machine(), mapped, giver.id));
    assert_eq!(give(&host, &giver, mapped, 1, 9), GNTST_BAD_PAGE);
    put_page(host.hv, mapped);
    let shared = *giver.memory.shared_info.get().unwrap();
    for bad in [shared, Mfn(0), Mfn(u64::MAX), Mfn(500)] {
        assert_eq!(give(&host, &giver, bad, 1, 9), GNTST_BAD_PAGE);
    }
    let free = host.hv.heap.free_frames();
    let refused = |domid, reference, expected| {
        let mfn = host.ram(&giver);
        assert_eq!(give(&host, &giver, mfn, domid, reference), expected);
        assert_eq!(host.hv.heap.free_frames(), free);
        assert_eq!(taker.guest.memory.total_frames(), 0);
    };
    refused(77, 9, GNTST_BAD_DOMAIN);
    refused(DOMID_SELF, 9, GNTST_BAD_DOMAIN);
    refused(1, 512, GNTST_GENERAL_ERROR);
    refused(1, 8, GNTST_GENERAL_ERROR);
    taker.write(&host, 9, GTF_ACCEPT_TRANSFER, 3, 0);
    refused(1, 9, GNTST_GENERAL_ERROR);
    taker.write(&host, 9, GTF_ACCEPT_TRANSFER, 2, 0);
    let max = taker.guest.memory.max.swap(0, Ordering::AcqRel);
    refused(1, 9, GNTST_GENERAL_ERROR);
    taker.guest.memory.max.store(max, Ordering::Release);
    taker.guest.dying.store(true, Ordering::Release);
    refused(1, 9, GNTST_GENERAL_ERROR);
}

#[test]
fn cache_lines_are_flushed_for_who_may_see_them() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 2);
    let user = host.domain(2, 1, 64);
    let (own, table) = (host.ram(&user), l1(&host, &user));
    let flush = |mfn: Mfn, offset, length, op| -> HcResult {
        let vcpu = user.vcpu(VcpuId(0)).unwrap();
        let op = CacheFlush {
            a: mfn.address(),
            offset,
            length,
            op,
        };
        let addr = host.put(0, &op);
        crate::grant::hypercall(&host.cx(&vcpu), GNTTABOP_CACHE_FLUSH.into(), addr, 1)
    };
    let errno = |errno| Err(Stop::Errno(errno));
    let both = GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL;
    assert_eq!(flush(own, 0, 4096, both), Ok(0));
    assert_eq!(flush(own, 4095, 1, GNTTAB_CACHE_CLEAN), Ok(0));
    assert_eq!(flush(own, 4096, 0, both), errno(Errno::EINVAL));
    assert_eq!(flush(own, 1, 4096, both), errno(Errno::EINVAL));
    assert_eq!(flush(own, 0, 1, 1 << 5), errno(Errno::EINVAL));
    assert_eq!(
        flush(own, 0, 1, GNTTAB_CACHE_INVAL),
        errno(Errno::EOPNOTSUPP)
    );
    let foreign = granter.frames[0];
    assert_eq!(flush(foreign, 0, 0, both), Ok(0), "nothing is asked for");
    assert_eq!(flush(foreign, 0, 8, both), errno(Errno::EPERM));
    assert_eq!(flush(Mfn(1 << 40), 0, 8, both), errno(Errno::EINVAL));
    granter.grant(&host, 9, 2, foreign, false);
    let op = map_op(1, 9, table, 0, GNTMAP_HOST_MAP);
    single(&host, &user, GNTTABOP_MAP_GRANT_REF, op);
    assert_eq!(flush(foreign, 0, 8, both), Ok(0));
    assert_eq!(counts(&host, own), (1, 0));
}
