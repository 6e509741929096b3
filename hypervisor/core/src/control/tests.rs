//! The control interfaces as a tool meets them, on the simulated machine.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::{SchedulerOp, *};
use oxen_abi::platform::*;
use oxen_abi::sysctl::*;
use oxen_abi::version::*;
use oxen_abi::xen::CtlBitmap;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::domain::Domain;
use crate::error::{HcResult, Stop};
use crate::sync::atomic::Ordering;
use crate::testing::{Host, Sim};
use crate::types::DomId;
use crate::vcpu::Vcpu;

/// Where in the guest's memory structures and arrays go.
const OP: u64 = 0;
const ARRAY: u64 = 0x1000;

struct Tool {
    host: Host,
    vcpu: Arc<Vcpu<Sim>>,
}

fn errno(result: HcResult) -> Option<Errno> {
    match result {
        Err(Stop::Errno(errno)) => Some(errno),
        _ => None,
    }
}

impl Tool {
    fn new() -> Self {
        let host = Host::new();
        let dom0 = host.domain(0, 1, 100);
        let vcpu = dom0.vcpu(crate::VcpuId(0)).unwrap();
        Self { host, vcpu }
    }

    fn domctl<T: IntoBytes + Immutable + FromBytes + FromZeros>(
        &self,
        cmd: u32,
        domain: u16,
        arg: &mut T,
    ) -> HcResult {
        let mut op = Domctl {
            cmd,
            interface_version: XEN_DOMCTL_INTERFACE_VERSION,
            domain,
            ..Domctl::default()
        };
        arg.write_to_prefix(op.u.as_mut_bytes()).unwrap();
        let addr = self.host.put(OP, &op);
        let result = super::domctl(&self.host.cx(&self.vcpu), addr);
        let op: Domctl = self.host.get(addr);
        *arg = T::read_from_prefix(op.u.as_bytes()).unwrap().0;
        result
    }

    fn sysctl<T: IntoBytes + Immutable + FromBytes>(&self, cmd: u32, arg: &mut T) -> HcResult {
        let mut op = Sysctl {
            cmd,
            interface_version: XEN_SYSCTL_INTERFACE_VERSION,
            ..Sysctl::default()
        };
        arg.write_to_prefix(op.u.as_mut_bytes()).unwrap();
        let addr = self.host.put(OP, &op);
        let result = super::sysctl(&self.host.cx(&self.vcpu), addr);
        let op: Sysctl = self.host.get(addr);
        *arg = T::read_from_prefix(op.u.as_bytes()).unwrap().0;
        result
    }

    fn create(&self) -> Arc<Domain<Sim>> {
        let mut request = CreateDomain {
            handle: [9; 16],
            max_vcpus: 2,
            max_evtchn_port: 1023,
            max_grant_frames: -1,
            max_maptrack_frames: -1,
            grant_opts: 1,
            ..CreateDomain::default()
        };
        assert_eq!(self.domctl(XEN_DOMCTL_CREATEDOMAIN, 0, &mut request), Ok(0));
        let op: Domctl = self.host.get(crate::testing::GUEST_BASE + OP);
        self.host.hv.domains.get(DomId(op.domain)).unwrap()
    }
}

#[test]
fn others_are_refused_before_anything_is_read() {
    let host = Host::new();
    let guest = host.domain(1, 1, 10);
    let vcpu = guest.vcpu(crate::VcpuId(0)).unwrap();
    let cx = host.cx(&vcpu);
    let nowhere = 1 << 40;
    assert_eq!(errno(super::domctl(&cx, nowhere)), Some(Errno::EPERM));
    assert_eq!(errno(super::sysctl(&cx, nowhere)), Some(Errno::EPERM));
    assert_eq!(errno(super::platform_op(&cx, nowhere)), Some(Errno::EPERM));
}

#[test]
fn bad_headers() {
    let tool = Tool::new();
    let cx = tool.host.cx(&tool.vcpu);
    assert_eq!(errno(super::domctl(&cx, 1 << 40)), Some(Errno::EFAULT));
    let addr = tool.host.put(
        OP,
        &Domctl {
            interface_version: 0x14,
            ..Domctl::default()
        },
    );
    assert_eq!(errno(super::domctl(&cx, addr)), Some(Errno::EACCES));
    let addr = tool.host.put(OP, &Sysctl::default());
    assert_eq!(errno(super::sysctl(&cx, addr)), Some(Errno::EACCES));
    let addr = tool.host.put(OP, &PlatformOp::default());
    assert_eq!(errno(super::platform_op(&cx, addr)), Some(Errno::EACCES));
    assert_eq!(errno(tool.domctl(9999, 0, &mut 0u64)), Some(Errno::ENOSYS));
    assert_eq!(
        errno(tool.domctl(XEN_DOMCTL_PAUSEDOMAIN, 77, &mut 0u64)),
        Some(Errno::ESRCH)
    );
    assert_eq!(errno(tool.sysctl(9999, &mut 0u64)), Some(Errno::ENOSYS));
}

