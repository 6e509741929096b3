//! Boot options: the hypervisor's command line as data.
//!
//! Parsing never fails: what is not understood is named in a [`Warning`] and its default stays.

mod bios;
mod clock;
mod dom0;
mod early;
mod level;
mod serial;
mod sinks;
mod size;
mod spec_ctrl;
mod table;
mod warning;

use alloc::string::String;
use alloc::vec::Vec;

pub use bios::{Edd, Edid};
pub use clock::ClockSource;
pub use dom0::{Dom0Mem, Dom0Vcpus};
pub use early::EarlyConsole;
pub use level::{Fate, Level, Levels};
pub use serial::{Parity, Serial};
pub use sinks::{Share, Sinks, Switch};
pub use size::Amount;
pub use spec_ctrl::SpecCtrl;
pub use warning::Warning;

use table::Action;

/// What an NMI from the chipset leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nmi {
    /// A message, and the machine hangs.
    Fatal,
    /// dom0 is told.
    Dom0,
    /// Nothing.
    Ignore,
}

impl Nmi {
    fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "fatal" => Self::Fatal,
            "dom0" => Self::Dom0,
            "ignore" => Self::Ignore,
            _ => return None,
        })
    }
}

/// Values that are taken without any effect: the option's name (with the part of its value), and
/// why.
pub(crate) type Notes = Vec<(&'static str, &'static str)>;

/// The boot options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `noreboot`: stay halted after a fatal error.
    pub noreboot: bool,
    /// `nosmp`: use the boot CPU only.
    pub nosmp: bool,
    /// `watchdog`: find CPUs that are stuck.
    pub watchdog: bool,
    /// `watchdog_timeout=`: seconds that a CPU may be stuck.
    pub watchdog_timeout: u32,
    /// `maxcpus=`: use at most so many CPUs.
    pub max_cpus: Option<u32>,
    /// `com1=`.
    pub com1: Serial,
    /// `com2=`.
    pub com2: Serial,
    /// `console=`.
    pub console: Sinks,
    /// `vga=…,keep`: keep writing to the screen after dom0 has started.
    pub vga_keep: bool,
    /// `no-real-mode`: the BIOS is not called at all.
    pub no_real_mode: bool,
    /// `edid=`.
    pub edid: Edid,
    /// `edd=`.
    pub edd: Edd,
    /// `clocksource=`.
    pub clock_source: ClockSource,
    /// `console_to_ring`: guests' console output goes to the ring too.
    pub console_to_ring: bool,
    /// `conring_size=`: bytes of the console ring.
    pub conring_size: usize,
    /// `sync_console`: output is sent before anything else goes on.
    pub sync_console: bool,
    /// `conswitch=`.
    pub switch: Switch,
    /// `loglvl=`.
    pub log: Levels,
    /// `guest_loglvl=`.
    pub guest_log: Levels,
    /// `nmi=`.
    pub nmi: Nmi,
    /// `mem=`: ignore RAM above this physical address.
    pub mem: Option<u64>,
    /// `badpage=`: frames not to use.
    pub bad_pages: Vec<u64>,
    /// `dma_bits=`: address bits of devices that reach no further; memory below is used last.
    pub dma_bits: u32,
    /// `dma_emergency_pool=`: bytes of that memory which ordinary requests do not get.
    pub dma_emergency_pool: u64,
    /// `dom0_mem=`.
    pub dom0_mem: Dom0Mem,
    /// `dom0_max_vcpus=`.
    pub dom0_max_vcpus: Dom0Vcpus,
    /// `dom0_vcpus_pin`: each of dom0's vCPUs stays on its own CPU.
    pub dom0_vcpus_pin: bool,
    /// To be appended to dom0's command line: options that concern it too, and what stands
    /// behind ` -- `.
    pub dom0_extra: String,
    /// `spec-ctrl=` and `xpti=`.
    pub spec_ctrl: SpecCtrl,
    /// `debug-exit`: the port that ends an emulator's run (tests only).
    pub debug_exit: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            noreboot: false,
            nosmp: false,
            watchdog: false,
            watchdog_timeout: 5,
            max_cpus: None,
            com1: Serial::COM1,
            com2: Serial::COM2,
            console: Sinks::USUAL,
            vga_keep: false,
            no_real_mode: false,
            edid: Edid::default(),
            edd: Edd::default(),
            clock_source: ClockSource::default(),
            console_to_ring: false,
            conring_size: 64 << 10,
            sync_console: false,
            switch: Switch::default(),
            log: Levels {
                always: Some(Level::Warning),
                limited: Some(Level::Warning),
            },
            guest_log: Levels {
                always: None,
                limited: Some(Level::Warning),
            },
            nmi: Nmi::Fatal,
            mem: None,
            bad_pages: Vec::new(),
            dma_bits: 30,
            dma_emergency_pool: 0,
            dom0_mem: Dom0Mem::default(),
            dom0_max_vcpus: Dom0Vcpus::default(),
            dom0_vcpus_pin: false,
            dom0_extra: String::new(),
            spec_ctrl: SpecCtrl::default(),
            debug_exit: None,
        }
    }
}

