//! Writing what dom0 finds in its memory: P2M list, module, page tables, `start_info`.

use oxen_abi::start_info::{
    Dom0VgaConsoleInfo, SIF_INITDOMAIN, SIF_MOD_START_PFN, SIF_PRIVILEGED, StartInfo,
};
use zerocopy::IntoBytes;

use super::extents::Extents;
use super::plan::{Extent, Plan};
use super::tables::Region;
use crate::machine::Machine;
use crate::types::Mfn;

/// Bytes of a page.
const PAGE: usize = 4096;

/// A domain's memory, by pseudo-physical frame.
pub(super) struct Memory<'a, M: Machine> {
    pub(super) machine: &'a M,
    pub(super) frames: &'a Extents,
}

impl<M: Machine> Memory<'_, M> {
    /// The machine frame of a pseudo-physical one. Every frame of a plan is there.
    fn mfn(&self, frame: u64) -> Mfn {
        self.frames.get(frame).unwrap_or(Mfn::INVALID)
    }

    fn write(&self, frame: u64, bytes: &[u8]) {
        self.machine.write_frame(self.mfn(frame), 0, bytes);
    }

    /// Zeros frames.
    pub(super) fn clear(&self, extent: Extent) {
        for frame in extent.first..extent.end() {
            self.machine.zero_page(self.mfn(frame));
        }
    }

    /// Writes the P2M list, and the M2P entries with it.
    pub(super) fn p2m(&self, list: Extent) {
        let mut page = [0u64; 512];
        let mut at = 0;
        let mut place = list.first;
        for (frame, mfn) in (0u64..).zip(self.frames.iter()) {
            self.machine.set_m2p(mfn, frame);
            if let Some(entry) = page.get_mut(at) {
                *entry = mfn.0;
            }
            at += 1;
            if at == page.len() {
                self.write(place, page.as_bytes());
                place += 1;
                at = 0;
            }
        }
        if at > 0 {
            page.iter_mut().skip(at).for_each(|entry| *entry = u64::MAX);
            self.write(place, page.as_bytes());
        }
    }

    /// Copies the module; the rest of its last frame is zero.
    pub(super) fn module(&self, extent: Extent, bytes: &[u8]) {
        for (frame, piece) in (extent.first..extent.end()).zip(bytes.chunks(PAGE)) {
            if piece.len() < PAGE {
                self.machine.zero_page(self.mfn(frame));
            }
            self.write(frame, piece);
        }
    }

    /// Writes all page tables. The tables' own pages are mapped read-only.
    pub(super) fn tables(&self, plan: &Plan) {
        let regions = [Some(plan.initial()), plan.p2m_region()];
        let mut l4 = [0u64; 512];
        for region in regions.iter().flatten() {
            for (slot, entry) in region.l4_entries(|frame| self.mfn(frame)) {
                if let Some(place) = l4.get_mut(slot) {
                    *place = entry;
                }
            }
            self.region(region, plan);
        }
        self.write(plan.tables.first, l4.as_bytes());
    }

    fn region(&self, region: &Region, plan: &Plan) {
        for table in region.each() {
            let is_table = |frame| plan.tables.contains(frame);
            let entries = region.entries(table, |frame| self.mfn(frame), is_table);
            self.write(table.frame, entries.as_bytes());
        }
    }

    /// Writes `start_info`, with the description of the screen behind it.
    pub(super) fn start_info(
        &self,
        plan: &Plan,
        shared_info: Mfn,
        module: usize,
        module_by_pfn: bool,
        command_line: &str,
        vga: Option<Dom0VgaConsoleInfo>,
    ) {
        let mut info = StartInfo {
            nr_pages: plan.frames,
            shared_info: shared_info.address(),
            flags: SIF_PRIVILEGED | SIF_INITDOMAIN,
            pt_base: plan.address(plan.tables.first),
            nr_pt_frames: plan.tables.count,
            mfn_list: plan.p2m_address,
            ..StartInfo::default()
        };
        put_text(&mut info.magic, "xen-3.0-x86_64");
        put_text(&mut info.cmd_line, command_line);
        if let Some(extent) = plan.module {
            info.mod_len = module as u64;
            if module_by_pfn {
                info.flags |= SIF_MOD_START_PFN;
                info.mod_start = extent.first;
            } else {
                info.mod_start = plan.address(extent.first);
            }
        }
        if let Some(extent) = plan.p2m_extent() {
            info.first_p2m_pfn = extent.first;
            info.nr_p2m_frames = extent.count;
        }
        if let Some(vga) = vga {
            let (offset, size) = (size_of::<StartInfo>(), size_of::<Dom0VgaConsoleInfo>());
            info.console_mfn = offset as u64 | (size as u64) << 32;
            self.machine
                .write_frame(self.mfn(plan.start_info), offset, vga.as_bytes());
        }
        self.write(plan.start_info, info.as_bytes());
    }
}

/// Copies a text; what does not fit before the final zero is cut off.
fn put_text(place: &mut [u8], text: &str) {
    let room = place.len().saturating_sub(1);
    for (to, from) in place.iter_mut().take(room).zip(text.bytes()) {
        *to = from;
    }
}
