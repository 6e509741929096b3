use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const INTEL: Processor = Processor {
    vendor: Vendor::Intel,
    signature: 0x0009_06ea,
    platform: 1 << 1,
};

const AMD: Processor = Processor {
    vendor: Vendor::Amd,
    signature: 0x0083_0f10,
    platform: 1,
};

fn set(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn balance(bytes: &mut [u8], at: usize) {
    set(bytes, at, 0);
    let words = bytes.chunks_exact(4);
    let sum = words.fold(0u32, |sum, word| {
        sum.wrapping_add(u32::from_le_bytes(word.try_into().unwrap()))
    });
    set(bytes, at, 0u32.wrapping_sub(sum));
}

/// An update of 2,048 bytes, and further signatures with platforms.
fn intel(revision: u32, signature: u32, platforms: u32, further: &[(u32, u32)]) -> Vec<u8> {
    let mut main = vec![0x5a; 2048];
    main[..48].fill(0);
    let total = match further.len() {
        0 => 2048,
        count => 2048 + 20 + 12 * count,
    };
    for (at, value) in [
        (0, 1),
        (4, revision),
        (12, signature),
        (20, 1),
        (24, platforms),
        (28, 2000),
        (32, u32::try_from(total).unwrap()),
    ] {
        set(&mut main, at, value);
    }
    balance(&mut main, 16);
    let mut table = vec![0; total - 2048];
    if !further.is_empty() {
        set(&mut table, 0, u32::try_from(further.len()).unwrap());
        let own = [12, 24, 16].map(|at| word(&main, at).unwrap());
        let own = own.into_iter().fold(0u32, u32::wrapping_add);
        for (entry, (signature, platforms)) in table[20..].chunks_exact_mut(12).zip(further) {
            set(entry, 0, *signature);
            set(entry, 4, *platforms);
            set(
                entry,
                8,
                own.wrapping_sub(*signature).wrapping_sub(*platforms),
            );
        }
        balance(&mut table, 4);
    }
    [main, table].concat()
}

/// A container with a table, and updates of which each has a revision and a number.
fn amd(table: &[(u32, u16)], updates: &[(u32, u16)]) -> Vec<u8> {
    let mut out = MAGIC.to_le_bytes().to_vec();
    let mut section = |kind: u32, content: &[u8]| {
        out.extend(kind.to_le_bytes());
        out.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        out.extend(content);
    };
    let mut entries = vec![0; 16 * (table.len() + 1)];
    for (entry, (signature, number)) in entries.chunks_exact_mut(16).zip(table) {
        set(entry, 0, *signature);
        set(entry, 12, u32::from(*number));
    }
    section(0, &entries);
    for (revision, number) in updates {
        let mut update = vec![0; 128];
        set(&mut update, 4, *revision);
        set(&mut update, 24, u32::from(*number));
        section(1, &update);
    }
    out
}

const MAGIC: u32 = 0x0041_4d44;

fn revision(file: &[u8], processor: &Processor) -> Result<u32, Errno> {
    choose(file, processor).map(|found| found.revision)
}

#[test]
fn the_newest_of_intels_is_taken() {
    let file = [
        intel(0xb4, INTEL.signature, 2, &[]),
        intel(0xde, INTEL.signature, 0x22, &[]),
        intel(0xff, INTEL.signature, 1, &[]),
        intel(0xff, INTEL.signature ^ 1, 2, &[]),
        intel(0xca, INTEL.signature, 2, &[]),
    ]
    .concat();
    assert_eq!(revision(&file, &INTEL), Ok(0xde));
    assert_eq!(
        revision(&file[2048 * 2..2048 * 4], &INTEL),
        Err(Errno::ENOENT)
    );
    assert_eq!(choose(&file, &INTEL).unwrap().bytes, &file[2048..4096]);
    assert_eq!(revision(&[], &INTEL), Err(Errno::ENOENT));
}

#[test]
fn lengths_of_zero_are_the_usual() {
    let mut update = intel(7, INTEL.signature, 2, &[]);
    set(&mut update, 28, 0);
    set(&mut update, 32, 0);
    balance(&mut update, 16);
    assert_eq!(revision(&update, &INTEL), Ok(7));
}

#[test]
fn further_signatures_count() {
    let other = INTEL.signature ^ 1;
    let file = intel(9, other, 0xff, &[(other ^ 4, 2), (INTEL.signature, 2)]);
    assert_eq!(revision(&file, &INTEL), Ok(9));
    // Header and data are loaded, not the table.
    assert_eq!(choose(&file, &INTEL).unwrap().bytes.len(), 2048);
    let not_ours = intel(9, other, 0xff, &[(INTEL.signature, 1)]);
    assert_eq!(revision(&not_ours, &INTEL), Err(Errno::ENOENT));
    for at in [2048, 2052, 2068, 2072, 2076, 2088] {
        let mut damaged = file.clone();
        damaged[at] ^= 0x40;
        assert_eq!(revision(&damaged, &INTEL), Err(Errno::EINVAL), "{at}");
    }
}

#[test]
fn what_stands_before_a_fault_counts() {
    let good = intel(3, INTEL.signature, 2, &[]);
    let other = intel(3, INTEL.signature ^ 1, 2, &[]);
    for bad in [&[0][..], &good[..2047], &[0; 48], &[0; 4096]] {
        assert_eq!(revision(bad, &INTEL), Err(Errno::EINVAL));
        assert_eq!(revision(&[&good[..], bad].concat(), &INTEL), Ok(3));
        assert_eq!(
            revision(&[&other[..], bad].concat(), &INTEL),
            Err(Errno::EINVAL)
        );
    }
    let mut wrong_sum = good;
    wrong_sum[1000] ^= 1;
    assert_eq!(revision(&wrong_sum, &INTEL), Err(Errno::EINVAL));
}

#[test]
fn the_newest_of_amds_is_taken() {
    let file = [
        amd(&[(0x0080_0f12, 0x8012)], &[(0x99, 0x8310)]),
        amd(
            &[(0x0080_0f12, 0x8012), (AMD.signature, 0x8310)],
            &[(5, 0x8310), (7, 0x8310), (9, 0x8012), (6, 0x8310)],
        ),
    ]
    .concat();
    assert_eq!(revision(&file, &AMD), Ok(7));
    assert_eq!(choose(&file, &AMD).unwrap().bytes.len(), 128);
    assert_eq!(revision(&[], &AMD), Err(Errno::ENOENT));
    let none = amd(&[(AMD.signature, 0x8310)], &[(9, 0x8012)]);
    assert_eq!(revision(&none, &AMD), Err(Errno::ENOENT));
    // Behind the end of the table.
    let behind = amd(&[(0, 0), (AMD.signature, 0x8310)], &[(9, 0x8310)]);
    assert_eq!(revision(&behind, &AMD), Err(Errno::ENOENT));
}

#[test]
fn amds_faults() {
    let file = amd(&[(AMD.signature, 1)], &[(5, 1)]);
    for length in 1..file.len() {
        let expected = match length {
            // The table alone is a file without updates.
            44 => Errno::ENOENT,
            _ => Errno::EINVAL,
        };
        assert_eq!(revision(&file[..length], &AMD), Err(expected), "{length}");
    }
    // No magic word; an update before any table; a second table.
    assert_eq!(revision(&file[4..], &AMD), Err(Errno::EINVAL));
    assert_eq!(revision(&file[44..], &AMD), Err(Errno::EINVAL));
    let mut twice = file[..44].to_vec();
    twice.extend(&file[4..44]);
    assert_eq!(revision(&twice, &AMD), Err(Errno::EINVAL));
    // For a chipset.
    let mut chipset = file;
    let at = chipset.len() - 128 + 16;
    set(&mut chipset, at, 1);
    assert_eq!(revision(&chipset, &AMD), Err(Errno::ENOENT));
}

proptest! {
    #[test]
    fn any_file_is_looked_through(
        at in 0usize..4400,
        value: u32,
        length in 0usize..4400,
        processor in prop_oneof![Just(INTEL), Just(AMD)],
    ) {
        let mut file = match processor.vendor {
            Vendor::Intel => [
                intel(1, INTEL.signature ^ 1, 2, &[(INTEL.signature, 2)]),
                intel(2, INTEL.signature, 2, &[]),
            ].concat(),
            Vendor::Amd => amd(&[(AMD.signature, 1), (7, 2)], &[(5, 1), (6, 2), (7, 1)]),
        };
        let at = at % file.len();
        if let Some(place) = file.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        file.truncate(length);
        if let Ok(found) = choose(&file, &processor) {
            prop_assert!(found.bytes.len() >= 48 && found.bytes.len() <= file.len());
        }
    }

    #[test]
    fn any_bytes_are_looked_through(file: Vec<u8>, magic: bool) {
        let mut file = file;
        if magic {
            file.splice(0..0, MAGIC.to_le_bytes());
        }
        let _ = choose(&file, &INTEL);
        let _ = choose(&file, &AMD);
    }
}