#[test]
fn a_domains_life() {
    let tool = Tool::new();
    let free = tool.host.hv.heap.free_frames();
    let domain = tool.create();
    let id = domain.id.0;
    assert_eq!(
        errno(tool.domctl(XEN_DOMCTL_MAX_VCPUS, id, &mut MaxVcpus { max: 3 })),
        Some(Errno::EINVAL)
    );
    assert_eq!(
        tool.domctl(XEN_DOMCTL_MAX_VCPUS, id, &mut MaxVcpus { max: 2 }),
        Ok(0)
    );
    assert_eq!(
        tool.domctl(XEN_DOMCTL_MAX_MEM, id, &mut MaxMem { max_memkb: 400 }),
        Ok(0)
    );
    assert_eq!(domain.memory.max.load(Ordering::Relaxed), 100);
    tool.host.ram(&domain);
    let mut info = GetDomainInfo::default();
    assert_eq!(tool.domctl(XEN_DOMCTL_GETDOMAININFO, id, &mut info), Ok(0));
    assert_eq!((info.domain, info.tot_pages, info.max_pages), (id, 1, 100));
    assert_eq!(
        (info.handle, info.max_vcpu_id, info.nr_online_vcpus),
        ([9; 16], 1, 0)
    );
    assert_eq!(info.flags & 0xffff, XEN_DOMINF_PAUSED);
    assert_eq!(tool.domctl(XEN_DOMCTL_UNPAUSEDOMAIN, id, &mut 0u64), Ok(0));
    assert_eq!(tool.domctl(XEN_DOMCTL_PAUSEDOMAIN, id, &mut 0u64), Ok(0));
    crate::domain::shutdown(&tool.host.cpu, &domain, 1);
    assert_eq!(tool.domctl(XEN_DOMCTL_GETDOMAININFO, id, &mut info), Ok(0));
    assert_eq!(
        info.flags,
        XEN_DOMINF_PAUSED | XEN_DOMINF_SHUTDOWN | 1 << 16
    );
    drop(domain);
    while tool.domctl(XEN_DOMCTL_DESTROYDOMAIN, id, &mut 0u64)
        == Err(Stop::Restart([
            crate::testing::GUEST_BASE + OP,
            0,
            0,
            0,
            0,
            0,
        ]))
    {}
    assert!(tool.host.hv.domains.get(DomId(id)).is_none());
    assert_eq!(tool.host.hv.heap.free_frames(), free);
    // The number is not used again at once.
    assert_eq!(tool.create().id.0, id + 1);
}

#[test]
fn dom0_cannot_end_itself() {
    let tool = Tool::new();
    for cmd in [
        XEN_DOMCTL_DESTROYDOMAIN,
        XEN_DOMCTL_PAUSEDOMAIN,
        XEN_DOMCTL_RESUMEDOMAIN,
    ] {
        assert_eq!(
            errno(tool.domctl(cmd, 0, &mut 0u64)),
            Some(Errno::EINVAL),
            "{cmd}"
        );
    }
}

