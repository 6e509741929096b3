//! The upcall: takes events in whichever ABI is in use and counts them by port.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{fifo, two_level};
use crate::sys::frame::Frame;
use crate::sys::{cpu, shared};

/// Ports that are counted.
const PORTS: usize = 4096;
/// Event words in a page.
const WORDS: u32 = 1024;

static COUNTS: [AtomicU32; PORTS] = [const { AtomicU32::new(0) }; PORTS];

/// How often a port was delivered.
#[must_use]
pub fn count(port: u32) -> u32 {
    COUNTS
        .get(port as usize)
        .map_or(0, |count| count.load(Ordering::SeqCst))
}

/// Deliveries so far, and the number of the last delivery of each port.
static SEQUENCE: AtomicU32 = AtomicU32::new(0);
static LAST: [AtomicU32; PORTS] = [const { AtomicU32::new(0) }; PORTS];

/// The number of a port's last delivery among all deliveries: what tells their order.
#[must_use]
pub fn last(port: u32) -> u32 {
    LAST.get(port as usize)
        .map_or(0, |last| last.load(Ordering::SeqCst))
}

/// TSC at each port's last delivery.
static WHEN: [AtomicU64; PORTS] = [const { AtomicU64::new(0) }; PORTS];

/// The TSC's value when a port was last delivered.
#[must_use]
pub fn when(port: u32) -> u64 {
    WHEN.get(port as usize)
        .map_or(0, |when| when.load(Ordering::SeqCst))
}

fn delivered(port: u32) {
    if let Some(when) = WHEN.get(port as usize) {
        when.store(cpu::rdtsc(), Ordering::SeqCst);
    }
    let number = SEQUENCE.fetch_add(1, Ordering::SeqCst) + 1;
    if let (Some(count), Some(last)) = (COUNTS.get(port as usize), LAST.get(port as usize)) {
        count.fetch_add(1, Ordering::SeqCst);
        last.store(number, Ordering::SeqCst);
    }
}

/// Addresses of the pages that the FIFO ABI uses; all zero: the 2-level ABI is in use.
static CONTROL: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static ARRAY: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static QUEUES: [fifo::Queues; 2] = [fifo::Queues::new(), fifo::Queues::new()];

/// The switch between the ABIs.
pub struct Fifo;

impl Fifo {
    /// Notes a vCPU's control block, at offset 0 of the frame; `None`: back to 2 levels.
    pub fn set_control(vcpu: usize, frame: Option<Frame>) {
        if let (Some(slot), Some(queues)) = (CONTROL.get(vcpu), QUEUES.get(vcpu)) {
            queues.clear();
            slot.store(frame.map_or(0, Frame::address), Ordering::SeqCst);
        }
    }

    /// Notes a page of event words.
    pub fn set_array(page: usize, frame: Option<Frame>) {
        if let Some(slot) = ARRAY.get(page) {
            slot.store(frame.map_or(0, Frame::address), Ordering::SeqCst);
        }
    }

    /// A port's event word.
    #[must_use]
    pub fn word(port: u32) -> Option<&'static AtomicU32> {
        let page = ARRAY.get((port / WORDS) as usize)?.load(Ordering::SeqCst);
        Frame::at(page)?.words32().get((port % WORDS) as usize)
    }
}

/// Handles everything that is pending on a vCPU; called with events masked.
pub fn upcall(vcpu: usize) {
    let (Some(page), Some(info)) = (shared::info(), shared::vcpu_info(vcpu)) else {
        return;
    };
    while info.upcall_pending.swap(0, Ordering::AcqRel) != 0 {
        let control = CONTROL
            .get(vcpu)
            .and_then(|slot| Frame::at(slot.load(Ordering::SeqCst)));
        match (control, QUEUES.get(vcpu)) {
            (Some(control), Some(queues)) => {
                queues.consume(control.words32(), Fifo::word, delivered);
            }
            _ => two_level::consume(&info.pending_sel, &page.pending, &page.mask, delivered),
        }
    }
}
