//! Debian's tools of Xen 4.17 in dom0: xenstored, xenconsoled, xl.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::guest::{CREATE, PROMPT, XM};
use crate::dom0::Dom0;

/// From `xl create` to the guest's shell.
const BOOT: Duration = Duration::from_secs(180);

/// Where the package has its programs.
const BIN: &str = "/usr/lib/xen-4.17/bin";

/// The daemons start, and xenstore knows dom0.
pub fn daemons(dom0: &mut Dom0) -> Result<()> {
    dom0.ok("mkdir -p /var/lib/xenstored /run/xen", XM)?;
    dom0.ok(
        &format!("{BIN}/xenstored --pid-file=/run/xenstored.pid"),
        XM,
    )?;
    dom0.ok("xen-init-dom0", XM)?;
    dom0.ok(&format!("{BIN}/xenconsoled"), XM)?;
    let tree = dom0.ok("xenstore-ls /local/domain/0", XM)?;
    for line in ["name = \"Domain-0\"", "domid = \"0\""] {
        ensure!(
            tree.contains(line),
            "xenstore-ls shows no `{line}`:\n{tree}"
        );
    }
    Ok(())
}

/// `xl info`: the numbers are those of the machine and of our ABI.
pub fn info(dom0: &mut Dom0) -> Result<()> {
    let text = dom0.ok("xl info", XM)?;
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim().to_owned())
            .with_context(|| format!("`xl info` has no line {key}:\n{text}"))
    };
    let cpus = dom0_cpus(dom0)?;
    ensure!(value("nr_cpus")? == cpus, "not {cpus} CPUs:\n{text}");
    for (key, least) in [
        ("total_memory", 4000),
        ("free_memory", 1500),
        ("cpu_mhz", 100),
    ] {
        let number: f64 = value(key)?.parse().with_context(|| key.to_owned())?;
        ensure!(
            number >= f64::from(least),
            "{key} is below {least}:\n{text}"
        );
    }
    ensure!(
        value("xen_major")? == "4" && value("xen_minor")? == "17",
        "another version of the ABI:\n{text}"
    );
    ensure!(
        value("xen_caps")?.contains("xen-3.0-x86_64"),
        "no 64-bit PV guests:\n{text}"
    );
    ensure!(
        value("xen_scheduler")? == "credit",
        "the scheduler:\n{text}"
    );
    Ok(())
}

/// `xl list` and `xl vcpu-list` show dom0 and all its vCPUs.
pub fn lists(dom0: &mut Dom0) -> Result<()> {
    let text = dom0.ok("xl list", XM)?;
    let line = listed(&text, "Domain-0").with_context(|| format!("no Domain-0:\n{text}"))?;
    ensure!(
        line.first() == Some(&"0") && line.get(1).is_some_and(|memory| *memory == "1024"),
        "another line for Domain-0:\n{text}"
    );
    let text = dom0.ok("xl vcpu-list Domain-0", XM)?;
    let shown = text
        .lines()
        .filter(|line| line.starts_with("Domain-0"))
        .count();
    let cpus = dom0_cpus(dom0)?;
    ensure!(shown.to_string() == cpus, "not {cpus} vCPUs:\n{text}");
    Ok(())
}

/// `xentop -b -i 1` prints a table with dom0 and its vCPUs.
pub fn xentop(dom0: &mut Dom0) -> Result<()> {
    let text = dom0.ok("xentop -b -i 1", XM)?;
    let line = listed(&text, "Domain-0").with_context(|| format!("no Domain-0:\n{text}"))?;
    // State, CPU seconds, CPU share, memory in KiB; the rest follows.
    ensure!(
        line.len() > 6
            && line.get(1).is_some_and(|seconds| *seconds != "0")
            && line.get(3).and_then(|kib| kib.parse::<u64>().ok()) > Some(1000 * 1024),
        "another line for Domain-0:\n{text}"
    );
    Ok(())
}

