//! Where a vCPU is as far as the scheduler goes: off, queued, or running.

use oxen_abi::errno::Errno;

use crate::machine::CpuMask;
use crate::sched::credit::Priority;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU16, Ordering};
use crate::types::CpuId;

/// A vCPU's place. All changes are compare-and-exchange on one byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Place {
    /// On no queue and no CPU.
    Off = 0,
    /// On a run queue.
    Queued = 1,
    /// On a CPU.
    Running = 2,
    /// On a CPU, and woken since it got there: the CPU looks again before it puts it off.
    Woken = 3,
}

impl Place {
    const fn from(byte: u8) -> Self {
        match byte {
            0 => Self::Off,
            1 => Self::Queued,
            2 => Self::Running,
            _ => Self::Woken,
        }
    }
}

/// What waking a vCPU leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Woken {
    /// It is queued already, or still may not run.
    Nothing,
    /// The caller is to queue it; its place says that it is already.
    Queued,
    /// It is on a CPU, which is to look at it once more.
    Runs,
}

/// Where a vCPU may run; `None` = everywhere.
#[derive(Clone, Copy, Debug, Default)]
struct Affinity {
    hard: Option<CpuMask>,
    soft: Option<CpuMask>,
    /// What `hard` was before the guest tied the vCPU to one CPU for a while.
    before: Option<Option<CpuMask>>,
}

/// What the scheduler knows of a vCPU.
#[derive(Debug)]
pub struct VcpuSched {
    place: AtomicU8,
    /// The CPU it runs on or ran on last.
    cpu: AtomicU16,
    /// Credits left; below 0: in debt.
    pub(super) credits: AtomicI32,
    priority: AtomicU8,
    /// Whether it ran or was runnable in this accounting period.
    pub(super) active: AtomicBool,
    /// Whether it gets a share of the credits that the accounting hands out.
    pub(super) shares: AtomicBool,
    affinity: Mutex<Affinity>,
    /// Whether there is any affinity: mostly there is not, and then the lock is not needed.
    choosy: AtomicBool,
}

impl Default for VcpuSched {
    fn default() -> Self {
        Self {
            place: AtomicU8::new(Place::Off as u8),
            cpu: AtomicU16::new(0),
            credits: AtomicI32::new(0),
            priority: AtomicU8::new(Priority::Under as u8),
            active: AtomicBool::new(false),
            shares: AtomicBool::new(false),
            affinity: Mutex::new(Affinity::default()),
            choosy: AtomicBool::new(false),
        }
    }
}

impl VcpuSched {
    /// Its place now.
    pub fn place(&self) -> Place {
        Place::from(self.place.load(Ordering::SeqCst))
    }

    /// Whether a CPU has it.
    pub fn is_running(&self) -> bool {
        matches!(self.place(), Place::Running | Place::Woken)
    }

