//! Version 2, and changing versions.

use oxen_abi::errno::Errno;
use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;

use super::guest::*;
use crate::error::Stop;
use crate::grant::entry::Part;
use crate::machine::Machine;
use crate::mm::{get_page, put_page};
use crate::sync::atomic::Ordering;
use crate::testing::Host;
use crate::types::{Mfn, VcpuId};

const IN_USE: u16 = GTF_READING | GTF_WRITING;

fn version_of(host: &Host, caller: &Guest, dom: u16) -> u32 {
    let op = GetVersion {
        dom,
        ..Default::default()
    };
    single(host, caller, GNTTABOP_GET_VERSION, op).version
}

#[test]
fn the_guest_chooses() {
    let host = Host::with_frames(256);
    let dom0 = host.domain(0, 1, 64);
    let granter = Granter::new(&host, 1, 1);
    let special = || granter.guest.memory.special.load(Ordering::Acquire);
    let before = special();
    assert_eq!(version_of(&host, &dom0, 1), 1);
    assert_eq!(granter.set_version(&host, 1), (Ok(0), 1));
    assert_eq!(
        granter.set_version(&host, 3),
        (Err(Stop::Errno(Errno::EINVAL)), 1)
    );
    assert_eq!(
        granter.set_version(&host, 0),
        (Err(Stop::Errno(Errno::EINVAL)), 1)
    );
    assert_eq!(granter.set_version(&host, 2), (Ok(0), 2));
    assert_eq!(version_of(&host, &dom0, 1), 2);
    assert_eq!(granter.set_version(&host, 2), (Ok(0), 2));
    assert_eq!(special(), before + 1, "a status frame");
    // Growing past eight frames of entries takes another.
    let guest = &granter.guest;
    guest.grants.frame_or_grow(&host.cpu, guest, 8).unwrap();
    assert_eq!(special(), before + 8 + 2);
    let vcpu = dom0.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(
        0,
        &GetVersion {
            dom: 5,
            ..Default::default()
        },
    );
    let asked = crate::grant::hypercall(&host.cx(&vcpu), GNTTABOP_GET_VERSION.into(), addr, 1);
    assert_eq!(asked, Err(Stop::Errno(Errno::ESRCH)));
    assert_eq!(granter.set_version(&host, 1), (Ok(0), 1));
    assert_eq!(special(), before + 8);
}

#[test]
fn a_domain_may_be_kept_to_version_1() {
    let host = Host::with_frames(128);
    let limits = crate::domain::Limits {
        grant_version: crate::grant::Version::V1,
        ..Default::default()
    };
    let id = crate::types::DomId(3);
    let guest = crate::domain::create(&host.cpu, id, false, &limits).unwrap();
    crate::domain::add_vcpus(&host.cpu, &guest, 1).unwrap();
    assert_eq!(
        set_version(&host, &guest, 2),
        (Err(Stop::Errno(Errno::ENOSYS)), 1)
    );
    assert_eq!(set_version(&host, &guest, 1), (Ok(0), 1));
}

#[test]
fn entries_in_use_keep_the_version() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 2);
    let mapper = host.domain(2, 1, 64);
    let table = l1(&host, &mapper);
    let map = |reference, slot| {
        let op = map_op(1, reference, table, slot, GNTMAP_HOST_MAP);
        single(&host, &mapper, GNTTABOP_MAP_GRANT_REF, op)
    };
    let unmap = |op: &MapGrantRef| {
        let op = unmap_op(op);
        assert_eq!(
            single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, op).status,
            GNTST_OKAY
        );
    };
    for (from, to) in [(1, 2), (2, 1)] {
        granter.grant(&host, 7, 2, granter.frames[0], false);
        granter.grant(&host, 8, 2, granter.frames[1], false);
        let (reserved, other) = (map(7, 0), map(8, 1));
        assert_eq!((reserved.status, other.status), (GNTST_OKAY, GNTST_OKAY));
        assert_eq!(
            granter.set_version(&host, to),
            (Err(Stop::Errno(Errno::EBUSY)), from)
        );
        unmap(&other);
        assert_eq!(granter.set_version(&host, to), (Ok(0), to));
        // The reserved one is still there and in use; the other is gone.
        assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS | IN_USE);
        let again = map(7, 2);
        assert_eq!(again.status, GNTST_OKAY);
        assert_eq!(granter.flags(&host, 8), 0);
        assert_eq!(map(8, 1).status, GNTST_GENERAL_ERROR);
        unmap(&reserved);
        assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS | IN_USE);
        unmap(&again);
        assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS);
    }
    // What version 1 can't say.
    assert_eq!(granter.set_version(&host, 2).0, Ok(0));
    granter.grant(&host, 3, 2, Mfn(1 << 32), false);
    let range = Err(Stop::Errno(Errno::ERANGE));
    assert_eq!(granter.set_version(&host, 1), (range, 2));
    granter.pass_on(&host, 3, 2, (4, 4));
    assert_eq!(granter.set_version(&host, 1), (range, 2));
    granter.write(&host, 3, 0, 0, 0);
    // A status frame that the guest has mapped can't go.
    let status = granter
        .guest
        .grants
        .status_or_grow(&host.cpu, &granter.guest, 0);
    let status = status.unwrap();
    assert!(get_page(host.machine(), status, granter.guest.id));
    let busy = Err(Stop::Errno(Errno::EBUSY));
    assert_eq!(granter.set_version(&host, 1), (busy, 2));
    put_page(host.hv, status);
    assert_eq!(granter.set_version(&host, 1), (Ok(0), 1));
}