#[test]
fn weight_and_affinity() {
    let tool = Tool::new();
    let domain = tool.create();
    let id = domain.id.0;
    assert_eq!(
        tool.domctl(XEN_DOMCTL_MAX_VCPUS, id, &mut MaxVcpus { max: 2 }),
        Ok(0)
    );
    let mut op = SchedulerOp {
        sched_id: XEN_SCHEDULER_CREDIT,
        cmd: XEN_DOMCTL_SCHEDOP_PUTINFO,
        u: [512 | 50 << 16, 0],
    };
    assert_eq!(tool.domctl(XEN_DOMCTL_SCHEDULER_OP, id, &mut op), Ok(0));
    (op.cmd, op.u) = (XEN_DOMCTL_SCHEDOP_GETINFO, [0; 2]);
    assert_eq!(tool.domctl(XEN_DOMCTL_SCHEDULER_OP, id, &mut op), Ok(0));
    assert_eq!(op.u[0], 512 | 50 << 16);

    let map = CtlBitmap {
        bitmap: crate::testing::GUEST_BASE + ARRAY,
        nr_bits: 4,
        ..CtlBitmap::default()
    };
    let mut affinity = VcpuAffinity {
        vcpu: 1,
        flags: XEN_VCPUAFFINITY_HARD,
        cpumap_hard: map,
        ..VcpuAffinity::default()
    };
    assert_eq!(
        tool.domctl(XEN_DOMCTL_GETVCPUAFFINITY, id, &mut affinity),
        Ok(0)
    );
    assert_eq!(tool.host.get::<u8>(map.bitmap), 0b11);
    tool.host.put(ARRAY, &1u8);
    assert_eq!(
        tool.domctl(XEN_DOMCTL_SETVCPUAFFINITY, id, &mut affinity),
        Ok(0)
    );
    let vcpu = domain.vcpu(crate::VcpuId(1)).unwrap();
    assert_eq!(vcpu.sched.pinned_to(), Some(crate::CpuId(0)));
    // No CPU that there is.
    tool.host.put(ARRAY, &0b1100u8);
    let refused = tool.domctl(XEN_DOMCTL_SETVCPUAFFINITY, id, &mut affinity);
    assert_eq!(errno(refused), Some(Errno::EINVAL));
}

#[test]
fn nobody_hands_out_what_he_has_not() {
    let tool = Tool::new();
    let domain = tool.create();
    tool.vcpu
        .domain
        .permissions
        .lock()
        .ports
        .insert(0x100, 0x1ff);
    let mut ports = IoportPermission {
        first_port: 0x180,
        nr_ports: 8,
        allow_access: 1,
        _pad0: [0; 3],
    };
    assert_eq!(
        tool.domctl(XEN_DOMCTL_IOPORT_PERMISSION, domain.id.0, &mut ports),
        Ok(0)
    );
    assert!(domain.permissions.lock().ports.contains_range(0x180, 0x187));
    ports.first_port = 0x1fc;
    let refused = tool.domctl(XEN_DOMCTL_IOPORT_PERMISSION, domain.id.0, &mut ports);
    assert_eq!(errno(refused), Some(Errno::EPERM));
    ports.first_port = u32::MAX;
    let refused = tool.domctl(XEN_DOMCTL_IOPORT_PERMISSION, domain.id.0, &mut ports);
    assert_eq!(errno(refused), Some(Errno::EINVAL));
}

#[test]
fn lists_and_figures() {
    let tool = Tool::new();
    tool.create();
    tool.create();
    let mut list = GetDomainInfoList {
        max_domains: 2,
        buffer: crate::testing::GUEST_BASE + ARRAY,
        ..GetDomainInfoList::default()
    };
    assert_eq!(tool.sysctl(XEN_SYSCTL_GETDOMAININFOLIST, &mut list), Ok(0));
    assert_eq!(list.num_domains, 2);
    let infos: [GetDomainInfo; 2] = tool.host.get(list.buffer);
    assert_eq!(infos.map(|info| info.domain), [0, 1]);
    list.first_domain = 2;
    assert_eq!(tool.sysctl(XEN_SYSCTL_GETDOMAININFOLIST, &mut list), Ok(0));
    assert_eq!(list.num_domains, 1);
    let mut info = PhysInfo::default();
    assert_eq!(tool.sysctl(XEN_SYSCTL_PHYSINFO, &mut info), Ok(0));
    assert_eq!((info.nr_cpus, info.max_cpu_id), (2, 1));
    assert_eq!(info.total_pages, tool.host.hv.host.total_frames);
    assert_eq!(info.free_pages, tool.host.hv.heap.free_frames());
    let mut pool = CpupoolOp {
        op: XEN_SYSCTL_CPUPOOL_OP_INFO,
        cpumap: CtlBitmap {
            bitmap: list.buffer,
            nr_bits: 8,
            _pad0: [0; 4],
        },
        ..CpupoolOp::default()
    };
    assert_eq!(tool.sysctl(XEN_SYSCTL_CPUPOOL_OP, &mut pool), Ok(0));
    assert_eq!((pool.sched_id, pool.n_dom), (XEN_SCHEDULER_CREDIT, 3));
    pool.cpupool_id = 1;
    assert_eq!(
        errno(tool.sysctl(XEN_SYSCTL_CPUPOOL_OP, &mut pool)),
        Some(Errno::ENOENT)
    );
}

