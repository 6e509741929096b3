//! The log of the frames that a domain writes to (`XEN_DOMCTL_SHADOW_OP`).

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::domctl as abi;
use oxen_abi::grant_table as grant;
use oxen_abi::xen::DOMID_SELF;

use super::sharing::Peer;
use super::{free_pages, memory_is_back};
use crate::conformance::version::is_oxen;
use crate::conformance::{
    Outcome, Suite, copy, copy_end, ensure, good, map, place, same, skip, unmap,
};
use crate::domain::control::on_domain;
use crate::peer;
use crate::sys::frame::Frame;
use crate::sys::{hypercall, probe};

/// Words of a bitmap for 32,768 frames, more than the peer has.
const WORDS: usize = 512;

/// One operation; returns its counts of faults and of dirty frames.
fn operate(
    id: u16,
    op: u32,
    mode: u32,
    bitmap: Option<&mut [u64; WORDS]>,
) -> hypercall::Result<(u32, u32)> {
    let mut arg = abi::ShadowOp {
        op,
        mode,
        pages: WORDS as u64 * 64,
        dirty_bitmap: bitmap.map_or(0, |words| hypercall::slice_address(words)),
        ..abi::ShadowOp::default()
    };
    on_domain(abi::XEN_DOMCTL_SHADOW_OP, id, &mut arg)?;
    Ok((arg.stats.fault_count, arg.stats.dirty_count))
}

/// Begins to log.
pub(crate) fn enable(id: u16) -> hypercall::Result<(u32, u32)> {
    operate(id, abi::XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, 0, None)
}

/// Ends a round, without a look at what it has.
pub(crate) fn end_round(id: u16) -> hypercall::Result<(u32, u32)> {
    operate(id, abi::XEN_DOMCTL_SHADOW_OP_CLEAN, 0, None)
}

fn off(id: u16) -> hypercall::Result<(u32, u32)> {
    operate(id, abi::XEN_DOMCTL_SHADOW_OP_OFF, 0, None)
}

/// A peer whose writes are looked at.
struct Watched {
    peer: Peer,
    first: u64,
    granted: u64,
    /// What the caller's buffer is full of before each look.
    bitmap: [u64; WORDS],
}

impl Watched {
    fn start() -> Outcome<Self> {
        let mut this = Self {
            peer: Peer::start()?,
            first: 0,
            granted: 0,
            bitmap: [0; WORDS],
        };
        this.first = this.told(peer::REPORT_PAGES, 0)?;
        this.granted = this.told(peer::REPORT_GRANTED, 0)?;
        Ok(this)
    }

    fn id(&self) -> u16 {
        self.peer.domain.id
    }

    /// Gives a command with a value and returns the value that comes back.
    fn told(&mut self, command: u64, value: u64) -> Outcome<u64> {
        let place = self.peer.domain.shared(peer::VALUE);
        place.store(value, Ordering::SeqCst);
        self.peer.ask(command)?;
        Ok(self.peer.domain.shared(peer::VALUE).load(Ordering::SeqCst))
    }

    fn touch(&mut self, mask: u64) -> Outcome {
        same!(self.told(peer::TOUCH, mask)?, 0);
        Ok(())
    }

    fn is_dirty(&self, pfn: u64) -> bool {
        let word = self
            .bitmap
            .get(usize::try_from(pfn / 64).unwrap_or(usize::MAX));
        word.is_some_and(|word| word >> (pfn % 64) & 1 != 0)
    }

    /// Which of the peer's frames the log has.
    fn look(&mut self, op: u32) -> Outcome<u64> {
        self.bitmap = [u64::MAX; WORDS];
        let id = self.id();
        good!(operate(id, op, 0, Some(&mut self.bitmap)));
        ensure!(
            !self.is_dirty(WORDS as u64 * 64 - 1),
            "the bitmap was not cleared"
        );
        Ok((0..peer::PAGES as u64).fold(0, |mask, number| {
            mask | u64::from(self.is_dirty(self.first + number)) << number
        }))
    }

    fn clean(&mut self) -> Outcome<u64> {
        self.look(abi::XEN_DOMCTL_SHADOW_OP_CLEAN)
    }

    fn peek(&mut self) -> Outcome<u64> {
        self.look(abi::XEN_DOMCTL_SHADOW_OP_PEEK)
    }
}

