//! The simulated machine.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use oxen_abi::xen::VcpuTimeInfo;
// The machine's own locks are no part of what is tested.
use spin::Mutex;

use crate::machine::{Base, CpuMask, Fault, GsiMode, IoSize, Machine, SegmentState};
use crate::microcode::Vendor;
use crate::mm::frame::Frame;
use crate::mm::pte;
use crate::sync::Once;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::testing::point;
use crate::types::{CpuId, Mfn};

/// First address of the running guest's memory, whichever guest runs.
pub(crate) const GUEST_BASE: u64 = 0x1_0000;
/// Bytes of it.
pub(crate) const GUEST_SIZE: usize = 0x4_0000;
/// Device memory: one megabyte from this physical address on.
pub(crate) const MMIO: u64 = 0xfeb0_0000;
const MMIO_SIZE: u64 = 0x10_0000;
const GSIS: u32 = 24;
/// Functions with names.
const SYMBOLS: [(u64, &str); 2] = [(0x1000, "first"), (0x2000, "second")];

/// How a redirection entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    /// Trigger and polarity.
    pub(crate) mode: GsiMode,
    /// Where it goes.
    pub(crate) cpu: CpuId,
    /// With which vector.
    pub(crate) vector: u8,
    /// Whether it is masked.
    pub(crate) masked: bool,
}

/// A machine in memory.
pub(crate) struct Sim {
    /// Count and type words.
    frames: &'static [(AtomicU64, AtomicU32)],
    /// Two views of a frame's contents, which are not the same memory here: no code under test
    /// uses both on one frame.
    pages: &'static [Once<Box<[AtomicU64; 512]>>],
    pages32: &'static [Once<Box<[AtomicU32; 1024]>>],
    m2p: Vec<AtomicU64>,
    guest: Mutex<Vec<u8>>,
    /// System time, set by tests.
    pub(crate) time: AtomicU64,
    /// By how much each look at the time moves it on.
    pub(crate) step: AtomicU64,
    /// The deadline last set.
    pub(crate) deadline: Mutex<Option<u64>>,
    /// CPUs kicked, in order.
    pub(crate) kicks: Mutex<Vec<CpuId>>,
    /// Local flushes and rounds of remote ones.
    pub(crate) flushes: AtomicU64,
    /// What happens on another CPU while the next flush of others is under way.
    pub(crate) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Bytes written to the console.
    pub(crate) console: Mutex<Vec<u8>>,
    vectors: Mutex<BTreeMap<(u16, u8), ()>>,
    /// Redirection entries.
    pub(crate) routes: Mutex<BTreeMap<u32, Route>>,
    /// Interrupts acknowledged at the LAPIC.
    pub(crate) eois: AtomicU64,
    /// Configuration space by segment, bus, devfn.
    pub(crate) pci: Mutex<BTreeMap<(u16, u8, u8), Vec<u8>>>,
    /// Device memory, by address of the four bytes.
    pub(crate) mmio: Mutex<BTreeMap<u64, u32>>,
    /// Microcode of the two CPUs.
    pub(crate) microcode: Mutex<SimMicrocode>,
}

std::thread_local! {
    /// Which CPU the thread is.
    pub(crate) static CPU: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// Microcode of the two CPUs. An update's first four bytes are its revision.
#[derive(Default)]
pub(crate) struct SimMicrocode {
    /// Revision of each CPU; one for both if they are threads of a core.
    pub(crate) revisions: [u32; 2],
    /// They are.
    pub(crate) one_core: bool,
    /// Which of them take no update.
    pub(crate) refuse: [bool; 2],
    /// CPUs that were told to load one, in order.
    pub(crate) loads: Vec<usize>,
}

impl SimMicrocode {
    fn revision(&mut self) -> &mut u32 {
        let cpu = if self.one_core { 0 } else { CPU.get() };
        &mut self.revisions[cpu]
    }
}

fn leak<T>(count: u64, make: impl Fn() -> T) -> &'static [T] {
    Box::leak(
        (0..count)
            .map(|_| make())
            .collect::<Vec<_>>()
            .into_boxed_slice(),
    )
}

