//! One thing at a time for each domain, and for each name.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use uuid::Uuid;

/// A lock for each UUID. It orders starting, ending and restarting of one domain.
#[derive(Default)]
pub(super) struct Locks {
    locks: Mutex<HashMap<Uuid, Arc<AsyncMutex<()>>>>,
}

impl Locks {
    /// Waits for its turn.
    pub(super) async fn take(&self, uuid: Uuid) -> OwnedMutexGuard<()> {
        self.get(uuid).lock_owned().await
    }

    /// Takes the lock if nobody has it.
    pub(super) fn try_take(&self, uuid: Uuid) -> Option<OwnedMutexGuard<()>> {
        self.get(uuid).try_lock_owned().ok()
    }

    fn get(&self, uuid: Uuid) -> Arc<AsyncMutex<()>> {
        let mut locks = lock(&self.locks);
        locks.retain(|_, l| Arc::strong_count(l) > 1);
        Arc::clone(locks.entry(uuid).or_default())
    }
}

/// Names that are taken by domains which are not there yet.
#[derive(Default)]
pub(super) struct Names {
    taken: Mutex<HashSet<String>>,
}

/// A name that nobody else may use until this is dropped.
pub(super) struct Reservation {
    names: Arc<Names>,
    name: String,
}

impl Names {
    /// Reserves a name; `None` if somebody else has.
    pub(super) fn reserve(self: &Arc<Self>, name: &str) -> Option<Reservation> {
        lock(&self.taken)
            .insert(name.to_owned())
            .then(|| Reservation {
                names: Arc::clone(self),
                name: name.to_owned(),
            })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.names.taken).remove(&self.name);
    }
}

/// Locks without caring for panics: none of the data can be half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_reserved_once() {
        let names = Arc::new(Names::default());
        let first = names.reserve("demo");
        assert!(first.is_some() && names.reserve("demo").is_none());
        assert!(names.reserve("other").is_some());
        drop(first);
        assert!(names.reserve("demo").is_some());
    }

    #[test]
    fn locks_are_by_uuid_and_forgotten() {
        let locks = Locks::default();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let held = locks.try_take(a).unwrap();
        assert!(locks.try_take(a).is_none() && locks.try_take(b).is_some());
        drop(held);
        assert!(locks.try_take(a).is_some());
        assert!(lock(&locks.locks).len() <= 1);
    }
}
