//! Making up calls: every number, with arguments that are likely to hit something.

use crate::rng::Rng;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Hypercall number.
    pub number: u64,
    /// Arguments.
    pub args: [u64; 6],
}

/// What arguments are made of.
pub struct Material {
    /// Addresses of the buffers that calls may point to.
    pub buffers: [u64; 4],
    /// Machine frames of the domain's own that calls may name.
    pub frames: [u64; 4],
}

/// Addresses that are wrong in one way or another.
const BAD_ADDRESSES: [u64; 10] = [
    0,
    1,
    0x7000_0000_0000,
    (1 << 47) - 8,
    1 << 47,
    0xffff_8000_0000_0000,
    0xffff_8300_0000_0000,
    0xffff_87ff_ffff_fff8,
    0xffff_ffff_ffff_f000,
    u64::MAX,
];

/// Numbers at limits.
const LIMITS: [u64; 12] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xfff,
    0x1000,
    0x7ff0,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    u64::MAX,
];

impl Material {
    fn address(&self, rng: &mut Rng) -> u64 {
        match rng.below(8) {
            0 => rng.pick(&BAD_ADDRESSES, 0),
            // The end of a buffer: what is behind it may not be there.
            1 => rng.pick(&self.buffers, 0) + 4096 - rng.below(64),
            _ => rng.pick(&self.buffers, 0) + rng.below(64) * 8,
        }
    }

    /// A value for an argument or for a word in memory.
    #[must_use]
    pub fn value(&self, rng: &mut Rng) -> u64 {
        match rng.below(16) {
            0..=4 => rng.below(40),
            5..=7 => self.address(rng),
            8 | 9 => rng.pick(&LIMITS, 0),
            10 => rng.pick(&self.frames, 0),
            // A page-table entry, or the machine address of one.
            11 => rng.pick(&self.frames, 0) << 12 | rng.below(4096),
            12 => 1 << rng.below(64),
            13 => rng.below(1 << 32),
            // Two halves, as a structure of 32-bit fields has them.
            14 => rng.below(16) << 32 | rng.below(16),
            _ => rng.bits(),
        }
    }

    /// The next call.
    #[must_use]
    pub fn call(&self, rng: &mut Rng) -> Call {
        let number = match rng.below(20) {
            0 => self.value(rng),
            1 => 48 + rng.below(80),
            _ => rng.below(48),
        };
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = self.value(rng);
        }
        // Most operations are (command, pointer) or (pointer, count), and most have few commands.
        let limit = rng.pick(&[8, 16, 48], 16);
        let command = rng.below(limit);
        match rng.below(4) {
            0 => args[0] = command,
            1 => (args[0], args[1]) = (command, self.address(rng)),
            2 => (args[0], args[1], args[2]) = (command, self.address(rng), rng.below(8)),
            _ => {
                (args[0], args[1], args[2]) = (self.address(rng), rng.below(8), 0);
                args[3] = rng.pick(&[0x7ff0, 0x7ff1, 0, 1], 0x7ff0);
            }
        }
        Call { number, args }
    }
}

/// Whether the call would do what it is for and end or stop the caller: such calls say nothing of
/// the hypervisor, and the run should go on.
#[must_use]
pub fn ends_the_caller(call: &Call) -> bool {
    let command = call.args[0] & 0xffff_ffff;
    match call.number & 0xffff_ffff {
        // sched_op, both forms: block, shutdown, poll without an end, watchdog.
        6 | 29 => matches!(command, 1 | 2 | 3 | 6),
        // iret takes a frame from the stack and returns to wherever that says.
        23 => true,
        // vcpu_op: down.
        24 => command == 2,
        // stack_switch, set_trap_table, set_callbacks and callback_op take the ground away from
        // under the next trap or event.
        0 | 3 | 4 | 30 => true,
        _ => false,
    }
}

/// Numbers for the entries of a multicall, where the commands cannot be seen beforehand: none of
/// those that [`ends_the_caller`] looks at.
pub fn multicall_number(rng: &mut Rng) -> u64 {
    loop {
        let number = rng.below(60);
        if !matches!(number, 0 | 3 | 4 | 6 | 23 | 24 | 29 | 30) {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> Material {
        Material {
            buffers: [0x1000, 0x2000, 0x3000, 0x4000],
            frames: [1, 2, 3, 4],
        }
    }

    #[test]
    fn every_number_comes_up() {
        let (material, mut rng) = (material(), Rng::new(1));
        let mut seen = [false; 48];
        for _ in 0..5000 {
            let number = material.call(&mut rng).number;
            if let Some(slot) = usize::try_from(number).ok().and_then(|n| seen.get_mut(n)) {
                *slot = true;
            }
        }
        assert!(seen.iter().all(|&s| s));
    }

    #[test]
    fn the_seed_tells_the_calls() {
        let material = material();
        let (mut a, mut b) = (Rng::new(5), Rng::new(5));
        for _ in 0..1000 {
            assert_eq!(material.call(&mut a), material.call(&mut b));
        }
    }

    #[test]
    fn multicalls_leave_the_ground_alone() {
        let mut rng = Rng::new(3);
        for _ in 0..1000 {
            let number = multicall_number(&mut rng);
            for command in 0..4 {
                let args = [command, 0, 0, 0, 0, 0];
                assert!(!ends_the_caller(&Call { number, args }));
            }
        }
    }

    #[test]
    fn calls_that_end_the_caller_are_known() {
        let call = |number, command| Call {
            number,
            args: [command, 0, 0, 0, 0, 0],
        };
        assert!(ends_the_caller(&call(29, 2)));
        assert!(!ends_the_caller(&call(29, 0)));
        assert!(ends_the_caller(&call(24, 2)));
        assert!(!ends_the_caller(&call(12, 2)));
    }
}
