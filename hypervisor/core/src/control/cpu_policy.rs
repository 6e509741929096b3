//! CPU policies: which CPUID leaves and MSRs a kind of guest sees, in the ABI's flat form.

use alloc::vec::Vec;

use oxen_abi::Errno;
use oxen_abi::arch_x86::{CpuidLeaf, MsrEntry, XEN_CPUID_NO_SUBLEAF};
use oxen_abi::sysctl::*;

use crate::guest::GuestHandle;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::trap::cpu_policy::CpuPolicy;
use crate::trap::cpuid::{View, policy};
use crate::types::PAGE_SHIFT;

/// MSRs of a policy: PLATFORM_INFO and ARCH_CAPABILITIES.
const MSRS: [u32; 2] = [0xce, 0x10a];
/// Most leaves that any policy has; what is told when only the number is asked for.
const MOST_LEAVES: u32 = 128;

/// Whose view a policy is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// The processor's own.
    Host,
    /// A PV guest's. The flag: it never moves to another host.
    Pv {
        /// As dom0.
        stays: bool,
        /// What the tools have chosen for it.
        wanted: &'a CpuPolicy,
    },
}

/// Any PV guest's.
const ANY_PV: Kind<'static> = Kind::Pv {
    stays: false,
    wanted: &NO_CHOICE,
};
static NO_CHOICE: CpuPolicy = CpuPolicy::new();

