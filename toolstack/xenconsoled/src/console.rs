//! One guest's console: between its ring, its pseudo-terminal and its log.

use std::path::PathBuf;

use anyhow::Result;
use hypercall::Mapping;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::backlog::Backlog;
use crate::log_file::LogFile;
use crate::pace::Pace;
use crate::ports::Port;
use crate::ring::Ring;
use crate::terminal::Terminal;

/// Bytes that wait for a reader of the pseudo-terminal, where xenstore says nothing else.
pub(crate) const DEFAULT_LIMIT: usize = 1 << 20;

/// What the manager tells a console.
pub(crate) enum Order {
    /// Use this ring from now on.
    Attach(Mapping, Port),
    /// Keep at most this many bytes for a reader.
    Limit(usize),
    /// The guest is gone: take what is left in its ring, and end.
    End,
}

/// A console.
pub(crate) struct Console {
    domain: u16,
    terminal: Terminal,
    log: Option<LogFile>,
    backlog: Backlog,
    pace: Pace,
    attached: Option<(Ring, Port)>,
}

impl Console {
    /// Opens the pseudo-terminal, and the log where one is wanted.
    pub(crate) fn new(domain: u16, log: Option<PathBuf>) -> Result<Self> {
        let open = |path| {
            LogFile::open(path)
                .map_err(|e| tracing::warn!(domain, "{e:#}"))
                .ok()
        };
        Ok(Self {
            domain,
            terminal: Terminal::open()?,
            log: log.and_then(open),
            backlog: Backlog::new(DEFAULT_LIMIT),
            pace: Pace::new(),
            attached: None,
        })
    }

    /// The name of the end that people open.
    pub(crate) fn terminal_name(&self) -> &str {
        self.terminal.name()
    }

    /// Carries bytes until the manager says that the guest is gone.
    pub(crate) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            if let Err(error) = self.turn(&mut orders).await {
                match error {
                    Stop::Ended => break,
                    Stop::Ring(error) => {
                        tracing::warn!(
                            domain = self.domain,
                            "its console ring cannot be reached: {error}"
                        );
                        self.attached = None;
                    }
                    Stop::Terminal(error) => {
                        tracing::error!(domain = self.domain, "{}: {error}", self.terminal.name());
                        break;
                    }
                }
            }
        }
        // The last words of a guest are often the ones that matter.
        if self.take_output().is_ok() {
            self.show().ok();
        }
    }

    /// Waits for the next thing to happen, and does what it asks for.
    async fn turn(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), Stop> {
        let paused_until = self.pace.pause();
        let room = match &self.attached {
            Some((ring, _)) => ring.input_room().map_err(Stop::Ring)?,
            None => 0,
        };
        let port = self.attached.as_ref().map(|(_, port)| port);
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Attach(page, port)) => {
                    // What the old ring still holds comes first.
                    self.take_output().ok();
                    self.attached = Some((Ring::new(page).map_err(Stop::Ring)?, port));
                    self.take_output().map_err(Stop::Ring)?;
                }
                Some(Order::Limit(limit)) => self.backlog.set_limit(limit),
                Some(Order::End) | None => return Err(Stop::Ended),
            },
            () = fired(port), if paused_until.is_none() && port.is_some() => {
                self.take_output().map_err(Stop::Ring)?;
            }
            () = until(paused_until), if paused_until.is_some() => {}
            ready = self.terminal.typed(), if room > 0 => {
                ready.map_err(Stop::Terminal)?;
                let mut typed = [0; 1024];
                let space = typed.get_mut(..room.min(1024)).unwrap_or_default();
                let n = self.terminal.read(space).map_err(Stop::Terminal)?;
                self.give_input(space.get(..n).unwrap_or_default()).map_err(Stop::Ring)?;
            }
            ready = self.terminal.has_room(), if !self.backlog.is_empty() => {
                ready.map_err(Stop::Terminal)?;
            }
        }
        self.show().map_err(Stop::Terminal)
    }

    /// Takes what the guest has printed. It never waits for a reader.
    fn take_output(&mut self) -> hypercall::Result<()> {
        let Some((ring, port)) = &mut self.attached else {
            return Ok(());
        };
        // Before looking, so that nothing that comes after the look is missed.
        port.rearm();
        let faults = ring.faults;
        let bytes = ring.take_output()?;
        if ring.faults > faults && faults == 0 {
            tracing::warn!(
                domain = self.domain,
                "its console ring has an index outside; output is lost"
            );
        }
        self.pace.spend(bytes.len());
        if bytes.is_empty() {
            return Ok(());
        }
        port.notify();
        if let Some(log) = &mut self.log {
            log.write(&bytes);
        }
        self.backlog.push(&bytes);
        Ok(())
    }

    fn give_input(&mut self, input: &[u8]) -> hypercall::Result<()> {
        let Some((ring, port)) = &mut self.attached else {
            return Ok(());
        };
        // There was room for all of it: only the daemon takes room away.
        if ring.give_input(input)? > 0 {
            port.notify();
        }
        Ok(())
    }

    fn show(&mut self) -> std::io::Result<()> {
        while !self.backlog.is_empty() {
            match self.terminal.write(self.backlog.front())? {
                0 => break,
                n => self.backlog.consume(n),
            }
        }
        Ok(())
    }
}

/// Why a turn does not go on.
enum Stop {
    Ended,
    Ring(hypercall::Error),
    Terminal(std::io::Error),
}

async fn fired(port: Option<&Port>) {
    if let Some(port) = port {
        port.fired().await;
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}