#[test]
fn status_frames_are_listed() {
    let host = Host::with_frames(128);
    let dom0 = host.domain(0, 1, 64);
    let granter = Granter::new(&host, 1, 1);
    let ask = |caller: &Guest, dom, nr_frames, frame_list| {
        let op = GetStatusFrames {
            nr_frames,
            dom,
            frame_list,
            ..Default::default()
        };
        single(&host, caller, GNTTABOP_GET_STATUS_FRAMES, op).status
    };
    let list = 0x1_1000;
    assert_eq!(ask(&granter.guest, DOMID_SELF, 0, list), GNTST_OKAY);
    assert_eq!(
        ask(&granter.guest, DOMID_SELF, 1, list),
        GNTST_GENERAL_ERROR
    );
    assert_eq!(granter.set_version(&host, 2).0, Ok(0));
    assert_eq!(ask(&granter.guest, DOMID_SELF, 1, list), GNTST_OKAY);
    let frame = Mfn(host.get::<u64>(list));
    assert_eq!(
        granter
            .guest
            .grants
            .status_or_grow(&host.cpu, &granter.guest, 0),
        Some(frame)
    );
    assert_eq!(
        ask(&granter.guest, DOMID_SELF, 2, list),
        GNTST_GENERAL_ERROR
    );
    assert_eq!(ask(&granter.guest, 0, 1, list), GNTST_PERMISSION_DENIED);
    assert_eq!(ask(&dom0, 1, 1, list), GNTST_OKAY);
    assert_eq!(ask(&dom0, 1, 1, 0x10), GNTST_BAD_VIRT_ADDR);
    assert_eq!(ask(&dom0, 9, 1, list), GNTST_BAD_DOMAIN);
    // The marks are where the guest looks for them: 2 bytes an entry.
    let mapper = host.domain(2, 1, 64);
    let table = l1(&host, &mapper);
    granter.grant(&host, 9, 2, granter.frames[0], true);
    let op = map_op(1, 9, table, 0, GNTMAP_HOST_MAP | GNTMAP_READONLY);
    assert_eq!(
        single(&host, &mapper, GNTTABOP_MAP_GRANT_REF, op).status,
        GNTST_OKAY
    );
    let mut bytes = [0; 4];
    assert!(host.machine().read_frame(frame, 18, &mut bytes));
    assert_eq!(bytes, [8, 0, 0, 0]);
}

#[test]
fn parts_of_frames_are_copied_and_not_mapped() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 1);
    let other = host.domain(2, 1, 64);
    let (own, table) = (host.ram(&other), l1(&host, &other));
    granter.set_version(&host, 2).0.unwrap();
    let part = Part {
        first: 100,
        len: 50,
    };
    granter.grant_part(&host, 7, 2, granter.frames[0], part);
    let copy_from = |offset, len| {
        let ends = (end(7, 1, offset), end(own.0, DOMID_SELF, 0));
        copy(&host, &other, ends, len, GNTCOPY_SOURCE_GREF)
    };
    for (offset, len, expected) in [
        (100, 50, GNTST_OKAY),
        (149, 1, GNTST_OKAY),
        (99, 1, GNTST_GENERAL_ERROR),
        (100, 51, GNTST_GENERAL_ERROR),
        (150, 1, GNTST_GENERAL_ERROR),
        (0, 4096, GNTST_GENERAL_ERROR),
        (4095, 2, GNTST_BAD_COPY_ARG),
    ] {
        assert_eq!(copy_from(offset, len), expected, "{len} from {offset}");
    }
    let op = map_op(1, 7, table, 0, GNTMAP_HOST_MAP);
    let map = || single(&host, &other, GNTTABOP_MAP_GRANT_REF, op).status;
    assert_eq!(map(), GNTST_GENERAL_ERROR);
    assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS | GTF_SUB_PAGE);
    // A part that leads past the frame is still only good for the frame.
    let odd = Part {
        first: 4000,
        len: u16::MAX,
    };
    granter.grant_part(&host, 7, 2, granter.frames[0], odd);
    assert_eq!(copy_from(4000, 96), GNTST_OKAY);
    assert_eq!(copy_from(4000, 97), GNTST_BAD_COPY_ARG);
    assert_eq!(counts(&host, granter.frames[0]), (1, 0));
}

