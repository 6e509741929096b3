//! console_io.

use oxen_abi::Errno;
use oxen_abi::hypercall::HYPERVISOR_CONSOLE_IO;
use oxen_abi::xen::{CONSOLEIO_READ, CONSOLEIO_WRITE};

use super::version::{HYPERVISOR, UNMAPPED};
use super::{Suite, ensure, same, skip};
use crate::sys::hypercall::{self, Result};

fn io(cmd: u32, count: u64, address: u64) -> Result {
    hypercall::call(HYPERVISOR_CONSOLE_IO, [u64::from(cmd), count, address])
}

pub(super) fn run(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("console_io/write", || {
        if !privileged {
            skip!("dom0 only");
        }
        let mut text = *b"console_io/write: this line comes from the check\n";
        same!(
            io(
                CONSOLEIO_WRITE,
                text.len() as u64,
                hypercall::address(&mut text)
            ),
            Ok(0)
        );
        same!(io(CONSOLEIO_WRITE, 0, 0), Ok(0));
        Ok(())
    });
    s.check("console_io/read_without_input", || {
        if !privileged {
            skip!("dom0 only");
        }
        let mut buffer = [0u8; 8];
        same!(
            io(CONSOLEIO_READ, 8, hypercall::address(&mut buffer)),
            Ok(0)
        );
        Ok(())
    });
    s.check("console_io/bad_pointer", || {
        if !privileged {
            skip!("dom0 only");
        }
        for address in [UNMAPPED, HYPERVISOR, 1 << 47] {
            ensure!(
                io(CONSOLEIO_WRITE, 4, address) == Err(Errno::EFAULT),
                "write from {address:#x} gives {:?}",
                io(CONSOLEIO_WRITE, 4, address)
            );
        }
        Ok(())
    });
    s.check("console_io/unknown", || {
        let wanted = if privileged {
            Errno::ENOSYS
        } else {
            Errno::EPERM
        };
        same!(io(2, 0, 0), Err(wanted));
        same!(io(u32::MAX, 0, 0), Err(wanted));
        Ok(())
    });
}
