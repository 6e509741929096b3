//! A guest that reads its clocks while they are written.

use oxen_abi::xen::VcpuTimeInfo;

use crate::models::{explore, explore_within, spawn, stays};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::time::clock::{WallWords, write_time};

/// What a guest reads as the pvclock protocol has it, from words that are said to belong together. `None` if it has to
/// read again.
fn read<T>(version: impl Fn() -> u32, words: impl FnOnce() -> T) -> Option<T> {
    let before = version();
    let words = words();
    fence(Ordering::Acquire);
    (before % 2 == 0 && version() == before).then_some(words)
}

fn info(value: u64) -> VcpuTimeInfo {
    VcpuTimeInfo {
        tsc_timestamp: value,
        system_time: value,
        ..VcpuTimeInfo::default()
    }
}

/// The words of a `vcpu_time_info` that is written twice are those of one time.
pub fn a_guest_reads_one_time() {
    explore(|| {
        let place: &[AtomicU64; 4] = stays(core::array::from_fn(|_| AtomicU64::new(0)));
        let writer = spawn(|| {
            write_time(place, &info(1));
            write_time(place, &info(2));
        });
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the version is the low half"
        )]
        let version = || place[0].load(Ordering::Acquire) as u32;
        let words = || [1, 2].map(|word: usize| place[word].load(Ordering::Relaxed));
        if let Some([stamp, time]) = read(version, words) {
            assert_eq!(stamp, time);
        }
        writer.join().unwrap();
        assert_eq!(read(version, words), Some([2, 2]));
    });
}

/// Two CPUs set the wall clock of a domain: a guest reads the one or the other, and the last stays whole.
pub fn a_guest_reads_one_wall_clock() {
    explore_within(2, || {
        let words: &[AtomicU32; 4] = stays(core::array::from_fn(|_| AtomicU32::new(0)));
        let lock: &Mutex<()> = stays(Mutex::new(()));
        let wall = || WallWords {
            version: &words[0],
            rest: [&words[1], &words[2], &words[3]],
        };
        let write = move |value| {
            let _held = lock.lock();
            wall().write(value << 32 | value, value);
        };
        let other = spawn(move || write(1));
        let reader = spawn(move || {
            let version = || words[0].load(Ordering::Acquire);
            let rest = || [1, 2, 3].map(|word: usize| words[word].load(Ordering::Relaxed));
            read(version, rest)
        });
        write(2);
        other.join().unwrap();
        if let Some([seconds, nanoseconds, high]) = reader.join().unwrap() {
            assert!(seconds == nanoseconds && seconds == high);
        }
    });
}
