//! Payloads made by other encoders.

use alloc::vec;
use alloc::vec::Vec;
use std::io::Write;

use lzma_rust2::{FilterType, LzmaOptions, LzmaWriter, XzOptions, XzWriter};
use proptest::prelude::*;

use super::{Format, PayloadError, decode};

fn xz(data: &[u8], x86: bool) -> Vec<u8> {
    let mut options = XzOptions::with_preset(1);
    if x86 {
        options.prepend_pre_filter(FilterType::BcjX86, 0);
    }
    let mut writer = XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn lzma(data: &[u8], with_size: bool) -> Vec<u8> {
    let size = with_size.then_some(data.len() as u64);
    let options = LzmaOptions::with_preset(1);
    let mut writer = LzmaWriter::new_use_header(Vec::new(), &options, size).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn lz4(data: &[u8]) -> Vec<u8> {
    let mut file = vec![0x02, 0x21, 0x4c, 0x18];
    for block in data.chunks(3000) {
        let packed = lz4_flex::block::compress(block);
        file.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        file.extend(packed);
    }
    file
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 2 | 4 | 16, 0, 0, 0, 0, 0, 3];
    file.extend_from_slice(b"\x03\0abccomment\0\x12\x34");
    file.extend(miniz_oxide::deflate::compress_to_vec(data, 9));
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
    file
}

/// Code-like data: runs, repeats from before, and calls.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        (any::<u8>(), 1usize..300).prop_map(|(byte, count)| vec![byte; count]),
        (any::<bool>(), -2000i32..2000).prop_map(|(jump, to)| {
            let mut call = vec![0xe8 | u8::from(jump)];
            call.extend_from_slice(&to.to_le_bytes());
            call
        }),
        Just(b"the quick brown fox jumps over the lazy dog".to_vec()),
        prop::collection::vec(
            prop_oneof![Just(0xe8u8), Just(0), Just(0xff), Just(1)],
            1..12
        ),
    ];
    prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

fn check(format: Format, packed: &[u8], data: &[u8]) {
    assert_eq!(Format::detect(packed), Some(format));
    let mut out = vec![0xa5; data.len() + 3];
    assert_eq!(
        decode(format, packed, &mut out, &mut |_| {}),
        Ok(data.len()),
        "{format}"
    );
    assert_eq!(&out[..data.len()], data);
    // Without a length LZMA ends where the room does; its length is checked by the caller.
    let has_end = format != Format::Lzma || packed.get(5..13).is_none_or(|size| size != [0xff; 8]);
    if !data.is_empty() && has_end {
        let mut small = vec![0; data.len() - 1];
        let error = decode(format, packed, &mut small, &mut |_| {});
        assert_eq!(error, Err(PayloadError::Damaged(format)));
    }
}

/// Every way to pack data.
fn packings(data: &[u8]) -> [(Format, Vec<u8>); 7] {
    [
        (Format::Xz, xz(data, false)),
        (Format::Xz, xz(data, true)),
        (Format::Lzma, lzma(data, true)),
        (Format::Lzma, lzma(data, false)),
        (Format::Lz4, lz4(data)),
        (Format::Gzip, gzip(data)),
        (Format::Zstd, zstd(data)),
    ]
}

#[test]
fn long_data_takes_several_chunks() {
    // More than the 2 MiB of a chunk, and more than 64 KiB that do not compress.
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let mut data: Vec<u8> = (0..100_000).map(|_| noise()).collect();
    data.extend(core::iter::repeat_n(b"0123456789abcdef\n", 140_000).flatten());
    data.extend((0..100_000).map(|_| noise()));
    for x86 in [false, true] {
        check(Format::Xz, &xz(&data, x86), &data);
    }
}

/// What the fixture holds.
fn fixture() -> Vec<u8> {
    const WORDS: [&str; 5] = ["memory", "console", "event channel", "page table", "grant"];
    let mut state = 12_345u64;
    let mut text = std::string::String::new();
    for number in 0..600 {
        state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
        let word = WORDS[usize::try_from((state >> 16) % 5).unwrap()];
        text += &std::format!("{number}: the {word} of domain {}\n", (state >> 8) % 37);
    }
    text.truncate(6000);
    text.into_bytes()
}

#[test]
fn zstandards_own_encoder() {
    // `zstd --no-check -19`: Huffman literals in four streams, own tables for all codes,
    // offsets used again.
    let packed = include_bytes!("zstd/fixture.zst");
    check(Format::Zstd, packed, &fixture());
    for at in 0..packed.len() {
        for change in [1, 0x10, 0x80, 0xff] {
            let mut bad = packed.to_vec();
            bad[at] ^= change;
            let mut out = vec![0; 6000];
            let _ = decode(Format::Zstd, &bad, &mut out, &mut |_| {});
        }
        let mut out = vec![0; 6000];
        assert!(decode(Format::Zstd, &packed[..at], &mut out, &mut |_| {}).is_err());
    }
}

#[test]
fn formats_without_a_decoder_are_named() {
    let error = decode(Format::Bzip2, b"BZh", &mut [], &mut |_| {}).unwrap_err();
    assert_eq!(error, PayloadError::Unsupported(Format::Bzip2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_packed_comes_out(data in data()) {
        for (format, packed) in packings(&data) {
            if data.is_empty() && format == Format::Lz4 {
                continue;
            }
            check(format, &packed, &data);
        }
    }

    #[test]
    fn damage_never_panics(data in data(), at: usize, with: u8, cut: usize) {
        for (format, mut packed) in packings(&data) {
            let place = at % packed.len();
            packed[place] ^= with;
            packed.truncate(packed.len() - cut % 4);
            let mut out = vec![0; data.len() + 100];
            let _ = decode(format, &packed, &mut out, &mut |_| {});
        }
    }
}

#[test]
fn a_call_at_the_very_end() {
    let data = [0xe8, 0, 1, 0, 0];
    for (format, packed) in packings(&data) {
        check(format, &packed, &data);
    }
}