impl Sim {
    /// `frames` frames of RAM from 0 on.
    pub(crate) fn new(frames: u64) -> Self {
        Self {
            frames: leak(frames, Default::default),
            pages: leak(frames, Once::new),
            pages32: leak(frames, Once::new),
            m2p: (0..frames).map(|_| AtomicU64::new(u64::MAX)).collect(),
            guest: Mutex::new(alloc::vec![0; GUEST_SIZE]),
            time: AtomicU64::new(0),
            step: AtomicU64::new(0),
            deadline: Mutex::new(None),
            kicks: Mutex::new(Vec::new()),
            flushes: AtomicU64::new(0),
            meanwhile: Mutex::new(None),
            console: Mutex::new(Vec::new()),
            vectors: Mutex::new(BTreeMap::new()),
            routes: Mutex::new(BTreeMap::new()),
            eois: AtomicU64::new(0),
            pci: Mutex::new(BTreeMap::new()),
            mmio: Mutex::new(BTreeMap::new()),
            microcode: Mutex::default(),
        }
    }

    /// Vectors handed out and not given back.
    pub(crate) fn vectors_in_use(&self) -> usize {
        self.vectors.lock().len()
    }

    fn index(&self, mfn: Mfn) -> Option<usize> {
        usize::try_from(mfn.0)
            .ok()
            .filter(|index| *index < self.frames.len())
    }

    fn allows(&self, index: usize, level: u8, value: u64) -> bool {
        let hypervisor = pte::present(value)
            && self
                .frame(pte::frame(value))
                .is_some_and(|frame| frame.is_hypervisor());
        !(hypervisor || (level == 4 && pte::is_hypervisor_slot(index)))
    }

    fn guest_range(addr: u64, len: usize) -> Result<core::ops::Range<usize>, Fault> {
        let start = addr.checked_sub(GUEST_BASE).ok_or(Fault)?;
        let start = usize::try_from(start).map_err(|_| Fault)?;
        let end = start
            .checked_add(len)
            .filter(|end| *end <= GUEST_SIZE)
            .ok_or(Fault)?;
        Ok(start..end)
    }
}

impl Machine for Sim {
    type Fpu = ();

