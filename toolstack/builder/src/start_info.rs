//! The start_info page.

use oxen_abi::start_info::{SIF_MOD_START_PFN, StartInfo};
use zerocopy::FromZeros;

use crate::PAGE_SIZE;
use crate::build::Rings;
use crate::layout::Layout;

/// What the kernel checks the page by.
const MAGIC: &[u8] = b"xen-3.0-x86_64";

/// Fills in the page. `shared_info` is a machine frame, `ramdisk` a size in bytes.
pub(crate) fn start_info(
    layout: &Layout,
    rings: &Rings,
    shared_info: u64,
    ramdisk: u64,
    command_line: &str,
) -> StartInfo {
    let mut info = StartInfo::new_zeroed();
    copy(&mut info.magic, MAGIC);
    copy(&mut info.cmd_line, command_line.as_bytes());
    info.nr_pages = layout.pages;
    info.shared_info = shared_info * PAGE_SIZE;
    info.store_mfn = rings.xenstore_mfn;
    info.store_evtchn = rings.xenstore_port;
    info.console_mfn = rings.console_mfn;
    info.console_evtchn = rings.console_port;
    info.pt_base = layout.address(layout.l4);
    info.nr_pt_frames = layout.region_tables();
    info.mfn_list = layout.p2m_address;
    if let Some(area) = layout.p2m_area {
        info.first_p2m_pfn = area.frames.pfn;
        info.nr_p2m_frames = area.frames.count + area.tables.count;
    }
    if let Some(frames) = layout.ramdisk {
        info.mod_len = ramdisk;
        if layout.ramdisk_mapped {
            info.mod_start = layout.address(frames.pfn);
        } else {
            info.mod_start = frames.pfn;
            info.flags |= SIF_MOD_START_PFN;
        }
    }
    info
}

/// Copies text into a zeroed field and leaves at least one zero at its end.
fn copy(field: &mut [u8], text: &[u8]) {
    let room = field.len().saturating_sub(1);
    for (to, from) in field.iter_mut().zip(text.iter().take(room)) {
        *to = *from;
    }
}