/// `xl dmesg` shows the boot; `xl debug-keys h` adds the list of keys to it.
pub fn dmesg(dom0: &mut Dom0) -> Result<()> {
    dom0.ok("xl dmesg | grep -q 'Command line:\\|command line:'", XM)?;
    dom0.ok("xl dmesg > /tmp/before && xl debug-keys h", XM)?;
    dom0.ok("xl dmesg | grep \"'h'\\|key 'h'\"", XM)?;
    let (status, _) = dom0.sh("xl dmesg | cmp -s - /tmp/before", XM)?;
    ensure!(status != 0, "the debug key leaves no trace in `xl dmesg`");
    Ok(())
}

/// `xl create` of the stock kernel and an initramfs: its console answers.
pub fn create(dom0: &mut Dom0) -> Result<()> {
    let config = "name = \\\"small\\\"\\nkernel = \\\"/boot/vmlinuz-guest\\\"\\nramdisk = \
                  \\\"/boot/initrd-guest\\\"\\nmemory = 256\\nvcpus = 2\\nextra = \\\"console=hvc0\\\"\\n";
    dom0.ok(&format!("printf \"{config}\" > /tmp/small"), XM)?;
    dom0.ok("xl create /tmp/small", CREATE)?;
    answers(dom0)?;
    let text = dom0.ok("xl list", XM)?;
    let line = listed(&text, "small").with_context(|| format!("no small:\n{text}"))?;
    ensure!(
        line.get(1).is_some_and(|memory| *memory == "256") && line.get(2) == Some(&"2"),
        "another line for small:\n{text}"
    );
    let text = dom0.ok("xenstore-ls /local/domain | grep small", XM)?;
    ensure!(text.contains("name = \"small\""), "xenstore: {text}");
    Ok(())
}

/// The guest's clock goes by dom0's, to a minute, though libxc has cleared the page with its start.
pub fn clock(dom0: &mut Dom0) -> Result<()> {
    let now: u64 = dom0.ok("date +%s", XM)?.trim().parse()?;
    let (least, most) = (now.saturating_sub(60), now + 60);
    ask_guest(
        dom0,
        &format!(
            "now=$(date +%s); [ $now -ge {least} ] && [ $now -le {most} ] && echo close $((6 * 7))"
        ),
        "close 42",
    )
}

/// Debian's GRUB for PV guests, a kernel that is no Linux: it comes to its prompt, lists its devices and halts.
pub fn grub(dom0: &mut Dom0) -> Result<()> {
    let config = "name = \\\"grub\\\"\\nkernel = \\\"/usr/lib/grub-xen/grub-x86_64-xen.bin\\\"\\nmemory = 128\\n";
    dom0.ok(&format!("printf \"{config}\" > /tmp/grub"), XM)?;
    dom0.ok("xl create /tmp/grub", CREATE)?;
    let command = "xl console grub";
    dom0.start(command)?;
    dom0.console.type_bytes(b"\n")?;
    dom0.console.expect("grub> ", BOOT)?;
    dom0.console.type_bytes(b"ls\n")?;
    dom0.console.expect(r"\(memdisk\) \(proc\)", XM)?;
    // The console ends with the domain.
    dom0.console.type_bytes(b"halt\n")?;
    dom0.finish(command, XM)?;
    let gone = "xl list grub > /dev/null 2>&1 && echo there || echo gone";
    dom0.until(gone, "gone", XM)?;
    Ok(())
}