#[test]
fn a_grant_is_passed_on_once() {
    let host = Host::with_frames(256);
    let owner = Granter::new(&host, 1, 2);
    let middle = Granter::new(&host, 2, 1);
    let user = host.domain(3, 1, 64);
    let own = host.ram(&user);
    owner.set_version(&host, 2).0.unwrap();
    middle.set_version(&host, 2).0.unwrap();
    owner.grant(&host, 7, 2, owner.frames[0], false);
    middle.pass_on(&host, 9, 3, (1, 7));
    host.machine().write_frame(owner.frames[0], 8, b"passed on");
    let through = |offset, len, to: bool| {
        let (theirs, mine) = (end(9, 2, offset), end(own.0, DOMID_SELF, offset));
        let (ends, flag) = if to {
            ((mine, theirs), GNTCOPY_DEST_GREF)
        } else {
            ((theirs, mine), GNTCOPY_SOURCE_GREF)
        };
        copy(&host, &user, ends, len, flag)
    };
    assert_eq!(through(8, 9, false), GNTST_OKAY);
    let mut bytes = [0; 9];
    assert!(host.machine().read_frame(own, 8, &mut bytes));
    assert_eq!(&bytes, b"passed on");
    assert_eq!(through(0, 4096, true), GNTST_OKAY);
    let idle = || {
        assert_eq!(owner.flags(&host, 7) & IN_USE, 0);
        assert_eq!(middle.flags(&host, 9) & IN_USE, 0);
        assert_eq!(counts(&host, owner.frames[0]), (1, 0));
    };
    idle();
    // It can't be mapped.
    let table = l1(&host, &user);
    let op = map_op(2, 9, table, 0, GNTMAP_HOST_MAP);
    assert_eq!(
        single(&host, &user, GNTTABOP_MAP_GRANT_REF, op).status,
        GNTST_GENERAL_ERROR
    );
    // The owner's rules hold: its part, its being read-only.
    let part = Part { first: 64, len: 64 };
    owner.grant_part(&host, 7, 2, owner.frames[0], part);
    assert_eq!(through(64, 64, false), GNTST_OKAY);
    assert_eq!(through(63, 2, false), GNTST_GENERAL_ERROR);
    owner.grant(&host, 7, 2, owner.frames[0], true);
    assert_eq!(through(0, 8, true), GNTST_GENERAL_ERROR);
    // Not to the middle, not there, a chain, of itself.
    owner.grant(&host, 7, 3, owner.frames[0], false);
    assert_eq!(through(0, 8, false), GNTST_GENERAL_ERROR);
    middle.pass_on(&host, 9, 3, (1, 5000));
    assert_eq!(through(0, 8, false), GNTST_BAD_GNTREF);
    middle.pass_on(&host, 9, 3, (99, 7));
    assert_eq!(through(0, 8, false), GNTST_GENERAL_ERROR);
    middle.grant(&host, 10, 2, middle.frames[0], false);
    middle.pass_on(&host, 9, 3, (2, 10));
    assert_eq!(through(0, 8, false), GNTST_GENERAL_ERROR);
    owner.pass_on(&host, 7, 2, (2, 10));
    middle.pass_on(&host, 9, 3, (1, 7));
    assert_eq!(through(0, 8, false), GNTST_GENERAL_ERROR);
    idle();
    // Back to the owner itself.
    owner.grant(&host, 7, 2, owner.frames[0], false);
    middle.pass_on(&host, 9, 1, (1, 7));
    let ends = (end(9, 2, 0), end(owner.frames[1].0, DOMID_SELF, 0));
    assert_eq!(
        copy(&host, &owner.guest, ends, 8, GNTCOPY_SOURCE_GREF),
        GNTST_OKAY
    );
    idle();
}

#[test]
fn entries_of_version_2_are_exchanged_whole() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 2);
    granter.set_version(&host, 2).0.unwrap();
    granter.grant(&host, 9, 2, granter.frames[0], false);
    granter.grant(&host, 10, 3, granter.frames[1], true);
    let swap = |ref_a, ref_b| {
        let op = SwapGrantRef {
            ref_a,
            ref_b,
            ..Default::default()
        };
        single(&host, &granter.guest, GNTTABOP_SWAP_GRANT_REF, op).status
    };
    assert_eq!(swap(9, 10), GNTST_OKAY);
    let slot = granter.slot(&host, 10);
    let word = u64::from(GTF_PERMIT_ACCESS) | 2 << 16;
    assert_eq!(slot.head.load(Ordering::Acquire), word);
    assert_eq!(
        slot.body.unwrap().load(Ordering::Acquire),
        granter.frames[0].0
    );
    assert_eq!(swap(9, 9), GNTST_OKAY);
    assert_eq!(swap(9, 256), GNTST_BAD_GNTREF, "half as many fit");
}
