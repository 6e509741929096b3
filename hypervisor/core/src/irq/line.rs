//! A line: one source of interrupts, its vector, and the guests that get it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::irq::msi::Message;
use crate::machine::{GsiMode, Machine};
use crate::percpu::PerCpu;
use crate::sync::{Mutex, MutexGuard};
use crate::types::{CpuId, Port};

/// The most guests that share a line.
const MAX_GUESTS: usize = 32;

/// Where the interrupts of a line come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// A pin of an IO-APIC.
    Gsi(u32),
    /// A message of a PCI function.
    Message(Message),
}

/// A line.
pub(super) struct Line<M: Machine> {
    pub(super) source: Source,
    state: Mutex<State<M>>,
}

struct State<M: Machine> {
    /// The vector that the source is programmed with.
    at: Option<(CpuId, u8)>,
    /// The vector before that. An interrupt may still be on its way there, so it is kept until
    /// the line moves again or ends.
    before: Option<(CpuId, u8)>,
    /// Trigger and polarity of a GSI.
    mode: GsiMode,
    guests: Vec<Guest<M>>,
}

/// A guest that has bound the line.
struct Guest<M: Machine> {
    domain: Arc<Domain<M>>,
    pirq: u32,
    port: Port,
    share: bool,
    /// It has not said EOI yet.
    in_service: bool,
}

/// The answer to an interrupt of this CPU's.
pub fn device_interrupt<M: Machine>(cpu: &PerCpu<M>, vector: u8) {
    let line = {
        let vectors = cpu.hv.irqs.vectors.get(cpu.id.index());
        vectors.and_then(|vectors| {
            let vectors = vectors.lock();
            let at = place(&vectors, vector).ok()?;
            vectors.get(at).map(|(_, line)| Arc::clone(line))
        })
    };
    match line {
        Some(line) => line.interrupt(cpu),
        // It was on its way when its line ended.
        None => cpu.hv.machine.eoi(),
    }
}

impl<M: Machine> Line<M> {
    /// The line of a GSI, bound to nobody.
    pub(super) fn gsi(gsi: u32) -> Self {
        Self::new(Source::Gsi(gsi))
    }

