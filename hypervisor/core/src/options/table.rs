//! Every boot option: its name, what it takes and what it does.

use alloc::string::String;

use super::bios::{EDD_EXPECTED, EDID_EXPECTED, Edd, Edid};
use super::clock::{self, ClockSource};
use super::dom0::{Dom0Mem, Dom0Vcpus, MEM_EXPECTED, VCPUS_EXPECTED};
use super::level::{self, Levels};
use super::serial;
use super::sinks::{SINKS_EXPECTED, SWITCH_EXPECTED, Sinks, Switch};
use super::size::{number, size};
use super::spec_ctrl;
use super::{Nmi, Notes, Options, boolean};

/// What an option's word leads to.
pub(super) enum Action {
    /// A value that is taken over; the text says what is expected.
    Value(fn(&mut Options, &str) -> Option<()>, &'static str),
    /// The same, for an option of which some values have no effect.
    Noted(
        fn(&mut Options, &str, &mut Notes) -> Option<()>,
        &'static str,
    ),
    /// A switch: bare or with a boolean.
    Flag(fn(&mut Options, bool)),
    /// Taken over, and passed on to dom0's command line as it stands.
    PassOn,
    /// Accepted without doing anything; the text says why.
    Nothing(&'static str),
    /// The same, but only with a right value: a test of it, what is expected, and why it does nothing.
    Checked(fn(&str) -> bool, &'static str, &'static str),
    /// Accepted without a word.
    Silent,
}

const NOT_YET: &str = "this version does not use it yet";
const AUTOMATIC: &str = "what it asks for is found out by the hypervisor itself";
const GONE: &str = "the hardware it was made for is not supported";

/// All options, by name.
#[rustfmt::skip]
pub(super) const TABLE: &[(&str, Action)] = &[
    // The manual's, in its order.
    ("noreboot", Action::Flag(|o, on| o.noreboot = on)),
    ("nosmp", Action::Flag(|o, on| o.nosmp = on)),
    ("ignorebiostables", Action::Flag(|o, on| o.nosmp |= on)),
    ("watchdog", Action::Value(|o, v| { o.watchdog = matches!(v, "" | "force") || boolean(v)?; Some(()) }, "yes, no or force")),
    ("watchdog_timeout", Action::Value(|o, v| { o.watchdog_timeout = number(v).and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=3600).contains(n))?; Some(()) }, "seconds from 1 to 3600")),
    ("noirqbalance", Action::Nothing("interrupts stay on the CPU of the vCPU that they are for")),
    ("badpage", Action::Value(|o, v| { o.bad_pages = v.split(',').map(|page| number(page.trim())).collect::<Option<_>>()?; Some(()) }, "a list of page numbers")),
    ("com1", Action::Value(|o, v| { o.com1 = o.com1.parse(v)?; Some(()) }, serial::EXPECTED)),
    ("com2", Action::Value(|o, v| { o.com2 = o.com2.parse(v)?; Some(()) }, serial::EXPECTED)),
    ("console", Action::Value(|o, v| { o.console = Sinks::parse(v)?; Some(()) }, SINKS_EXPECTED)),
    ("vga", Action::Noted(|o, v, notes| { o.vga_keep = vga_mode(v, notes)?; Some(()) }, "ask, current, text-80x<25, 28, 30, 34, 43, 50 or 60>, gfx-<width>x<height>x<depth> or mode-0x<number>, and optionally ,keep")),
    ("no-real-mode", Action::Flag(|o, on| o.no_real_mode = on)),
    ("edid", Action::Value(|o, v| { o.edid = Edid::parse(v)?; Some(()) }, EDID_EXPECTED)),
    ("edd", Action::Value(|o, v| { o.edd = Edd::parse(v)?; Some(()) }, EDD_EXPECTED)),
    ("console_to_ring", Action::Flag(|o, on| o.console_to_ring = on)),
    ("sync_console", Action::Flag(|o, on| o.sync_console = on)),
    ("conswitch", Action::Value(|o, v| { o.switch = Switch::parse(v)?; Some(()) }, SWITCH_EXPECTED)),
    ("loglvl", Action::Value(|o, v| { o.log = Levels::parse(v)?; Some(()) }, level::EXPECTED)),
    ("guest_loglvl", Action::Value(|o, v| { o.guest_log = Levels::parse(v)?; Some(()) }, level::EXPECTED)),
    ("nmi", Action::Value(|o, v| { o.nmi = Nmi::parse(v)?; Some(()) }, "fatal, dom0 or ignore")),
    ("mem", Action::Value(|o, v| { o.mem = Some(size(v).filter(|m| *m > 0)?); Some(()) }, "<number>[B|K|M|G]")),
    ("dom0_mem", Action::Value(|o, v| { o.dom0_mem = Dom0Mem::parse(v)?; Some(()) }, MEM_EXPECTED)),
    ("dom0_vcpus_pin", Action::Flag(|o, on| o.dom0_vcpus_pin = on)),
    ("tbuf_size", Action::Checked(|v| number(v).is_some(), "a number of pages", "there are no trace buffers yet")),
    ("sched", Action::Value(|_, v| (v == "credit").then_some(()), "credit")),
    ("apic_verbosity", Action::Checked(|v| matches!(v, "debug" | "verbose"), "debug or verbose", "the APICs are described with the other devices")),
    ("lapic", Action::Nothing(AUTOMATIC)),
    ("nolapic", Action::Nothing("a local APIC is needed")),
    ("apic", Action::Checked(|v| matches!(v, "bigsmp" | "default" | "es7000" | "summit"), "bigsmp, default, es7000 or summit", GONE)),
    ("dma_bits", Action::Value(|o, v| { o.dma_bits = number(v).and_then(|n| u32::try_from(n).ok()).filter(|n| (20..=52).contains(n))?; Some(()) }, "a number of bits from 20 to 52")),
    ("dma_emergency_pool", Action::Value(|o, v| { o.dma_emergency_pool = size(v)?; Some(()) }, "<number>[B|K|M|G]")),
    ("hap", Action::Nothing("there are no HVM guests yet")),
    ("acpi", Action::PassOn),
    ("acpi_skip_timer_override", Action::PassOn),
    ("noapic", Action::PassOn),
    // Later ones that boot entries of today use.
    ("dom0_max_vcpus", Action::Value(|o, v| { o.dom0_max_vcpus = Dom0Vcpus::parse(v)?; Some(()) }, VCPUS_EXPECTED)),
    ("maxcpus", Action::Value(|o, v| { o.max_cpus = Some(number(v).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0)?); Some(()) }, "a number of CPUs from 1")),
    ("conring_size", Action::Value(|o, v| { o.conring_size = size(v).filter(|s| (16 << 10..=64 << 20).contains(s)).and_then(|s| usize::try_from(s).ok())?; Some(()) }, "a size from 16K to 64M")),
    ("placeholder", Action::Silent),
    ("spec-ctrl", Action::Noted(|o, v, notes| { o.spec_ctrl = o.spec_ctrl.parse(v, notes)?; Some(()) }, spec_ctrl::EXPECTED)),
    ("xpti", Action::Value(|o, v| { o.spec_ctrl = o.spec_ctrl.parse_xpti(v)?; Some(()) }, spec_ctrl::XPTI_EXPECTED)),
    ("pv-l1tf", Action::Nothing("this version has not got this defence")),
    ("smt", Action::Nothing(NOT_YET)),
    ("cpuid", Action::Nothing(NOT_YET)),
    ("ucode", Action::Nothing(NOT_YET)),
    ("iommu", Action::Nothing(NOT_YET)),
    ("x2apic", Action::Nothing(AUTOMATIC)),
    ("clocksource", Action::Value(|o, v| { o.clock_source = ClockSource::parse(v)?; Some(()) }, clock::EXPECTED)),
    ("cpufreq", Action::Nothing(NOT_YET)),
    ("crashkernel", Action::Nothing(NOT_YET)),
    ("dom0", Action::Nothing("dom0 is a PV guest")),
    ("gnttab_max_frames", Action::Nothing("the toolstack sets it for each domain")),
    ("gnttab_max_maptrack_frames", Action::Nothing("the toolstack sets it for each domain")),
    ("console_timestamps", Action::Nothing(NOT_YET)),
    ("flask", Action::Nothing("the security module is sHype/ACM")),
    ("pci", Action::Nothing(NOT_YET)),
    ("bootscrub", Action::Nothing("frames are cleared when they are handed out")),
    // For tests: QEMU's isa-debug-exit device ends the run when the machine stops.
    ("debug-exit", Action::Value(|o, v| { o.debug_exit = Some(if v.is_empty() { 0xf4 } else { number(v).and_then(|p| u16::try_from(p).ok())? }); Some(()) }, "an I/O port")),
];

