//! The FIFO ABI: an event word for each port, and for each vCPU sixteen queues (one a priority)
//! linked through the words. Source: the design "FIFO-based event channels" and
//! event_channel.h.
//!
//! Words and control blocks are in the guest's memory and can hold anything at any time. What the
//! hypervisor needs to know for itself (the tails) it keeps on its own side.

#[cfg(loom)]
pub mod model;
mod word;

use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel::{EVTCHN_FIFO_MAX_QUEUES, EVTCHN_FIFO_NR_CHANNELS, FifoControlBlock};

use crate::event::Outcome;
use crate::event::info::InfoWords;
use crate::event::ports::{Entry, PortTable};
use crate::event::targets::Targets;
use crate::machine::Machine;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::types::{Mfn, PAGE_SIZE, Port, VcpuId};

use word::{Link, Word};

/// Event words in a page.
const WORDS_PER_PAGE: u32 = 1024;
/// Pages of event words that a domain may add.
const MAX_PAGES: usize = (EVTCHN_FIFO_NR_CHANNELS / WORDS_PER_PAGE) as usize;

/// A domain's FIFO state. Every frame in it holds a general and a writable type reference, which
/// whoever drops this gives back ([`Fifo::frames`]).
#[derive(Debug, Default)]
pub(crate) struct Fifo {
    pages: Vec<Mfn>,
    controls: Vec<Option<Control>>,
}

/// A vCPU's control block and queues.
#[derive(Debug)]
struct Control {
    mfn: Mfn,
    /// First 32-bit word of the block in its frame.
    first: usize,
    /// The port put last on each queue; 0 = none.
    tails: [u32; EVTCHN_FIFO_MAX_QUEUES],
}

impl Control {
    fn word<M: Machine>(&self, machine: &M, index: usize) -> Option<&'static AtomicU32> {
        machine.page32(self.mfn)?.get(self.first + index)
    }
}

