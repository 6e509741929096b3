//! `shadow_op`: the log of the frames that a domain writes to, for a live migration.
//!
//! A bit of the caller's bitmap stands for a pseudo-physical frame, as the machine-to-physical table has it. What is
//! read of a frame after `CLEAN` has returned has all that was written up to then; what is written later is in the
//! next round's bitmap.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::*;

use super::super::{Answer, Outcome, Union, put, take};
use crate::domain::Domain;
use crate::error::Stop;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::shadow::{self, Stage, Work, log};
use crate::percpu::Cx;
use crate::types::Mfn;

/// Bytes of the bitmap that are zeroed in one go.
const PIECE: usize = 512;

/// `shadow_op`. `EINVAL` for the caller's own domain, one without vCPUs, logging that is on already, and modes other
/// than logging; `EBUSY` while another vCPU is at it.
pub(super) fn operate<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    u: &mut Union,
) -> Outcome {
    let mut request: ShadowOp = take(u);
    if Arc::ptr_eq(domain, cx.domain()) || domain.vcpus.read().is_empty() {
        return Err(Errno::EINVAL.into());
    }
    if domain.is_dying() {
        return Ok(Answer::Done);
    }
    let memory = &domain.memory.shadow;
    match request.op {
        XEN_DOMCTL_SHADOW_OP_OFF => work(cx, domain, &request, Stage::Pause),
        XEN_DOMCTL_SHADOW_OP_ENABLE if request.mode & XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY == 0 => {
            Err(Errno::EINVAL.into())
        }
        XEN_DOMCTL_SHADOW_OP_ENABLE | XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY => {
            if memory.is_on() {
                return Err(Errno::EINVAL.into());
            }
            work(cx, domain, &request, Stage::Collect(Mfn(0)))
        }
        XEN_DOMCTL_SHADOW_OP_CLEAN | XEN_DOMCTL_SHADOW_OP_PEEK => {
            if request.mode & !XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL != 0 {
                return Err(Errno::EINVAL.into());
            }
            let (faults, dirty) = memory.log.counts();
            work(cx, domain, &request, Stage::Zero(0))?;
            request.stats = ShadowOpStats {
                fault_count: faults,
                dirty_count: dirty,
            };
            put(u, &request)
        }
        XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION => {
            request.mb = memory.allocation();
            put(u, &request)
        }
        XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION => {
            if request.mb == 0 && memory.is_on() {
                return Err(Errno::EINVAL.into());
            }
            memory.set_allocation(request.mb);
            put(u, &request)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Carries an operation out from its `first` stage on, or from where it stopped.
fn work<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    request: &ShadowOp,
    first: Stage,
) -> Outcome {
    let slot = &domain.memory.shadow.work;
    let mut now = {
        let mut slot = slot.lock();
        let mine = Work {
            caller: cx.vcpu.id,
            op: request.op,
            stage: first,
        };
        match *slot {
            Some(other) if (other.caller, other.op) != (mine.caller, mine.op) => {
                return Err(Errno::EBUSY.into());
            }
            Some(stopped) => stopped,
            None => *slot.insert(mine),
        }
    };
    loop {
        match step(cx, domain, request, now.stage) {
            Ok(Some(next)) => now.stage = next,
            Ok(None) => {
                *slot.lock() = None;
                return Ok(Answer::Done);
            }
            Err(Stop::Restart(arguments)) => return Err(Stop::Restart(arguments)),
            Err(error) => {
                *slot.lock() = None;
                return Err(error);
            }
        }
        *slot.lock() = Some(now);
        if cx.cpu.preempt_needed() {
            return Err(Stop::Restart([0; 6]));
        }
    }
}

/// One stage, or a part of it. Returns what comes next; `None` at the end.
fn step<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    request: &ShadowOp,
    stage: Stage,
) -> Result<Option<Stage>, Stop> {
    let bitmap = Bitmap::new(request);
    match stage {
        Stage::Zero(at) => {
            if let Some(next) = bitmap.zero(cx, at)? {
                return Ok(Some(Stage::Zero(next)));
            }
            log::mark_shared(cx.hv, domain);
            Ok(Some(Stage::Collect(Mfn(0))))
        }
        Stage::Collect(at) => {
            let keeps = request.op == XEN_DOMCTL_SHADOW_OP_PEEK;
            let reads = keeps || request.op == XEN_DOMCTL_SHADOW_OP_CLEAN;
            let mut bits = bitmap.writer(cx);
            let next = log::collect(cx.cpu, domain, at, !keeps, |pfn| {
                if reads { bits.set(pfn) } else { Ok(()) }
            })?;
            bits.finish()?;
            if let Some(next) = next {
                return Ok(Some(Stage::Collect(next)));
            }
            if reads && !keeps {
                log::begin_round(cx.cpu, domain);
            }
            Ok((!reads).then_some(Stage::Pause))
        }
        Stage::Pause => {
            crate::domain::pause(cx.cpu, domain);
            Ok(Some(Stage::Paused))
        }
        Stage::Paused => {
            if !domain
                .vcpus
                .read()
                .iter()
                .all(|vcpu| crate::sched::stopped(vcpu))
            {
                return Err(Stop::Restart([0; 6]));
            }
            let outcome = if request.op == XEN_DOMCTL_SHADOW_OP_OFF {
                shadow::disable(cx.cpu, domain);
                Ok(())
            } else {
                shadow::enable(cx.cpu, domain)
            };
            crate::domain::unpause(cx.cpu, domain);
            outcome?;
            Ok(None)
        }
    }
}

/// The caller's bitmap; none if its handle is null.
struct Bitmap {
    bytes: GuestHandle<u8>,
    /// How many bits it has.
    bits: u64,
}

impl Bitmap {
    fn new(request: &ShadowOp) -> Self {
        let bytes = GuestHandle::new(request.dirty_bitmap);
        let bits = if bytes.is_null() { 0 } else { request.pages };
        Self { bytes, bits }
    }

    /// Zeroes a piece from byte `at` on; returns where the next one begins, `None` if that was the last.
    fn zero<M: Machine>(&self, cx: &Cx<'_, M>, at: u64) -> Result<Option<u64>, Errno> {
        let end = self.bits.div_ceil(8);
        let left = end.saturating_sub(at);
        if left < PIECE as u64 {
            for byte in at..end {
                self.bytes.write_at(cx.machine(), byte, &0)?;
            }
            return Ok(None);
        }
        let piece = self.bytes.at(at)?.cast::<[u8; PIECE]>();
        piece.write(cx.machine(), &[0; PIECE])?;
        Ok(Some(at + PIECE as u64))
    }

    fn writer<'a, M: Machine>(&'a self, cx: &'a Cx<'a, M>) -> Writer<'a, M> {
        Writer {
            bitmap: self,
            cx,
            byte: None,
        }
    }
}

/// Sets bits, and writes each byte once while neighbours follow each other.
struct Writer<'a, M: Machine> {
    bitmap: &'a Bitmap,
    cx: &'a Cx<'a, M>,
    /// Number and value of the byte that is being put together.
    byte: Option<(u64, u8)>,
}

impl<M: Machine> Writer<'_, M> {
    fn set(&mut self, bit: u64) -> Result<(), Errno> {
        if bit >= self.bitmap.bits {
            return Ok(());
        }
        let number = bit / 8;
        if self.byte.is_none_or(|(other, _)| other != number) {
            self.finish()?;
            let value = self.bitmap.bytes.read_at(self.cx.machine(), number)?;
            self.byte = Some((number, value));
        }
        if let Some((_, value)) = &mut self.byte {
            *value |= 1 << (bit % 8);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Errno> {
        match self.byte.take() {
            Some((number, value)) => self
                .bitmap
                .bytes
                .write_at(self.cx.machine(), number, &value),
            None => Ok(()),
        }
    }
}
