//! The services as `core` knows them.

use oxen_core::firmware::{Bios, EDID, Firmware, Geometry, PARAMETERS, SECTOR};
use oxen_core::options::Options;
use spin::Mutex;

use super::area;
use super::real_mode::RealMode;
use super::services;
use crate::boot::phys::LowMemory;
use crate::console::println;
use crate::memory;

struct Asked(RealMode);

impl Bios for Asked {
    fn shift_flags(&mut self) -> u8 {
        services::shift_flags(&mut self.0)
    }

    fn extensions(&mut self, disk: u8) -> Option<(u8, u16)> {
        services::extensions(&mut self.0, disk)
    }

    fn parameters(&mut self, disk: u8) -> Option<[u8; PARAMETERS]> {
        services::parameters(&mut self.0, disk)
    }

    fn geometry(&mut self, disk: u8) -> Option<Geometry> {
        let (cylinder, head, sectors) = services::geometry(&mut self.0, disk)?;
        Some(Geometry {
            cylinder,
            head,
            sectors,
        })
    }

    fn first_sector(&mut self, disk: u8) -> Option<[u8; SECTOR]> {
        services::first_sector(&mut self.0, disk)
    }

    fn display_channel(&mut self) -> Option<(u8, u8)> {
        services::display_channel(&mut self.0)
    }

    fn edid(&mut self) -> Option<[u8; EDID]> {
        services::edid(&mut self.0)
    }
}

/// Where real-mode code can work; none if there is no BIOS, or once it has been asked.
static AREA: Mutex<Option<u64>> = Mutex::new(None);

/// Looks whether there is a BIOS, and where code for it has room. `uefi`: the loader says that there is none.
///
/// Called with the boot page tables, which have all of low memory, once the loader's information has been read.
pub(crate) fn look(uefi: bool) {
    if !uefi {
        *AREA.lock() = area::find(&LowMemory, memory::map());
    }
}

/// Asks the BIOS what the options allow.
///
/// Called by the boot CPU before any device is set up and before any other CPU is started. A second call asks nothing.
pub(crate) fn ask(options: &Options) -> Firmware {
    let place = AREA.lock().take();
    let Some(place) = place.filter(|_| !options.no_real_mode) else {
        println!("BIOS: not asked");
        return Firmware::default();
    };
    // SAFETY: the area is RAM below 640 KiB, which is kept out of the free memory and which nothing uses any more:
    // what the loader left there has been read. The other CPUs have not started and no device has been set up.
    let told = Firmware::ask(&mut Asked(unsafe { RealMode::new(place) }), options);
    println!(
        "BIOS: disks: {}, boot sectors: {}, EDID: {}",
        told.disks.len(),
        told.signatures.len(),
        if told.display.is_some() { "yes" } else { "no" }
    );
    told
}