#[test]
fn symbols_are_read_one_by_one() {
    let tool = Tool::new();
    let cx = tool.host.cx(&tool.vcpu);
    let name = crate::testing::GUEST_BASE + ARRAY;
    let ask = |symnum, namelen| {
        tool.host.put(ARRAY, &[0xffu8; 8]);
        let mut op = PlatformOp {
            cmd: XENPF_GET_SYMBOL,
            interface_version: XENPF_INTERFACE_VERSION,
            ..PlatformOp::default()
        };
        let data = SymData {
            symnum,
            namelen,
            name,
            ..SymData::default()
        };
        data.write_to_prefix(op.u.as_mut_bytes()).unwrap();
        let addr = tool.host.put(OP, &op);
        super::platform_op(&cx, addr).map_err(|stop| errno(Err(stop)))?;
        let op: PlatformOp = tool.host.get(addr);
        let data = SymData::read_from_prefix(op.u.as_bytes()).unwrap().0;
        Ok((data.symnum, data.namelen, data.address, data.type_))
    };
    let text = || tool.host.get::<[u8; 8]>(name);
    assert_eq!(ask(0, 8), Ok((1, 6, 0x1000, b'T')));
    assert_eq!(&text(), b"first\0\xff\xff");
    // Too little room, exactly enough for all but the NUL, enough.
    assert_eq!(ask(1, 3), Ok((2, 7, 0x2000, b'T')));
    assert_eq!(&text(), b"sec\xff\xff\xff\xff\xff");
    assert_eq!(ask(1, 6), Ok((2, 7, 0x2000, b'T')));
    assert_eq!(&text(), b"second\xff\xff");
    assert_eq!(ask(1, 7), Ok((2, 7, 0x2000, b'T')));
    assert_eq!(&text(), b"second\0\xff");
    // The end.
    assert_eq!(ask(2, 8), Ok((2, 1, 0, 0)));
    assert_eq!(text()[0], 0);
    assert_eq!(ask(3, 8), Err(Some(Errno::ERANGE)));
    assert_eq!(ask(u32::MAX, 8), Err(Some(Errno::ERANGE)));
}

#[test]
fn the_consoles_ring_is_read() {
    let tool = Tool::new();
    crate::log_always!(tool.host.hv, "hello {}", 42);
    let mut read = ReadConsole {
        buffer: crate::testing::GUEST_BASE + ARRAY,
        count: 1000,
        ..ReadConsole::default()
    };
    assert_eq!(tool.sysctl(XEN_SYSCTL_READCONSOLE, &mut read), Ok(0));
    assert_eq!(read.count, 15);
    assert_eq!(&tool.host.get::<[u8; 15]>(read.buffer), b"(XEN) hello 42\n");
    crate::log_always!(tool.host.hv, "more");
    (read.incremental, read.count) = (1, 1000);
    assert_eq!(tool.sysctl(XEN_SYSCTL_READCONSOLE, &mut read), Ok(0));
    assert_eq!(&tool.host.get::<[u8; 11]>(read.buffer), b"(XEN) more\n");
}

#[test]
fn versions() {
    let tool = Tool::new();
    let guest = tool.host.domain(5, 1, 1).vcpu(crate::VcpuId(0)).unwrap();
    let addr = crate::testing::GUEST_BASE + ARRAY;
    let ask = |vcpu: &Arc<Vcpu<Sim>>, cmd: u32| {
        super::xen_version(&tool.host.cx(vcpu), u64::from(cmd), addr)
    };
    assert_eq!(ask(&guest, XENVER_VERSION), Ok(0x4_0011));
    assert_eq!(errno(ask(&guest, XENVER_PAGESIZE)), Some(Errno::EINVAL));
    let cx = tool.host.cx(&guest);
    let page_size = u64::from(XENVER_PAGESIZE);
    assert_eq!(super::xen_version(&cx, page_size, 0), Ok(4096));
    assert_eq!(ask(&guest, XENVER_CAPABILITIES), Ok(0));
    assert!(
        tool.host
            .get::<[u8; 1024]>(addr)
            .starts_with(b"xen-3.0-x86_64 \0")
    );
    assert_eq!(ask(&guest, XENVER_COMMANDLINE), Ok(0));
    assert!(tool.host.get::<[u8; 1024]>(addr).starts_with(b"<denied>\0"));
    assert_eq!(errno(ask(&guest, XENVER_BUILD_ID)), Some(Errno::EPERM));
    assert_eq!(errno(ask(&guest, 99)), Some(Errno::ENOSYS));
    for (vcpu, dom0) in [(&guest, 0), (&tool.vcpu, 1 << 11)] {
        tool.host.put(ARRAY, &FeatureInfo::default());
        assert_eq!(ask(vcpu, XENVER_GET_FEATURES), Ok(0));
        assert_eq!(tool.host.get::<FeatureInfo>(addr).submap & 1 << 11, dom0);
    }
}

