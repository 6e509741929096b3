//! The guest `demo`, as other checks use it.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::dom0::Dom0;

/// Its configuration.
pub const CONFIG: &str = "/etc/xen/demo";
/// For a command of xm.
pub const XM: Duration = Duration::from_secs(60);
/// For `xm create`: dom0 unpacks the kernel.
pub const CREATE: Duration = Duration::from_secs(120);
/// From there to the guest's shell.
const BOOT: Duration = Duration::from_secs(180);

/// A line of `xm list`.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// Name.
    pub name: String,
    /// Domain id.
    pub id: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// The six letters of the state.
    pub state: String,
}

/// What `xm list` shows. Its header and the form of its lines are those of the manual.
pub fn list(dom0: &mut Dom0) -> Result<Vec<Listed>> {
    let text = dom0.ok("xm list", XM)?;
    let mut lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let header = lines.next().unwrap_or_default();
    ensure!(
        header == ["Name", "ID", "Mem(MiB)", "VCPUs", "State", "Time(s)"],
        "the header of `xm list` differs:\n{text}"
    );
    lines
        .map(|words| match words[..] {
            [name, id, memory, vcpus, state, time] => {
                time.parse::<f64>()?;
                ensure!(
                    state.len() == 6 && state.chars().all(|c| "rbpscd-".contains(c)),
                    "bad state in `xm list`:\n{text}"
                );
                Ok(Listed {
                    name: name.to_owned(),
                    id: id.parse()?,
                    memory: memory.parse()?,
                    vcpus: vcpus.parse()?,
                    state: state.to_owned(),
                })
            }
            _ => anyhow::bail!("bad line in `xm list`:\n{text}"),
        })
        .collect()
}

/// The line of `name`, if the domain exists.
pub fn find(dom0: &mut Dom0, name: &str) -> Result<Option<Listed>> {
    Ok(list(dom0)?.into_iter().find(|domain| domain.name == name))
}

/// Creates the demo.
pub fn create(dom0: &mut Dom0) -> Result<()> {
    let text = dom0.ok(&format!("xm create {CONFIG}"), CREATE)?;
    ensure!(
        text.contains(&format!("Using config file \"{CONFIG}\"."))
            && text.contains("Started domain demo"),
        "`xm create` prints other lines than the manual's:\n{text}"
    );
    Ok(())
}

/// Creates the demo unless it is there.
pub fn ensure_running(dom0: &mut Dom0) -> Result<()> {
    if find(dom0, "demo")?.is_none() {
        create(dom0)?;
    }
    Ok(())
}

/// The prompt of a guest's shell, whose folder newer busyboxes write as `~`.
pub const PROMPT: &str = "(?m)^(?:/root|~) # ";

/// Opens the demo's console and waits for its shell.
pub fn attach(dom0: &mut Dom0) -> Result<()> {
    dom0.start("xm console demo")?;
    // The prompt may have come before we did; Enter brings another.
    dom0.console.type_bytes(b"\n")?;
    dom0.console.expect(PROMPT, BOOT)?;
    Ok(())
}

/// Leaves the console.
pub fn detach(dom0: &mut Dom0) -> Result<()> {
    dom0.console.type_bytes(b"\x1d")?;
    let (status, text) = dom0.finish("xm console demo", XM)?;
    ensure!(
        status == 0,
        "`xm console` exits with status {status}:\n{text}"
    );
    Ok(())
}

/// A command typed into the demo's console, and its answer.
pub fn answers(dom0: &mut Dom0) -> Result<()> {
    attach(dom0)?;
    dom0.console.line("echo answer $((6 * 7))", false)?;
    dom0.console.expect("answer 42", XM)?;
    detach(dom0)
}

/// Waits until the domain `name` is gone.
pub fn gone(dom0: &mut Dom0, name: &str) -> Result<()> {
    let command = format!("xm domid {name} >/dev/null 2>&1 && echo there || echo gone");
    dom0.until(&command, "gone", Duration::from_secs(120))?;
    Ok(())
}
