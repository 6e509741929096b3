use std::vec::Vec;

use super::*;

/// A BIOS with some disks, which counts what it is asked.
#[derive(Default)]
struct Fake {
    disks: u8,
    /// The one without a boot sector.
    blank: Option<u8>,
    channel: Option<(u8, u8)>,
    parameters: Option<[u8; PARAMETERS]>,
    reads: Vec<u8>,
    asked_for_display: bool,
}

impl Fake {
    fn has(&self, disk: u8) -> bool {
        disk.checked_sub(FIRST_DISK)
            .is_some_and(|index| index < self.disks)
    }
}

impl Bios for Fake {
    fn shift_flags(&mut self) -> u8 {
        0x20
    }

    fn extensions(&mut self, disk: u8) -> Option<(u8, u16)> {
        self.has(disk).then_some((0x30, 5))
    }

    fn parameters(&mut self, _: u8) -> Option<[u8; PARAMETERS]> {
        self.parameters
    }

    fn geometry(&mut self, disk: u8) -> Option<Geometry> {
        (disk == FIRST_DISK).then_some(Geometry {
            cylinder: 1023,
            head: 15,
            sectors: 63,
        })
    }

    fn first_sector(&mut self, disk: u8) -> Option<[u8; SECTOR]> {
        self.reads.push(disk);
        let mut sector = [0; SECTOR];
        sector[440..444].copy_from_slice(&[disk, 2, 3, 4]);
        if self.blank != Some(disk) {
            sector[510..].copy_from_slice(&[0x55, 0xaa]);
        }
        self.has(disk).then_some(sector)
    }

    fn display_channel(&mut self) -> Option<(u8, u8)> {
        self.asked_for_display = true;
        self.channel
    }

    fn edid(&mut self) -> Option<[u8; EDID]> {
        Some([0xff; EDID])
    }
}

fn ask(bios: &mut Fake, line: &str) -> Firmware {
    Firmware::ask(bios, &Options::parse(line).0)
}

#[test]
fn a_usual_machine() {
    let mut parameters = [7; PARAMETERS];
    parameters[..2].copy_from_slice(&[30, 0]);
    let mut bios = Fake {
        disks: 2,
        channel: Some((DDC2, 1)),
        parameters: Some(parameters),
        ..Fake::default()
    };
    let told = ask(&mut bios, "");
    assert_eq!(bios.reads, [0x80, 0x81, 0x82]);
    let signatures: Vec<_> = told
        .signatures
        .iter()
        .map(|s| (s.number, s.signature))
        .collect();
    assert_eq!(signatures, [(0x80, 0x0403_0280), (0x81, 0x0403_0281)]);
    let [first, second] = told.disks.as_slice() else {
        panic!("{} disks", told.disks.len());
    };
    assert_eq!(
        (first.number, first.version, first.interfaces),
        (0x80, 0x30, 5)
    );
    assert_eq!(first.geometry.cylinder, 1023);
    assert_eq!(second.geometry, Geometry::default());
    assert_eq!(first.parameters(), &parameters[..30]);
    assert_eq!(
        told.display.map(|d| (d.capabilities, d.seconds)),
        Some((DDC2, 1))
    );
    assert_eq!(told.shift_flags, 0x20);
}

#[test]
fn a_disk_without_a_boot_sector_is_passed_over() {
    let mut bios = Fake {
        disks: 3,
        blank: Some(0x80),
        ..Fake::default()
    };
    let told = ask(&mut bios, "");
    let numbers: Vec<_> = told.signatures.iter().map(|s| s.number).collect();
    assert_eq!(numbers, [0x81, 0x82]);
    assert_eq!(told.disks.len(), 3);
}

#[test]
fn the_options_leave_out() {
    let many = || Fake {
        disks: 30,
        channel: Some((DDC2, 1)),
        ..Fake::default()
    };
    let count = |line| {
        let mut bios = many();
        let told = ask(&mut bios, line);
        let asked = bios.asked_for_display;
        assert_eq!(asked, told.display.is_some());
        (
            told.disks.len(),
            told.signatures.len(),
            asked,
            bios.reads.len(),
        )
    };
    assert_eq!(count(""), (6, 16, true, 16));
    assert_eq!(count("edd=on edid=force"), (6, 16, true, 16));
    assert_eq!(count("edd=skipmbr"), (6, 0, true, 0));
    assert_eq!(count("edd=off edid=no"), (0, 0, false, 0));
    assert_eq!(ask(&mut many(), "no-real-mode"), Firmware::default());
}

#[test]
fn a_display_out_of_reach_is_asked_by_force_only() {
    for channel in [None, Some((1, 9))] {
        let bios = || Fake {
            channel,
            ..Fake::default()
        };
        assert_eq!(ask(&mut bios(), "").display, None);
        let forced = ask(&mut bios(), "edid=force").display;
        assert_eq!(
            forced.map(|d| (d.capabilities, d.seconds)),
            Some(channel.unwrap_or_default())
        );
    }
}

#[test]
fn parameters_are_as_long_as_they_say_and_no_longer() {
    for (bytes, length) in [
        ([0, 0], 0),
        ([1, 0], 1),
        ([26, 0], 26),
        ([74, 0], 74),
        ([75, 0], 74),
        ([0xff, 0xff], 74),
    ] {
        let mut parameters = [0; PARAMETERS];
        parameters[..2].copy_from_slice(&bytes);
        let mut bios = Fake {
            disks: 1,
            parameters: Some(parameters),
            ..Fake::default()
        };
        assert_eq!(ask(&mut bios, "").disks[0].parameters().len(), length);
    }
    let mut silent = Fake {
        disks: 1,
        ..Fake::default()
    };
    assert!(ask(&mut silent, "").disks[0].parameters().is_empty());
}