/// Whether the screen is kept after dom0 has started; `None` for a wrong mode.
fn vga_mode(value: &str, notes: &mut Notes) -> Option<bool> {
    let (mode, keep) = match value.split_once(',') {
        Some((mode, keep)) if keep.trim() == "keep" => (mode, true),
        Some(_) => return None,
        None => (value, value == "keep"),
    };
    if matches!(mode, "current" | "keep") {
        return Some(keep);
    }
    let known = if let Some(text) = mode.strip_prefix("text-") {
        matches!(
            text,
            "80x25" | "80x28" | "80x30" | "80x34" | "80x43" | "80x50" | "80x60"
        )
    } else if let Some(graphics) = mode.strip_prefix("gfx-") {
        let mut numbers = graphics.split('x').map(number);
        numbers.clone().count() == 3 && numbers.all(|n| n.is_some())
    } else if let Some(hex) = mode.strip_prefix("mode-0x") {
        u16::from_str_radix(hex, 16).is_ok()
    } else {
        mode == "ask"
    };
    if known {
        notes.push((
            "vga=<mode>",
            "the screen stays in the mode in which the boot loader leaves it",
        ));
    }
    known.then_some(keep)
}

/// Adds a word to what is passed on to dom0.
pub(super) fn pass_on(options: &mut Options, word: &str) {
    let line: &mut String = &mut options.dom0_extra;
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(word);
}
