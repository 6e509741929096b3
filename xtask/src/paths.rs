//! Where things lie: the workspace, the target folder and `dist`, in which `build` leaves its products.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // xtask is always run through cargo, from the workspace it was compiled in.
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_path_buf()
}

/// Cargo's target folder (`CARGO_TARGET_DIR` is respected).
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where the products go.
pub(crate) fn dist() -> PathBuf {
    target().join("dist")
}
