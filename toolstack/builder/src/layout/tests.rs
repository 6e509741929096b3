use proptest::prelude::*;

use super::*;

/// Debug-free Linux 6.1 with a 20 MiB RAM disk in 256 MiB.
fn linux() -> Wanted {
    Wanted {
        virt_base: 0xffff_ffff_8000_0000,
        kernel_end: 0x3e0_0000,
        ramdisk: 20 << 20,
        unmapped_ramdisk: true,
        init_p2m: Some(0x80_0000_0000),
        pages: 256 * 256,
    }
}

#[test]
fn linux_in_256_mib() {
    let l = Layout::plan(&linux()).unwrap();
    assert_eq!(
        (l.start_info, l.xenstore, l.console),
        (0x3e00, 0x3e01, 0x3e02)
    );
    assert_eq!(l.l4, 0x3e03);
    // 64 MiB of kernel and room: one L3, one L2, 32 L1 tables for 64 MiB.
    assert_eq!(
        l.region.tables,
        Frames {
            pfn: 0x3e04,
            count: 34
        }
    );
    assert_eq!(l.stack, 0x3e26);
    assert_eq!(l.region.frames.count, 0x4000);
    let p2m = l.p2m_area.unwrap();
    assert_eq!(
        p2m.frames,
        Frames {
            pfn: 0x4000,
            count: 128
        }
    );
    assert_eq!(
        p2m.tables,
        Frames {
            pfn: 0x4080,
            count: 3
        }
    );
    assert_eq!(
        l.ramdisk,
        Some(Frames {
            pfn: 0x4083,
            count: 5120
        })
    );
    assert_eq!(l.p2m_address, 0x80_0000_0000);
    assert!(!l.ramdisk_mapped);
}

#[test]
fn an_old_kernel_gets_everything_in_the_region() {
    let wanted = Wanted {
        unmapped_ramdisk: false,
        init_p2m: None,
        ..linux()
    };
    let l = Layout::plan(&wanted).unwrap();
    assert_eq!(
        l.ramdisk,
        Some(Frames {
            pfn: 0x3e00,
            count: 5120
        })
    );
    assert_eq!(
        l.p2m,
        Frames {
            pfn: 0x5200,
            count: 128
        }
    );
    assert_eq!(l.start_info, 0x5280);
    assert_eq!(l.p2m_address, l.address(0x5200));
    assert!(l.ramdisk_mapped && l.p2m_area.is_none());
}

#[test]
fn too_little_memory_says_how_much_is_needed() {
    let wanted = Wanted {
        pages: 64 * 256,
        ..linux()
    };
    match Layout::plan(&wanted) {
        Err(Error::DomainTooSmall {
            have_mib: 64,
            need_mib: 85,
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn addresses_that_cannot_be_are_refused() {
    for virt_base in [
        0xffff_ffff_ffff_f000,
        0xffff_8000_0000_0000,
        0xffff_87ff_ffff_f000,
        0x7fff_ffff_f000,
        0x8000_0000_0000,
    ] {
        let wanted = Wanted {
            virt_base,
            ..linux()
        };
        let e = Layout::plan(&wanted);
        assert!(matches!(e, Err(Error::Layout(_))), "{virt_base:#x}: {e:?}");
    }
    let wanted = Wanted {
        kernel_end: u64::MAX,
        ..linux()
    };
    assert!(Layout::plan(&wanted).is_err());
}

#[test]
fn a_p2m_address_that_cannot_be_granted_is_ignored() {
    for init_p2m in [
        0xffff_8000_0000_0000,
        0xffff_ffff_0000_0000,
        0x80_0000_0001,
        u64::MAX,
    ] {
        let wanted = Wanted {
            init_p2m: Some(init_p2m),
            ..linux()
        };
        assert_eq!(
            Layout::plan(&wanted).unwrap().p2m_area,
            None,
            "{init_p2m:#x}"
        );
    }
}

proptest! {
    #[test]
    fn the_start_of_day_rules_hold(
        base in prop_oneof![Just(0u64), Just(0xffff_ffff_8000_0000), Just(0x20_0000u64), Just(0x7f_ffe0_0000u64)],
        kernel in 1u64..200 << 20,
        ramdisk in 0u64..200 << 20,
        unmapped in any::<bool>(),
        p2m in prop_oneof![Just(None), Just(Some(0x8000_0000_0000u64 >> 8)), Just(Some(0x1000_0000_0000u64))],
        pages in 1u64..4 << 18,
    ) {
        let wanted = Wanted {
            virt_base: base,
            kernel_end: kernel,
            ramdisk,
            unmapped_ramdisk: unmapped,
            init_p2m: p2m,
            pages,
        };
        let Ok(l) = Layout::plan(&wanted) else { return Ok(()) };
        // Rule 2 and 7: the end is aligned, with room behind the last element.
        let end = l.address(l.region.frames.count);
        prop_assert_eq!(end % REGION_ALIGN, 0);
        prop_assert!(end - l.address(l.stack + 1) >= ROOM);
        // The tables are enough for the region, and no more than one turn of rounding too many.
        let needed = tables_for(base, l.region.frames.count);
        prop_assert_eq!(l.region.tables.count, needed);
        // Nothing overlaps, and all is inside the domain.
        let mut parts = vec![
            Frames { pfn: 0, count: pages_of(kernel) },
            Frames { pfn: l.start_info, count: 3 },
            Frames { pfn: l.l4, count: 1 + l.region.tables.count },
            Frames { pfn: l.stack, count: 1 },
            l.p2m,
        ];
        parts.extend(l.ramdisk);
        parts.extend(l.p2m_area.map(|a| a.tables));
        parts.sort_by_key(|f| f.pfn);
        for pair in parts.windows(2) {
            prop_assert!(pair[0].end() <= pair[1].pfn, "{:?}", parts);
        }
        prop_assert!(parts.iter().all(|f| f.end() <= pages));
        prop_assert!(l.used <= pages && l.region.frames.count <= l.used);
        prop_assert_eq!(l.pfn_of(l.address(l.console)), Some(l.console));
    }
}