impl Options {
    /// Parses the command line (without the image's name). What stands behind ` -- ` is dom0's.
    pub fn parse(command_line: &str) -> (Self, Vec<Warning>) {
        let mut options = Self::default();
        let mut warnings = Vec::new();
        let dom0 = command_line
            .split_once(" -- ")
            .map_or("", |(_, dom0)| dom0.trim());
        for word in words(own(command_line)) {
            let mut notes = Notes::new();
            warnings.extend(options.take(word, &mut notes));
            let notes = notes.into_iter();
            warnings.extend(notes.map(|(name, why)| Warning::NoEffect { name, why }));
        }
        if !dom0.is_empty() {
            table::pass_on(&mut options, dom0);
        }
        (options, warnings)
    }

    /// Takes one word.
    fn take(&mut self, word: &str, notes: &mut Notes) -> Option<Warning> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let (negated, found) = find(name);
        let Some((name, action)) = found else {
            return Some(Warning::Unknown { word: word.into() });
        };
        let wrong = |expected| {
            Some(Warning::Value {
                word: word.into(),
                expected,
            })
        };
        match action {
            Action::Value(set, expected) => match set(self, value.unwrap_or("")) {
                Some(()) => None,
                None => wrong(expected),
            },
            Action::Noted(set, expected) => match set(self, value.unwrap_or(""), notes) {
                Some(()) => None,
                None => wrong(expected),
            },
            Action::Flag(set) => match value.map_or(Some(true), boolean) {
                Some(on) => {
                    set(self, on != negated);
                    None
                }
                None => wrong("yes or no"),
            },
            Action::PassOn => {
                table::pass_on(self, word);
                Some(Warning::NoEffect {
                    name,
                    why: "here, where the hypervisor goes by ACPI's tables; dom0 gets it",
                })
            }
            Action::Checked(right, expected, why) => {
                if right(value.unwrap_or("")) {
                    Some(Warning::NoEffect { name, why })
                } else {
                    wrong(expected)
                }
            }
            Action::Nothing(why) => Some(Warning::NoEffect { name, why }),
            Action::Silent => None,
        }
    }
}

/// Finds an option by its name; `no-` in front of a flag's name turns it off.
fn find(name: &str) -> (bool, Option<&'static (&'static str, Action)>) {
    let exact = |name: &str| table::TABLE.iter().find(|(known, _)| *known == name);
    if let Some(found) = exact(name) {
        return (false, Some(found));
    }
    let negated = name
        .strip_prefix("no-")
        .and_then(exact)
        .filter(|(_, action)| matches!(action, Action::Flag(_) | Action::Nothing(_)));
    (negated.is_some(), negated)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "on" | "true" | "enable" | "1" => Some(true),
        "no" | "off" | "false" | "disable" | "0" => Some(false),
        _ => None,
    }
}

/// The hypervisor's own part of a command line.
fn own(command_line: &str) -> &str {
    command_line
        .split_once(" -- ")
        .map_or(command_line, |(own, _)| own)
}

/// Splits into words. The manual writes `com1=9600, 8n1, 0x408, 5`: a comma at the end of a word
/// joins it with the next one.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line.trim_ascii();
    core::iter::from_fn(move || {
        let mut end = 0;
        loop {
            let more = rest.get(end..)?;
            let word = more.trim_ascii_start();
            if word.is_empty() {
                break;
            }
            end += more.len() - word.len();
            end += word
                .find(|c: char| c.is_ascii_whitespace())
                .unwrap_or(word.len());
            if !rest.get(..end)?.ends_with(',') {
                break;
            }
        }
        let (word, tail) = rest.split_at_checked(end)?;
        rest = tail.trim_ascii_start();
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests;
