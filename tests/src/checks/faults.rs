//! Faulty requests: each gets a message that names the fault, exit status 1 or 2, and leaves nothing behind.

use anyhow::{Result, ensure};

use super::guest::{self, CREATE, XM};
use super::leaks::State;
use crate::dom0::Dom0;

/// Runs `xm create` on a file with these lines; the message must contain all of `named`.
fn refused(dom0: &mut Dom0, lines: &str, named: &[&str]) -> Result<()> {
    let before = State::read(dom0)?;
    dom0.ok(&format!("printf '{lines}' > /tmp/faulty"), XM)?;
    let (status, text) = dom0.sh("xm create /tmp/faulty", CREATE)?;
    ensure!(
        status == 1 || status == 2,
        "`xm create` exits with status {status}:\n{text}"
    );
    for name in named {
        ensure!(
            text.contains(name),
            "the message does not say {name:?}:\n{text}"
        );
    }
    ensure!(!text.contains("panicked"), "a program panicked:\n{text}");
    before.same_now(dom0)
}

/// An error in the file: its path and line.
pub fn config_error(dom0: &mut Dom0) -> Result<()> {
    refused(
        dom0,
        "name = \"faulty\"\\nmemory = = 64\\n",
        &["/tmp/faulty:2:"],
    )
}

/// A kernel that is not there: its path.
pub fn missing_kernel(dom0: &mut Dom0) -> Result<()> {
    refused(
        dom0,
        "name = \"faulty\"\\nkernel = \"/boot/none\"\\nmemory = 64\\n",
        &["/boot/none"],
    )
}

/// A name in use: the name.
pub fn name_in_use(dom0: &mut Dom0) -> Result<()> {
    guest::ensure_running(dom0)?;
    let config = "name = \"demo\"\\nkernel = \"/boot/vmlinuz-guest\"\\nmemory = 64\\n";
    refused(dom0, config, &["demo"])?;
    dom0.ok("xm destroy demo", XM)?;
    guest::gone(dom0, "demo")
}

/// More memory than there is: what was asked for, in MiB.
pub fn too_little_memory(dom0: &mut Dom0) -> Result<()> {
    let config = "name = \"faulty\"\\nkernel = \"/boot/vmlinuz-guest\"\\nmemory = 64000\\n";
    refused(dom0, config, &["64000"])
}
