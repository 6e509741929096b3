//! Making up calls: every number, with arguments that are likely to hit something; and those of
//! the families that know what a call's arguments look like.

use oxen_abi::hypercall::{HYPERVISOR_MULTICALL, MulticallEntry};

use super::material::{BAD_ADDRESSES, Material};
use super::plan::Plan;
use super::{events, grants, memory, platform, tables, vcpus};
use crate::rng::Rng;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Hypercall number.
    pub number: u64,
    /// Arguments.
    pub args: [u64; 6],
}

/// The next call, one that the caller survives.
#[must_use]
pub fn next(m: &Material, rng: &mut Rng) -> Plan {
    match rng.below(16) {
        0..=2 => loop {
            let call = random(m, rng);
            if !ends_the_caller(&call) {
                break random_words(m, rng, call);
            }
        },
        3..=6 => tables::plan(m, rng),
        7..=8 => memory::plan(m, rng),
        9..=10 => grants::plan(m, rng),
        11..=12 => events::plan(m, rng),
        13 => vcpus::plan(m, rng),
        14 => platform::plan(m, rng),
        _ => multicall(m, rng),
    }
}

/// Any number with any arguments.
fn random(m: &Material, rng: &mut Rng) -> Call {
    let number = match rng.below(20) {
        0 => m.value(rng),
        1 => 48 + rng.below(80),
        _ => rng.below(48),
    };
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = m.value(rng);
    }
    // Most operations are (command, pointer) or (pointer, count), and most have few commands.
    let limit = rng.pick(&[8, 16, 48], 16);
    let command = rng.below(limit);
    match rng.below(4) {
        0 => args[0] = command,
        1 => (args[0], args[1]) = (command, m.address(rng)),
        2 => (args[0], args[1], args[2]) = (command, m.address(rng), rng.below(8)),
        _ => {
            (args[0], args[1], args[2]) = (m.address(rng), rng.below(8), 0);
            args[3] = rng.pick(&[0x7ff0, 0x7ff1, 0, 1], 0x7ff0);
        }
    }
    Call { number, args }
}

/// A few new words in the buffers, for whatever the call takes them.
fn random_words(m: &Material, rng: &mut Rng, call: Call) -> Plan {
    let mut plan = Plan::new(call.number, call.args);
    for _ in 0..8 {
        let address = m.buffer(rng) + rng.below(80) * 8;
        plan.put(address, m.value(rng));
    }
    if call.number & 0xffff_ffff == HYPERVISOR_MULTICALL {
        // A list of zeroes would take the trap table away.
        if rng.below(4) == 0 {
            plan.call.args[0] = rng.pick(&BAD_ADDRESSES, 0);
        } else {
            let list = m.buffer(rng) + rng.below(64);
            (plan.call.args[0], plan.call.args[1]) = (list, rng.below(9));
            tame(m, rng, &mut plan, list);
        }
    }
    plan
}

/// A list of random calls.
fn multicall(m: &Material, rng: &mut Rng) -> Plan {
    let list = m.buffer(rng);
    let count = 1 + rng.below(8);
    let mut plan = Plan::new(HYPERVISOR_MULTICALL, [list, count, 0, 0, 0, 0]);
    for at in 0..count {
        let entry = MulticallEntry {
            op: multicall_number(rng),
            args: random(m, rng).args,
            ..MulticallEntry::default()
        };
        plan.put_struct(list + at * size_of::<MulticallEntry>() as u64, &entry);
    }
    // What comes behind, if the list should be read too far.
    tame(
        m,
        rng,
        &mut plan,
        list + count * size_of::<MulticallEntry>() as u64,
    );
    plan
}

/// Makes the entries of a list that starts in a buffer such that the caller survives them.
fn tame(m: &Material, rng: &mut Rng, plan: &mut Plan, list: u64) {
    for entry in 0..8 {
        let address = list.wrapping_add(entry * size_of::<MulticallEntry>() as u64);
        if m.buffers
            .iter()
            .any(|buffer| (*buffer..buffer + 4096).contains(&address))
        {
            plan.put(address, multicall_number(rng));
        }
    }
}

/// Whether the call would do what it is for and end or stop the caller: such calls say nothing of
/// the hypervisor, and the run should go on. A copy's last call may be one.
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
        // set_trap_table, set_callbacks, nmi_op and callback_op take the ground away from under the
        // next trap or event.
        0 | 4 | 28 | 30 => true,
        _ => false,
    }
}

/// Numbers for the entries of a multicall, where the commands cannot be seen beforehand: none of
/// those that [`ends_the_caller`] looks at.
pub fn multicall_number(rng: &mut Rng) -> u64 {
    loop {
        let number = rng.below(60);
        if !matches!(number, 0 | 4 | 6 | 23 | 24 | 28 | 29 | 30) {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::material::sample;
    use super::*;

    #[test]
    fn every_number_comes_up() {
        let (material, mut rng) = (sample(), Rng::new(1));
        let mut seen = [false; 48];
        for _ in 0..5000 {
            let number = random(&material, &mut rng).number;
            if let Some(slot) = usize::try_from(number).ok().and_then(|n| seen.get_mut(n)) {
                *slot = true;
            }
        }
        assert!(seen.iter().all(|&s| s));
    }

    #[test]
    fn the_seed_tells_the_calls() {
        let material = sample();
        let (mut a, mut b) = (Rng::new(5), Rng::new(5));
        for _ in 0..3000 {
            let (a, b) = (next(&material, &mut a), next(&material, &mut b));
            assert_eq!(a.call, b.call);
            assert_eq!(a.words(), b.words());
        }
    }

    #[test]
    fn the_caller_survives() {
        let (material, mut rng) = (sample(), Rng::new(9));
        for _ in 0..20_000 {
            let plan = next(&material, &mut rng);
            // Of those that could end it, only what is known to be harmless: a poll that ends,
            // trap vectors that nothing raises, the failsafe callback.
            let harmless = match plan.call.number {
                29 => plan.call.args[0] == 3 && plan.words().iter().any(|w| w.1 != 0),
                0 | 30 => !plan.words().is_empty(),
                _ => false,
            };
            assert!(harmless || !ends_the_caller(&plan.call), "{:?}", plan.call);
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
