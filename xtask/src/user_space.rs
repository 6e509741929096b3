//! Wall seconds from QEMU's start to dom0's user space: ours, Debian's Xen, ours, Debian's Xen.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use oxen_tests::boot_time;
use oxen_tests::qemu::Machine;
use oxen_tests::session::{Hypervisor, Linux};

use crate::dom0::{self, Start};
use crate::hypervisor::Which;
use crate::kernel::Kernel;
use crate::paths;
use crate::setup::{self, Setup};

/// How the machine boots, and what dom0's kernel is.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// GRUB loads the bzImage, which the hypervisor unpacks.
    Grub,
    /// QEMU loads the kernel's ELF file.
    Elf,
}

/// The times of two boots of each hypervisor, of which the better ones are to be compared.
pub(crate) fn times(way: Way) -> Result<Vec<(Hypervisor, Duration)>> {
    let order = boot_time::ORDER.iter();
    order.map(|&on| Ok((on, measure(on, way)?))).collect()
}

fn measure(hypervisor: Hypervisor, way: Way) -> Result<Duration> {
    let dir = setup::run_dir()?;
    let logs = paths::target().join("logs");
    fs::create_dir_all(&logs)?;
    let plain = Setup {
        start: Start::Test,
        ..Setup::new(Which::of(hypervisor))
    };
    let boot = match way {
        Way::Grub => setup::prepare(&plain, dir.path())?,
        Way::Elf => {
            let kernel = Kernel::fetch(Linux::Stock)?.elf()?;
            let initrd = dom0::build(Linux::Stock)?.initrd;
            let setup = Setup {
                dom0_kernel: Some(&kernel),
                dom0_initrd: Some(&initrd),
                direct: true,
                ..plain
            };
            setup::prepare(&setup, dir.path())?
        }
    };
    let machine = Machine::new(2, "4096M", boot);
    boot_time::measure(&machine, &logs.join("boot-time.log"))
}