    /// Moves from one place to another; what was found instead if it was not there.
    pub(super) fn go(&self, from: Place, to: Place) -> Result<(), Place> {
        self.place
            .compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst)
            .map(|_| ())
            .map_err(Place::from)
    }

    /// Puts it somewhere; only whoever has it may.
    pub(super) fn put(&self, to: Place) {
        self.place.store(to as u8, Ordering::SeqCst);
    }

    /// Whoever has it lets go of it: whether it can run, and is to be queued, as its place says then; else it is off.
    pub(super) fn leave(&self, runnable: impl Fn() -> bool) -> bool {
        loop {
            if runnable() {
                self.put(Place::Queued);
                return true;
            }
            if self.go(Place::Running, Place::Off).is_ok() {
                return false;
            }
            // Woken meanwhile: look again.
            self.put(Place::Running);
        }
    }

    /// What kept it from running may be gone.
    pub(super) fn wake(&self, runnable: impl Fn() -> bool) -> Woken {
        loop {
            match self.place() {
                Place::Off => {
                    if !runnable() {
                        return Woken::Nothing;
                    }
                    if self.go(Place::Off, Place::Queued).is_ok() {
                        return Woken::Queued;
                    }
                }
                Place::Queued => return Woken::Nothing,
                Place::Running => {
                    if self.go(Place::Running, Place::Woken).is_ok() {
                        return Woken::Runs;
                    }
                }
                Place::Woken => return Woken::Runs,
            }
        }
    }

    /// The CPU it runs on or ran on last.
    pub fn cpu(&self) -> CpuId {
        CpuId(self.cpu.load(Ordering::Acquire))
    }

    /// Sets the CPU; before its domain first runs, or by the CPU that takes it.
    pub fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.0, Ordering::Release);
    }

    /// Its priority.
    pub fn priority(&self) -> Priority {
        match self.priority.load(Ordering::Relaxed) {
            0 => Priority::Boost,
            1 => Priority::Under,
            2 => Priority::Over,
            _ => Priority::Parked,
        }
    }

    pub(super) fn set_priority(&self, priority: Priority) {
        self.priority.store(priority as u8, Ordering::Relaxed);
    }

    /// Whether it may run on a CPU.
    pub fn allows(&self, cpu: CpuId) -> bool {
        !self.choosy.load(Ordering::Acquire)
            || self
                .affinity
                .lock()
                .hard
                .is_none_or(|mask| mask.contains(cpu))
    }

    /// Hard and soft affinity in force; `None` = all CPUs.
    pub fn affinity(&self) -> (Option<CpuMask>, Option<CpuMask>) {
        if !self.choosy.load(Ordering::Acquire) {
            return (None, None);
        }
        let affinity = self.affinity.lock();
        (affinity.hard, affinity.soft)
    }

    /// The affinity has changed; its lock is held.
    fn note(&self, affinity: &Affinity) {
        let choosy = affinity.hard.is_some() || affinity.soft.is_some();
        self.choosy.store(choosy, Ordering::Release);
    }

    /// Sets hard affinity. The caller makes the vCPU move ([`crate::sched::stop`], then
    /// [`crate::sched::wake`]) if it is somewhere it may not be. `EBUSY` while the guest has tied it
    /// to a CPU.
    pub fn set_hard_affinity(&self, mask: Option<CpuMask>) -> Result<(), Errno> {
        let mut affinity = self.affinity.lock();
        if affinity.before.is_some() {
            return Err(Errno::EBUSY);
        }
        affinity.hard = mask;
        self.note(&affinity);
        Ok(())
    }

    /// Sets soft affinity.
    pub fn set_soft_affinity(&self, mask: Option<CpuMask>) {
        let mut affinity = self.affinity.lock();
        affinity.soft = mask;
        self.note(&affinity);
    }

    /// Ties the vCPU to one CPU until [`Self::untie`], whatever its hard affinity. `EBUSY` if it is
    /// tied already.
    pub fn tie(&self, cpu: CpuId) -> Result<(), Errno> {
        let mut affinity = self.affinity.lock();
        if affinity.before.is_some() {
            return Err(Errno::EBUSY);
        }
        let mut mask = CpuMask::EMPTY;
        mask.insert(cpu);
        affinity.before = Some(affinity.hard.replace(mask));
        self.note(&affinity);
        Ok(())
    }

    /// Whether it is tied to a CPU.
    pub fn is_tied(&self) -> bool {
        self.affinity.lock().before.is_some()
    }

    /// Gives the hard affinity back that was in force before [`Self::tie`]. `EINVAL` if it is not
    /// tied.
    pub fn untie(&self) -> Result<(), Errno> {
        let mut affinity = self.affinity.lock();
        affinity.hard = affinity.before.take().ok_or(Errno::EINVAL)?;
        self.note(&affinity);
        Ok(())
    }

    /// The one CPU it is pinned to.
    pub fn pinned_to(&self) -> Option<CpuId> {
        let mask = self.affinity.lock().hard?;
        let mut cpus = mask.iter();
        let first = cpus.next()?;
        if cpus.next().is_some() {
            None
        } else {
            Some(first)
        }
    }

    /// Credits left.
    pub fn credits(&self) -> i32 {
        self.credits.load(Ordering::Relaxed)
    }
}
