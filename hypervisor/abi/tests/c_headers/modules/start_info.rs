//! What the C headers must say about `oxen_abi::start_info`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::start_info as abi;
    constants!(table, abi;
        SIF_PRIVILEGED = "SIF_PRIVILEGED",
        SIF_INITDOMAIN = "SIF_INITDOMAIN",
        SIF_MULTIBOOT_MOD = "SIF_MULTIBOOT_MOD",
        SIF_MOD_START_PFN = "SIF_MOD_START_PFN",
        SIF_VIRT_P2M_4TOOLS = "SIF_VIRT_P2M_4TOOLS",
        SIF_PM_MASK = "SIF_PM_MASK",
        XEN_VGATYPE_TEXT_MODE_3 = "XEN_VGATYPE_TEXT_MODE_3",
        XEN_VGATYPE_VESA_LFB = "XEN_VGATYPE_VESA_LFB",
        XEN_VGATYPE_EFI_LFB = "XEN_VGATYPE_EFI_LFB",
    );
    structs!(table, abi::StartInfo, "struct start_info";
        magic = "magic",
        nr_pages = "nr_pages",
        shared_info = "shared_info",
        flags = "flags",
        store_mfn = "store_mfn",
        store_evtchn = "store_evtchn",
        console_mfn = "console.domU.mfn",
        console_evtchn = "console.domU.evtchn",
        pt_base = "pt_base",
        nr_pt_frames = "nr_pt_frames",
        mfn_list = "mfn_list",
        mod_start = "mod_start",
        mod_len = "mod_len",
        cmd_line = "cmd_line",
        first_p2m_pfn = "first_p2m_pfn",
        nr_p2m_frames = "nr_p2m_frames",
    );
    structs!(table, abi::MultibootModList, "struct xen_multiboot_mod_list";
        mod_start = "mod_start",
        mod_end = "mod_end",
        cmdline = "cmdline",
        pad = "pad",
    );
    structs!(table, abi::VgaTextMode3, "__typeof__(((struct dom0_vga_console_info*)0)->u.text_mode_3)";
        font_height = "font_height",
        cursor_x = "cursor_x",
        cursor_y = "cursor_y",
        rows = "rows",
        columns = "columns",
    );
    structs!(table, abi::VgaVesaLfb, "__typeof__(((struct dom0_vga_console_info*)0)->u.vesa_lfb)";
        width = "width",
        height = "height",
        bytes_per_line = "bytes_per_line",
        bits_per_pixel = "bits_per_pixel",
        lfb_base = "lfb_base",
        lfb_size = "lfb_size",
        red_pos = "red_pos",
        red_size = "red_size",
        green_pos = "green_pos",
        green_size = "green_size",
        blue_pos = "blue_pos",
        blue_size = "blue_size",
        rsvd_pos = "rsvd_pos",
        rsvd_size = "rsvd_size",
        gbl_caps = "gbl_caps",
        mode_attrs = "mode_attrs",
        pad = "pad",
        ext_lfb_base = "ext_lfb_base",
    );
    structs!(table, abi::Dom0VgaConsoleInfo, "struct dom0_vga_console_info";
        video_type = "video_type",
        u = "u.text_mode_3",
    );
}
