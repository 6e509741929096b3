//! Much at once in dom0.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::dom0::Dom0;

const TIME: Duration = Duration::from_secs(900);

/// KiB of memory that may be in use afterwards and was not before: caches of the kernel's.
const DRIFT: u64 = 64 << 10;

/// Most that guest's clock and RTC may differ: one part in a thousand.
const SECONDS: u64 = 120;

fn available(dom0: &mut Dom0) -> Result<u64> {
    dom0.ok("echo 3 > /proc/sys/vm/drop_caches", TIME)?;
    let text = dom0.ok("awk '/^MemAvailable/ { print $2 }' /proc/meminfo", TIME)?;
    text.trim().parse().context("no MemAvailable")
}

/// Runs a command that must print nothing.
fn silently(dom0: &mut Dom0, command: &str) -> Result<()> {
    let text = dom0.ok(command, TIME)?;
    ensure!(text.trim().is_empty(), "`{command}` prints:\n{text}");
    Ok(())
}

/// So many processes start and end, four at a time.
fn forks(dom0: &mut Dom0, number: u32) -> Result<()> {
    silently(
        dom0,
        &format!(
            "for j in 1 2 3 4; do sh -c 'i=0; while [ $i -lt {} ]; do /bin/busybox true || echo bad; \
             i=$((i+1)); done' & done; wait",
            number / 4
        ),
    )
}

/// Eight busy processes for a while, signals, and 1 GiB of memory that is mapped, written to, protected and given back,
/// by processes and by threads of one.
fn rest(dom0: &mut Dom0) -> Result<()> {
    silently(
        dom0,
        "p=; for j in 1 2 3 4 5 6 7 8; do sh -c 'while :; do :; done' & p=\"$p $!\"; done; sleep 5; \
         kill -9 $p; wait $p 2>/dev/null; true",
    )?;
    silently(
        dom0,
        "sh -c 'n=0; trap \"n=\\$((n+1))\" USR1; i=0; while [ $i -lt 500 ]; do kill -USR1 $$; \
         i=$((i+1)); done; [ $n = 500 ] || echo $n signals'",
    )?;
    silently(
        dom0,
        "for j in 1 2 3 4; do sh -c 'for i in 1 2 3 4; do dd if=/dev/zero of=/dev/null bs=64M count=1 \
         2>/dev/null || echo bad; done' & done; wait",
    )?;
    silently(dom0, "memchurn 4 64 4")
}

fn stress(dom0: &mut Dom0, number: u32) -> Result<()> {
    let before = available(dom0)?;
    forks(dom0, number)?;
    rest(dom0)?;
    let after = available(dom0)?;
    ensure!(
        after + DRIFT >= before,
        "{before} KiB available before, {after} KiB after"
    );
    Ok(())
}

/// 1,000 forks, and the rest.
pub fn short(dom0: &mut Dom0) -> Result<()> {
    stress(dom0, 1_000)
}

/// 10,000 forks, and the rest.
pub fn long(dom0: &mut Dom0) -> Result<()> {
    stress(dom0, 10_000)
}

/// Milliseconds of the kernel's clock at the next tick of the RTC, and the RTC's seconds then.
fn at_tick(dom0: &mut Dom0) -> Result<(u64, u64)> {
    let text = dom0.ok(
        "f=/sys/class/rtc/rtc0/since_epoch; read s < $f; t=$s; \
         while [ $t = $s ]; do read t < $f; done; read u x < /proc/uptime; echo $u $t",
        TIME,
    )?;
    let (uptime, rtc) = text.trim().split_once(' ').context("no two figures")?;
    let (seconds, hundredths) = uptime.split_once('.').context("no hundredths")?;
    let uptime = seconds.parse::<u64>()? * 1000 + hundredths.parse::<u64>()? * 10;
    Ok((uptime, rtc.parse()?))
}

/// Over 120 s dom0's clock and the RTC agree within 0.1 %.
pub fn clocks(dom0: &mut Dom0) -> Result<()> {
    dom0.sh("modprobe rtc_cmos", TIME)?;
    let first = at_tick(dom0)?;
    dom0.ok(&format!("sleep {SECONDS}"), TIME)?;
    let last = at_tick(dom0)?;
    let (clock, rtc) = (last.0 - first.0, (last.1 - first.1) * 1000);
    ensure!(
        clock.abs_diff(rtc) <= rtc / 1000,
        "{clock} ms on dom0's clock are {rtc} ms of the RTC"
    );
    Ok(())
}
