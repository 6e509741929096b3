//! What another CPU does in the middle of a request.
//!
//! A test has something done at the n-th point from now at which the request could be overtaken:
//! before it takes a lock while it holds none, and before it reads or writes the guest's memory.
//! Everything runs on one thread, so a failure comes again and can be made smaller.

use alloc::boxed::Box;
use core::cell::{Cell, RefCell};
use core::ops::{Deref, DerefMut};

/// What is to be done, and how many points are let go by before.
struct Plan {
    left: u32,
    act: Box<dyn FnOnce()>,
}

std::thread_local! {
    static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
    /// Locks that the thread holds.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// Runs `request`, and `act` in the middle of it when it has passed `points` points. Returns the
/// answer, and whether there were so many points; if not, `act` is not done.
pub(crate) fn between<T>(
    points: u32,
    act: impl FnOnce() + 'static,
    request: impl FnOnce() -> T,
) -> (T, bool) {
    let plan = Plan {
        left: points,
        act: Box::new(act),
    };
    PLAN.set(Some(plan));
    let answer = request();
    (answer, PLAN.take().is_none())
}

/// A point at which another CPU may come first.
pub(crate) fn point() {
    if HELD.get() != 0 {
        return;
    }
    let due = PLAN.with_borrow_mut(|plan| match plan {
        Some(Plan { left: 0, .. }) => plan.take(),
        Some(plan) => {
            plan.left -= 1;
            None
        }
        None => None,
    });
    if let Some(plan) = due {
        (plan.act)();
    }
}

/// The lock of the product, with a point before it.
#[derive(Debug, Default)]
pub struct Mutex<T>(spin::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    /// Waits until it is free and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        point();
        MutexGuard::new(self.0.lock())
    }

    /// Takes it if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().map(MutexGuard::new)
    }
}

/// A lock held.
pub struct MutexGuard<'a, T>(spin::MutexGuard<'a, T>);

impl<'a, T> MutexGuard<'a, T> {
    fn new(guard: spin::MutexGuard<'a, T>) -> Self {
        HELD.set(HELD.get() + 1);
        Self(guard)
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        HELD.set(HELD.get() - 1);
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
