//! What the hypervisor asks of the machine under it.
//!
//! `oxen-machine` implements this for x86; tests implement it in memory. The interface is safe:
//! the implementation promises that no call changes memory that Rust owns (the hypervisor's
//! image, heap, stacks and its own page tables). `core` in turn is trusted to hand frames of one
//! domain only to that domain: a safe call can still break isolation *between guests*, which is
//! why page typing lives in one place, [`crate::mm`].

use crate::microcode::Vendor;
use crate::mm::frame::Frame;
use crate::sync::atomic::{AtomicU32, AtomicU64};
use crate::types::{CpuId, Mfn};
use oxen_abi::arch_x86::CpuUserRegs;
use oxen_abi::xen::VcpuTimeInfo;

/// A guest's address could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

/// Access size of a port or configuration-space operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoSize {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Dword,
}

impl IoSize {
    /// In bytes: 1, 2 or 4.
    pub const fn bytes(self) -> u8 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }

    /// All ones in this size: what an absent device reads as.
    pub const fn ones(self) -> u32 {
        match self {
            Self::Byte => 0xff,
            Self::Word => 0xffff,
            Self::Dword => 0xffff_ffff,
        }
    }
}

/// The parts of a vCPU's state that live in registers which the hypervisor itself does not use
/// and that are therefore only exchanged on a context switch.
#[derive(Clone, Copy, Default, Debug)]
pub struct SegmentState {
    /// Selectors.
    pub ds: u16,
    /// Selectors.
    pub es: u16,
    /// Selectors.
    pub fs: u16,
    /// Selectors.
    pub gs: u16,
    /// FS base.
    pub fs_base: u64,
    /// The live GS base.
    pub gs_base: u64,
    /// The GS base that SWAPGS would bring in (of the other of kernel and user mode).
    pub gs_shadow: u64,
}

/// Which segment base [`Machine::set_base`] sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// FS base.
    Fs,
    /// The live GS base.
    Gs,
    /// The GS base that SWAPGS brings in.
    GsShadow,
}

/// Interrupts of the machine itself, as they reach `core`. Device interrupts carry their vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupt {
    /// The local timer's deadline has passed.
    Timer,
    /// Another CPU asks this one to look at its flags (see [`crate::percpu::CpuShared`]).
    Kick,
    /// A device interrupt on this vector, not yet acknowledged at the LAPIC.
    Device(u8),
    /// The serial line has input.
    Serial,
}

/// How a global system interrupt is wired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GsiMode {
    /// Level-triggered, else edge.
    pub level: bool,
    /// Active low, else high.
    pub active_low: bool,
}

/// A range of physical memory through which configuration space is accessed (MCFG).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mmconfig {
    /// Physical address of bus 0's part, also when the first bus is another.
    pub base: u64,
    /// PCI segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
}

/// A set of physical CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CpuMask(pub [u64; crate::types::MAX_CPUS / 64]);

impl CpuMask {
    /// No CPU.
    pub const EMPTY: Self = Self([0; crate::types::MAX_CPUS / 64]);

    /// Adds a CPU.
    pub fn insert(&mut self, cpu: CpuId) {
        if let Some(word) = self.0.get_mut(cpu.index() / 64) {
            *word |= 1 << (cpu.index() % 64);
        }
    }

    /// Removes a CPU.
    pub fn remove(&mut self, cpu: CpuId) {
        if let Some(word) = self.0.get_mut(cpu.index() / 64) {
            *word &= !(1 << (cpu.index() % 64));
        }
    }

    /// Whether the CPU is in the set.
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.0
            .get(cpu.index() / 64)
            .is_some_and(|word| word & (1 << (cpu.index() % 64)) != 0)
    }

    /// Whether no CPU is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The CPUs, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let (index, word) = left.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
            let bit = word.trailing_zeros();
            *word &= *word - 1;
            u16::try_from(index * 64 + bit as usize).ok().map(CpuId)
        })
    }
}

