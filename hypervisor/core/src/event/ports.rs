//! The table of a domain's ports and what each is bound to. Data only: what an operation means to
//! the guest is in the modules beside this one.

use alloc::vec::Vec;

use oxen_abi::errno::Errno;

use crate::speculation;
use crate::types::{DomId, Port, VcpuId};

/// What a port is bound to. `P` is the handle of a peer domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding<P> {
    /// To nothing: the port is not in use.
    Free,
    /// It waits for `remote` to bind to it.
    Unbound {
        /// Who may bind.
        remote: DomId,
    },
    /// One end of a channel.
    Interdomain {
        /// The domain at the other end.
        peer: P,
        /// The other end's port there.
        port: Port,
    },
    /// A physical interrupt.
    Pirq(u32),
    /// A virtual interrupt.
    Virq(u32),
    /// Inter-processor events within the domain.
    Ipi,
}

/// A port.
#[derive(Clone, Debug)]
pub(crate) struct Entry<P> {
    /// What it is bound to.
    pub(crate) binding: Binding<P>,
    /// The vCPU that is notified.
    pub(crate) vcpu: VcpuId,
    /// FIFO priority, 0 (highest) to 15.
    pub(crate) priority: u8,
    /// An event came while the guest has no event word for the port yet (FIFO).
    pub(crate) pending: bool,
    /// vCPU and priority of the queue that the port was last put on (FIFO).
    pub(crate) queue: Option<(VcpuId, u8)>,
}

impl<P> Entry<P> {
    const fn free() -> Self {
        Self {
            binding: Binding::Free,
            vcpu: VcpuId(0),
            priority: DEFAULT_PRIORITY,
            pending: false,
            queue: None,
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "it is 7")]
pub(crate) const DEFAULT_PRIORITY: u8 = oxen_abi::event_channel::EVTCHN_FIFO_PRIORITY_DEFAULT as u8;

/// Ports by which the table grows.
const BUCKET: usize = 64;
/// How many busy ports are passed over in search of a free one: a guest that leaves words linked
/// only makes itself wait for them.
const MOST_BUSY: u32 = 1024;

/// Ports side by side, and how many of them are in use.
#[derive(Debug)]
struct Bucket<P> {
    entries: Vec<Entry<P>>,
    in_use: usize,
}

/// A domain's ports. Port 0 is never valid. The table grows with use, up to a limit, and never
/// shrinks, so that a port number stays in reach of its event word.
#[derive(Debug)]
pub(crate) struct PortTable<P> {
    buckets: Vec<Bucket<P>>,
    /// No port below this one is free.
    first_free: u32,
    /// The highest port that may be used.
    limit: u32,
    /// Ports that are not free.
    in_use: u32,
}

impl<P> PortTable<P> {
    /// An empty table of ports 1 to `limit`.
    pub(crate) const fn new(limit: u32) -> Self {
        Self {
            buckets: Vec::new(),
            first_free: 1,
            limit,
            in_use: 0,
        }
    }

    /// A port in use; `EINVAL` for any other number.
    pub(crate) fn get(&self, port: Port) -> Result<&Entry<P>, Errno> {
        let index = port.0 as usize;
        speculation::get(&self.buckets, index / BUCKET)
            .and_then(|bucket| bucket.entries.get(index % BUCKET))
            .filter(|entry| !matches!(entry.binding, Binding::Free))
            .ok_or(Errno::EINVAL)
    }

    /// A port in use, to be changed.
    pub(crate) fn get_mut(&mut self, port: Port) -> Result<&mut Entry<P>, Errno> {
        self.slot(port.0)
            .filter(|entry| !matches!(entry.binding, Binding::Free))
            .ok_or(Errno::EINVAL)
    }

    /// Whether the number has a place in the table, in use or free; 0 always has.
    pub(crate) fn has_place(&self, port: Port) -> bool {
        port.0 == 0 || port.0 < self.places()
    }

    /// One more than the highest port that has a place in the table.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.buckets.len() * BUCKET).unwrap_or(u32::MAX)
    }