fn rounds(s: &mut Suite<'_>) {
    s.check("pair/log_of_writes", || {
        let mut it = Watched::start()?;
        let id = it.id();
        same!(enable(id), Ok((0, 0)));
        same!(enable(id), Err(Errno::EINVAL));
        it.clean()?;
        same!(it.clean()?, 0);
        it.touch(0x8000_0000_0000_0005)?;
        same!(it.peek()?, 0x8000_0000_0000_0005);
        it.touch(0x100)?;
        same!(it.peek()?, 0x8000_0000_0000_0105);
        same!(it.clean()?, 0x8000_0000_0000_0105);
        same!(it.clean()?, 0);
        same!(it.peek()?, 0);
        // The same frames again, and reads, which are none.
        it.touch(0x104)?;
        same!(it.clean()?, 0x104);
        it.touch(0)?;
        same!(it.clean()?, 0);
        let mut mask = 0x1234_5678_9abc_def1u64;
        for _ in 0..30 {
            mask = mask.rotate_left(7) ^ mask >> 3;
            it.touch(mask)?;
            same!(it.clean()?, mask);
        }
        it.touch(7)?;
        let (faults, dirty) = good!(operate(id, abi::XEN_DOMCTL_SHADOW_OP_PEEK, 0, None));
        ensure!(faults >= 3 && dirty >= 3, "{faults} faults, {dirty} dirty");
        let (_, dirty) = good!(operate(id, abi::XEN_DOMCTL_SHADOW_OP_CLEAN, 1, None));
        ensure!(dirty >= 3, "{dirty} dirty");
        same!(it.peek()?, 0);
        same!(off(id), Ok((0, 0)));
        it.touch(u64::MAX)?;
        // A new log knows nothing of the old one.
        same!(enable(id), Ok((0, 0)));
        same!(it.clean()?, 0);
        it.touch(2)?;
        same!(it.clean()?, 2);
        it.peer.end()
    });
    s.check("pair/log_of_writes_for_the_guest", || {
        let mut it = Watched::start()?;
        let id = it.id();
        good!(enable(id));
        it.clean()?;
        // dom0 writes to the granted frame: a copy, then a mapping that ends.
        let ours = Frame::new();
        let (from, to) = (
            copy_end(ours.mfn(), DOMID_SELF, 0),
            copy_end(u64::from(peer::WRITABLE), id, 0),
        );
        same!(
            copy(from, to, 8, grant::GNTCOPY_DEST_GREF)?,
            grant::GNTST_OKAY
        );
        it.clean()?;
        ensure!(it.is_dirty(it.granted), "the copy is missing");
        it.clean()?;
        ensure!(!it.is_dirty(it.granted), "nobody wrote to it");
        let place = place()?;
        let (status, handle) = map(id, peer::WRITABLE, place.address(), grant::GNTMAP_HOST_MAP)?;
        same!(status, grant::GNTST_OKAY);
        good!(probe::write(place.address(), 41));
        same!(unmap(place.address(), handle)?, grant::GNTST_OKAY);
        it.clean()?;
        ensure!(
            it.is_dirty(it.granted),
            "the write through the mapping is missing"
        );
        it.peer.end()
    });
}

fn tables(s: &mut Suite<'_>) {
    s.check("pair/page_tables_while_writes_are_logged", || {
        let mut it = Watched::start()?;
        same!(it.told(peer::REMAP, 0)?, 0);
        let id = it.id();
        good!(enable(id));
        same!(it.told(peer::REMAP, 0)?, 0);
        it.clean()?;
        same!(it.told(peer::REMAP, 0)?, 0);
        same!(it.clean()?, u64::MAX);
        it.touch(1)?;
        same!(off(id), Ok((0, 0)));
        same!(it.told(peer::REMAP, 0)?, 0);
        it.touch(1)?;
        it.peer.end()
    });
    s.check("pair/a_domain_dies_while_it_is_logged", || {
        Watched::start()?.peer.destroy()?;
        let before = free_pages()?;
        let mut it = Watched::start()?;
        good!(enable(it.id()));
        it.touch(u64::MAX)?;
        it.clean()?;
        it.peer.tell(peer::SPIN)?;
        it.peer.destroy()?;
        memory_is_back(before)
    });
}

fn refused(s: &mut Suite<'_>) {
    s.check("pair/log_of_writes_refused", || {
        let einval = Err(Errno::EINVAL);
        same!(enable(0), einval);
        same!(off(0x1234), Err(Errno::ESRCH));
        let it = Watched::start()?;
        let id = it.id();
        same!(off(id), Ok((0, 0)));
        for (op, mode) in [
            (
                abi::XEN_DOMCTL_SHADOW_OP_ENABLE,
                abi::XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE,
            ),
            (abi::XEN_DOMCTL_SHADOW_OP_CLEAN, 2),
            (abi::XEN_DOMCTL_SHADOW_OP_PEEK, 1 << 31),
            (77, 0),
        ] {
            same!(operate(id, op, mode, None), einval);
        }
        let log_dirty = abi::XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY;
        same!(
            operate(id, abi::XEN_DOMCTL_SHADOW_OP_ENABLE, log_dirty, None),
            Ok((0, 0))
        );
        // A bitmap where nothing is mapped: no harm, and no more than that.
        let mut arg = abi::ShadowOp {
            op: abi::XEN_DOMCTL_SHADOW_OP_CLEAN,
            pages: 1 << 20,
            dirty_bitmap: 0x1000,
            ..abi::ShadowOp::default()
        };
        same!(
            on_domain(abi::XEN_DOMCTL_SHADOW_OP, id, &mut arg),
            Err(Errno::EFAULT)
        );
        same!(
            operate(id, abi::XEN_DOMCTL_SHADOW_OP_PEEK, 0, None).map(|_| ()),
            Ok(())
        );
        it.peer.end()
    });
}

/// All checks of this kind.
pub(super) fn run(s: &mut Suite<'_>) {
    // Debian's Xen is built without shadow paging.
    let mut there = true;
    s.check("pair/log_of_writes_is_there", || {
        let peer = Peer::start()?;
        let outcome = enable(peer.domain.id);
        peer.destroy()?;
        if outcome == Err(Errno::EOPNOTSUPP) && !is_oxen()? {
            there = false;
            skip!("this Xen has no log of what PV domains write");
        }
        same!(outcome, Ok((0, 0)));
        Ok(())
    });
    if there {
        rounds(s);
        tables(s);
        refused(s);
    }
}