/// The machine. One value, alive for ever.
///
/// Functions that act on "this CPU" are called on that CPU with interrupts off, which is how all
/// of `core` runs (only the idle wait turns them on).
pub trait Machine: Sized + Send + Sync + 'static {
    /// The FPU, SSE, AVX, … state of a vCPU, as an XSAVE area of the host's size.
    type Fpu: Send + Sync;

    /// `index` if it is below `length`, else 0, whatever the processor predicts
    /// ([`crate::speculation`]). A machine may know a shorter way.
    #[inline(always)]
    fn clamp(index: usize, length: usize) -> usize {
        crate::speculation::clamp(index, length)
    }

    // ---- frames -------------------------------------------------------------------------

    /// One more than the highest frame number that has an entry in the frame table.
    fn max_frame(&self) -> Mfn;
    /// The frame-table entry; `None` for holes.
    fn frame(&self, mfn: Mfn) -> Option<Frame>;
    /// The 512 eight-byte words of a RAM frame that the hypervisor does not use for itself
    /// (not its image, heap, stacks or page tables); `None` for any other frame.
    fn page(&self, mfn: Mfn) -> Option<&'static [AtomicU64; 512]>;
    /// Writes one byte (0 to 7, the lowest first) of a word that a guest shares. Unlike an operation on the word it need
    /// not be locked.
    fn store_byte(&self, word: &AtomicU64, byte: usize, value: u8);
    /// The same frame as 1024 four-byte words.
    fn page32(&self, mfn: Mfn) -> Option<&'static [AtomicU32; 1024]>;
    /// Reads bytes out of a frame, starting at `offset`; nothing past the frame's end is read.
    /// Returns whether it was done.
    fn read_frame(&self, mfn: Mfn, offset: usize, bytes: &mut [u8]) -> bool;
    /// Writes bytes into a frame, starting at `offset`, within the frame.
    fn write_frame(&self, mfn: Mfn, offset: usize, bytes: &[u8]) -> bool;
    /// Fills a frame with zeros.
    fn zero_page(&self, mfn: Mfn);
    /// Copies a whole frame.
    fn copy_page(&self, to: Mfn, from: Mfn);
    /// Lets `fill` work on `count` frames from `first` on as plain bytes, while they are nobody's:
    /// taken from the heap and not yet handed to a domain. Meanwhile every other access to them
    /// is refused. Returns whether it was done: not if a frame is no RAM or has an owner.
    fn with_unowned_frames(&self, first: Mfn, count: u64, fill: &mut dyn FnMut(&mut [u8])) -> bool;
    /// Copies `len` bytes from one frame to another (or within one), within both frames. Returns
    /// whether it was done.
    fn copy_bytes(&self, to: Mfn, to_at: usize, from: Mfn, from_at: usize, len: usize) -> bool {
        let mut buffer = [0; 256];
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(buffer.len());
            let Some(bytes) = buffer.get_mut(..piece) else {
                return false;
            };
            if !self.read_frame(from, from_at + done, bytes)
                || !self.write_frame(to, to_at + done, bytes)
            {
                return false;
            }
            done += piece;
        }
        true
    }
    /// Writes the M2P entry of a frame (`u64::MAX` = no pseudo-physical frame).
    fn set_m2p(&self, mfn: Mfn, pfn: u64);
    /// Reads the M2P entry of a frame.
    fn m2p(&self, mfn: Mfn) -> u64;
    /// Frames of the M2P table itself, in pieces of 2 MiB: what `XENMEM_machphys_mfn_list` gives.
    fn m2p_frame(&self, piece: u64) -> Option<Mfn>;

    /// Whether a frame is of the M2P table itself.
    fn is_m2p(&self, _mfn: Mfn) -> bool {
        false
    }

    // ---- page tables --------------------------------------------------------------------

    /// Writes entry `index` of a guest page table. Refuses (returns `false`) a present entry
    /// that maps memory the hypervisor uses for itself, and slots 256-271 of `level` 4.
    fn install_pte(&self, table: Mfn, index: usize, level: u8, value: u64) -> bool;
    /// Compare-and-exchange of an entry under the same rules: `Ok` when it was `old`, else the
    /// value found. When it returns, CPUs that run a guest with this table as their root have the
    /// new value (they may have to be told: see [`Machine::flush_others`] about locks).
    fn cmpxchg_pte(
        &self,
        table: Mfn,
        index: usize,
        level: u8,
        old: u64,
        new: u64,
    ) -> Result<(), u64>;
    /// [`Machine::cmpxchg_pte`] of an entry of an L1 table, whose word the caller has from
    /// [`Machine::page`].
    fn cmpxchg_leaf(&self, slot: &AtomicU64, old: u64, new: u64) -> Result<(), u64>;
    /// Fills slots 256-271 of an L4 with the hypervisor's own entries.
    fn fill_hypervisor_slots(&self, l4: Mfn);
    /// Puts the slot of the machine-to-physical table into an L4 that has the hypervisor's slots, or takes it out. Not for
    /// an L4 that this CPU has loaded.
    fn show_m2p(&self, _l4: Mfn, _shown: bool) {}
    /// Entries of an L4 were changed by way of [`Machine::page`]. When it returns, CPUs that run a guest with this table
    /// as their root have the new ones (see [`Machine::flush_others`] about locks).
    fn root_changed(&self, _l4: Mfn) {}
    /// Loads CR3 on this CPU; `None` is the hypervisor's own page table. Flushes the TLB.
    fn load_cr3(&self, l4: Option<Mfn>);
    /// Flushes this CPU's TLB of one address.
    fn invlpg(&self, addr: u64);
    /// Flushes this CPU's whole TLB.
    fn flush_tlb_local(&self);
    /// Writes back and invalidates this CPU's caches (WBINVD).
    fn flush_cache(&self);
    /// Writes back and invalidates the cache lines, on all CPUs, that `length` bytes of a guest's
    /// frame are in, from `offset` on and within the frame.
    fn flush_lines(&self, mfn: Mfn, offset: usize, length: usize);

    // ---- the running guest's memory, through its own page tables ---------------------------

    /// Copies from the current guest's address space. Addresses in the hypervisor's range fail.
    fn copy_from_guest(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Fault>;
    /// Copies to the current guest's address space.
    fn copy_to_guest(&self, addr: u64, bytes: &[u8]) -> Result<(), Fault>;

    // ---- other CPUs ---------------------------------------------------------------------

    /// CPUs that run.
    fn cpus(&self) -> CpuMask;
    /// APIC id and ACPI processor id of a CPU.
    fn cpu_ids(&self, cpu: CpuId) -> (u32, u32);
    /// How many functions of the hypervisor have names ([`Self::symbol`]).
    fn symbol_count(&self) -> usize;
    /// Address and name of function `index`, in the order of their addresses; `None` past the
    /// last one.
    fn symbol(&self, index: usize) -> Option<(u64, &'static str)>;
    /// Sends [`Interrupt::Kick`].
    fn kick(&self, cpu: CpuId);
    /// Makes every CPU of the set but this one call [`crate::percpu::PerCpu::flush_requested`]
    /// from its interrupt handler, and returns when all have. Must not be called with a lock
    /// held that another CPU could spin on with interrupts off.
    fn flush_others(&self, cpus: &CpuMask);

    /// Does what other CPUs wait for this one to do (flushes): called again and again by a CPU
    /// that itself waits for another.
    fn relax(&self);

    // ---- time ---------------------------------------------------------------------------

    /// System time: nanoseconds since boot, the same on all CPUs, never going back.
    fn now(&self) -> u64;
    /// The TSC-to-system-time parameters of this CPU, for the guest's `vcpu_time_info`
    /// (version left 0).
    fn time_info(&self) -> VcpuTimeInfo;
    /// TSC frequency in kHz.
    fn tsc_khz(&self) -> u64;
    /// Sets this CPU's one-shot timer to system time `deadline`; `None` turns it off.
    fn set_deadline(&self, deadline: Option<u64>);
    /// Seconds since 1970 at system time 0.
    fn boot_wallclock(&self) -> u64;

    // ---- context switch -------------------------------------------------------------------

    /// A fresh FPU state as after FNINIT with MXCSR at its default.
    fn new_fpu(&self) -> Self::Fpu;
    /// Saves this CPU's FPU registers.
    fn save_fpu(&self, fpu: &mut Self::Fpu);
    /// Loads this CPU's FPU registers, and XCR0.
    fn load_fpu(&self, fpu: &Self::Fpu);
    /// The legacy 512-byte FXSAVE image of a saved state, for `vcpu_guest_context`.
    fn fpu_legacy(&self, fpu: &Self::Fpu) -> [u8; 512];
    /// Takes the legacy image in; reserved MXCSR bits are cleared.
    fn set_fpu_legacy(&self, fpu: &mut Self::Fpu, image: &[u8; 512]);
    /// State components that an XSAVE area here can have; 0 where the host has no XSAVE.
    fn fpu_components(&self) -> u64 {
        0
    }
    /// A saved state's XCR0, and the state as an XSAVE area of the standard format with all of
    /// [`Machine::fpu_components`]. What is in its initial state is not written out: its bit of
    /// XSTATE_BV is clear. `None` where the host has no XSAVE.
    fn fpu_area<'a>(&self, _fpu: &'a Self::Fpu) -> Option<(u64, &'a [u8])> {
        None
    }
    /// Takes XCR0 and such an area in, which may be shorter by components that it does not have.
    /// Returns whether it did: not if XCR0 or a header asks for what the host does not have, or if
    /// the header is not that of the standard format.
    fn set_fpu_area(&self, _fpu: &mut Self::Fpu, _xcr0: u64, _area: &[u8]) -> bool {
        false
    }
    /// Executes XSETBV 0 for the running vCPU if `value` is one the CPU takes and remembers it
    /// in the state that [`Machine::save_fpu`] fills.
    fn set_xcr0(&self, value: u64) -> bool;
    /// This CPU is going to run another vCPU than the last, of dom0 if `control` says so. Branch
    /// predictions that the last one trained must not serve it (an indirect branch prediction
    /// barrier, where the CPU has it and needs it), and its page tables are isolated from the
    /// hypervisor's or not, as the boot options have it for its kind.
    fn change_guest(&self, _control: bool) {}
    /// Sets or clears CR0.TS on this CPU (`fpu_taskswitch`).
    fn set_ts(&self, set: bool);
    /// Makes CR4's TSD, DE and FSGSBASE on this CPU those of `value`, the running guest's. The segments of the guest
    /// before are saved by then: how that is done hangs on FSGSBASE.
    fn set_guest_cr4(&self, _value: u64) {}
    /// Reads the segment registers and bases.
    fn save_segments(&self, state: &mut SegmentState);
    /// Loads segment registers and bases. A selector that faults is loaded as null and `false`
    /// is returned.
    fn load_segments(&self, state: &SegmentState) -> bool;
    /// Exchanges the live and the shadow GS base.
    fn swap_gs(&self);
    /// Sets one segment base.
    fn set_base(&self, base: Base, value: u64);
    /// Reads one segment base.
    fn base(&self, base: Base) -> u64;
    /// Loads GS with a selector and moves its base to the shadow (SEGBASE_GS_USER_SEL).
    fn load_user_gs(&self, selector: u16) -> bool;
    /// Maps the guest's GDT frames (at most 14) in front of the hypervisor's own descriptors in
    /// this CPU's GDT window; entries past the slice are unmapped.
    fn map_gdt(&self, frames: &[Mfn]);
    /// Sets this CPU's LDT to `entries` descriptors of its LDT window (0 = no LDT); all of the
    /// window's pages are unmapped.
    fn set_ldt(&self, entries: u32);
    /// Maps a frame as page `index` (0-15) of this CPU's LDT window.
    fn map_ldt_page(&self, index: usize, frame: Mfn);
    /// How far into this CPU's LDT window an address lies; `None` outside of it.
    fn ldt_offset(&self, _addr: u64) -> Option<u64> {
        None
    }
    /// Loads DR0-DR3 and DR7 (`values[4..7]` are ignored: DR6 reports nothing until the next #DB).
    fn load_debug(&self, values: &[u64; 8]);
    /// Reads DR6 and resets it to its initial value.
    fn take_dr6(&self) -> u64;

    // ---- instructions on a guest's behalf ---------------------------------------------------

    /// Reads a port.
    fn port_in(&self, port: u16, size: IoSize) -> u32;
    /// Writes a port.
    fn port_out(&self, port: u16, size: IoSize, value: u32);
    /// CPUID as the hardware answers: eax, ebx, ecx, edx.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4];
    /// Reads an MSR; `None` where it faults.
    fn rdmsr(&self, msr: u32) -> Option<u64>;
    /// Writes an MSR; `false` where it faults.
    fn wrmsr(&self, msr: u32, value: u64) -> bool;

    // ---- microcode ------------------------------------------------------------------------

    /// The revision of this CPU's microcode.
    fn microcode_revision(&self, _vendor: Vendor) -> u32 {
        0
    }
    /// Has this CPU load an update of its microcode: `update` begins with the update's header, at a
    /// multiple of 16 bytes, or nothing happens. What it is worth is the processor's to judge; the
    /// revision says afterwards.
    fn load_microcode(&self, _vendor: Vendor, _update: &[u8]) {}

    // ---- device interrupts ----------------------------------------------------------------

    /// The number of GSIs of all IO-APICs.
    fn gsi_count(&self) -> u32;
    /// Trigger and polarity of a legacy IRQ as MADT's overrides say, with the GSI it is wired to.
    fn isa_irq(&self, irq: u8) -> (u32, GsiMode);
    /// Allocates a vector on a CPU; `None` when there is none left.
    fn alloc_vector(&self, cpu: CpuId) -> Option<u8>;
    /// Gives a vector back.
    fn free_vector(&self, cpu: CpuId, vector: u8);
    /// Writes an IO-APIC redirection entry: to `vector` on `cpu`. Refuses (returns `false`) a GSI
    /// that there is not, or that the machine uses itself.
    fn route_gsi(&self, gsi: u32, mode: GsiMode, cpu: CpuId, vector: u8, masked: bool) -> bool;
    /// Masks or unmasks a redirection entry.
    fn mask_gsi(&self, gsi: u32, masked: bool);
    /// Reads a register of the IO-APIC at a physical address; `None` if there is no such one.
    fn ioapic_read(&self, base: u64, register: u8) -> Option<u32> {
        let _ = (base, register);
        None
    }
    /// Acknowledges the highest interrupt in service at this CPU's LAPIC.
    fn eoi(&self);
    /// The MSI address and data that deliver `vector` to `cpu`.
    fn msi_message(&self, cpu: CpuId, vector: u8) -> (u64, u32);
    /// Reads PCI configuration space (through cf8/cfc or MMCONFIG); all ones where nothing is.
    fn pci_read(&self, segment: u16, bus: u8, devfn: u8, offset: u16, size: IoSize) -> u32;
    /// Writes PCI configuration space.
    fn pci_write(&self, segment: u16, bus: u8, devfn: u8, offset: u16, size: IoSize, value: u32);
    /// The ranges of MMCONFIG, one after the other; `None` past the last.
    fn mmconfig(&self, index: usize) -> Option<Mmconfig> {
        let _ = index;
        None
    }
    /// Reads four bytes of device memory (an MSI-X table) at a physical address.
    fn mmio_read32(&self, addr: u64) -> Option<u32>;
    /// Writes four bytes of device memory; refuses RAM, the LAPIC and the IO-APICs.
    fn mmio_write32(&self, addr: u64, value: u32) -> bool;
    /// Whether a frame is device memory that a privileged domain may map: not RAM in use by the
    /// hypervisor, not a LAPIC, IO-APIC or IOMMU.
    fn is_mappable_io(&self, mfn: Mfn) -> bool;
    /// Whether such a frame may only be read, because the hypervisor drives what is there: the
    /// HPET, which firmware's methods read.
    fn is_read_only_io(&self, _mfn: Mfn) -> bool {
        false
    }

    // ---- the host -------------------------------------------------------------------------

    /// Writes to the physical console.
    fn console_write(&self, bytes: &[u8]);
    /// Takes received bytes off the serial line; returns how many.
    fn console_read(&self, bytes: &mut [u8]) -> usize;
    /// Enables interrupts, waits for one, disables them again. Returns after at least one was
    /// handled, or at once if one was pending.
    fn wait_for_interrupt(&self);
    /// Resets the machine.
    fn reboot(&self) -> !;
    /// Switches the machine off where that is known how (a test's exit device), else stops it.
    fn power_off(&self) -> !;
    /// Writes the PM1 control registers of ACPI with the values that dom0's AML interpreter has
    /// for a sleep state. Returns whether there are such registers; when the machine is switched
    /// off by it, it does not return.
    fn acpi_sleep(&self, pm1a: u16, pm1b: u16) -> bool;
    /// Stops the machine for ever, interrupts off.
    fn halt(&self) -> !;
    /// Copies the guest's registers out to what runs on return, and the machine's dump in a
    /// panic: the register frame of this CPU.
    fn describe(&self, regs: &CpuUserRegs, out: &mut dyn core::fmt::Write) {
        let _ = writeln!(
            out,
            "rip {:#x} rsp {:#x} rflags {:#x}",
            regs.rip, regs.rsp, regs.rflags
        );
    }
}

#[cfg(test)]
mod tests {
    use super::CpuMask;
    use crate::types::CpuId;

    #[test]
    fn a_set_is_walked_in_order_from_word_to_word() {
        let mut mask = CpuMask::EMPTY;
        assert_eq!(mask.iter().count(), 0);
        for cpu in [255, 64, 0, 63] {
            mask.insert(CpuId(cpu));
        }
        assert!(mask.iter().eq([0, 63, 64, 255].map(CpuId)));
    }
}
