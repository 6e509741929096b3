//! `HYPERVISOR_grant_table_op`: batches of operations, each with its own status written in place.

use oxen_abi::errno::Errno;
use oxen_abi::grant_table as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::error::{HcResult, Stop};
use crate::grant::unmap::{Removed, Request};
use crate::grant::{cache, copy, map, table, transfer, version};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::MmError;
use crate::percpu::Cx;

/// The bits of a command's number.
const COMMAND: u32 = 0xfff;

/// `HYPERVISOR_grant_table_op(cmd, ops, count)`. A batch stops after an operation when something
/// is pending, and goes on with the next one.
#[inline(never)]
pub fn hypercall<M: Machine>(cx: &Cx<'_, M>, cmd: u64, ops: u64, count: u64) -> HcResult {
    // The ABI's command and count are ints.
    let (number, count) = (low_half(cmd), low_half(count));
    // Bits above the command are where Xen keeps the progress of a long cache operation.
    let progress = number & !COMMAND;
    let number = number & COMMAND;
    if i32::try_from(count).is_err() || (progress != 0 && number != abi::GNTTABOP_CACHE_FLUSH) {
        return Err(Errno::EINVAL.into());
    }
    let batch = Batch {
        cx,
        cmd,
        ops,
        count,
    };
    match number {
        abi::GNTTABOP_MAP_GRANT_REF => batch.each(|op| map::map(cx, op)),
        abi::GNTTABOP_UNMAP_GRANT_REF => batch.unmap(
            |op: &abi::UnmapGrantRef| Request {
                handle: op.handle,
                host_addr: op.host_addr,
                dev_bus_addr: op.dev_bus_addr,
                new_addr: 0,
            },
            |op, status| op.status = status,
        ),
        abi::GNTTABOP_UNMAP_AND_REPLACE => batch.unmap(
            |op: &abi::UnmapAndReplace| Request {
                handle: op.handle,
                host_addr: op.host_addr,
                dev_bus_addr: 0,
                new_addr: op.new_addr,
            },
            |op, status| op.status = status,
        ),
        abi::GNTTABOP_COPY => batch.each(|op: &mut abi::Copy| op.status = copy::copy(cx, op)),
        abi::GNTTABOP_SWAP_GRANT_REF => batch.each(|op| table::swap(cx, op)),
        abi::GNTTABOP_SETUP_TABLE => batch.one(|op| {
            table::setup(cx, op);
            Ok(())
        }),
        abi::GNTTABOP_QUERY_SIZE => batch.one(|op| {
            table::query_size(cx, op);
            Ok(())
        }),
        abi::GNTTABOP_TRANSFER => {
            batch.each(|op: &mut abi::Transfer| op.status = transfer::transfer(cx, op))
        }
        abi::GNTTABOP_SET_VERSION => batch.set_version(),
        abi::GNTTABOP_GET_VERSION => batch.alone(|op| version::get(cx, op)),
        abi::GNTTABOP_GET_STATUS_FRAMES => batch.one(|op| {
            table::status_frames(cx, op);
            Ok(())
        }),
        abi::GNTTABOP_CACHE_FLUSH => batch.cache_flush(),
        // Includes GNTTABOP_dump_table, which Xen does not have any more either.
        _ => Err(Errno::ENOSYS.into()),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the upper half has no meaning"
)]
const fn low_half(argument: u64) -> u32 {
    argument as u32
}

/// The guest's batch.
struct Batch<'a, M: Machine> {
    cx: &'a Cx<'a, M>,
    cmd: u64,
    ops: u64,
    count: u32,
}

impl<M: Machine> Batch<'_, M> {
    /// Runs an operation that comes alone; it may fail as a whole.
    fn one<T: FromBytes + IntoBytes + Immutable>(
        &self,
        run: impl FnOnce(&mut T) -> Result<(), Errno>,
    ) -> HcResult {
        if self.count != 1 {
            return Err(Errno::EINVAL.into());
        }
        self.alone(run)
    }

    /// The same for operations whose count has no meaning.
    fn alone<T: FromBytes + IntoBytes + Immutable>(
        &self,
        run: impl FnOnce(&mut T) -> Result<(), Errno>,
    ) -> HcResult {
        let handle = GuestHandle::<T>::new(self.ops);
        let mut op = handle.read(self.cx.machine())?;
        run(&mut op)?;
        handle.write(self.cx.machine(), &op)?;
        Ok(0)
    }

    /// Changes the version, and tells which is in force even when that failed.
    fn set_version(&self) -> HcResult {
        let handle = GuestHandle::<abi::SetVersion>::new(self.ops);
        let wanted = handle.read(self.cx.machine())?;
        let outcome = version::set(self.cx, wanted.version);
        let version = self.cx.domain().grants.version().number();
        handle.write(self.cx.machine(), &abi::SetVersion { version })?;
        outcome?;
        Ok(0)
    }

    /// Runs cache operations up to the first that fails.
    fn cache_flush(&self) -> HcResult {
        let handle = GuestHandle::<abi::CacheFlush>::new(self.ops);
        for index in 0..self.count {
            if index != 0 && self.cx.cpu.preempt_needed() {
                return self.go_on_from::<abi::CacheFlush>(index);
            }
            let op = handle.read_at(self.cx.machine(), u64::from(index))?;
            match cache::flush(self.cx, &op) {
                Ok(()) => {}
                Err(MmError::Errno(errno)) => return Err(errno.into()),
                Err(MmError::Restart) => return self.go_on_from::<abi::CacheFlush>(index),
            }
        }
        Ok(0)
    }

    /// Runs each operation and writes it back.
    fn each<T: FromBytes + IntoBytes + Immutable>(&self, mut run: impl FnMut(&mut T)) -> HcResult {
        let handle = GuestHandle::<T>::new(self.ops);
        let mut op = T::new_zeroed();
        for index in 0..self.count {
            if index != 0 && self.cx.cpu.preempt_needed() {
                return self.go_on_from::<T>(index);
            }
            let place = handle.at(u64::from(index))?;
            place.read_into(self.cx.machine(), &mut op)?;
            run(&mut op);
            place.write(self.cx.machine(), &op)?;
        }
        Ok(0)
    }

    /// Runs unmap operations, with one flush for each piece of the batch.
    fn unmap<T: FromBytes + IntoBytes + Immutable>(
        &self,
        request: impl Fn(&T) -> Request,
        answer: impl Fn(&mut T, i16),
    ) -> HcResult {
        let handle = GuestHandle::<T>::new(self.ops);
        let mut removed = Removed::new();
        let mut outcome = Ok(0);
        for index in 0..self.count {
            if removed.is_full() {
                removed.finish(self.cx);
            }
            if index != 0 && self.cx.cpu.preempt_needed() {
                outcome = self.go_on_from::<T>(index);
                break;
            }
            let unmapped = handle.at(u64::from(index)).and_then(|place| {
                let mut op = place.read(self.cx.machine())?;
                let status = removed.remove(self.cx, &request(&op));
                answer(&mut op, status);
                place.write(self.cx.machine(), &op)
            });
            if let Err(errno) = unmapped {
                outcome = Err(errno.into());
                break;
            }
        }
        removed.finish(self.cx);
        outcome
    }

    /// Stops before operation `index`, to go on with it later.
    fn go_on_from<T>(&self, index: u32) -> HcResult {
        let next = GuestHandle::<T>::new(self.ops).at(u64::from(index))?;
        let left = u64::from(self.count.saturating_sub(index));
        Err(Stop::Restart([self.cmd, next.addr(), left, 0, 0, 0]))
    }
}