    /// Ports in use.
    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Takes the lowest free port below `abi_limit` that is not `busy` (still linked in one of
    /// the guest's queues) and binds it. `ENOSPC` when there is none, `ENOMEM` when the table
    /// cannot grow.
    pub(crate) fn allocate(
        &mut self,
        binding: Binding<P>,
        vcpu: VcpuId,
        abi_limit: u32,
        busy: impl Fn(Port) -> bool,
    ) -> Result<Port, Errno> {
        let end = abi_limit.min(self.limit.saturating_add(1));
        let (mut lowest_busy, mut count) = (None, 0);
        let mut number = self.first_free.max(1);
        while number < end {
            if number >= self.places() {
                self.grow()?;
            }
            if self
                .bucket(number)
                .is_some_and(|bucket| bucket.in_use == bucket.entries.len())
            {
                number = next_bucket(number);
                continue;
            }
            let Some(entry) = self.slot(number) else {
                return Err(Errno::ENOSPC);
            };
            if matches!(entry.binding, Binding::Free) {
                if !busy(Port(number)) {
                    *entry = Entry {
                        queue: entry.queue,
                        binding,
                        vcpu,
                        ..Entry::free()
                    };
                    self.first_free = lowest_busy.unwrap_or(number + 1);
                    self.count_use(number, true);
                    return Ok(Port(number));
                }
                lowest_busy = lowest_busy.or(Some(number));
                count += 1;
                if count == MOST_BUSY {
                    break;
                }
            }
            number += 1;
        }
        Err(Errno::ENOSPC)
    }

    /// Sets a port free and returns what it was bound to. Its place in a queue is remembered: the
    /// guest may not have taken it off yet.
    pub(crate) fn free(&mut self, port: Port) -> Result<Binding<P>, Errno> {
        let entry = self.get_mut(port)?;
        let queue = entry.queue;
        let old = core::mem::replace(
            entry,
            Entry {
                queue,
                ..Entry::free()
            },
        );
        self.first_free = self.first_free.min(port.0);
        self.count_use(port.0, false);
        Ok(old.binding)
    }

    /// The first port in use from number `from` on.
    pub(crate) fn next_in_use(&self, from: u32) -> Option<Port> {
        let mut number = from.max(1);
        while let Some(bucket) = self.bucket(number) {
            if bucket.in_use == 0 {
                number = next_bucket(number);
                continue;
            }
            if self.get(Port(number)).is_ok() {
                return Some(Port(number));
            }
            number += 1;
        }
        None
    }

    /// All ports in use from number `from` on.
    pub(crate) fn iter_from(&self, from: u32) -> impl Iterator<Item = (Port, &Entry<P>)> {
        let mut next = from;
        core::iter::from_fn(move || {
            let port = self.next_in_use(next)?;
            next = port.0 + 1;
            self.get(port).ok().map(|entry| (port, entry))
        })
    }

    fn bucket(&self, port: u32) -> Option<&Bucket<P>> {
        self.buckets.get(port as usize / BUCKET)
    }

    /// Keeps the counts when a port is taken or freed.
    fn count_use(&mut self, port: u32, taken: bool) {
        let Some(bucket) = self.buckets.get_mut(port as usize / BUCKET) else {
            return;
        };
        if taken {
            bucket.in_use += 1;
            self.in_use += 1;
        } else {
            bucket.in_use -= 1;
            self.in_use -= 1;
        }
    }

    /// A place in the table, in use or free.
    pub(crate) fn slot(&mut self, port: u32) -> Option<&mut Entry<P>> {
        let index = port as usize;
        if index == 0 {
            return None;
        }
        speculation::get_mut(&mut self.buckets, index / BUCKET)?
            .entries
            .get_mut(index % BUCKET)
    }

    fn grow(&mut self) -> Result<(), Errno> {
        let mut entries = Vec::new();
        entries
            .try_reserve_exact(BUCKET)
            .map_err(|_| Errno::ENOMEM)?;
        entries.resize_with(BUCKET, Entry::free);
        self.buckets.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.buckets.push(Bucket { entries, in_use: 0 });
        Ok(())
    }
}

/// The first port of the bucket after a port's own.
fn next_bucket(port: u32) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "it is 64")]
    const SIZE: u32 = BUCKET as u32;
    (port / SIZE + 1).saturating_mul(SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(limit: u32) -> PortTable<()> {
        PortTable::new(limit)
    }

    fn take(table: &mut PortTable<()>) -> Result<Port, Errno> {
        table.allocate(Binding::Ipi, VcpuId(0), 4096, |_| false)
    }

    #[test]
    fn lowest_free_port_first() {
        let mut ports = table(1023);
        let taken: std::vec::Vec<_> = (0..300).map(|_| take(&mut ports).unwrap().0).collect();
        assert_eq!(taken, (1..=300).collect::<std::vec::Vec<_>>());
        ports.free(Port(7)).unwrap();
        ports.free(Port(200)).unwrap();
        assert_eq!(take(&mut ports), Ok(Port(7)));
        assert_eq!(take(&mut ports), Ok(Port(200)));
        assert_eq!(take(&mut ports), Ok(Port(301)));
        assert_eq!(ports.in_use(), 301);
    }

    #[test]
    fn limits_hold() {
        let mut ports = table(3);
        for _ in 0..3 {
            take(&mut ports).unwrap();
        }
        assert_eq!(take(&mut ports), Err(Errno::ENOSPC));
        let mut ports = table(u32::MAX);
        for _ in 1..4096 {
            take(&mut ports).unwrap();
        }
        assert_eq!(take(&mut ports), Err(Errno::ENOSPC));
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let mut ports = table(1023);
        take(&mut ports).unwrap();
        for port in [0, 2, 63, 64, u32::MAX] {
            assert_eq!(ports.get(Port(port)).map(|_| ()), Err(Errno::EINVAL));
            assert_eq!(ports.free(Port(port)), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn busy_ports_are_left_alone_until_they_are_not() {
        let mut ports = table(1023);
        let busy = |port: Port| port.0 == 1;
        let first = ports.allocate(Binding::Ipi, VcpuId(0), 4096, busy);
        assert_eq!(first, Ok(Port(2)));
        assert_eq!(take(&mut ports), Ok(Port(1)));
        assert_eq!(take(&mut ports), Ok(Port(3)));
    }
}
