//! The hypercalls, one file for what belongs together.

pub(crate) mod domctl;
pub(crate) mod event;
pub(crate) mod memory;
pub(crate) mod mmu;
pub(crate) mod sched;
pub(crate) mod sysctl;
pub(crate) mod version;

/// Payloads of operations that hold no guest handle, so that any value of them is harmless to this process.
///
/// # Safety
/// The hypervisor must not take any part of the type for an address.
pub(crate) unsafe trait Plain:
    zerocopy::IntoBytes + zerocopy::FromBytes + zerocopy::Immutable
{
}

/// Text that ends at its first zero byte, if there is one.
pub(crate) fn c_text(bytes: &[u8]) -> String {
    let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The numbers of the set bits of a bitmap, least significant bit first.
pub(crate) fn bits_of(bitmap: &[u8]) -> Vec<u32> {
    (0u32..)
        .zip(
            bitmap
                .iter()
                .flat_map(|b| (0..8).map(move |i| b & (1 << i) != 0)),
        )
        .filter(|(_, set)| *set)
        .map(|(i, _)| i)
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn bits_have_their_numbers() {
        assert_eq!(super::bits_of(&[0b1000_0001, 0, 0b10]), [0, 7, 17]);
    }

    #[test]
    fn text_ends_at_zero() {
        assert_eq!(super::c_text(b"xen\0\xff"), "xen");
        assert_eq!(super::c_text(b"xen"), "xen");
    }
}
