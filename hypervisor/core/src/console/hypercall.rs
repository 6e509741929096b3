//! The `console_io` hypercall (xen.h, `CONSOLEIO_*`).

use oxen_abi::Errno;
use oxen_abi::xen::{CONSOLEIO_READ, CONSOLEIO_WRITE};

use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::options::Level;
use crate::percpu::Cx;

/// Bytes copied at a time; between two pieces the call can stop and continue later, because a
/// serial line is slow.
const PIECE: usize = 128;

/// Writes to the console or reads from it. dom0 may do both, its bytes go out as they are.
/// Another domain may write lines into the guest log.
///
/// Returns 0 for a write, the number of bytes for a read. `EPERM` for a domain that must not,
/// `ENOSYS` for an unknown command.
#[inline(never)]
pub fn console_io<M: Machine>(cx: &Cx<'_, M>, cmd: u64, count: u64, buffer: u64) -> HcResult {
    let cmd = (cmd & 0xffff_ffff) as u32;
    let count = count & 0xffff_ffff;
    match cmd {
        CONSOLEIO_WRITE => write(cx, count, buffer),
        CONSOLEIO_READ if !cx.domain().privileged => Err(Errno::EPERM.into()),
        CONSOLEIO_READ => read(cx, count, buffer),
        _ if !cx.domain().privileged => Err(Errno::EPERM.into()),
        _ => Err(Errno::ENOSYS.into()),
    }
}

fn write<M: Machine>(cx: &Cx<'_, M>, count: u64, buffer: u64) -> HcResult {
    let mut done = 0;
    while done < count {
        if done > 0 && cx.cpu.preempt_needed() {
            let rest = [
                u64::from(CONSOLEIO_WRITE),
                count - done,
                buffer + done,
                0,
                0,
                0,
            ];
            return Err(Stop::Restart(rest));
        }
        let mut bytes = [0; PIECE];
        let length = usize::try_from(count - done).unwrap_or(PIECE).min(PIECE);
        let piece = bytes.get_mut(..length).unwrap_or_default();
        let from = GuestHandle::<u8>::new(buffer).at(done)?;
        cx.machine()
            .copy_from_guest(from.addr(), piece)
            .map_err(|_| Errno::EFAULT)?;
        if cx.domain().privileged {
            cx.hv.console.write_raw(cx.machine(), piece);
        } else {
            write_guest_lines(cx, piece);
        }
        done += length as u64;
    }
    Ok(0)
}

fn write_guest_lines<M: Machine>(cx: &Cx<'_, M>, bytes: &[u8]) {
    let domain = cx.domain();
    let mut line = domain.console_line.lock();
    for byte in bytes {
        if let Some(text) = line.push(*byte) {
            let console = &cx.hv.console;
            console.guest_log(
                cx.machine(),
                domain.id,
                Level::Debug,
                format_args!("{text}"),
            );
        }
    }
}

fn read<M: Machine>(cx: &Cx<'_, M>, count: u64, buffer: u64) -> HcResult {
    let mut done = 0;
    while done < count {
        let mut bytes = [0; PIECE];
        let length = usize::try_from(count - done).unwrap_or(PIECE).min(PIECE);
        let got = cx
            .hv
            .console
            .input
            .lock()
            .read(bytes.get_mut(..length).unwrap_or_default());
        if got == 0 {
            break;
        }
        let to = GuestHandle::<u8>::new(buffer).at(done)?;
        let piece = bytes.get(..got).unwrap_or_default();
        cx.machine()
            .copy_to_guest(to.addr(), piece)
            .map_err(|_| Errno::EFAULT)?;
        done += got as u64;
    }
    Ok(done)
}
