//! dom0 and its own hardware.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use regex::Regex;

use crate::disk;
use crate::dom0::Dom0;

/// What Linux 5.10, 6.1 and 6.12 write at level warning or worse on Debian's Xen 4.17 too. The last two come and go with the
/// host's load.
const KNOWN: &str = concat!(
    r"^(Grant table initialized$|cpu \d+ spinlock event irq \d+$|hpet_acpi_add: no address or irqs in _CRS$",
    r"|amd_pstate: the _CPC object is not present in SBIOS or ACPI disabled$",
    r"|ata[0-9.]+: (Model '.*applying quirks: |LPM support broken, )|hrtimer: interrupt took )",
    r"|^IRQ \d+: no longer affine to CPU\d+$",
    // An emulated TSC under load.
    r"|^clocksource: (Long readout interval, |timekeeping watchdog on CPU\d+: Marking clocksource 'tsc(-early)?' as unstable )",
    r"|^clocksource: +('[a-z-]+' (wd_nsec|cs_nsec): |'tsc(-early)?' is current clocksource|Clocksource 'tsc(-early)?' skewed )",
    r"|^clocksource: (Checking clocksource tsc synchronization |No current clocksource\.$)",
);

/// The kernel complained about nothing since it booted, except for what it says on Debian's Xen as well.
pub fn clean_dmesg(dom0: &mut Dom0) -> Result<()> {
    let (status, text) = dom0.sh(
        "dmesg | grep -A12 -E 'WARNING:|BUG:|Call Trace|Oops|unchecked MSR'",
        Duration::from_secs(30),
    )?;
    ensure!(status != 0, "dmesg has complaints:\n{text}");
    let text = dom0.ok("dmesg -r", Duration::from_secs(30))?;
    let known = Regex::new(KNOWN).context("the pattern of known lines")?;
    let line = Regex::new(r"^<([0-9]+)>\[[ 0-9.]+\] (.*)$").context("the pattern of a line")?;
    let mut seen = 0;
    for line in text.lines().filter_map(|text| line.captures(text)) {
        seen += 1;
        let (level, message) = (&line[1], &line[2]);
        let complains = level.parse::<u32>()? & 7 <= 4;
        ensure!(
            !complains || known.is_match(message),
            "dmesg has a line that it has not on Xen: {message}"
        );
    }
    ensure!(seen > 100, "`dmesg -r` shows {seen} lines only");
    Ok(())
}

/// Loads the driver of the AHCI disk and waits for the disk.
pub(super) fn wait_for_disk(dom0: &mut Dom0) -> Result<()> {
    let time = Duration::from_secs(120);
    dom0.ok("modprobe ahci && modprobe sd_mod", time)?;
    dom0.until("ls /dev/sd*", "/dev/sda", time)?;
    Ok(())
}

/// dom0's kernel knows of the BIOS's first disk what the hypervisor has asked at boot: its size and the signature in its
/// first sector, which are those of the disk. The disk is as it was at boot.
pub fn bios(dom0: &mut Dom0) -> Result<()> {
    let time = Duration::from_secs(60);
    wait_for_disk(dom0)?;
    dom0.ok("modprobe edd", time)?;
    let told = dom0.ok(
        "cd /sys/firmware/edd/int13_dev80 && cat mbr_signature sectors; cd /",
        time,
    )?;
    let want = format!("{:#010x}", disk::SIGNATURE);
    let sectors = dom0.ok("cat /sys/block/sda/size", time)?;
    let words: Vec<&str> = told.split_whitespace().collect();
    ensure!(
        words == [want.as_str(), sectors.trim()],
        "the BIOS's first disk is not the one of {want} with {sectors}: {told}"
    );
    let sector = dom0.ok(
        "dd if=/dev/sda bs=4 skip=110 count=1 2>/dev/null | od -A n -t x4",
        time,
    )?;
    ensure!(
        want.strip_prefix("0x") == Some(sector.trim()),
        "the disk's signature is {sector}"
    );
    Ok(())
}

