//! FPU state across context switches.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::guest;
use crate::dom0::Dom0;

/// Long enough for the slowest of machines.
const TIME: Duration = Duration::from_secs(240);

/// For 30 s several processes in dom0 and one in the demo keep patterns in their XMM and YMM registers: no mismatch.
pub fn patterns(dom0: &mut Dom0) -> Result<()> {
    guest::ensure_running(dom0)?;
    guest::attach(dom0)?;
    dom0.console.line("fpucheck 35; echo status=$?", false)?;
    // The echo; the guest's check runs from here on.
    dom0.console.expect("status=", Duration::from_secs(30))?;
    guest::detach(dom0)?;
    let text = dom0.ok(
        "for i in 1 2 3; do (fpucheck 30 || echo bad) & done; wait",
        TIME,
    )?;
    ensure!(!text.contains("bad"), "registers change in dom0:\n{text}");
    dom0.start("xm console demo")?;
    let status = dom0.console.expect("status=([0-9]+)", TIME)?;
    guest::detach(dom0)?;
    ensure!(status == "0", "registers change in the demo");
    for bank in ["xmm", "ymm"] {
        let line = format!("fpucheck {bank}:");
        ensure!(
            text.contains(&line),
            "the check in dom0 had no {bank} registers:\n{text}"
        );
    }
    Ok(())
}