    fn max_frame(&self) -> Mfn {
        Mfn(self.frames.len() as u64)
    }
    fn frame(&self, mfn: Mfn) -> Option<Frame> {
        let (count, types) = self.frames.get(self.index(mfn)?)?;
        Some(Frame::new(count, types))
    }
    fn page(&self, mfn: Mfn) -> Option<&'static [AtomicU64; 512]> {
        self.pages
            .get(self.index(mfn)?)
            .map(|page| &**page.call_once(|| Box::new(core::array::from_fn(|_| AtomicU64::new(0)))))
    }
    fn store_byte(&self, word: &AtomicU64, byte: usize, value: u8) {
        let shift = byte % 8 * 8;
        let _ = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
            Some(word & !(0xff << shift) | u64::from(value) << shift)
        });
    }
    fn page32(&self, mfn: Mfn) -> Option<&'static [AtomicU32; 1024]> {
        self.pages32
            .get(self.index(mfn)?)
            .map(|page| &**page.call_once(|| Box::new(core::array::from_fn(|_| AtomicU32::new(0)))))
    }
    fn read_frame(&self, mfn: Mfn, offset: usize, bytes: &mut [u8]) -> bool {
        let Some(page) = self.page(mfn) else {
            return false;
        };
        if offset + bytes.len() > 4096 {
            return false;
        }
        for (at, byte) in (offset..).zip(bytes) {
            *byte = page[at / 8].load(Ordering::Acquire).to_le_bytes()[at % 8];
        }
        true
    }
    fn write_frame(&self, mfn: Mfn, offset: usize, bytes: &[u8]) -> bool {
        let Some(page) = self.page(mfn) else {
            return false;
        };
        if offset + bytes.len() > 4096 {
            return false;
        }
        for (at, byte) in (offset..).zip(bytes) {
            let mut word = page[at / 8].load(Ordering::Acquire).to_le_bytes();
            word[at % 8] = *byte;
            page[at / 8].store(u64::from_le_bytes(word), Ordering::Release);
        }
        true
    }
    fn zero_page(&self, mfn: Mfn) {
        let Some(index) = self.index(mfn) else {
            return;
        };
        // Contents come into being, zeroed, when they are first looked at.
        for word in self.pages[index]
            .get()
            .into_iter()
            .flat_map(|page| page.iter())
        {
            word.store(0, Ordering::Release);
        }
        for word in self.pages32[index]
            .get()
            .into_iter()
            .flat_map(|page| page.iter())
        {
            word.store(0, Ordering::Release);
        }
    }
    fn copy_page(&self, to: Mfn, from: Mfn) {
        let (Some(to), Some(from)) = (self.page(to), self.page(from)) else {
            return;
        };
        for (to, from) in to.iter().zip(from) {
            to.store(from.load(Ordering::Acquire), Ordering::Release);
        }
    }
    fn with_unowned_frames(&self, first: Mfn, count: u64, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        let frames = || (0..count).map(|n| first.offset(n));
        if !frames().all(|mfn| {
            self.frame(mfn)
                .is_some_and(|frame| frame.count().count() == 0)
        }) {
            return false;
        }
        let mut bytes = Vec::new();
        for mfn in frames() {
            let mut page = [0; 4096];
            self.read_frame(mfn, 0, &mut page);
            bytes.extend_from_slice(&page);
        }
        fill(&mut bytes);
        for (mfn, page) in frames().zip(bytes.chunks(4096)) {
            self.write_frame(mfn, 0, page);
        }
        true
    }
    fn set_m2p(&self, mfn: Mfn, pfn: u64) {
        if let Some(index) = self.index(mfn) {
            self.m2p[index].store(pfn, Ordering::Release);
        }
    }
    fn m2p(&self, mfn: Mfn) -> u64 {
        self.index(mfn)
            .map_or(u64::MAX, |index| self.m2p[index].load(Ordering::Acquire))
    }
    fn m2p_frame(&self, _piece: u64) -> Option<Mfn> {
        None
    }

    fn install_pte(&self, table: Mfn, index: usize, level: u8, value: u64) -> bool {
        let slot = self.page(table).and_then(|page| page.get(index));
        match slot {
            Some(slot) if self.allows(index, level, value) => {
                slot.store(value, Ordering::Release);
                true
            }
            _ => false,
        }
    }
    fn cmpxchg_pte(
        &self,
        table: Mfn,
        index: usize,
        level: u8,
        old: u64,
        new: u64,
    ) -> Result<(), u64> {
        let slot = self
            .page(table)
            .and_then(|page| page.get(index))
            .ok_or(old)?;
        if !self.allows(index, level, new) {
            return Err(old);
        }
        slot.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }
    fn cmpxchg_leaf(&self, slot: &AtomicU64, old: u64, new: u64) -> Result<(), u64> {
        if !self.allows(0, 1, new) {
            return Err(old);
        }
        slot.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }
    fn fill_hypervisor_slots(&self, _l4: Mfn) {}
    fn load_cr3(&self, _l4: Option<Mfn>) {
        self.flush_tlb_local();
    }
    fn invlpg(&self, _addr: u64) {}
    fn flush_tlb_local(&self) {
        self.flushes.fetch_add(1, Ordering::AcqRel);
    }
    fn flush_cache(&self) {}
    fn relax(&self) {
        std::thread::yield_now();
    }
    fn flush_lines(&self, _mfn: Mfn, _offset: usize, _length: usize) {}

    fn copy_from_guest(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        point();
        let range = Self::guest_range(addr, bytes.len())?;
        bytes.copy_from_slice(&self.guest.lock()[range]);
        Ok(())
    }
    fn copy_to_guest(&self, addr: u64, bytes: &[u8]) -> Result<(), Fault> {
        point();
        let range = Self::guest_range(addr, bytes.len())?;
        self.guest.lock()[range].copy_from_slice(bytes);
        Ok(())
    }

    fn cpus(&self) -> CpuMask {
        let mut cpus = CpuMask::EMPTY;
        cpus.insert(CpuId(0));
        cpus.insert(CpuId(1));
        cpus
    }
    fn cpu_ids(&self, cpu: CpuId) -> (u32, u32) {
        (u32::from(cpu.0), u32::from(cpu.0))
    }
    fn symbol_count(&self) -> usize {
        SYMBOLS.len()
    }
    fn symbol(&self, index: usize) -> Option<(u64, &'static str)> {
        SYMBOLS.get(index).copied()
    }
    fn kick(&self, cpu: CpuId) {
        self.kicks.lock().push(cpu);
    }
    fn flush_others(&self, _cpus: &CpuMask) {
        self.flushes.fetch_add(1, Ordering::AcqRel);
        let meanwhile = self.meanwhile.lock().take();
        if let Some(act) = meanwhile {
            act();
        }
    }

    fn now(&self) -> u64 {
        self.time
            .fetch_add(self.step.load(Ordering::Acquire), Ordering::AcqRel)
    }
    fn time_info(&self) -> VcpuTimeInfo {
        VcpuTimeInfo {
            system_time: self.now(),
            ..VcpuTimeInfo::default()
        }
    }
    fn tsc_khz(&self) -> u64 {
        1_000_000
    }
    fn set_deadline(&self, deadline: Option<u64>) {
        *self.deadline.lock() = deadline;
    }
    fn boot_wallclock(&self) -> u64 {
        1_767_225_600
    }

    fn new_fpu(&self) {}
    fn save_fpu(&self, _fpu: &mut ()) {}
    fn load_fpu(&self, _fpu: &()) {}
    fn fpu_legacy(&self, _fpu: &()) -> [u8; 512] {
        [0; 512]
    }
    fn set_fpu_legacy(&self, _fpu: &mut (), _image: &[u8; 512]) {}
    fn set_xcr0(&self, value: u64) -> bool {
        value & 1 != 0 && value < 8
    }
    fn set_ts(&self, _set: bool) {}
    fn save_segments(&self, _state: &mut SegmentState) {}
    fn load_segments(&self, _state: &SegmentState) -> bool {
        true
    }
    fn swap_gs(&self) {}
    fn set_base(&self, _base: Base, _value: u64) {}
    fn base(&self, _base: Base) -> u64 {
        0
    }
    fn load_user_gs(&self, _selector: u16) -> bool {
        true
    }
    fn map_gdt(&self, _frames: &[Mfn]) {}
    fn set_ldt(&self, _entries: u32) {}
    fn map_ldt_page(&self, _index: usize, _frame: Mfn) {}
    fn load_debug(&self, _values: &[u64; 8]) {}
    fn take_dr6(&self) -> u64 {
        0xffff_0ff0
    }

    fn port_in(&self, _port: u16, size: IoSize) -> u32 {
        size.ones()
    }
    fn port_out(&self, _port: u16, _size: IoSize, _value: u32) {}
    fn cpuid(&self, _leaf: u32, _subleaf: u32) -> [u32; 4] {
        [0; 4]
    }
    fn rdmsr(&self, _msr: u32) -> Option<u64> {
        None
    }
    fn wrmsr(&self, _msr: u32, _value: u64) -> bool {
        false
    }

    fn microcode_revision(&self, _vendor: Vendor) -> u32 {
        *self.microcode.lock().revision()
    }
    fn load_microcode(&self, _vendor: Vendor, update: &[u8]) {
        let mut state = self.microcode.lock();
        let cpu = CPU.get();
        state.loads.push(cpu);
        if !state.refuse[cpu] {
            *state.revision() = u32::from_le_bytes(update[..4].try_into().unwrap());
        }
    }

    fn gsi_count(&self) -> u32 {
        GSIS
    }
    fn isa_irq(&self, irq: u8) -> (u32, GsiMode) {
        let gsi = if irq == 0 { 2 } else { u32::from(irq) };
        (
            gsi,
            GsiMode {
                level: irq == 9,
                active_low: false,
            },
        )
    }
    fn alloc_vector(&self, cpu: CpuId) -> Option<u8> {
        let mut vectors = self.vectors.lock();
        let free = (0x40..0x48).find(|vector| !vectors.contains_key(&(cpu.0, *vector)))?;
        vectors.insert((cpu.0, free), ());
        Some(free)
    }
    fn free_vector(&self, cpu: CpuId, vector: u8) {
        assert!(
            self.vectors.lock().remove(&(cpu.0, vector)).is_some(),
            "vector freed twice"
        );
    }
    fn route_gsi(&self, gsi: u32, mode: GsiMode, cpu: CpuId, vector: u8, masked: bool) -> bool {
        // GSI 4 is the hypervisor's own serial line.
        if gsi >= GSIS || gsi == 4 {
            return false;
        }
        self.routes.lock().insert(
            gsi,
            Route {
                mode,
                cpu,
                vector,
                masked,
            },
        );
        true
    }
    fn mask_gsi(&self, gsi: u32, masked: bool) {
        if let Some(route) = self.routes.lock().get_mut(&gsi) {
            route.masked = masked;
        }
    }
    fn eoi(&self) {
        self.eois.fetch_add(1, Ordering::AcqRel);
    }
    fn msi_message(&self, cpu: CpuId, vector: u8) -> (u64, u32) {
        (0xfee0_0000 | (u64::from(cpu.0) << 12), u32::from(vector))
    }
    fn pci_read(&self, segment: u16, bus: u8, devfn: u8, offset: u16, size: IoSize) -> u32 {
        let devices = self.pci.lock();
        let Some(config) = devices.get(&(segment, bus, devfn)) else {
            return size.ones();
        };
        (0..usize::from(size.bytes()))
            .map(|n| u32::from(config[usize::from(offset) + n]) << (8 * n))
            .sum()
    }
    fn pci_write(&self, segment: u16, bus: u8, devfn: u8, offset: u16, size: IoSize, value: u32) {
        let mut devices = self.pci.lock();
        let Some(config) = devices.get_mut(&(segment, bus, devfn)) else {
            return;
        };
        let bytes = value.to_le_bytes();
        let count = usize::from(size.bytes());
        config[usize::from(offset)..][..count].copy_from_slice(&bytes[..count]);
    }
    fn mmio_read32(&self, addr: u64) -> Option<u32> {
        (MMIO..MMIO + MMIO_SIZE)
            .contains(&addr)
            .then(|| self.mmio.lock().get(&addr).copied().unwrap_or(0))
    }
    fn mmio_write32(&self, addr: u64, value: u32) -> bool {
        let device = (MMIO..MMIO + MMIO_SIZE).contains(&addr);
        if device {
            self.mmio.lock().insert(addr, value);
        }
        device
    }
    fn is_mappable_io(&self, mfn: Mfn) -> bool {
        (MMIO..MMIO + MMIO_SIZE).contains(&mfn.address())
    }

    fn console_write(&self, bytes: &[u8]) {
        self.console.lock().extend_from_slice(bytes);
    }
    fn console_read(&self, _bytes: &mut [u8]) -> usize {
        0
    }
    fn wait_for_interrupt(&self) {}
    fn power_off(&self) -> ! {
        panic!("the machine was switched off")
    }
    fn reboot(&self) -> ! {
        panic!("the machine was reset")
    }
    fn acpi_sleep(&self, _pm1a: u16, _pm1b: u16) -> bool {
        false
    }
    fn halt(&self) -> ! {
        panic!("the machine was halted")
    }
}