proptest::proptest! {
    /// Whatever a tool passes, it gets a value or an errno.
    #[test]
    fn any_request_is_answered(cmd in 0u32..90, domain in 0u16..3, words: [u64; 16], sys in 0u32..31) {
        let tool = Tool::new();
        tool.create();
        let mut union = words;
        let _ = tool.domctl(cmd, domain, &mut union);
        let mut union = words;
        // Debug keys may reboot.
        if sys != XEN_SYSCTL_DEBUG_KEYS {
            let _ = tool.sysctl(sys, &mut union);
        }
    }
}

#[test]
fn msrs_of_a_vcpu_are_read_and_written() {
    const TSC_AUX: u32 = 0xc000_0103;
    let tool = Tool::new();
    let domain = tool.create();
    let id = domain.id.0;
    let mut two = MaxVcpus { max: 2 };
    assert_eq!(tool.domctl(XEN_DOMCTL_MAX_VCPUS, id, &mut two), Ok(0));
    let msrs = crate::testing::GUEST_BASE + ARRAY;
    let mut request = VcpuMsrs::default();
    let get = |request: &mut VcpuMsrs| tool.domctl(XEN_DOMCTL_GET_VCPU_MSRS, id, request);
    let set = |index, value, msr_count| {
        let reserved = 0;
        let msr = VcpuMsr {
            index,
            reserved,
            value,
        };
        tool.host.put(ARRAY, &msr);
        let mut request = VcpuMsrs {
            vcpu: 0,
            msr_count,
            msrs,
        };
        tool.domctl(XEN_DOMCTL_SET_VCPU_MSRS, id, &mut request)
    };
    // How many there can be; how many there are.
    assert_eq!(get(&mut request), Ok(0));
    assert_eq!(request.msr_count, 1);
    request.msrs = msrs;
    assert_eq!(get(&mut request), Ok(0));
    assert_eq!(request.msr_count, 0);
    assert_eq!(set(TSC_AUX, 7, 1), Ok(0));
    assert_eq!(errno(get(&mut request)), Some(Errno::ENOBUFS));
    assert_eq!(request.msr_count, 1);
    tool.host.put(ARRAY, &[0u64; 2]);
    assert_eq!(get(&mut request), Ok(0));
    let got: VcpuMsr = tool.host.get(msrs);
    assert_eq!((got.index, got.value), (TSC_AUX, 7));
    for (index, value, count) in [(TSC_AUX, 1 << 32, 1), (0x10, 0, 1), (TSC_AUX, 7, 2)] {
        assert_eq!(errno(set(index, value, count)), Some(Errno::EINVAL));
    }
}

#[test]
fn without_xsave_there_is_only_the_head_of_an_extended_state() {
    let tool = Tool::new();
    let domain = tool.create();
    let id = domain.id.0;
    let mut two = MaxVcpus { max: 2 };
    assert_eq!(tool.domctl(XEN_DOMCTL_MAX_VCPUS, id, &mut two), Ok(0));
    let mut request = VcpuExtState::default();
    assert_eq!(
        tool.domctl(XEN_DOMCTL_GETVCPUEXTSTATE, id, &mut request),
        Ok(0)
    );
    assert_eq!((request.size, request.xfeature_mask), (16, 0));
    request.buffer = tool.host.put(ARRAY, &[u64::MAX; 2]);
    assert_eq!(
        tool.domctl(XEN_DOMCTL_GETVCPUEXTSTATE, id, &mut request),
        Ok(0)
    );
    assert_eq!(tool.host.get::<[u64; 2]>(request.buffer), [0; 2]);
    let set = |size| {
        let mut request = VcpuExtState { size, ..request };
        errno(tool.domctl(XEN_DOMCTL_SETVCPUEXTSTATE, id, &mut request))
    };
    assert_eq!(set(16), None);
    for size in [0, 15, 17, 1 << 40, u64::MAX] {
        assert_eq!(set(size), Some(Errno::EINVAL), "{size}");
    }
    tool.host.put(ARRAY, &[1u64, 1]);
    assert_eq!(set(16), Some(Errno::EINVAL));
}
