//! All domains, by number.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicU16, Ordering};
use crate::types::DomId;

/// All domains that have a number.
pub struct DomainTable<M: Machine> {
    domains: RwLock<BTreeMap<DomId, Arc<Domain<M>>>>,
    /// The number given out last.
    last: AtomicU16,
}

impl<M: Machine> Default for DomainTable<M> {
    fn default() -> Self {
        Self {
            domains: RwLock::new(BTreeMap::new()),
            last: AtomicU16::new(0),
        }
    }
}

impl<M: Machine> DomainTable<M> {
    /// The domain with this number.
    pub fn get(&self, id: DomId) -> Option<Arc<Domain<M>>> {
        self.domains.read().get(&id).cloned()
    }

    /// Adds a domain; gives it back if its number is taken.
    pub fn insert(&self, domain: Arc<Domain<M>>) -> Result<(), Arc<Domain<M>>> {
        let mut domains = self.domains.write();
        if domains.contains_key(&domain.id) {
            return Err(domain);
        }
        domains.insert(domain.id, domain);
        Ok(())
    }

    /// Takes a domain out; its number is free again. Nothing happens if it is out already, though its number may be
    /// another's by now.
    pub fn remove(&self, domain: &Domain<M>) {
        let mut domains = self.domains.write();
        let is_it = |found: &Arc<Domain<M>>| core::ptr::eq(Arc::as_ptr(found), domain);
        if domains.get(&domain.id).is_some_and(is_it) {
            domains.remove(&domain.id);
        }
    }

    /// A number that no domain has, the first one after `last` (wrapping round, never 0).
    pub fn free_id(&self, last: DomId) -> Option<DomId> {
        let domains = self.domains.read();
        let after = (last.0.saturating_add(1)..DomId::FIRST_RESERVED).map(DomId);
        let before = (1..=last.0.min(DomId::FIRST_RESERVED - 1)).map(DomId);
        after.chain(before).find(|id| !domains.contains_key(id))
    }

    /// A number for a new domain: the first free one after the one given out last, so that a
    /// number is not used again soon.
    pub fn next_id(&self) -> Option<DomId> {
        let id = self.free_id(DomId(self.last.load(Ordering::Relaxed)))?;
        self.last.store(id.0, Ordering::Relaxed);
        Some(id)
    }

    /// All domains from number `first` on, in ascending order. It takes no memory and holds no lock from one to the next.
    pub fn from(&self, first: DomId) -> impl Iterator<Item = Arc<Domain<M>>> + '_ {
        let mut next = Some(first);
        core::iter::from_fn(move || {
            let domain = self.after(next?)?;
            next = domain.id.0.checked_add(1).map(DomId);
            Some(domain)
        })
    }

    fn after(&self, first: DomId) -> Option<Arc<Domain<M>>> {
        let domains = self.domains.read();
        domains.range(first..).next().map(|(_, d)| Arc::clone(d))
    }
}
