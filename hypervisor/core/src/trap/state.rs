//! What a guest has registered for its traps.

use alloc::boxed::Box;

use oxen_abi::arch_x86::{
    FLAT_KERNEL_CS, TI_DPL_MASK, TI_IF, TrapInfo, VGCF_FAILSAFE_DISABLES_EVENTS,
    VGCF_SYSCALL_DISABLES_EVENTS, VcpuGuestContext,
};

use crate::mm::walk::is_canonical;

/// The vector of NMIs.
const NMI: u8 = 2;

/// A guest's handler for one vector.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Gate {
    /// Where it is; 0 = none.
    pub address: u64,
    /// Code selector, which 64-bit guests are not asked for: they get the flat one.
    pub cs: u16,
    /// DPL and [`TI_IF`].
    pub flags: u8,
}

impl Gate {
    /// Whether `INT n` from this mode may go through it.
    pub fn allows(self, kernel_mode: bool) -> bool {
        kernel_mode || self.flags & TI_DPL_MASK == 3
    }

    /// Whether events are masked on the way in.
    pub fn masks(self) -> bool {
        self.flags & TI_IF != 0
    }
}

/// A callback.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Callback {
    /// Where it is; 0 = none.
    pub address: u64,
    /// Whether it starts with events masked.
    pub masks: bool,
}

/// What a callback is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallbackKind {
    /// An event is pending. Always starts masked.
    Event,
    /// The way back to the guest faulted.
    Failsafe,
    /// SYSCALL in 64-bit user code.
    Syscall,
    /// SYSCALL in 32-bit user code.
    Syscall32,
    /// SYSENTER.
    Sysenter,
    /// An NMI.
    Nmi,
}

/// A vCPU's trap table, callbacks and kernel stack.
#[derive(Debug)]
pub struct TrapState {
    table: Box<[Gate; 256]>,
    callbacks: [Callback; 5],
    /// The kernel's stack selector (`stack_switch`).
    pub kernel_ss: u16,
    /// The kernel's stack pointer, for entries from user mode.
    pub kernel_sp: u64,
    /// The address that the guest last wrote to port 0xcf8.
    pub pci_address: u32,
    /// IA32_TSC_AUX as the guest set it.
    pub tsc_aux: u32,
}

impl Default for TrapState {
    fn default() -> Self {
        Self {
            table: Box::new([Gate::default(); 256]),
            callbacks: [Callback::default(); 5],
            kernel_ss: 0,
            kernel_sp: 0,
            pci_address: 0,
            tsc_aux: 0,
        }
    }
}

impl TrapState {
    /// The handler of a vector.
    pub fn gate(&self, vector: u8) -> Gate {
        self.table[usize::from(vector)]
    }

    /// Sets the handler of a vector.
    pub fn set_gate(&mut self, vector: u8, gate: Gate) {
        self.table[usize::from(vector)] = gate;
    }

    /// Forgets all handlers.
    pub fn clear_gates(&mut self) {
        self.table.fill(Gate::default());
    }

    /// A callback.
    pub fn callback(&self, kind: CallbackKind) -> Callback {
        match kind {
            // Guests register it as a callback or in their trap table.
            CallbackKind::Nmi => {
                let gate = self.gate(NMI);
                Callback {
                    address: gate.address,
                    masks: gate.masks(),
                }
            }
            _ => self.callbacks[kind as usize],
        }
    }

    /// Sets a callback; address 0 removes it.
    pub fn set_callback(&mut self, kind: CallbackKind, callback: Callback) {
        match kind {
            CallbackKind::Nmi => {
                let flags = if callback.masks { TI_IF } else { 0 };
                self.set_gate(
                    NMI,
                    Gate {
                        address: callback.address,
                        cs: FLAT_KERNEL_CS,
                        flags,
                    },
                );
            }
            _ => self.callbacks[kind as usize] = callback,
        }
    }

    /// Takes over what a tool or another vCPU set. An address that is none becomes "no handler".
    pub(crate) fn load_context(&mut self, context: &VcpuGuestContext) {
        let usable = |address: u64| if is_canonical(address) { address } else { 0 };
        for (vector, info) in (0..=u8::MAX).zip(context.trap_ctxt) {
            let gate = Gate::from(info);
            self.set_gate(
                vector,
                Gate {
                    address: usable(gate.address),
                    ..gate
                },
            );
        }
        let callback = |address, flag: u64| Callback {
            address: usable(address),
            masks: context.flags & flag != 0,
        };
        self.set_callback(CallbackKind::Event, callback(context.event_callback_eip, 0));
        self.set_callback(
            CallbackKind::Failsafe,
            callback(context.failsafe_callback_eip, VGCF_FAILSAFE_DISABLES_EVENTS),
        );
        self.set_callback(
            CallbackKind::Syscall,
            callback(context.syscall_callback_eip, VGCF_SYSCALL_DISABLES_EVENTS),
        );
        self.kernel_ss = u16::try_from(context.kernel_ss & 0xffff).unwrap_or(0) | 3;
        self.kernel_sp = context.kernel_sp;
    }

    /// Writes down what [`TrapState::load_context`] takes.
    pub(crate) fn store_context(&self, context: &mut VcpuGuestContext) {
        for (vector, info) in (0..=u8::MAX).zip(&mut context.trap_ctxt) {
            *info = self.trap_info(vector);
        }
        context.event_callback_eip = self.callback(CallbackKind::Event).address;
        let failsafe = self.callback(CallbackKind::Failsafe);
        context.failsafe_callback_eip = failsafe.address;
        let syscall = self.callback(CallbackKind::Syscall);
        context.syscall_callback_eip = syscall.address;
        for (callback, flag) in [
            (failsafe, VGCF_FAILSAFE_DISABLES_EVENTS),
            (syscall, VGCF_SYSCALL_DISABLES_EVENTS),
        ] {
            if callback.masks {
                context.flags |= flag;
            }
        }
        context.kernel_ss = u64::from(self.kernel_ss);
        context.kernel_sp = self.kernel_sp;
    }

    /// A vector's handler as `vcpu_guest_context` has it.
    pub fn trap_info(&self, vector: u8) -> TrapInfo {
        let gate = self.gate(vector);
        TrapInfo {
            vector,
            flags: gate.flags,
            cs: gate.cs,
            _pad0: [0; 4],
            address: gate.address,
        }
    }
}

impl From<TrapInfo> for Gate {
    fn from(info: TrapInfo) -> Self {
        Self {
            address: info.address,
            cs: info.cs,
            flags: info.flags & (TI_DPL_MASK | TI_IF),
        }
    }
}
