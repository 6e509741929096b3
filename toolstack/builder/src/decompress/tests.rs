//! The samples under fixtures/ were made with xz, lzma, gzip, zstd and lz4 from [`sample`].

use proptest::prelude::*;

use super::*;

/// Something like machine code: calls, whose targets the x86 filter rewrites.
fn sample() -> Vec<u8> {
    (0..600u32)
        .flat_map(|i| {
            let [a, b, c, d] = (i * 64 % 4096).to_le_bytes();
            [
                0xe8,
                a,
                b,
                c,
                d,
                0x90,
                (i % 7).to_le_bytes()[0],
                0x55,
                0x48,
                0x89,
            ]
        })
        .collect()
}

const ALL: [(&[u8], Format); 7] = [
    (include_bytes!("../../fixtures/sample.gz"), Format::Gzip),
    (include_bytes!("../../fixtures/sample.xz"), Format::Xz),
    (include_bytes!("../../fixtures/sample.x86.xz"), Format::Xz),
    (include_bytes!("../../fixtures/sample.lzma"), Format::Lzma),
    (include_bytes!("../../fixtures/sample.zst"), Format::Zstd),
    (
        include_bytes!("../../fixtures/sample.single.zst"),
        Format::Zstd,
    ),
    (include_bytes!("../../fixtures/sample.lz4"), Format::Lz4),
];

#[test]
fn every_format_unpacks() {
    for (i, (data, format)) in ALL.into_iter().enumerate() {
        assert_eq!(Format::detect(data).unwrap(), Some(format));
        let out = unpack(format, data, sample().len()).unwrap_or_else(|e| panic!("{i}: {e}"));
        assert!(out == sample(), "{i}");
    }
}

#[test]
fn a_wrong_size_is_refused() {
    for (data, format) in ALL {
        for size in [0, 1, 5999, 6001] {
            let e = unpack(format, data, size).unwrap_err();
            assert!(matches!(e, ImageError::Payload { .. }), "{format:?} {size}");
        }
    }
}

#[test]
fn cutting_short_is_noticed() {
    for (data, format) in ALL {
        // An xz file's last 32 bytes are its index and footer, which nothing depends on.
        for len in 0..data.len() - 32 {
            assert!(
                unpack(format, &data[..len], 6000).is_err(),
                "{format:?} {len}"
            );
        }
    }
}

#[test]
fn what_linux_cannot_unpack_is_refused() {
    let e = unpack(
        Format::Xz,
        include_bytes!("../../fixtures/sample.crc64.xz"),
        6000,
    );
    assert!(e.unwrap_err().to_string().contains("CRC32"));
    assert_eq!(
        Format::detect(b"BZh9"),
        Err(ImageError::Compression("bzip2"))
    );
    assert_eq!(Format::detect(b"\x7fELF"), Ok(None));
}

#[test]
fn a_huge_zstd_window_is_refused_before_it_is_reserved() {
    let mut data = ALL[4].0.to_vec();
    data[5] = 0xff;
    let e = unpack(Format::Zstd, &data, 6000).unwrap_err();
    assert!(e.to_string().contains("window"), "{e}");
}

proptest! {
    #[test]
    fn damage_gives_an_error_or_the_sample(which in 0..ALL.len(), at in 0usize..400, bits in 1u8..) {
        let (data, format) = ALL[which];
        let mut data = data.to_vec();
        let at = at % data.len();
        data[at] ^= bits;
        if let Ok(out) = unpack(format, &data, 6000) {
            // LZ4's and lzma's frames have no checksum, so damage may go unnoticed there.
            prop_assert_eq!(out.len(), 6000);
            if matches!(format, Format::Gzip | Format::Xz) {
                prop_assert!(out == sample());
            }
        }
    }
}
