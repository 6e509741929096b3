//! A guest's life through xm.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::guest::{self, CREATE, XM};
use crate::dom0::Dom0;

/// xend starts, and starts what it needs.
pub fn xend(dom0: &mut Dom0) -> Result<()> {
    dom0.ok("xend start", CREATE)?;
    dom0.ok("pidof xend && pidof xenstored && pidof xenconsoled", XM)?;
    Ok(())
}

/// `xm create`, and the columns of `xm list`.
pub fn create_and_list(dom0: &mut Dom0) -> Result<()> {
    guest::create(dom0)?;
    let host = guest::find(dom0, "Domain-0")?.context("`xm list` does not show Domain-0")?;
    ensure!(
        host.id == 0 && host.memory >= 1000,
        "wrong line for Domain-0: {host:?}"
    );
    let demo = guest::find(dom0, "demo")?.context("`xm list` does not show demo")?;
    ensure!(
        demo.id > 0 && demo.memory == 256 && demo.vcpus == 1,
        "wrong line for demo: {demo:?}"
    );
    Ok(())
}

/// A command typed into `xm console demo` and its answer.
pub fn console(dom0: &mut Dom0) -> Result<()> {
    guest::answers(dom0)
}

/// The guest's kernel complained about nothing since it booted.
pub fn clean_guest(dom0: &mut Dom0) -> Result<()> {
    guest::attach(dom0)?;
    let command = "dmesg | grep -cE 'WARNING:|BUG:|Call Trace|Oops'";
    dom0.console.line(command, false)?;
    let told = dom0.console.expect("(?m)^([0-9]+)$", XM)?;
    guest::detach(dom0)?;
    ensure!(told == "0", "the guest's dmesg has {told} complaints");
    Ok(())
}

/// The guest's clock goes by dom0's, to a minute.
pub fn guest_clock(dom0: &mut Dom0) -> Result<()> {
    const MINUTE: i64 = 60;
    guest::attach(dom0)?;
    dom0.console.line("date +%s", false)?;
    // All digits: they come one by one.
    let told = dom0.console.expect("(?m)^([0-9]{10})$", XM)?;
    guest::detach(dom0)?;
    let ours = dom0.ok("date +%s", XM)?;
    let (told, ours): (i64, i64) = (told.trim().parse()?, ours.trim().parse()?);
    ensure!(
        (ours - told).abs() <= MINUTE,
        "the guest's clock shows {told}, dom0's {ours}"
    );
    Ok(())
}

/// A paused guest shows as such and uses no time; unpaused, it answers.
pub fn pause_and_unpause(dom0: &mut Dom0) -> Result<()> {
    dom0.ok("xm pause demo", XM)?;
    let demo = guest::find(dom0, "demo")?.context("demo is gone")?;
    ensure!(
        demo.state.contains('p'),
        "demo is not shown as paused: {demo:?}"
    );
    dom0.ok("xm unpause demo", XM)?;
    let demo = guest::find(dom0, "demo")?.context("demo is gone")?;
    ensure!(
        !demo.state.contains('p'),
        "demo is shown as paused still: {demo:?}"
    );
    guest::answers(dom0)
}

/// `xm reboot` brings a new domain of the same name, which answers.
pub fn reboot(dom0: &mut Dom0) -> Result<()> {
    let before = guest::find(dom0, "demo")?.context("demo is gone")?.id;
    dom0.ok("xm reboot demo", XM)?;
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        if guest::find(dom0, "demo")?.is_some_and(|demo| demo.id != before) {
            return guest::answers(dom0);
        }
        ensure!(Instant::now() < deadline, "no new domain demo within 180 s");
    }
}

/// `xm shutdown` lets the guest end by itself.
pub fn shutdown(dom0: &mut Dom0) -> Result<()> {
    dom0.ok("xm shutdown demo", XM)?;
    guest::gone(dom0, "demo")
}

/// `xm destroy` ends it at once.
pub fn destroy(dom0: &mut Dom0) -> Result<()> {
    guest::create(dom0)?;
    dom0.ok("xm destroy demo", XM)?;
    guest::gone(dom0, "demo")
}

/// xend dies and comes back: the guest runs on, and xend knows it.
pub fn xend_killed(dom0: &mut Dom0) -> Result<()> {
    guest::ensure_running(dom0)?;
    let before = guest::find(dom0, "demo")?.context("demo is gone")?;
    guest::answers(dom0)?;
    dom0.ok("kill -9 $(pidof xend)", XM)?;
    let (status, text) = dom0.sh("xm list", XM)?;
    ensure!(status != 0, "`xm list` works without xend:\n{text}");
    dom0.ok("xend start", CREATE)?;
    let after = guest::find(dom0, "demo")?.context("xend has forgotten demo")?;
    ensure!(
        after.id == before.id,
        "demo was {before:?} and is {after:?}"
    );
    guest::answers(dom0)?;
    dom0.ok("xm destroy demo", XM)?;
    guest::gone(dom0, "demo")
}
