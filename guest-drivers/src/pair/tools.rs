//! What tools do to a domain while it is built and while it runs: its vCPUs' state, memory set
//! aside for it, what it sees of the processor.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::arch_x86::{CpuidLeaf, VcpuGuestContext, XEN_CPUID_NO_SUBLEAF};
use oxen_abi::domctl as abi;
use oxen_abi::hypercall::HYPERVISOR_MEMORY_OP;
use oxen_abi::memory::{Reservation, XENMEM_CLAIM_PAGES};
use oxen_abi::sysctl::{self, PhysInfo};
use oxen_abi::xen::CtlBitmap;

use super::sharing::Peer;
use super::{wait, wait_until};
use crate::conformance::{Outcome, Suite, ensure, good, same, skip};
use crate::domain::control::{self, on_domain};
use crate::peer;
use crate::sys::frame::VIRT_BASE;
use crate::sys::hypercall;

fn running(s: &mut Suite<'_>) {
    s.check("pair/state_of_a_running_vcpu", || {
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let spins = || peer.domain.shared(peer::SPINS).load(Ordering::Relaxed);
        peer.tell(peer::SPIN)?;
        wait_until("the peer to spin", 10, || Ok(spins() > 0))?;
        let mut context = VcpuGuestContext::default();
        let mut arg = abi::VcpuContext {
            vcpu: 0,
            ctxt: hypercall::address(&mut context),
            ..abi::VcpuContext::default()
        };
        for _ in 0..20 {
            good!(on_domain(abi::XEN_DOMCTL_GETVCPUCONTEXT, id, &mut arg));
            let rip = context.user_regs.rip;
            ensure!(rip >= VIRT_BASE, "RIP {rip:#x}");
        }
        let before = spins();
        wait_until("the peer to go on", 10, || Ok(spins() > before))?;
        // The same state again, while it runs: it goes on from there.
        good!(on_domain(abi::XEN_DOMCTL_SETVCPUCONTEXT, id, &mut arg));
        let before = spins();
        wait_until("the peer to go on", 10, || Ok(spins() > before))?;
        // A vCPU that there is not, and one's own domain.
        arg.vcpu = 1;
        ensure!(
            on_domain(abi::XEN_DOMCTL_GETVCPUCONTEXT, id, &mut arg).is_err(),
            "vCPU 1"
        );
        arg.vcpu = 0;
        same!(
            on_domain(abi::XEN_DOMCTL_GETVCPUCONTEXT, 0, &mut arg),
            Err(Errno::EINVAL)
        );
        same!(
            on_domain(abi::XEN_DOMCTL_SETVCPUCONTEXT, 0, &mut arg),
            Err(Errno::EINVAL)
        );
        wait();
        peer.destroy()
    });
}

/// Words of a buffer for a vCPU's extended state: XCR0, the components used, the XSAVE area.
const WORDS: usize = 512;