impl Kind<'_> {
    /// By the number of `XEN_SYSCTL_GET_CPU_POLICY`. HVM guests have none yet.
    pub(super) fn of_policy(index: u32) -> Result<Kind<'static>, Errno> {
        match index {
            XEN_SYSCTL_CPU_POLICY_RAW | XEN_SYSCTL_CPU_POLICY_HOST => Ok(Kind::Host),
            XEN_SYSCTL_CPU_POLICY_PV_MAX | XEN_SYSCTL_CPU_POLICY_PV_DEFAULT => Ok(ANY_PV),
            XEN_SYSCTL_CPU_POLICY_HVM_MAX | XEN_SYSCTL_CPU_POLICY_HVM_DEFAULT => {
                Err(Errno::EOPNOTSUPP)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// By the number of `XEN_SYSCTL_GET_CPU_FEATURESET`.
    pub(super) fn of_featureset(index: u32) -> Result<Kind<'static>, Errno> {
        match index {
            XEN_SYSCTL_CPU_FEATURESET_RAW | XEN_SYSCTL_CPU_FEATURESET_HOST => Ok(Kind::Host),
            XEN_SYSCTL_CPU_FEATURESET_PV | XEN_SYSCTL_CPU_FEATURESET_PV_MAX => Ok(ANY_PV),
            XEN_SYSCTL_CPU_FEATURESET_HVM | XEN_SYSCTL_CPU_FEATURESET_HVM_MAX => {
                Err(Errno::EOPNOTSUPP)
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

/// One leaf of a view.
fn cpuid<M: Machine>(hv: &Hypervisor<M>, kind: Kind<'_>, leaf: u32, subleaf: u32) -> [u32; 4] {
    let host = |leaf, subleaf| hv.machine.cpuid(leaf, subleaf);
    match kind {
        Kind::Host => host(leaf, subleaf),
        Kind::Pv { stays, wanted } => {
            let last = hv.machine.max_frame().0.saturating_sub(1);
            let view = View {
                stays,
                osxsave: false,
                tsc_khz: u32::try_from(hv.machine.tsc_khz()).unwrap_or(u32::MAX),
                machine_bits: u64::BITS - last.leading_zeros() + PAGE_SHIFT,
                wanted,
            };
            policy(host, &view, leaf, subleaf)
        }
    }
}

/// The words of a feature set, in the ABI's order.
pub(super) fn featureset<M: Machine>(hv: &Hypervisor<M>, kind: Kind<'_>) -> [u32; 16] {
    let leaf = |leaf, subleaf| cpuid(hv, kind, leaf, subleaf);
    let basic = leaf(0, 0)[0];
    let extended = leaf(0x8000_0000, 0)[0];
    let when = |present: bool, values: [u32; 4]| if present { values } else { [0; 4] };
    let [_, _, c1, d1] = leaf(1, 0);
    let [_, _, ce1, de1] = when(extended >= 0x8000_0001, leaf(0x8000_0001, 0));
    let [da1, ..] = when(basic >= 0xd, leaf(0xd, 1));
    let [top, b7, c7, d7] = when(basic >= 7, leaf(7, 0));
    let [_, _, _, de7] = when(extended >= 0x8000_0007, leaf(0x8000_0007, 0));
    let [_, be8, ..] = when(extended >= 0x8000_0008, leaf(0x8000_0008, 0));
    let [a71, b71, c71, d71] = when(basic >= 7 && top >= 1, leaf(7, 1));
    let [_, _, _, d72] = when(basic >= 7 && top >= 2, leaf(7, 2));
    let [ae21, ..] = when(extended >= 0x8000_0021, leaf(0x8000_0021, 0));
    [
        d1, c1, de1, ce1, da1, b7, c7, de7, be8, d7, a71, ae21, b71, d72, c71, d71,
    ]
}

/// All leaves of a view, in ascending order.
fn leaves<M: Machine>(hv: &Hypervisor<M>, kind: Kind<'_>) -> Vec<CpuidLeaf> {
    let mut list = Vec::new();
    let mut add = |leaf: u32, subleaf: u32| {
        let ecx = if subleaf == XEN_CPUID_NO_SUBLEAF {
            0
        } else {
            subleaf
        };
        let [a, b, c, d] = cpuid(hv, kind, leaf, ecx);
        list.push(CpuidLeaf {
            leaf,
            subleaf,
            a,
            b,
            c,
            d,
        });
        a
    };
    let basic = cpuid(hv, kind, 0, 0)[0].min(0xd);
    for leaf in 0..=basic {
        match leaf {
            4 => (0..6).take_while(|n| add(4, *n) & 0x1f != 0).for_each(drop),
            7 => {
                let top = add(7, 0);
                (1..=top.min(2)).for_each(|n| {
                    add(7, n);
                });
            }
            0xb => (0..2).for_each(|n| {
                add(0xb, n);
            }),
            0xd => (0..63).for_each(|n| {
                if n < 2 || hv.machine.cpuid(0xd, n)[0] != 0 {
                    add(0xd, n);
                }
            }),
            _ => {
                add(leaf, XEN_CPUID_NO_SUBLEAF);
            }
        }
    }
    if matches!(kind, Kind::Pv { .. }) {
        // Of the hypervisor's own leaves the tools' policies hold only how many there are.
        add(0x4000_0000, XEN_CPUID_NO_SUBLEAF);
    }
    let extended = cpuid(hv, kind, 0x8000_0000, 0)[0].min(0x8000_0021);
    for leaf in 0x8000_0000..=extended {
        add(leaf, XEN_CPUID_NO_SUBLEAF);
    }
    list
}

/// The policy's MSRs.
fn msrs<M: Machine>(hv: &Hypervisor<M>, kind: Kind<'_>) -> [MsrEntry; 2] {
    MSRS.map(|idx| {
        let val = if matches!(kind, Kind::Host) {
            hv.machine.rdmsr(idx).unwrap_or(0)
        } else {
            0
        };
        MsrEntry { idx, flags: 0, val }
    })
}

/// Where a policy goes: handles and room, then what was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) leaves: u64,
    pub(super) nr_leaves: u32,
    pub(super) msrs: u64,
    pub(super) nr_msrs: u32,
}

/// Writes a policy. Null handles ask for the numbers only. `ENOBUFS` without enough room.
pub(super) fn give<M: Machine>(
    hv: &Hypervisor<M>,
    kind: Kind<'_>,
    place: Place,
) -> Result<Place, Errno> {
    let mut written = place;
    let leaf_handle = GuestHandle::<CpuidLeaf>::new(place.leaves);
    if leaf_handle.is_null() {
        written.nr_leaves = MOST_LEAVES;
    } else {
        let list = leaves(hv, kind);
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        if count > place.nr_leaves {
            return Err(Errno::ENOBUFS);
        }
        for (at, leaf) in (0u64..).zip(&list) {
            leaf_handle.write_at(&hv.machine, at, leaf)?;
        }
        written.nr_leaves = count;
    }
    let msr_handle = GuestHandle::<MsrEntry>::new(place.msrs);
    written.nr_msrs = 2;
    if !msr_handle.is_null() {
        if place.nr_msrs < 2 {
            return Err(Errno::ENOBUFS);
        }
        for (at, msr) in (0u64..).zip(&msrs(hv, kind)) {
            msr_handle.write_at(&hv.machine, at, msr)?;
        }
    }
    Ok(written)
}

/// What a policy that a tool wants to set asks for and a PV guest cannot have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Conflict {
    pub(super) leaf: u32,
    pub(super) subleaf: u32,
    pub(super) msr: u32,
}

impl Conflict {
    /// Nothing.
    pub(super) const NONE: Self = Self {
        leaf: u32::MAX,
        subleaf: u32::MAX,
        msr: u32::MAX,
    };
}

/// Most entries of a list that is to be set.
const LIMIT: u32 = 512;

/// Reads a policy that a tool wants to set, on top of what was chosen before. It may not have more
/// leaves than there are; features that there are not are left out when it is looked at.
pub(super) fn take<M: Machine>(
    hv: &Hypervisor<M>,
    before: &CpuPolicy,
    place: Place,
) -> Result<CpuPolicy, (Errno, Conflict)> {
    let fault = |errno| (errno, Conflict::NONE);
    if place.nr_leaves > LIMIT || place.nr_msrs > LIMIT {
        return Err(fault(Errno::E2BIG));
    }
    let mut policy = before.clone();
    let handle = GuestHandle::<CpuidLeaf>::new(place.leaves);
    for at in 0..u64::from(place.nr_leaves) {
        let wanted = handle.read_at(&hv.machine, at).map_err(fault)?;
        let conflict = Conflict {
            leaf: wanted.leaf,
            subleaf: wanted.subleaf,
            ..Conflict::NONE
        };
        if !CpuPolicy::has_place_for(wanted.leaf, wanted.subleaf) {
            return Err((Errno::ERANGE, conflict));
        }
        let [most, ..] = cpuid(hv, ANY_PV, wanted.leaf, wanted.subleaf);
        let too_many = match wanted.leaf {
            0 | 0x8000_0000 => wanted.a > most.max(wanted.leaf),
            7 if wanted.subleaf == 0 => wanted.a > most,
            _ => false,
        };
        if too_many {
            return Err((Errno::EINVAL, conflict));
        }
        if !policy.set(wanted) {
            return Err(fault(Errno::ENOMEM));
        }
    }
    let handle = GuestHandle::<MsrEntry>::new(place.msrs);
    for at in 0..u64::from(place.nr_msrs) {
        let wanted = handle.read_at(&hv.machine, at).map_err(fault)?;
        // Neither has a bit that a PV guest may see.
        if wanted.flags != 0 || !MSRS.contains(&wanted.idx) || wanted.val != 0 {
            let conflict = Conflict {
                msr: wanted.idx,
                ..Conflict::NONE
            };
            return Err((Errno::EINVAL, conflict));
        }
    }
    Ok(policy)
}
