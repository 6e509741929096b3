//! This crate as `core` sees it: one value that stands for the machine.

use core::sync::atomic::{AtomicU32, AtomicU64};

use oxen_abi::xen::VcpuTimeInfo;
use oxen_core::machine::{Base, CpuMask, Fault, GsiMode, IoSize, Machine, Mmconfig, SegmentState};
use oxen_core::microcode::Vendor;
use oxen_core::mm::frame::Frame;
use oxen_core::{CpuId, Mfn};

use crate::num::to_usize;
use crate::{
    apic, clock, console, control, cpuid, debugreg, fpu, frames, isolation, memory, microcode,
    mmio, msr, panic::backtrace, pci, percpu, pio, reboot, segments, speculation, trap, uaccess,
};

/// The machine.
#[derive(Debug)]
pub(crate) struct X86;

impl Machine for X86 {
    type Fpu = fpu::State;

    #[inline(always)]
    fn clamp(index: usize, length: usize) -> usize {
        to_usize(speculation::clamp(index as u64, length as u64))
    }
    fn max_frame(&self) -> Mfn {
        Mfn(memory::max_frame())
    }
    #[inline]
    fn frame(&self, mfn: Mfn) -> Option<Frame> {
        frames::entry(mfn)
    }
    #[inline]
    fn page(&self, mfn: Mfn) -> Option<&'static [AtomicU64; 512]> {
        frames::page(mfn)
    }
    #[inline]
    fn store_byte(&self, word: &AtomicU64, byte: usize, value: u8) {
        frames::store_byte(word, byte, value);
    }
    fn page32(&self, mfn: Mfn) -> Option<&'static [AtomicU32; 1024]> {
        frames::page32(mfn)
    }
    fn read_frame(&self, mfn: Mfn, offset: usize, bytes: &mut [u8]) -> bool {
        frames::read(mfn, offset, bytes)
    }
    fn write_frame(&self, mfn: Mfn, offset: usize, bytes: &[u8]) -> bool {
        frames::write(mfn, offset, bytes)
    }
    fn zero_page(&self, mfn: Mfn) {
        frames::zero(mfn);
    }
    fn copy_bytes(&self, to: Mfn, to_at: usize, from: Mfn, from_at: usize, len: usize) -> bool {
        frames::copy_bytes(to, to_at, from, from_at, len)
    }
    fn copy_page(&self, to: Mfn, from: Mfn) {
        frames::copy_page(to, from);
    }
    fn with_unowned_frames(&self, first: Mfn, count: u64, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        frames::with_unowned(first, count, fill)
    }
    fn set_m2p(&self, mfn: Mfn, pfn: u64) {
        memory::set_m2p(mfn.0, pfn);
    }
    fn m2p(&self, mfn: Mfn) -> u64 {
        memory::m2p(mfn.0)
    }
    fn is_m2p(&self, mfn: Mfn) -> bool {
        memory::is_m2p(mfn.0)
    }
    fn m2p_frame(&self, piece: u64) -> Option<Mfn> {
        memory::m2p_frame(piece).map(Mfn)
    }

    #[inline]
    fn install_pte(&self, table: Mfn, index: usize, level: u8, value: u64) -> bool {
        frames::install(table, index, level, value)
    }
    #[inline]
    fn cmpxchg_pte(
        &self,
        table: Mfn,
        index: usize,
        level: u8,
        old: u64,
        new: u64,
    ) -> Result<(), u64> {
        frames::exchange(table, index, level, old, new)
    }
    #[inline]
    fn cmpxchg_leaf(&self, slot: &AtomicU64, old: u64, new: u64) -> Result<(), u64> {
        frames::exchange_leaf(slot, old, new)
    }
    fn fill_hypervisor_slots(&self, l4: Mfn) {
        frames::fill_hypervisor_slots(l4);
    }
    fn show_m2p(&self, l4: Mfn, shown: bool) {
        frames::show_m2p(l4, shown);
    }
    fn root_changed(&self, l4: Mfn) {
        frames::root_changed(l4);
    }
    fn load_cr3(&self, l4: Option<Mfn>) {
        frames::load_cr3(l4);
    }
    fn invlpg(&self, addr: u64) {
        control::invlpg(addr);
    }
    fn flush_tlb_local(&self) {
        control::flush_tlb();
    }
    fn flush_cache(&self) {
        control::wbinvd();
    }
    fn flush_lines(&self, mfn: Mfn, offset: usize, length: usize) {
        frames::flush_lines(mfn, offset, length);
    }

    #[inline]
    fn copy_from_guest(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        uaccess::copy_from(addr, bytes)
    }
    #[inline]
    fn copy_to_guest(&self, addr: u64, bytes: &[u8]) -> Result<(), Fault> {
        uaccess::copy_to(addr, bytes)
    }

    fn cpus(&self) -> CpuMask {
        percpu::online()
    }
    fn cpu_ids(&self, cpu: CpuId) -> (u32, u32) {
        percpu::get(u32::from(cpu.0)).map_or((0, 0), |data| (data.apic_id, data.acpi_id))
    }
    fn symbol_count(&self) -> usize {
        backtrace::symbol_count()
    }
    fn symbol(&self, index: usize) -> Option<(u64, &'static str)> {
        backtrace::symbol(index)
    }
    fn kick(&self, cpu: CpuId) {
        apic::ipi::kick(cpu);
    }
    fn flush_others(&self, cpus: &CpuMask) {
        apic::ipi::flush_others(cpus);
    }
    fn relax(&self) {
        apic::ipi::relax();
    }

    #[inline]
    fn now(&self) -> u64 {
        clock::now()
    }
    fn time_info(&self) -> VcpuTimeInfo {
        clock::time_info()
    }
    fn tsc_khz(&self) -> u64 {
        clock::tsc_khz()
    }
    fn set_deadline(&self, deadline: Option<u64>) {
        apic::timer::set_deadline(deadline);
    }
    fn boot_wallclock(&self) -> u64 {
        clock::boot_wallclock()
    }

    fn new_fpu(&self) -> fpu::State {
        fpu::new()
    }
    fn save_fpu(&self, state: &mut fpu::State) {
        fpu::save(state);
    }
    fn load_fpu(&self, state: &fpu::State) {
        fpu::load(state);
    }
    fn fpu_legacy(&self, state: &fpu::State) -> [u8; 512] {
        fpu::legacy(state)
    }
    fn fpu_components(&self) -> u64 {
        fpu::components()
    }
    fn fpu_area<'a>(&self, state: &'a fpu::State) -> Option<(u64, &'a [u8])> {
        fpu::area(state)
    }
    fn set_fpu_area(&self, state: &mut fpu::State, xcr0: u64, area: &[u8]) -> bool {
        fpu::set_area(state, xcr0, area)
    }
    fn set_fpu_legacy(&self, state: &mut fpu::State, image: &[u8; 512]) {
        fpu::set_legacy(state, image);
    }
    fn set_xcr0(&self, value: u64) -> bool {
        fpu::set_xcr0(value)
    }
    #[inline]
    fn change_guest(&self, control: bool) {
        speculation::forget_branches();
        isolation::change_guest(control);
    }
    fn set_guest_cr4(&self, value: u64) {
        control::set_guest_cr4(value);
    }
    fn set_ts(&self, set: bool) {
        control::set_ts(set);
    }
    fn save_segments(&self, state: &mut SegmentState) {
        segments::save(state);
    }
    fn load_segments(&self, state: &SegmentState) -> bool {
        segments::load(state)
    }
    #[inline]
    fn swap_gs(&self) {
        segments::swap_gs();
    }
    fn set_base(&self, base: Base, value: u64) {
        segments::set_base(base, value);
    }
    fn base(&self, base: Base) -> u64 {
        segments::base(base)
    }
    fn load_user_gs(&self, selector: u16) -> bool {
        segments::load_user_gs(selector)
    }
    fn map_gdt(&self, frames: &[Mfn]) {
        trap::map_gdt(frames);
    }
    fn set_ldt(&self, entries: u32) {
        trap::set_ldt(entries);
    }
    fn map_ldt_page(&self, index: usize, frame: Mfn) {
        trap::map_ldt_page(index, frame);
    }
    fn ldt_offset(&self, addr: u64) -> Option<u64> {
        trap::ldt_offset(addr)
    }
    fn load_debug(&self, values: &[u64; 8]) {
        debugreg::load(values);
    }
    fn take_dr6(&self) -> u64 {
        debugreg::take_dr6()
    }

    fn port_in(&self, port: u16, size: IoSize) -> u32 {
        match size {
            IoSize::Byte => u32::from(pio::inb(port)),
            IoSize::Word => u32::from(pio::inw(port)),
            IoSize::Dword => pio::inl(port),
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the value has the access's size"
    )]
    fn port_out(&self, port: u16, size: IoSize, value: u32) {
        match size {
            IoSize::Byte => pio::outb(port, value as u8),
            IoSize::Word => pio::outw(port, value as u16),
            IoSize::Dword => pio::outl(port, value),
        }
    }
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let result = cpuid::cpuid(leaf, subleaf);
        [result.eax, result.ebx, result.ecx, result.edx]
    }
    fn rdmsr(&self, msr: u32) -> Option<u64> {
        msr::read_for_core(msr)
    }
    fn wrmsr(&self, msr: u32, value: u64) -> bool {
        msr::write_for_core(msr, value)
    }

    fn microcode_revision(&self, vendor: Vendor) -> u32 {
        microcode::revision(vendor)
    }
    fn load_microcode(&self, vendor: Vendor, update: &[u8]) {
        microcode::load(vendor, update)
    }

    fn gsi_count(&self) -> u32 {
        apic::ioapic::gsi_count()
    }
    fn isa_irq(&self, irq: u8) -> (u32, GsiMode) {
        apic::route::isa(irq)
    }
    fn alloc_vector(&self, cpu: CpuId) -> Option<u8> {
        apic::vectors::alloc(cpu)
    }
    fn free_vector(&self, cpu: CpuId, vector: u8) {
        apic::vectors::free(cpu, vector);
    }
    fn route_gsi(&self, gsi: u32, mode: GsiMode, cpu: CpuId, vector: u8, masked: bool) -> bool {
        !apic::route::is_own(gsi)
            && percpu::get(u32::from(cpu.0)).is_some_and(|data| {
                apic::ioapic::route(
                    gsi,
                    mode.level,
                    mode.active_low,
                    data.apic_id,
                    vector,
                    masked,
                )
            })
    }
    fn mask_gsi(&self, gsi: u32, masked: bool) {
        if !apic::route::is_own(gsi) {
            apic::ioapic::mask(gsi, masked);
        }
    }
    fn ioapic_read(&self, base: u64, register: u8) -> Option<u32> {
        apic::ioapic::register(base, register)
    }
    fn eoi(&self) {
        apic::eoi();
    }
    fn msi_message(&self, cpu: CpuId, vector: u8) -> (u64, u32) {
        apic::msi::message(
            percpu::get(u32::from(cpu.0)).map_or(0, |data| data.apic_id),
            vector,
        )
    }
    fn pci_read(&self, segment: u16, bus: u8, devfn: u8, offset: u16, size: IoSize) -> u32 {
        pci::read(segment, bus, devfn, offset, size)
    }
    fn pci_write(&self, segment: u16, bus: u8, devfn: u8, offset: u16, size: IoSize, value: u32) {
        pci::write(segment, bus, devfn, offset, size, value);
    }
    fn mmconfig(&self, index: usize) -> Option<Mmconfig> {
        pci::mmconfig().get(index).map(|range| Mmconfig {
            base: range.base,
            segment: range.segment,
            first_bus: range.first,
            last_bus: range.last,
        })
    }
    fn mmio_read32(&self, addr: u64) -> Option<u32> {
        mmio::read32(addr)
    }
    fn mmio_write32(&self, addr: u64, value: u32) -> bool {
        mmio::write32(addr, value)
    }
    fn is_mappable_io(&self, mfn: Mfn) -> bool {
        frames::is_mappable_io(mfn)
    }

    fn is_read_only_io(&self, mfn: Mfn) -> bool {
        frames::is_read_only_io(mfn)
    }
    fn console_write(&self, bytes: &[u8]) {
        console::write(bytes);
    }
    fn console_read(&self, bytes: &mut [u8]) -> usize {
        console::read(bytes)
    }
    fn wait_for_interrupt(&self) {
        control::wait_for_interrupt();
    }
    fn reboot(&self) -> ! {
        reboot::reboot()
    }
    fn acpi_sleep(&self, pm1a: u16, pm1b: u16) -> bool {
        reboot::acpi_sleep(pm1a, pm1b)
    }
    fn power_off(&self) -> ! {
        reboot::power_off()
    }
    fn halt(&self) -> ! {
        reboot::halt()
    }
}
