//! Which of the workspace's two cargo profiles the bare-metal programs are built with in this run.

use std::sync::atomic::{AtomicBool, Ordering};

static QUICK: AtomicBool = AtomicBool::new(false);

/// From now on, what builds fast rather than runs fast.
pub(crate) fn choose_quick() {
    QUICK.store(true, Ordering::Relaxed);
}

/// The name of the profile.
pub(crate) fn name() -> &'static str {
    if QUICK.load(Ordering::Relaxed) {
        "bare-quick"
    } else {
        "bare"
    }
}
