//! A running machine and its serial console: wait for what it prints, type, and end it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use regex::bytes::Regex;

use crate::filter::Filter;
use crate::qemu::Machine;

/// Typed at once; the console's receive buffers are small, so the echo is awaited after each piece.
const PIECE: usize = 48;

/// What the machine has printed.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// QEMU has closed the console.
    ended: bool,
}

#[derive(Default)]
struct Shared {
    output: Mutex<Output>,
    more: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Output> {
        // A panic of another thread cannot leave a byte vector inconsistent.
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose output is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Everything that the machine prints.
    All,
    /// What dom0 prints: the hypervisor's own lines, which come in the middle of dom0's, are left out.
    Dom0,
}

/// A machine that runs. It is killed when dropped.
pub struct Console {
    qemu: Child,
    keyboard: ChildStdin,
    shared: Arc<Shared>,
    /// Everything before this has been waited for.
    seen: usize,
}

impl Console {
    /// Starts `machine`; everything that it prints also goes to `log` and, if `echo` is set, to standard output.
    /// `lines` says what there is to wait for.
    pub fn start(machine: &Machine, log: &Path, echo: bool, lines: Lines) -> Result<Self> {
        let mut log =
            File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut qemu = machine
            .command("stdio,id=com1,signal=off")?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        let keyboard = qemu.stdin.take().context("QEMU has no standard input")?;
        let mut screen = qemu.stdout.take().context("QEMU has no standard output")?;
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            let mut filter = Filter::default();
            // The console is over when QEMU closes it, however that shows.
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                let piece = &piece[..count];
                // A full disk or a closed terminal must not stop the machine.
                let _ = log.write_all(piece);
                if echo {
                    let mut out = std::io::stdout().lock();
                    let _ = out.write_all(piece).and_then(|()| out.flush());
                }
                // Terminals on both sides of the hypervisor add carriage returns; nothing here needs them.
                let text: Vec<u8> = piece
                    .iter()
                    .copied()
                    .filter(|&byte| byte != b'\r')
                    .collect();
                match lines {
                    Lines::All => reader.lock().bytes.extend(text),
                    Lines::Dom0 => filter.pass(&text, &mut reader.lock().bytes),
                }
                reader.more.notify_all();
            }
            reader.lock().ended = true;
            reader.more.notify_all();
        });
        Ok(Self {
            qemu,
            keyboard,
            shared,
            seen: 0,
        })
    }

    /// Waits until the console shows `pattern` after everything awaited before; returns the text of the first group
    /// (or of the whole match). Goes on after the match.
    pub fn expect(&mut self, pattern: &str, time: Duration) -> Result<String> {
        let regex = Regex::new(pattern).with_context(|| format!("bad pattern {pattern:?}"))?;
        let deadline = Instant::now() + time;
        let mut output = self.shared.lock();
        loop {
            if let Some(found) = regex.captures(&output.bytes[self.seen..]) {
                let whole = found.get(0).map_or(0, |all| all.end());
                let text = found
                    .get(1)
                    .or_else(|| found.get(0))
                    .map_or(&b""[..], |part| part.as_bytes());
                let text = String::from_utf8_lossy(text).into_owned();
                self.seen += whole;
                return Ok(text);
            }
            if output.ended {
                bail!("the machine stopped before the console showed {pattern:?}");
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                bail!(
                    "the console did not show {pattern:?} within {} s",
                    time.as_secs()
                );
            };
            output = self
                .shared
                .more
                .wait_timeout(output, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Types `line` and Enter. `echoed` says that the terminal shows what is typed, which is then awaited.
    pub fn line(&mut self, line: &str, echoed: bool) -> Result<()> {
        for piece in line.as_bytes().chunks(PIECE) {
            self.type_bytes(piece)?;
            if echoed {
                let text = String::from_utf8_lossy(piece);
                self.expect(&regex::escape(&text), Duration::from_secs(30))
                    .context("the terminal does not echo")?;
            }
        }
        self.type_bytes(b"\n")
    }

    /// Types bytes as they are.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.keyboard
            .write_all(bytes)
            .and_then(|()| self.keyboard.flush())
            .context("cannot type: the machine has stopped")
    }

    /// Waits for the machine to end by itself.
    pub fn wait(&mut self, time: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + time;
        let mut output = self.shared.lock();
        while !output.ended {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                bail!("the machine did not end within {} s", time.as_secs());
            };
            output = self
                .shared
                .more
                .wait_timeout(output, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        drop(output);
        // The console is closed: QEMU is on its way out.
        self.qemu.wait().context("cannot wait for QEMU")
    }

    /// Whether the machine has not ended.
    pub fn running(&mut self) -> Result<bool> {
        Ok(self
            .qemu
            .try_wait()
            .context("cannot ask for QEMU")?
            .is_none())
    }

    /// Everything printed so far that there was to wait for, as text with plain line ends.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().bytes).into_owned()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Either has ended already or must end now.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
