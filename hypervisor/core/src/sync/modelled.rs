//! Loom's atomics and lock in the shape of the real ones.
//!
//! Loom knows nothing of `SeqCst` but for fences. Here a `SeqCst` write is one with a fence behind it, which is what the
//! processor's locked instructions are; a load of whatever order is a plain one, which the processor may do before an
//! earlier write that is not locked. Other orders are as weak as the language says, so that code which relies on a
//! locked instruction as a barrier has to say so, by `SeqCst`.

/// As [`core::sync::atomic`].
pub mod atomic {
    pub use loom::sync::atomic::Ordering;
    pub use loom::sync::atomic::fence;

    /// The order as loom takes it, and whether a fence follows.
    const fn write_order(order: Ordering, plain: Ordering) -> (Ordering, bool) {
        match order {
            Ordering::SeqCst => (plain, true),
            _ => (order, false),
        }
    }

    fn finish(fenced: bool) {
        if fenced {
            fence(Ordering::SeqCst);
        }
    }

    macro_rules! atomics {
        ($($name:ident: $value:ty, [$($operation:ident),*];)*) => {$(
            /// As the one of the same name in `core`.
            #[derive(Debug)]
            pub struct $name(loom::sync::atomic::$name);

            #[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `core`")]
            impl $name {
                pub fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                pub fn load(&self, order: Ordering) -> $value {
                    self.0.load(match order {
                        Ordering::SeqCst => Ordering::Acquire,
                        order => order,
                    })
                }

                pub fn store(&self, value: $value, order: Ordering) {
                    let (order, fenced) = write_order(order, Ordering::Release);
                    self.0.store(value, order);
                    finish(fenced);
                }

                pub fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    let (success, fenced) = write_order(success, Ordering::AcqRel);
                    let failure = match failure {
                        Ordering::SeqCst => Ordering::Acquire,
                        order => order,
                    };
                    let outcome = self.0.compare_exchange(old, new, success, failure);
                    finish(fenced);
                    outcome
                }

                pub fn fetch_update(
                    &self,
                    success: Ordering,
                    failure: Ordering,
                    mut update: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    let mut seen = self.load(failure);
                    while let Some(new) = update(seen) {
                        match self.compare_exchange(seen, new, success, failure) {
                            Ok(_) => return Ok(seen),
                            Err(now) => seen = now,
                        }
                    }
                    Err(seen)
                }

                $(pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                    let (order, fenced) = write_order(order, Ordering::AcqRel);
                    let before = self.0.$operation(value, order);
                    finish(fenced);
                    before
                })*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new(Default::default())
                }
            }
        )*};
    }

    atomics! {
        AtomicBool: bool, [swap, fetch_and, fetch_or];
        AtomicI32: i32, [swap, fetch_add, fetch_sub];
        AtomicU8: u8, [swap, fetch_max];
        AtomicU16: u16, [swap, fetch_add];
        AtomicU32: u32, [swap, fetch_add, fetch_sub, fetch_and, fetch_or];
        AtomicU64: u64, [swap, fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max];
        AtomicUsize: usize, [swap, fetch_add, fetch_sub];
    }
}

/// As `spin`'s.
#[derive(Debug, Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

/// As `spin`'s.
pub type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

#[allow(missing_docs, clippy::missing_panics_doc, reason = "as in `spin`")]
impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("nobody panics with a lock held")
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}