/// `xl migrate`, to the same host: the guest goes on in another domain while it writes to its memory all the time, and
/// nothing of that is lost. Debian's Xen is built without the log of writes that this takes.
pub fn migrate(dom0: &mut Dom0) -> Result<()> {
    /// The guest is sent over and over while it writes, on a host that is itself emulated.
    const MIGRATE: Duration = Duration::from_secs(180);
    if !is_ours(dom0)? {
        return Ok(());
    }
    let id = |dom0: &mut Dom0| -> Result<String> {
        let text = dom0.ok("xl list small", XM)?;
        let line = listed(&text, "small").with_context(|| format!("no small:\n{text}"))?;
        Ok(line.first().copied().unwrap_or_default().to_owned())
    };
    let before = id(dom0)?;
    ask_guest(
        dom0,
        "(while :; do dd if=/dev/urandom of=/tmp/a bs=64k count=8; cp /tmp/a /tmp/b; cmp /tmp/a /tmp/b || \
         echo 1 > /tmp/bad; done) > /dev/null 2>&1 & echo started $((6 * 7))",
        "started 42",
    )?;
    let text = dom0.ok("xl migrate -s '' small 'xl migrate-receive' 2>&1", MIGRATE)?;
    ensure!(text.contains("Migration successful"), "{text}");
    ensure!(id(dom0)? != before, "it is the same domain still:\n{text}");
    ask_guest(
        dom0,
        "kill $!; [ -s /tmp/b ] && [ ! -e /tmp/bad ] && echo whole $((6 * 7))",
        "whole 42",
    )
}

/// Whether the hypervisor is ours.
fn is_ours(dom0: &mut Dom0) -> Result<bool> {
    Ok(dom0.sh("xl dmesg | grep -q 'Oxen '", XM)?.0 == 0)
}

/// With a guest there, the frame table agrees with all page tables. Debian's Xen cannot tell.
pub fn types(dom0: &mut Dom0) -> Result<()> {
    if !is_ours(dom0)? {
        return Ok(());
    }
    dom0.ok("xl debug-keys o", XM)?;
    // Without the mark of the hypervisor's lines, which are left out of dom0's.
    let told = "xl dmesg | grep -o '[0-9]* page tables; .*\\|Some CPU is busy.*'";
    let text = dom0.until(told, "page tables", XM)?;
    ensure!(
        text.contains("page tables; 0 frames"),
        "wrong counts of types:\n{text}"
    );
    Ok(())
}

/// A paused guest shows as such; unpaused, it answers.
pub fn pause_and_unpause(dom0: &mut Dom0) -> Result<()> {
    dom0.ok("xl pause small", XM)?;
    ensure!(state(dom0)?.contains('p'), "small is not shown as paused");
    dom0.ok("xl unpause small", XM)?;
    ensure!(
        !state(dom0)?.contains('p'),
        "small is shown as paused still"
    );
    answers(dom0)
}

/// `xl destroy`: the guest is gone, and the host has its memory back.
pub fn destroy(dom0: &mut Dom0) -> Result<()> {
    let free = "xl info free_memory";
    let with = dom0.ok(free, XM)?.trim().parse::<u32>()?;
    dom0.ok("xl destroy small", XM)?;
    dom0.until("xl domid small 2>&1 || echo gone", "gone", XM)?;
    let without = dom0.ok(free, XM)?.trim().parse::<u32>()?;
    ensure!(
        without >= with + 250,
        "free memory: {with} MiB with the guest, {without} MiB without"
    );
    Ok(())
}

fn dom0_cpus(dom0: &mut Dom0) -> Result<String> {
    Ok(dom0.ok("nproc", XM)?.trim().to_owned())
}

/// What follows the name in the line of `name`.
fn listed<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.collect())
    })
}

/// The letters that stand for the state of `small`.
fn state(dom0: &mut Dom0) -> Result<String> {
    let text = dom0.ok("xl list small", XM)?;
    let state = listed(&text, "small").and_then(|line| line.get(3).map(|&state| state.to_owned()));
    state.with_context(|| format!("no state:\n{text}"))
}

/// A command typed into `xl console`, and its answer.
fn answers(dom0: &mut Dom0) -> Result<()> {
    ask_guest(dom0, "echo answer $((6 * 7))", "answer 42")
}

/// Types a line into the guest's console and waits for what comes of it.
fn ask_guest(dom0: &mut Dom0, line: &str, answer: &str) -> Result<()> {
    let command = "xl console small";
    dom0.start(command)?;
    dom0.console.type_bytes(b"\n")?;
    dom0.console.expect(PROMPT, BOOT)?;
    dom0.console.line(line, false)?;
    dom0.console.expect(answer, XM)?;
    dom0.console.type_bytes(b"\x1d")?;
    dom0.finish(command, XM)?;
    Ok(())
}