fn extended(s: &mut Suite<'_>) {
    s.check("pair/extended_state_of_a_vcpu", || {
        /// Words of XMM5's low half, of XSTATE_BV and of the last of the header.
        const XMM5: usize = 2 + (160 + 5 * 16) / 8;
        const PRESENT: usize = 2 + 512 / 8;
        const HEADER_END: usize = PRESENT + 7;
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let spins = || peer.domain.shared(peer::SPINS).load(Ordering::Relaxed);
        peer.tell(peer::SPIN)?;
        wait_until("the peer to spin", 10, || Ok(spins() > 0))?;
        let call = |cmd, arg: &mut abi::VcpuExtState| on_domain(cmd, id, arg);
        let mut arg = abi::VcpuExtState::default();
        good!(call(abi::XEN_DOMCTL_GETVCPUEXTSTATE, &mut arg));
        let (size, mask) = (arg.size, arg.xfeature_mask);
        if mask == 0 {
            skip!("the host has no XSAVE");
        }
        ensure!(
            (592..=WORDS as u64 * 8).contains(&size) && mask & 3 == 3,
            "{size} bytes, components {mask:#x}"
        );
        let mut words = [0u64; WORDS];
        arg.buffer = hypercall::slice_address(&mut words);
        good!(call(abi::XEN_DOMCTL_GETVCPUEXTSTATE, &mut arg));
        if words[1] == 0 {
            let _ = peer.destroy();
            skip!("Xen has no such state of a guest that has never set XCR0");
        }
        ensure!(
            words[1] & !mask == 0 && words[0] & !words[1] == 0,
            "XCR0 {:#x}, used {:#x}",
            words[0],
            words[1]
        );
        same!(words[PRESENT] & !words[1], 0);
        let mut wrong = abi::VcpuExtState {
            xfeature_mask: mask ^ 1 << 62,
            ..arg
        };
        same!(
            call(abi::XEN_DOMCTL_GETVCPUEXTSTATE, &mut wrong),
            Err(Errno::EINVAL)
        );
        // What is set is there after the vCPU has run with it.
        words[XMM5] = 0x1234_5678_9abc_def0;
        for word in [0, 1, PRESENT] {
            words[word] |= 3;
        }
        good!(call(abi::XEN_DOMCTL_SETVCPUEXTSTATE, &mut arg));
        let before = spins();
        wait_until("the peer to go on", 10, || Ok(spins() > before))?;
        words[XMM5] = 0;
        good!(call(abi::XEN_DOMCTL_GETVCPUEXTSTATE, &mut arg));
        same!(words[XMM5], 0x1234_5678_9abc_def0);
        same!(words[PRESENT] & 2, 2);
        // Components that there are not, a header of no format.
        for (word, wrong) in [
            (0, 1 << 62),
            (1, 1 << 62),
            (PRESENT, 1 << 61),
            (HEADER_END, 1),
        ] {
            let right = words[word];
            words[word] = wrong;
            let result = call(abi::XEN_DOMCTL_SETVCPUEXTSTATE, &mut arg);
            words[word] = right;
            ensure!(result.is_err(), "word {word} may be {wrong:#x}");
        }
        let mut arg = abi::VcpuExtState { size: 8, ..arg };
        same!(
            call(abi::XEN_DOMCTL_SETVCPUEXTSTATE, &mut arg),
            Err(Errno::EINVAL)
        );
        peer.destroy()
    });
    s.check("pair/msrs_of_a_vcpu", || {
        const TSC_AUX: u32 = 0xc000_0103;
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let mut msrs = [abi::VcpuMsr::default(); 16];
        let mut arg = abi::VcpuMsrs::default();
        good!(on_domain(abi::XEN_DOMCTL_GET_VCPU_MSRS, id, &mut arg));
        ensure!((1..=16).contains(&arg.msr_count), "{} MSRs", arg.msr_count);
        let most = arg.msr_count;
        let mut set = |index, value| {
            msrs[0] = abi::VcpuMsr {
                index,
                reserved: 0,
                value,
            };
            let mut arg = abi::VcpuMsrs {
                vcpu: 0,
                msr_count: 1,
                msrs: hypercall::slice_address(&mut msrs),
            };
            on_domain(abi::XEN_DOMCTL_SET_VCPU_MSRS, id, &mut arg)
        };
        same!(set(0x10, 0), Err(Errno::EINVAL));
        same!(set(TSC_AUX, 1 << 32), Err(Errno::EINVAL));
        same!(set(TSC_AUX, 77), Ok(0));
        let mut found = [abi::VcpuMsr::default(); 16];
        arg.msr_count = most;
        arg.msrs = hypercall::slice_address(&mut found);
        good!(on_domain(abi::XEN_DOMCTL_GET_VCPU_MSRS, id, &mut arg));
        let given = found.get(..arg.msr_count as usize).unwrap_or(&[]);
        let aux = given.iter().find(|msr| msr.index == TSC_AUX);
        same!(aux.map(|msr| msr.value), Some(77));
        peer.destroy()
    });
}

fn caching(s: &mut Suite<'_>) {
    s.check("pair/no_caching_without_hardware", || {
        let mut peer = Peer::start()?;
        peer.domain.shared(peer::VALUE).store(0, Ordering::SeqCst);
        peer.ask(peer::UNCACHED)?;
        let error = peer.domain.shared(peer::VALUE).load(Ordering::SeqCst);
        same!(error, u64::from(Errno::EINVAL.0.unsigned_abs()));
        peer.end()
    });
}

fn claim(domid: u16, nr_extents: u64) -> hypercall::Result {
    let mut arg = Reservation {
        nr_extents,
        domid,
        ..Reservation::default()
    };
    hypercall::op(HYPERVISOR_MEMORY_OP, XENMEM_CLAIM_PAGES, &mut arg)
}

/// Pages set aside: for the domain, and in all.
fn outstanding(id: u16) -> Outcome<(u64, u64)> {
    let mut info = PhysInfo::default();
    good!(control::sysctl(sysctl::XEN_SYSCTL_PHYSINFO, &mut info));
    Ok((
        good!(control::domain_info(id)).outstanding_pages,
        info.outstanding_pages,
    ))
}