/// Checks the place of a control block in its frame.
pub(crate) fn check_control_offset(offset: u32) -> Result<(), Errno> {
    let fits = u64::from(offset) + size_of::<FifoControlBlock>() as u64 <= PAGE_SIZE;
    if fits && offset.is_multiple_of(8) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

impl Fifo {
    /// Gives a vCPU its control block; once.
    pub(crate) fn add_control(&mut self, vcpu: VcpuId, mfn: Mfn, offset: u32) -> Result<(), Errno> {
        check_control_offset(offset)?;
        let index = vcpu.index();
        if self.controls.len() <= index {
            let more = index + 1 - self.controls.len();
            self.controls.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.controls.resize_with(index + 1, || None);
        }
        let slot = self.controls.get_mut(index).ok_or(Errno::EINVAL)?;
        if slot.is_some() {
            return Err(Errno::EEXIST);
        }
        let first = offset as usize / 4;
        *slot = Some(Control {
            mfn,
            first,
            tails: [0; EVTCHN_FIFO_MAX_QUEUES],
        });
        Ok(())
    }

    /// Whether a vCPU has its control block.
    #[cfg(test)]
    pub(in crate::event) fn has_control(&self, vcpu: VcpuId) -> bool {
        let control = self.controls.get(vcpu.index());
        control.is_some_and(Option::is_some)
    }

    /// Adds a page of event words; returns the first port that it has a word for.
    pub(crate) fn add_page(&mut self, mfn: Mfn) -> Result<Port, Errno> {
        if self.pages.len() >= MAX_PAGES {
            return Err(Errno::ENOSPC);
        }
        self.pages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.pages.push(mfn);
        let index = u32::try_from(self.pages.len() - 1).map_err(|_| Errno::ENOSPC)?;
        Ok(Port(index * WORDS_PER_PAGE))
    }

    /// Ports that share a page of words with `first`.
    pub(crate) fn page_of(first: Port) -> impl Iterator<Item = Port> {
        (first.0..first.0.saturating_add(WORDS_PER_PAGE)).map(Port)
    }

    /// All frames that references are held on.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Mfn> + '_ {
        let controls = self.controls.iter().flatten().map(|control| control.mfn);
        self.pages.iter().copied().chain(controls)
    }

    fn word<M: Machine>(&self, machine: &M, port: u32) -> Option<&'static AtomicU32> {
        let page = crate::speculation::get(&self.pages, (port / WORDS_PER_PAGE) as usize)?;
        machine.page32(*page)?.get((port % WORDS_PER_PAGE) as usize)
    }

    /// Whether the port's word is on a queue: a new user of the port would inherit its place.
    pub(crate) fn is_busy<M: Machine>(&self, machine: &M, port: Port) -> bool {
        self.word(machine, port.0)
            .is_some_and(|word| word.get() & word::LINKED != 0)
    }

    /// Whether a port is pending.
    pub(crate) fn is_pending<M: Machine, P>(
        &self,
        machine: &M,
        entry: &Entry<P>,
        port: Port,
    ) -> bool {
        match self.word(machine, port.0) {
            Some(word) => word.get() & word::PENDING != 0,
            None => entry.pending,
        }
    }

    /// Takes a port's event back, when it is closed.
    pub(crate) fn clear_pending<M: Machine>(&self, machine: &M, port: Port) {
        if let Some(word) = self.word(machine, port.0) {
            word.clear(word::PENDING);
        }
    }

    /// Makes a port pending, and puts it on its vCPU's queue if it is neither masked nor on one.
    pub(in crate::event) fn set_pending<M: Machine, P>(
        &mut self,
        machine: &M,
        targets: &Targets<M>,
        ports: &mut PortTable<P>,
        port: Port,
    ) -> Outcome {
        let Some(entry) = ports.slot(port.0) else {
            return Outcome::Nothing;
        };
        let Some(word) = self.word(machine, port.0) else {
            // The guest has no word for it yet; the event waits until it has.
            let fresh = !core::mem::replace(&mut entry.pending, true);
            return if fresh {
                Outcome::Pending
            } else {
                Outcome::Nothing
            };
        };
        let before = word.set(word::PENDING);
        if before & (word::MASKED | word::LINKED) == 0
            && self.enqueue(machine, targets, entry, port)
        {
            return Outcome::Raised;
        }
        if before & word::PENDING == 0 {
            Outcome::Pending
        } else {
            Outcome::Nothing
        }
    }

    /// Unmasks a port, and queues it if it is pending.
    pub(in crate::event) fn unmask<M: Machine, P>(
        &mut self,
        machine: &M,
        targets: &Targets<M>,
        ports: &mut PortTable<P>,
        port: Port,
    ) -> Outcome {
        let (Some(entry), Some(word)) = (ports.slot(port.0), self.word(machine, port.0)) else {
            return Outcome::Nothing;
        };
        let before = word.clear(word::MASKED);
        if before & word::PENDING != 0
            && before & word::LINKED == 0
            && self.enqueue(machine, targets, entry, port)
        {
            return Outcome::Raised;
        }
        Outcome::Nothing
    }

    /// Puts a port at the end of its vCPU's queue; returns whether the vCPU was told anew.
    fn enqueue<M: Machine, P>(
        &mut self,
        machine: &M,
        targets: &Targets<M>,
        entry: &mut Entry<P>,
        port: Port,
    ) -> bool {
        let queue = (entry.vcpu, entry.priority);
        let Some(word) = self.word(machine, port.0) else {
            return false;
        };
        // A vCPU without a control block can't be told; a guest must not unmask before it has one.
        if self.tail(queue).is_none() || word.set(word::LINKED) & word::LINKED != 0 {
            return false;
        }
        // The port may have been the last one of another queue (or of this one): that queue must
        // not be continued behind it.
        if let Some(tail) = entry.queue.and_then(|old| self.tail(old))
            && *tail == port.0
        {
            *tail = 0;
        }
        entry.queue = Some(queue);
        let Some(tail) = self.tail(queue) else {
            return false;
        };
        let last = core::mem::replace(tail, port.0);
        let continued = last != 0
            && self
                .word(machine, last)
                .is_some_and(|word| word::link_to(word, port.0) != Link::Empty);
        !continued && self.start_queue(machine, targets, queue, port)
    }

    /// Makes a port the head of an empty queue; returns whether the vCPU was told anew.
    fn start_queue<M: Machine>(
        &self,
        machine: &M,
        targets: &Targets<M>,
        (vcpu, priority): (VcpuId, u8),
        port: Port,
    ) -> bool {
        let Some(control) = self.controls.get(vcpu.index()).and_then(Option::as_ref) else {
            return false;
        };
        let head = core::mem::offset_of!(FifoControlBlock, head) / 4 + usize::from(priority);
        let ready = core::mem::offset_of!(FifoControlBlock, ready) / 4;
        let (Some(head), Some(ready)) = (control.word(machine, head), control.word(machine, ready))
        else {
            return false;
        };
        head.store(port.0, Ordering::Release);
        let bit = 1u32 << (priority % 16);
        if ready.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            return false;
        }
        targets.info(vcpu).is_some_and(InfoWords::raise)
    }

    fn tail(&mut self, (vcpu, priority): (VcpuId, u8)) -> Option<&mut u32> {
        self.controls
            .get_mut(vcpu.index())?
            .as_mut()?
            .tails
            .get_mut(usize::from(priority))
    }
}
