//! Caching by contents: a product carries the hash of its recipe and inputs, and is made again when that changes.

use std::fs;
use std::path::Path;

use anyhow::Result;
use sha2::{Digest, Sha256};

/// A short name for the given bytes; each part's length counts, so that parts cannot flow into each other.
pub(crate) fn hash<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        sha.update(part.len().to_le_bytes());
        sha.update(part);
    }
    sha.finalize()
        .iter()
        .take(10)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Makes `product` with `make` unless it is there and was made with the same `key`.
pub(crate) fn keep(
    product: &Path,
    key: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let mut stamp = product.as_os_str().to_owned();
    stamp.push(".key");
    let stamp = Path::new(&stamp);
    if product.exists() && fs::read_to_string(stamp).is_ok_and(|made| made == key) {
        return Ok(());
    }
    if let Some(dir) = product.parent() {
        fs::create_dir_all(dir)?;
    }
    // Without the stamp a half-made product is never taken for a whole one.
    if stamp.exists() {
        fs::remove_file(stamp)?;
    }
    make(product)?;
    fs::write(stamp, key)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn parts_do_not_flow_together() {
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
        assert_eq!(hash(["ab", "c"]), hash(["ab", "c"]));
        assert_eq!(hash(["x"]).len(), 20);
    }
}