fn claims(s: &mut Suite<'_>) {
    s.check("pair/claim_pages", || {
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let info = good!(control::domain_info(id));
        let (has, most) = (info.tot_pages, info.max_pages);
        same!(claim(id, has), Err(Errno::EINVAL));
        same!(claim(id, most + 1), Err(Errno::EINVAL));
        same!(claim(0x1234, 1), Err(Errno::EINVAL));
        same!(outstanding(id)?, (0, 0));
        same!(claim(id, most), Ok(0));
        same!(outstanding(id)?, (most - has, most - has));
        // One at a time.
        same!(claim(id, most), Err(Errno::EINVAL));
        same!(claim(id, 0), Ok(0));
        same!(outstanding(id)?, (0, 0));
        same!(claim(id, 0), Ok(0));
        for (extent_start, extent_order, mem_flags) in [(8, 0, 0), (0, 1, 0), (0, 0, 1)] {
            let mut arg = Reservation {
                extent_start,
                nr_extents: most,
                extent_order,
                mem_flags,
                domid: id,
                ..Reservation::default()
            };
            same!(
                hypercall::op(HYPERVISOR_MEMORY_OP, XENMEM_CLAIM_PAGES, &mut arg),
                Err(Errno::EINVAL)
            );
        }
        // More than the host has.
        let mut limit = abi::MaxMem { max_memkb: 1 << 34 };
        good!(on_domain(abi::XEN_DOMCTL_MAX_MEM, id, &mut limit));
        same!(claim(id, 1 << 31), Err(Errno::ENOMEM));
        // A claim ends with its domain.
        same!(claim(id, has + 5), Ok(0));
        same!(outstanding(id)?, (5, 5));
        peer.destroy()?;
        same!(outstanding(0)?, (0, 0));
        Ok(())
    });
}

/// Sets leaves of a domain's policy.
fn set_policy(id: u16, leaves: &mut [CpuidLeaf]) -> hypercall::Result {
    let mut arg = abi::CpuPolicy {
        nr_leaves: u32::try_from(leaves.len()).unwrap_or(0),
        leaves: hypercall::slice_address(leaves),
        ..abi::CpuPolicy::default()
    };
    on_domain(abi::XEN_DOMCTL_SET_CPU_POLICY, id, &mut arg)
}

/// A leaf of a domain's policy.
fn policy_leaf(id: u16, leaf: u32, subleaf: u32) -> Outcome<Option<CpuidLeaf>> {
    let mut leaves = [CpuidLeaf::default(); 160];
    let mut arg = abi::CpuPolicy {
        nr_leaves: 160,
        leaves: hypercall::slice_address(&mut leaves),
        ..abi::CpuPolicy::default()
    };
    good!(on_domain(abi::XEN_DOMCTL_GET_CPU_POLICY, id, &mut arg));
    let given = leaves.get(..arg.nr_leaves as usize).unwrap_or(&[]);
    let found = given
        .iter()
        .find(|it| it.leaf == leaf && it.subleaf == subleaf);
    Ok(found.copied())
}

fn policies(s: &mut Suite<'_>) {
    s.check("pair/cpu_policy", || {
        /// SSE4.2 and RDRAND, in leaf 1 ECX.
        const HIDDEN: u32 = 1 << 20 | 1 << 30;
        let plain = XEN_CPUID_NO_SUBLEAF;
        let mut hidden = 0;
        let mut peer = Peer::start_with(|id| {
            let mut one = crate::conformance::some!(policy_leaf(id, 1, plain)?);
            hidden = one.c & HIDDEN;
            ensure!(
                hidden != 0,
                "none of the features that are to be hidden is there"
            );
            one.c &= !HIDDEN;
            same!(set_policy(id, &mut [one]), Ok(0));
            let now = crate::conformance::some!(policy_leaf(id, 1, plain)?);
            same!(now.c & HIDDEN, 0);
            same!((now.a, now.d), (one.a, one.d));
            // No such leaf, too many leaves.
            let wrong = CpuidLeaf {
                leaf: 0x9000_0000,
                subleaf: plain,
                ..CpuidLeaf::default()
            };
            same!(set_policy(id, &mut [wrong]), Err(Errno::ERANGE));
            let wrong = CpuidLeaf {
                leaf: 1,
                subleaf: 0,
                ..CpuidLeaf::default()
            };
            same!(set_policy(id, &mut [wrong]), Err(Errno::ERANGE));
            let mut first = crate::conformance::some!(policy_leaf(id, 0, plain)?);
            first.a = 0x1000;
            same!(set_policy(id, &mut [first]), Err(Errno::EINVAL));
            Ok(())
        })?;
        let id = peer.domain.id;
        peer.domain.shared(peer::VALUE).store(1, Ordering::SeqCst);
        peer.ask(peer::REPORT_CPUID)?;
        let seen = peer.domain.shared(peer::VALUE).load(Ordering::SeqCst);
        same!(seen & u64::from(HIDDEN), 0);
        ensure!(seen != 0, "nothing is seen");
        // Not once it has run, and not one's own.
        same!(set_policy(id, &mut []), Err(Errno::EEXIST));
        same!(set_policy(0, &mut []), Err(Errno::EINVAL));
        peer.end()
    });
}

