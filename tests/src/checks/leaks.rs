//! What a guest leaves behind: nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::guest::{self, CREATE, XM};
use crate::dom0::Dom0;

/// What a guest could leave something in.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    /// Free memory in MiB, as the hypervisor counts it.
    free: u64,
    /// All of xenstore.
    store: String,
    /// Names of all domains.
    domains: Vec<String>,
}

impl State {
    /// Reads it.
    pub fn read(dom0: &mut Dom0) -> Result<Self> {
        let info = dom0.ok("xm info", XM)?;
        let free = info
            .lines()
            .find_map(|line| line.strip_prefix("free_memory")?.trim().strip_prefix(':'))
            .with_context(|| format!("`xm info` shows no free_memory:\n{info}"))?;
        Ok(Self {
            free: free.trim().parse().context("free_memory is no number")?,
            store: dom0.ok("xenstore-ls", XM)?,
            domains: guest::list(dom0)?
                .into_iter()
                .map(|domain| domain.name)
                .collect(),
        })
    }

    /// Compares with the state now. The hypervisor takes a domain's memory back in pieces: the figure may come late.
    pub fn same_now(&self, dom0: &mut Dom0) -> Result<()> {
        let line = format!("xm info | grep -E 'free_memory *: *{}$'", self.free);
        let free = dom0.until(&line, "free_memory", Duration::from_secs(20));
        let now = Self::read(dom0)?;
        ensure!(
            free.is_ok(),
            "free memory was {} MiB and is {} MiB",
            self.free,
            now.free
        );
        ensure!(
            now.store == self.store,
            "xenstore differs. Before:\n{}after:\n{}",
            self.store,
            now.store
        );
        ensure!(
            now.domains == self.domains,
            "domains were {:?} and are {:?}",
            self.domains,
            now.domains
        );
        Ok(())
    }
}

/// Twenty times create and destroy: the same free memory, nothing left in xenstore.
pub fn twenty(dom0: &mut Dom0) -> Result<()> {
    // The first guest may make nodes that stay (counters, folders).
    once(dom0)?;
    let before = State::read(dom0)?;
    for _ in 0..20 {
        once(dom0)?;
    }
    before.same_now(dom0)
}

fn once(dom0: &mut Dom0) -> Result<()> {
    dom0.ok(&format!("xm create {} >/dev/null", guest::CONFIG), CREATE)?;
    dom0.ok("xm destroy demo", XM)?;
    guest::gone(dom0, "demo")
}
