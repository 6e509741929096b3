//! Events of the 2-level ABI beside a guest that takes them, and pollers beside those that wake them.

use super::info::InfoWords;
use super::poll::{Polled, Pollers};
use super::two_level::{Bits, announce};
use crate::event::Outcome;
use crate::models::{explore, explore_within, spawn, stays};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::types::{Port, VcpuId};
use crate::vcpu::Paused;

/// A guest's shared words, for the ports below 64.
#[derive(Clone, Copy)]
struct Shared {
    info: InfoWords,
    pending: &'static AtomicU64,
    mask: &'static AtomicU64,
}

impl Shared {
    fn new(masked: u64) -> Self {
        Self {
            info: InfoWords::of(stays(core::array::from_fn(|_| AtomicU64::new(0)))),
            pending: stays(AtomicU64::new(0)),
            mask: stays(AtomicU64::new(masked)),
        }
    }

    const fn bits(self, port: u32) -> Bits {
        Bits {
            pending: self.pending,
            mask: self.mask,
            bit: 1 << port,
        }
    }

    /// The hypervisor sends an event to a port.
    fn send(self, port: u32) -> Outcome {
        self.bits(port)
            .set(|| announce(Some(self.info), Port(port)))
    }

    /// The hypervisor unmasks a port for the guest.
    fn unmask(self, port: u32) -> Outcome {
        self.bits(port)
            .unmask(|| announce(Some(self.info), Port(port)))
    }

    /// The guest's interrupt handler: takes what is pending and not masked; returns which ports that were.
    fn handle(self) -> u64 {
        let mut taken = 0;
        while self.info.pending() {
            self.info.guest_accepts();
            if self.info.guest_takes_selector() == 0 {
                continue;
            }
            let ready = self.pending.load(Ordering::Acquire) & !self.mask.load(Ordering::Acquire);
            self.pending.fetch_and(!ready, Ordering::AcqRel);
            taken |= ready;
        }
        taken
    }

    /// The guest unmasks a port of its own vCPU without a hypercall.
    fn guest_unmasks(self, port: u32) {
        self.mask.fetch_and(!(1 << port), Ordering::SeqCst);
        if self.pending.load(Ordering::Acquire) & (1 << port) != 0 && self.info.select(0) {
            self.info.raise();
        }
    }

    /// What is pending and not masked, and the guest will not hear of.
    fn lost(self) -> u64 {
        let ready = self.pending.load(Ordering::Acquire) & !self.mask.load(Ordering::Acquire);
        if self.info.pending() && self.info.selected() {
            0
        } else {
            ready
        }
    }
}

/// Two events come while the guest handles what it has: each is handled, or its vCPU is to be interrupted for it.
pub fn no_event_is_lost() {
    explore_within(4, || {
        let shared = Shared::new(0);
        let guest = spawn(move || shared.handle());
        let first = shared.send(1);
        let second = shared.send(2);
        let taken = guest.join().unwrap();
        assert_ne!(first, Outcome::Nothing);
        assert_ne!(second, Outcome::Nothing);
        assert_eq!(shared.lost(), 0);
        assert_eq!(taken | shared.pending.load(Ordering::Acquire), 0b110);
    });
}

/// An event comes while the guest unmasks its port.
pub fn an_event_finds_a_port_that_is_being_unmasked() {
    explore(|| {
        let shared = Shared::new(1 << 1);
        let guest = spawn(move || shared.guest_unmasks(1));
        shared.send(1);
        guest.join().unwrap();
        assert_eq!(shared.lost(), 0);
    });
}

/// The hypervisor announces an event while the guest selects other ports and masks upcalls: nothing of it is lost.
pub fn both_sides_write_vcpu_info() {
    explore(|| {
        let shared = Shared::new(0);
        let guest = spawn(move || {
            shared.info.guest_masks();
            shared.info.select(1)
        });
        announce(Some(shared.info), Port(1));
        assert!(guest.join().unwrap());
        assert!(shared.info.masked() && shared.info.pending());
        assert_eq!(shared.info.guest_takes_selector(), 0b11);
    });
}

/// An event comes to a port while the hypervisor, under the domain's event lock, while another vCPU handles events.
pub fn an_event_finds_a_port_that_the_hypervisor_unmasks() {
    explore_within(3, || {
        let shared = Shared::new(1 << 1);
        let lock: &Mutex<()> = stays(Mutex::new(()));
        let unmasking = spawn(move || {
            let _held = lock.lock();
            shared.unmask(1);
        });
        let guest = spawn(move || shared.handle());
        {
            let _held = lock.lock();
            shared.send(1);
        }
        unmasking.join().unwrap();
        let taken = guest.join().unwrap();
        assert_eq!(shared.lost(), 0);
        assert_eq!(taken | shared.pending.load(Ordering::Acquire), 0b10);
    });
}

/// The parts of a vCPU that polls.
#[derive(Default)]
struct Poller {
    paused: AtomicU32,
    polled: Polled,
    pollers: Pollers,
    /// The domain's event lock, and the port that is pending.
    state: Mutex<u32>,
}

const VCPU: VcpuId = VcpuId(0);
const MARKS: u32 = Paused::BLOCKED.bits() | Paused::POLLING.bits();

impl Poller {
    /// `SCHEDOP_poll` for a port.
    fn poll(&self, port: u32) {
        self.paused.fetch_or(MARKS, Ordering::SeqCst);
        let pending = self.state.lock();
        if *pending == port {
            self.paused.fetch_and(!MARKS, Ordering::SeqCst);
        } else {
            self.pollers.add(VCPU, &self.polled, &[port]);
        }
    }

    /// An event.
    fn send(&self, port: u32) {
        let mut pending = self.state.lock();
        *pending = port;
        if self.pollers.any() {
            for id in self.pollers.ids() {
                if self
                    .pollers
                    .hears(id, &self.polled, &self.paused, Port(port))
                {
                    self.wake();
                }
            }
        }
    }

    /// Anything that wakes it.
    fn wake(&self) {
        self.paused.fetch_and(!MARKS, Ordering::SeqCst);
    }

    fn sleeps(&self) -> bool {
        self.paused.load(Ordering::SeqCst) != 0
    }
}

/// A vCPU polls, is woken by its timer, and polls again, this time for a port whose event comes: it does not sleep on.
pub fn a_poller_that_was_woken_otherwise_hears_of_its_next_port() {
    explore_within(4, || {
        let poller: &Poller = stays(Poller::default());
        poller.poll(1);
        let timer = spawn(|| poller.wake());
        let sender = spawn(|| poller.send(2));
        // It runs again when it was woken, and only then.
        if !poller.sleeps() {
            poller.poll(2);
            timer.join().unwrap();
            sender.join().unwrap();
        } else {
            timer.join().unwrap();
            sender.join().unwrap();
            poller.poll(2);
        }
        assert!(!poller.sleeps());
    });
}