/// A domain's vCPU affinity: hard and soft, of the first 64 CPUs.
fn affinity(id: u16, cmd: u32, flags: u32, maps: &mut [[u64; 1]; 2]) -> hypercall::Result {
    let [hard, soft] = maps.each_mut().map(|bits| CtlBitmap {
        bitmap: hypercall::slice_address(bits),
        nr_bits: 64,
        ..CtlBitmap::default()
    });
    let mut arg = abi::VcpuAffinity {
        flags,
        cpumap_hard: hard,
        cpumap_soft: soft,
        ..abi::VcpuAffinity::default()
    };
    on_domain(cmd, id, &mut arg)
}

fn libraries(s: &mut Suite<'_>) {
    s.check("pair/affinity_soft_and_hard", || {
        const BOTH: u32 = abi::XEN_VCPUAFFINITY_HARD | abi::XEN_VCPUAFFINITY_SOFT;
        let (get, set) = (
            abi::XEN_DOMCTL_GETVCPUAFFINITY,
            abi::XEN_DOMCTL_SETVCPUAFFINITY,
        );
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let mut maps = [[0; 1]; 2];
        same!(
            affinity(id, set, abi::XEN_VCPUAFFINITY_HARD, &mut [[1], [0]]),
            Ok(0)
        );
        same!(
            affinity(id, set, abi::XEN_VCPUAFFINITY_SOFT, &mut [[0], [2]]),
            Ok(0)
        );
        same!(affinity(id, get, BOTH, &mut maps), Ok(0));
        same!(maps[0], [1]);
        // On no CPU, and with no flags. Unknown ones mean nothing.
        same!(
            affinity(id, set, abi::XEN_VCPUAFFINITY_HARD, &mut [[0], [0]]),
            Err(Errno::EINVAL)
        );
        for cmd in [get, set] {
            same!(affinity(id, cmd, 0, &mut maps), Err(Errno::EINVAL));
            same!(affinity(id, cmd, 1 << 31, &mut maps), Ok(0));
        }
        same!(
            affinity(id, get, abi::XEN_VCPUAFFINITY_HARD, &mut maps),
            Ok(0)
        );
        same!(maps[0], [1]);
        peer.end()
    });
    s.check("pair/page_types_for_tools", || {
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let mut context = VcpuGuestContext::default();
        let mut arg = abi::VcpuContext {
            vcpu: 0,
            ctxt: hypercall::address(&mut context),
            ..abi::VcpuContext::default()
        };
        good!(on_domain(abi::XEN_DOMCTL_GETVCPUCONTEXT, id, &mut arg));
        let info = good!(control::domain_info(id));
        // Its root, its shared page, which is no memory to be saved, and a frame that no machine has.
        let root = context.ctrlreg[3] >> 12;
        let mut frames = [root, info.shared_info_frame, 0x0fff_ffff];
        let mut types = abi::GetPageFrameInfo3 {
            num: 3,
            array: hypercall::slice_address(&mut frames),
        };
        same!(
            on_domain(abi::XEN_DOMCTL_GETPAGEFRAMEINFO3, id, &mut types),
            Ok(0)
        );
        let kind = u64::from(abi::XEN_DOMCTL_PFINFO_LTABTYPE_MASK);
        same!(frames[0] & kind, u64::from(abi::XEN_DOMCTL_PFINFO_L4TAB));
        ensure!(
            frames[0] & u64::from(abi::XEN_DOMCTL_PFINFO_LPINTAB) != 0,
            "{:#x}: the root is not pinned",
            frames[0]
        );
        let none = u64::from(abi::XEN_DOMCTL_PFINFO_XTAB);
        same!(frames[1] & none, none);
        same!(frames[2] & none, none);
        types.num = 1 << 40;
        same!(
            on_domain(abi::XEN_DOMCTL_GETPAGEFRAMEINFO3, id, &mut types),
            Err(Errno::E2BIG)
        );
        peer.end()
    });
    s.check("pair/not_for_pv_domains", || {
        let peer = Peer::start()?;
        let id = peer.domain.id;
        for cmd in [
            abi::XEN_DOMCTL_GET_PAGING_MEMPOOL_SIZE,
            abi::XEN_DOMCTL_SET_PAGING_MEMPOOL_SIZE,
        ] {
            let mut pool = abi::PagingMempool { size: 1 << 20 };
            same!(on_domain(cmd, id, &mut pool), Err(Errno::EOPNOTSUPP));
        }
        peer.end()
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    running(s);
    libraries(s);
    caching(s);
    extended(s);
    claims(s);
    policies(s);
}
