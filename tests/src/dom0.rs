//! dom0 as the tests see it: a shell that takes a command and says how it ended.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::console::Console;
use crate::session::End;

/// From power-on to dom0's user space: 12 s on a quiet machine, much more on a busy one.
const BOOT: Duration = Duration::from_secs(240);

/// A machine whose dom0 runs `boot/dom0/start-test`.
pub struct Dom0 {
    /// The serial console.
    pub console: Console,
    /// Commands typed so far.
    commands: u32,
    /// The last one has not been seen to end.
    pending: bool,
}

impl Dom0 {
    /// Waits until dom0 takes commands.
    pub fn ready(mut console: Console) -> Result<Self> {
        console
            .expect("(?m)^@@ ready$", BOOT)
            .context("dom0 does not reach its user space")?;
        Ok(Self {
            console,
            commands: 0,
            pending: false,
        })
    }

    /// Runs a command; its exit status and what it printed.
    pub fn sh(&mut self, command: &str, time: Duration) -> Result<(u8, String)> {
        self.start(command)?;
        self.finish(command, time)
    }

    /// Runs a command that must succeed; what it printed.
    pub fn ok(&mut self, command: &str, time: Duration) -> Result<String> {
        let (status, text) = self.sh(command, time)?;
        ensure!(
            status == 0,
            "`{command}` exits with status {status} and prints:\n{text}"
        );
        Ok(text)
    }

    /// Types a command without waiting for its end, to talk to it over the console; [`Dom0::finish`] waits.
    pub fn start(&mut self, command: &str) -> Result<()> {
        self.commands += 1;
        self.pending = true;
        self.console.line(command, true)?;
        // The echo of Enter.
        self.console.expect("\n", Duration::from_secs(30))?;
        Ok(())
    }

    /// Waits for the end of the command that was started.
    pub fn finish(&mut self, command: &str, time: Duration) -> Result<(u8, String)> {
        let mark = format!(r"(?s-u)\A(.*?@@ {} end [0-9]+)\n", self.commands);
        let text = self
            .console
            .expect(&mark, time)
            .with_context(|| format!("`{command}` does not end"))?;
        self.pending = false;
        let (text, status) = text.rsplit_once("@@ ").unwrap_or(("", &text));
        let status = status.rsplit(' ').next().unwrap_or_default();
        let status = status
            .parse()
            .with_context(|| format!("bad exit status {status:?}"))?;
        Ok((status, text.to_owned()))
    }

    /// After a failure: leaves a guest's console, and ends the command that runs there, so that the next one finds
    /// dom0's shell.
    pub fn recover(&mut self) -> Result<()> {
        if self.pending {
            self.console.type_bytes(b"\x1d")?;
            self.finish("the command of the failed check", Duration::from_secs(30))?;
        }
        Ok(())
    }

    /// Runs `command` again and again until it prints something that contains `want`. The command must wait by itself
    /// for its answer or be cheap.
    pub fn until(&mut self, command: &str, want: &str, time: Duration) -> Result<String> {
        let deadline = Instant::now() + time;
        loop {
            let (_, text) = self.sh(command, time)?;
            if text.contains(want) {
                return Ok(text);
            }
            ensure!(
                Instant::now() < deadline,
                "`{command}` does not print {want:?} within {} s but:\n{text}",
                time.as_secs()
            );
        }
    }

    /// Ends the machine and waits for its end. QEMU is told not to start it again.
    pub fn end(mut self, how: End) -> Result<()> {
        // A panic of dom0's kernel is the end of its domain, which then is the hypervisor's affair.
        let command = match how {
            End::PowerOff => "poweroff -f",
            End::Reboot => "reboot -f",
            End::Crash => "echo c > /proc/sysrq-trigger",
        };
        self.console.line(command, true)?;
        let status = self.console.wait(Duration::from_secs(60))?;
        ensure!(
            status.success(),
            "QEMU ends with {status} after `{command}`"
        );
        Ok(())
    }
}