/// Fails unless a device's interrupts come in this way, and have come.
fn comes_by(dom0: &mut Dom0, device: &str, way: &str) -> Result<()> {
    let line = dom0.ok(
        &format!("grep -w -e {device} /proc/interrupts"),
        Duration::from_secs(60),
    )?;
    let counts = line.split_whitespace().skip(1);
    let came = counts
        .map_while(|word| word.parse::<u64>().ok())
        .sum::<u64>();
    ensure!(
        came > 0 && line.contains(way),
        "{came} interrupts of {device}, by {way}? {line}"
    );
    Ok(())
}

/// How lines of the IO-APIC that stay asserted until they are served stand in `/proc/interrupts`.
const LEVEL: &str = "ioapic-level";

/// 128 MiB go to the AHCI disk, are synced, and come back the same from the disk, not from the page cache.
pub fn disk_data(dom0: &mut Dom0) -> Result<()> {
    there_and_back(dom0)?;
    comes_by(dom0, "ahci", "msi")
}

/// The same while the disk has a line of the IO-APIC.
pub fn disk_data_by_line(dom0: &mut Dom0) -> Result<()> {
    there_and_back(dom0)?;
    comes_by(dom0, "ahci", LEVEL)
}

fn there_and_back(dom0: &mut Dom0) -> Result<()> {
    let time = Duration::from_secs(120);
    wait_for_disk(dom0)?;
    // Random data twice: making all of it new takes longer than the disk.
    dom0.ok(
        "head -c 67108864 /dev/urandom > /tmp/data && head -c 67108864 /tmp/data >> /tmp/data",
        time,
    )?;
    dom0.ok("dd if=/tmp/data of=/dev/sda bs=1M conv=fsync", time)?;
    let want = dom0.ok("md5sum < /tmp/data; rm /tmp/data", time)?;
    dom0.ok("echo 3 > /proc/sys/vm/drop_caches", time)?;
    let got = dom0.ok("dd if=/dev/sda bs=1M count=128 2>/dev/null | md5sum", time)?;
    ensure!(
        got == want,
        "the disk returns other data: wrote {want}read {got}"
    );
    Ok(())
}

/// A DHCP lease and answers to pings through e1000e.
pub fn network(dom0: &mut Dom0) -> Result<()> {
    network_by(dom0, "", "msi")
}

/// The same while the card has a line of the IO-APIC.
pub fn network_by_line(dom0: &mut Dom0) -> Result<()> {
    network_by(dom0, "IntMode=0", LEVEL)
}

fn network_by(dom0: &mut Dom0, parameters: &str, way: &str) -> Result<()> {
    let time = Duration::from_secs(120);
    dom0.ok(&format!("modprobe e1000e {parameters}"), time)?;
    dom0.until("ls /sys/class/net", "eth0", time)?;
    dom0.ok("udhcpc -i eth0 -n -q -f -t 20", time)?;
    let text = dom0.ok("ping -c 3 -W 10 10.0.2.2", time)?;
    ensure!(text.contains(" 0% packet loss"), "pings get lost:\n{text}");
    comes_by(dom0, "eth0", way)?;
    dom0.ok("ip link set eth0 down", time)?;
    Ok(())
}

/// dom0 reads the names of the hypervisor's functions, as `perf kvm` does.
pub fn symbols(dom0: &mut Dom0) -> Result<()> {
    let text = dom0.ok("wc -l < /proc/xen/xensyms", Duration::from_secs(60))?;
    let count: u32 = text.trim().parse().context("no number of lines")?;
    ensure!(count > 100, "/proc/xen/xensyms has {count} lines");
    // Address, letter, name; the addresses ascend.
    let odd = dom0.ok(
        "awk 'NF < 3 || $2 !~ /^[a-zA-Z]$/ || $1 < last { print; exit } { last = $1 }' /proc/xen/xensyms",
        Duration::from_secs(60),
    )?;
    ensure!(
        odd.trim().is_empty(),
        "an odd line in /proc/xen/xensyms: {odd}"
    );
    Ok(())
}
