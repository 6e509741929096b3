//! Machine checks: errors that the hardware finds in itself.
//!
//! An error that it could not correct ends in a panic that says what is known. Corrected ones are looked for every eight
//! seconds on each CPU; they go to the log, as those do that are found at boot, and to dom0.

pub mod bank;

#[cfg(target_os = "none")]
pub(crate) use active::{handle, init, poll};

#[cfg(target_os = "none")]
mod active {
    use core::fmt::Write;
    use core::sync::atomic::{AtomicU64, Ordering};

    use oxen_core::CpuId;
    use oxen_core::Hypervisor;
    use oxen_core::control::{Report, report_machine_check};

    use super::bank::{Bank, RESTART_VALID};
    use crate::console::println;
    use crate::cpuid::{cpuid, is_intel};
    use crate::layout::MAX_CPUS;
    use crate::msr::{try_read, try_write};
    use crate::num::low32;
    use crate::percpu::this_cpu;
    use crate::trap::HostFrame;
    use crate::x86::X86;
    use crate::{clock, panic};

    /// IA32_MCG_CAP, with the number of banks.
    const MCG_CAP: u32 = 0x179;
    const MCG_CAP_CONTROL: u64 = 1 << 8;
    const MCG_STATUS: u32 = 0x17a;
    const MCG_CTL: u32 = 0x17b;
    /// MC0_CTL; each bank has four registers, of which the second is its status.
    const MC0_CTL: u32 = 0x400;
    /// CPUID leaf 1 EDX: machine-check exception and architecture.
    const FEATURES: u32 = 1 << 7 | 1 << 14;
    /// Between two looks for corrected errors.
    const PERIOD_NS: u64 = 8_000_000_000;

    /// When each CPU looks next.
    static NEXT: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

    fn banks() -> u32 {
        if cpuid(1, 0).edx & FEATURES == FEATURES {
            low32(try_read(MCG_CAP).unwrap_or(0) & 0xff)
        } else {
            0
        }
    }

    fn reports() -> impl Iterator<Item = Bank> {
        (0..banks()).filter_map(|number| Bank::read(number, try_read))
    }

    fn clear(bank: u32) {
        // SAFETY: forgets a report.
        unsafe { try_write(MC0_CTL + 4 * bank + 1, 0) };
    }

    /// Turns all reports on, on this CPU, and tells of those left from before.
    pub(crate) fn init() {
        let count = banks();
        if count == 0 {
            return;
        }
        if try_read(MCG_CAP).unwrap_or(0) & MCG_CAP_CONTROL != 0 {
            // SAFETY: turns reports on; they come as #MC, which has a gate and a stack.
            unsafe { try_write(MCG_CTL, u64::MAX) };
        }
        // On Intel's P6 the firmware's setting of bank 0 must stay.
        let model = cpuid(1, 0).eax;
        let early_p6 =
            is_intel() && model >> 8 & 0xf == 6 && (model >> 12 & 0xf0 | model >> 4 & 0xf) < 0x1a;
        for number in 0..count {
            if let Some(bank) = Bank::read(number, try_read) {
                println!(
                    "Machine check from before the boot, CPU {}: {bank}",
                    this_cpu().cpu
                );
            }
            clear(number);
            if number > 0 || !early_p6 {
                // SAFETY: as above.
                unsafe { try_write(MC0_CTL + 4 * number, u64::MAX) };
            }
        }
    }

    /// #MC, on a stack of its own. It may have interrupted anything: if all reported errors are harmless, they stay
    /// for [`poll`].
    pub(crate) fn handle(frame: &HostFrame) {
        let status = try_read(MCG_STATUS).unwrap_or(0);
        if status & RESTART_VALID == 0 || reports().any(|bank| bank.is_fatal()) {
            let print = |out: &mut dyn Write| {
                let _ = writeln!(out, "MCG_STATUS {status:#x}");
                for bank in reports() {
                    let _ = writeln!(out, "{bank}");
                }
            };
            panic::machine_check(print, frame);
        }
        // SAFETY: ends the machine check; another one while it is in progress would shut the CPU down.
        unsafe { try_write(MCG_STATUS, 0) };
    }

    /// Looks for corrected errors now and then. Called when the timer interrupts.
    #[inline]
    pub(crate) fn poll(hv: &'static Hypervisor<X86>) {
        let own = usize::try_from(this_cpu().cpu)
            .ok()
            .and_then(|cpu| NEXT.get(cpu));
        let now = clock::now();
        if let Some(next) = own.filter(|next| next.load(Ordering::Relaxed) <= now) {
            next.store(now + PERIOD_NS, Ordering::Relaxed);
            look(hv);
        }
    }

    #[cold]
    fn look(hv: &'static Hypervisor<X86>) {
        for bank in reports() {
            oxen_core::log_warning!(hv, "Machine check, CPU {}: {bank}", this_cpu().cpu);
            clear(bank.number);
            let report = Report {
                bank: u16::try_from(bank.number).unwrap_or(u16::MAX),
                status: bank.status,
                address: bank.address,
                misc: bank.misc,
                tsc: clock::rdtsc(),
            };
            let cpu = CpuId(u16::try_from(this_cpu().cpu).unwrap_or(0));
            report_machine_check(hv, cpu, report);
        }
    }
}
