//! The serial line's input: to dom0 or to the debug keys, switched by a control character typed
//! three times.

use crate::console::keys;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::options::Switch;
use crate::percpu::PerCpu;

/// Bytes that wait for dom0 at the most; more are lost.
const WAITING: usize = 1024;
/// Most bytes taken in one interrupt.
const BATCH: usize = 1024;

/// Who has the input, and what waits for dom0.
#[derive(Debug)]
pub(super) struct Input {
    switch: Switch,
    to_dom0: bool,
    /// How often in a row the switch character has come.
    repeats: u8,
    waiting: [u8; WAITING],
    first: usize,
    count: usize,
}

/// What a byte led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    /// It waits for dom0 (or was lost).
    Queued,
    /// It is a debug key.
    Key(u8),
    /// The input changed hands; now dom0 has it (or not).
    Switched(bool),
}

impl Input {
    pub(super) fn new(switch: Switch) -> Self {
        Self {
            switch,
            to_dom0: false,
            repeats: 0,
            waiting: [0; WAITING],
            first: 0,
            count: 0,
        }
    }

    fn take(&mut self, byte: u8) -> Effect {
        if Some(byte) == self.switch.control {
            self.repeats += 1;
            if self.repeats == 3 {
                self.repeats = 0;
                self.to_dom0 = !self.to_dom0;
                return Effect::Switched(self.to_dom0);
            }
        } else {
            self.repeats = 0;
        }
        if !self.to_dom0 {
            return Effect::Key(byte);
        }
        if self.count < WAITING {
            let at = (self.first + self.count) % WAITING;
            if let Some(place) = self.waiting.get_mut(at) {
                *place = byte;
                self.count += 1;
            }
        }
        Effect::Queued
    }

    /// Moves waiting bytes out; returns how many.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> usize {
        let count = self.count.min(bytes.len());
        for place in bytes.iter_mut().take(count) {
            *place = self.waiting.get(self.first).copied().unwrap_or(0);
            self.first = (self.first + 1) % WAITING;
        }
        self.count -= count;
        count
    }
}

/// dom0 is about to start: it gets the input, unless `conswitch` says otherwise.
pub fn give_input_to_dom0<M: Machine>(hv: &Hypervisor<M>) {
    let switch = {
        let mut input = hv.console.input.lock();
        input.to_dom0 = input.switch.auto;
        input.switch
    };
    tell_who_has_it(hv, switch, switch.auto);
}

fn tell_who_has_it<M: Machine>(hv: &Hypervisor<M>, switch: Switch, dom0: bool) {
    let owner = if dom0 { "DOM0" } else { "Xen" };
    match switch.control {
        Some(control) => crate::log_always!(
            hv,
            "Serial input goes to {owner} (CTRL-{} three times switches it)",
            char::from(control | 0x60)
        ),
        None => crate::log_always!(hv, "Serial input goes to {owner}"),
    }
}

/// The serial line has input (or may have: also called while polling).
pub fn serial_input<M: Machine>(cpu: &PerCpu<M>) {
    let hv = cpu.hv;
    let mut queued = false;
    let mut taken = 0;
    while taken < BATCH {
        let mut bytes = [0; 64];
        let count = hv.machine.console_read(&mut bytes);
        if count == 0 {
            break;
        }
        taken += count;
        for byte in bytes.into_iter().take(count) {
            let (effect, switch) = {
                let mut input = hv.console.input.lock();
                (input.take(byte), input.switch)
            };
            match effect {
                Effect::Queued => queued = true,
                Effect::Key(b'\r' | b'\n') => {}
                Effect::Key(key) if Some(key) == switch.control => {}
                Effect::Key(key) => keys::press(hv, key),
                Effect::Switched(dom0) => tell_who_has_it(hv, switch, dom0),
            }
        }
    }
    if queued {
        crate::event::send_global_virq(hv, oxen_abi::xen::VIRQ_CONSOLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_switches() {
        let mut input = Input::new(Switch::default());
        assert_eq!(input.take(b'h'), Effect::Key(b'h'));
        input.take(1);
        input.take(1);
        assert_eq!(input.take(1), Effect::Switched(true));
        assert_eq!(input.take(b'x'), Effect::Queued);
        let mut out = [0; 8];
        assert_eq!(input.read(&mut out), 1);
        assert_eq!(out[0], b'x');
        for byte in [1, 1, b'y', 1, 1] {
            assert_eq!(input.take(byte), Effect::Queued);
        }
        assert_eq!(input.take(1), Effect::Switched(false));
    }

    #[test]
    fn switching_can_be_off() {
        let mut input = Input::new(Switch {
            control: None,
            auto: true,
        });
        for _ in 0..5 {
            assert_eq!(input.take(1), Effect::Key(1));
        }
    }

    #[test]
    fn what_does_not_fit_is_lost_and_order_is_kept() {
        let mut input = Input::new(Switch::default());
        input.to_dom0 = true;
        for round in 0..3u32 {
            for n in 0..2000u32 {
                input.take(u8::try_from((n + round) % 200 + 20).unwrap());
            }
            let mut out = [0; 2000];
            assert_eq!(input.read(&mut out), WAITING);
            for (n, byte) in (0u32..).zip(&out[..WAITING]) {
                assert_eq!(u32::from(*byte), (n + round) % 200 + 20);
            }
        }
    }
}