    /// A line of any source, bound to nobody and without a vector.
    pub(super) fn new(source: Source) -> Self {
        let mode = GsiMode {
            level: false,
            active_low: false,
        };
        let state = State {
            at: None,
            before: None,
            mode,
            guests: Vec::new(),
        };
        Self {
            source,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock()
    }

    fn interrupt(&self, cpu: &PerCpu<M>) {
        let machine = &cpu.hv.machine;
        let mut state = self.lock();
        let level = state.mode.level;
        if let (Source::Gsi(gsi), true) = (self.source, level) {
            // Masked before it is acknowledged, or it would come again at once.
            machine.mask_gsi(gsi, true);
        }
        machine.eoi();
        for guest in &mut state.guests {
            guest.in_service = level;
            crate::event::notify(cpu.hv, &guest.domain, guest.port, cpu.id);
        }
    }

    /// Whether anybody has bound it.
    pub(super) fn is_bound(&self) -> bool {
        !self.lock().guests.is_empty()
    }

    /// Whether it is level-triggered, so that a guest has to say EOI.
    pub(super) fn needs_eoi(&self) -> bool {
        self.lock().mode.level
    }

    /// Whether several guests have bound it.
    pub(super) fn is_shared(&self) -> bool {
        self.lock().guests.len() > 1
    }

    /// A guest has handled the interrupt. A line that was masked for it is unmasked once all have.
    pub(super) fn eoi(&self, machine: &M, domain: &Domain<M>, pirq: u32) {
        let mut state = self.lock();
        for guest in &mut state.guests {
            if core::ptr::eq(&*guest.domain, domain) && guest.pirq == pirq {
                if !guest.in_service {
                    return;
                }
                guest.in_service = false;
            }
        }
        self.unmask_if_idle(machine, &state);
    }

    fn unmask_if_idle(&self, machine: &M, state: &State<M>) {
        if let Source::Gsi(gsi) = self.source
            && !state.guests.is_empty()
            && !state.guests.iter().any(|guest| guest.in_service)
        {
            machine.mask_gsi(gsi, false);
        }
    }

    /// Binds a guest's port. The first one starts the line: on `cpu`, with `mode` if it is a GSI.
    /// `EBUSY` when it is the hypervisor's own, or bound by others who do not share.
    #[allow(
        clippy::too_many_arguments,
        reason = "the guest's side and the hardware's"
    )]
    pub(super) fn bind(
        self: &Arc<Self>,
        hv: &Hypervisor<M>,
        domain: &Arc<Domain<M>>,
        pirq: u32,
        port: Port,
        share: bool,
        mode: GsiMode,
        cpu: CpuId,
    ) -> Result<(), Errno> {
        let mut state = self.lock();
        let refused = state.guests.iter().any(|guest| !guest.share || !share);
        if refused || state.guests.len() >= MAX_GUESTS {
            return Err(Errno::EBUSY);
        }
        state.guests.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        if state.guests.is_empty() {
            if let Source::Gsi(_) = self.source {
                state.mode = mode;
            }
            self.start(hv, &mut state, cpu)?;
        }
        let domain = Arc::clone(domain);
        state.guests.push(Guest {
            domain,
            pirq,
            port,
            share,
            in_service: false,
        });
        Ok(())
    }

    /// Gives the source a vector and lets interrupts through.
    fn start(
        self: &Arc<Self>,
        hv: &Hypervisor<M>,
        state: &mut State<M>,
        cpu: CpuId,
    ) -> Result<(), Errno> {
        if let Source::Message(message) = self.source {
            // It got its vector when it was mapped.
            return message.mask(&hv.machine, false);
        }
        self.give_vector(hv, state, cpu)?;
        if !self.program(&hv.machine, state, false) {
            self.take_vectors(hv, state);
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    /// Allocates a vector on a CPU and makes it this line's; it is not programmed yet.
    fn give_vector(
        self: &Arc<Self>,
        hv: &Hypervisor<M>,
        state: &mut State<M>,
        cpu: CpuId,
    ) -> Result<(), Errno> {
        let vectors = hv.irqs.vectors.get(cpu.index()).ok_or(Errno::EINVAL)?;
        let mut vectors = vectors.lock();
        vectors.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let vector = hv.machine.alloc_vector(cpu).ok_or(Errno::ENOSPC)?;
        let (Ok(at) | Err(at)) = place(&vectors, vector);
        vectors.insert(at, (vector, Arc::clone(self)));
        drop(vectors);
        drop_vector(hv, state.before.take());
        state.before = state.at.replace((cpu, vector));
        Ok(())
    }

    fn take_vectors(&self, hv: &Hypervisor<M>, state: &mut State<M>) {
        drop_vector(hv, state.at.take());
        drop_vector(hv, state.before.take());
    }

    /// Programs the source with its vector. `false` when it may not be.
    fn program(&self, machine: &M, state: &State<M>, masked: bool) -> bool {
        let Some((cpu, vector)) = state.at else {
            return false;
        };
        match self.source {
            Source::Gsi(gsi) => machine.route_gsi(gsi, state.mode, cpu, vector, masked),
            Source::Message(message) => {
                let (address, data) = machine.msi_message(cpu, vector);
                message.write(machine, address, data, masked)
            }
        }
    }

    /// Gives a message its vector, masked: when it is mapped to a PIRQ.
    pub(super) fn prepare(self: &Arc<Self>, hv: &Hypervisor<M>, cpu: CpuId) -> Result<(), Errno> {
        let mut state = self.lock();
        self.give_vector(hv, &mut state, cpu)?;
        if !self.program(&hv.machine, &state, true) {
            self.take_vectors(hv, &mut state);
            return Err(Errno::ENXIO);
        }
        Ok(())
    }

    /// Programs a message again, after its function was reset.
    pub(super) fn restore(&self, machine: &M) {
        let state = self.lock();
        if let Source::Message(_) = self.source {
            self.program(machine, &state, state.guests.is_empty());
        }
    }

    /// Takes a guest's port off. The last one stops the line.
    pub(super) fn unbind(&self, hv: &Hypervisor<M>, domain: &Domain<M>, pirq: u32) {
        let mut state = self.lock();
        let gone = state
            .guests
            .iter()
            .position(|guest| core::ptr::eq(&*guest.domain, domain) && guest.pirq == pirq)
            .map(|index| state.guests.swap_remove(index));
        if gone.is_none() {
            return;
        }
        if !state.guests.is_empty() {
            self.unmask_if_idle(&hv.machine, &state);
        } else {
            match self.source {
                Source::Gsi(gsi) => {
                    hv.machine.mask_gsi(gsi, true);
                    self.take_vectors(hv, &mut state);
                }
                Source::Message(message) => {
                    let _ = message.mask(&hv.machine, true);
                }
            }
        }
        drop(state);
        // The domain that the guest's entry referred to is let go of without the lock.
        drop(gone);
    }

    /// Ends a message's line: no guest has bound it any more.
    pub(super) fn end(&self, hv: &Hypervisor<M>) {
        let mut state = self.lock();
        debug_assert!(state.guests.is_empty(), "a bound line ends");
        if let Source::Message(message) = self.source {
            let _ = message.mask(&hv.machine, true);
            self.take_vectors(hv, &mut state);
        }
    }

    /// Moves the line to another CPU. It stays where it is if that CPU has no vector left.
    pub(super) fn move_to(self: &Arc<Self>, hv: &Hypervisor<M>, cpu: CpuId) {
        let mut state = self.lock();
        if state.at.is_none_or(|(at, _)| at == cpu)
            || self.give_vector(hv, &mut state, cpu).is_err()
        {
            return;
        }
        let masked = match self.source {
            Source::Gsi(_) => state.guests.iter().any(|guest| guest.in_service),
            Source::Message(_) => state.guests.is_empty(),
        };
        self.program(&hv.machine, &state, masked);
    }
}

/// Where a vector is among a CPU's, or belongs.
fn place<M: Machine>(vectors: &[(u8, Arc<Line<M>>)], vector: u8) -> Result<usize, usize> {
    vectors.binary_search_by_key(&vector, |(vector, _)| *vector)
}

fn drop_vector<M: Machine>(hv: &Hypervisor<M>, vector: Option<(CpuId, u8)>) {
    let Some((cpu, vector)) = vector else { return };
    if let Some(vectors) = hv.irqs.vectors.get(cpu.index()) {
        let line = {
            let mut vectors = vectors.lock();
            let at = place(&vectors, vector).ok();
            at.map(|at| vectors.remove(at))
        };
        drop(line);
    }
    hv.machine.free_vector(cpu, vector);
}
