//! What a PV guest finds at its start (xen.h): `start_info`, its flags, dom0's console.

use crate::xen::MAX_GUEST_CMDLINE;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The domain is privileged.
pub const SIF_PRIVILEGED: u32 = 0x1;
/// The domain is dom0.
pub const SIF_INITDOMAIN: u32 = 0x2;
/// The module is a list of multiboot modules.
pub const SIF_MULTIBOOT_MOD: u32 = 0x4;
/// `mod_start` is a PFN, not an address.
pub const SIF_MOD_START_PFN: u32 = 0x8;
/// The guest's tools read a virtual P2M.
pub const SIF_VIRT_P2M_4TOOLS: u32 = 0x10;
/// Power management: the bits for xen-acpi-processor.
pub const SIF_PM_MASK: u32 = 0xff00;

/// Passed in RSI at the entry point.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct StartInfo {
    /// `xen-3.0-x86_64` and the like, ended by a zero byte.
    pub magic: [u8; 32],
    /// Pages the domain has.
    pub nr_pages: u64,
    /// Machine address of the shared page.
    pub shared_info: u64,
    /// `SIF_*`.
    pub flags: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Machine frame of the xenstore ring.
    pub store_mfn: u64,
    /// Event channel of xenstore.
    pub store_evtchn: u32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
    /// domU: machine frame of the console ring. dom0: offset (low half) and size (high half) of
    /// [`Dom0VgaConsoleInfo`] in this page.
    pub console_mfn: u64,
    /// domU: event channel of the console.
    pub console_evtchn: u32,
    /// Padding the layout asks for; zero.
    pub _pad2: [u8; 4],
    /// Virtual address of the L4.
    pub pt_base: u64,
    /// Frames of the initial tables.
    pub nr_pt_frames: u64,
    /// Virtual address of the P2M list.
    pub mfn_list: u64,
    /// Virtual address (or PFN, by flag) of the module.
    pub mod_start: u64,
    /// Bytes of the module.
    pub mod_len: u64,
    /// Command line, ended by a zero byte.
    pub cmd_line: [u8; MAX_GUEST_CMDLINE],
    /// First PFN of the P2M list when it is mapped apart.
    pub first_p2m_pfn: u64,
    /// Frames of the P2M list.
    pub nr_p2m_frames: u64,
}
crate::zeroed_default!(StartInfo);
crate::layout!(StartInfo, 1168, {magic @ 0, nr_pages @ 32, shared_info @ 40, flags @ 48, store_mfn @ 56, store_evtchn @ 64, console_mfn @ 72, console_evtchn @ 80, pt_base @ 88, nr_pt_frames @ 96, mfn_list @ 104, mod_start @ 112, mod_len @ 120, cmd_line @ 128, first_p2m_pfn @ 1152, nr_p2m_frames @ 1160});

/// One module of a list.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MultibootModList {
    /// Physical address.
    pub mod_start: u32,
    /// Physical address past the end.
    pub mod_end: u32,
    /// Physical address of the command line.
    pub cmdline: u32,
    /// Zero.
    pub pad: u32,
}
crate::layout!(MultibootModList, 16, {mod_start @ 0, mod_end @ 4, cmdline @ 8, pad @ 12});
/// VGA text mode.
pub const XEN_VGATYPE_TEXT_MODE_3: u8 = 0x3;
/// VESA linear frame buffer.
pub const XEN_VGATYPE_VESA_LFB: u8 = 0x23;
/// EFI linear frame buffer.
pub const XEN_VGATYPE_EFI_LFB: u8 = 0x70;

/// `dom0_vga_console_info.u.text_mode_3`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VgaTextMode3 {
    /// Lines of a character.
    pub font_height: u16,
    /// Cursor's column.
    pub cursor_x: u16,
    /// Cursor's row.
    pub cursor_y: u16,
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}
crate::layout!(VgaTextMode3, 10, {font_height @ 0, cursor_x @ 2, cursor_y @ 4, rows @ 6, columns @ 8});

/// `dom0_vga_console_info.u.vesa_lfb`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VgaVesaLfb {
    /// Pixels in a line.
    pub width: u16,
    /// Lines.
    pub height: u16,
    /// Bytes of a line.
    pub bytes_per_line: u16,
    /// Bits of a pixel.
    pub bits_per_pixel: u16,
    /// Physical address, low half.
    pub lfb_base: u32,
    /// Size in 64 KiB units.
    pub lfb_size: u32,
    /// Position of red.
    pub red_pos: u8,
    /// Bits of red.
    pub red_size: u8,
    /// Position of green.
    pub green_pos: u8,
    /// Bits of green.
    pub green_size: u8,
    /// Position of blue.
    pub blue_pos: u8,
    /// Bits of blue.
    pub blue_size: u8,
    /// Position of the reserved bits.
    pub rsvd_pos: u8,
    /// Reserved bits.
    pub rsvd_size: u8,
    /// Global capabilities.
    pub gbl_caps: u32,
    /// Mode attributes.
    pub mode_attrs: u16,
    /// Zero.
    pub pad: u16,
    /// Physical address, high half.
    pub ext_lfb_base: u32,
}
crate::layout!(VgaVesaLfb, 36, {width @ 0, height @ 2, bytes_per_line @ 4, bits_per_pixel @ 6, lfb_base @ 8, lfb_size @ 12, red_pos @ 16, red_size @ 17, green_pos @ 18, green_size @ 19, blue_pos @ 20, blue_size @ 21, rsvd_pos @ 22, rsvd_size @ 23, gbl_caps @ 24, mode_attrs @ 28, pad @ 30, ext_lfb_base @ 32});

/// dom0's video console.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Dom0VgaConsoleInfo {
    /// `XEN_VGATYPE_*`.
    pub video_type: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 3],
    /// Bytes of [`VgaTextMode3`] or [`VgaVesaLfb`].
    pub u: [u32; 9],
}
crate::layout!(Dom0VgaConsoleInfo, 40, {video_type @ 0, u @ 4});
