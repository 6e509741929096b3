//! A domain's console: bytes between this terminal and the one that the console daemon offers.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Failure, Result};

/// Ctrl-], which leaves the console.
const LEAVE: u8 = 0x1d;
/// How much typed input waits for a guest that does not read, in bytes; more is left in the terminal.
const MOST_PENDING: usize = 64 << 10;

/// An open console.
#[derive(Debug)]
pub(crate) struct Console {
    tty: OwnedFd,
}

impl Console {
    /// Opens the terminal that the console daemon offers.
    pub(crate) fn open(tty: &str) -> Result<Self> {
        let fail = |e: Errno| Failure::Other(format!("cannot open the console {tty}: {e}"));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let tty_fd = rustix::fs::open(tty, flags, Mode::empty()).map_err(fail)?;
        if !isatty(&tty_fd) {
            return Err(Failure::Other(format!("the console {tty} is no terminal")));
        }
        // Nothing is to be echoed or translated on the way to the guest.
        let mut settings = tcgetattr(&tty_fd).map_err(fail)?;
        settings.make_raw();
        tcsetattr(&tty_fd, OptionalActions::Now, &settings).map_err(fail)?;
        Ok(Self { tty: tty_fd })
    }

    /// Carries bytes until the user leaves or the domain ends.
    pub(crate) fn run(self) -> Result<()> {
        let signals = signals()?;
        let stdin = io::stdin();
        let _raw = RawTerminal::enter(stdin.as_fd())?;
        let mut carrier = Carrier {
            tty: &self.tty,
            stdin: Some(stdin.as_fd()),
            pending: Vec::new(),
        };
        carrier.carry(&signals)
    }
}

/// A stream that becomes readable when this process is asked to end, so that the terminal's settings
/// are put back before it does.
fn signals() -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}

struct Carrier<'a> {
    tty: &'a OwnedFd,
    /// `None` once the input has ended. The console stays: its output is still wanted.
    stdin: Option<BorrowedFd<'a>>,
    /// Input that the guest has not taken yet.
    pending: Vec<u8>,
}

impl Carrier<'_> {
    fn carry(&mut self, signals: &UnixStream) -> Result<()> {
        loop {
            let ready = self.wait(signals)?;
            if ready.signal {
                return Ok(());
            }
            if ready.output && self.output()? == Flow::End {
                return Ok(());
            }
            if ready.input && self.input()? == Flow::End {
                return Ok(());
            }
            if !self.pending.is_empty() && self.send()? == Flow::End {
                return Ok(());
            }
        }
    }

    fn wait(&self, signals: &UnixStream) -> Result<Ready> {
        let mut tty_events = PollFlags::IN;
        if !self.pending.is_empty() {
            tty_events |= PollFlags::OUT;
        }
        let mut fds = vec![
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(self.tty, tty_events),
        ];
        if let Some(stdin) = &self.stdin
            && self.pending.len() < MOST_PENDING
        {
            fds.push(PollFd::new(stdin, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(io::Error::from(e).into()),
        }
        let readable = |i: usize| {
            let end = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
            fds.get(i).is_some_and(|f| f.revents().intersects(end))
        };
        Ok(Ready {
            signal: readable(0),
            output: readable(1),
            input: readable(2),
        })
    }

    /// From the guest to standard output.
    fn output(&self) -> Result<Flow> {
        let mut buffer = [0; 4096];
        match rustix::io::read(self.tty, &mut buffer) {
            // The console daemon closes its end when the domain ends.
            Ok(0) | Err(Errno::IO) => Ok(Flow::End),
            Ok(n) => {
                let mut out = io::stdout().lock();
                out.write_all(buffer.get(..n).unwrap_or(&[]))?;
                out.flush()?;
                Ok(Flow::Go)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Flow::Go),
            Err(e) => Err(io::Error::from(e).into()),
        }
    }

    /// From standard input to what waits for the guest.
    fn input(&mut self) -> Result<Flow> {
        let Some(stdin) = self.stdin else {
            return Ok(Flow::Go);
        };
        let mut buffer = [0; 4096];
        match rustix::io::read(stdin, &mut buffer) {
            Ok(0) => self.stdin = None,
            Ok(n) => {
                let typed = buffer.get(..n).unwrap_or(&[]);
                let leave = typed.iter().position(|b| *b == LEAVE);
                self.pending
                    .extend(typed.get(..leave.unwrap_or(n)).unwrap_or(&[]));
                if leave.is_some() {
                    self.send()?;
                    return Ok(Flow::End);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The terminal is gone; the console goes on without input, as at the input's end.
            Err(_) => self.stdin = None,
        }
        Ok(Flow::Go)
    }

    /// As much of the pending input as the console takes now.
    fn send(&mut self) -> Result<Flow> {
        match rustix::io::write(self.tty, &self.pending) {
            Ok(n) => {
                self.pending.drain(..n.min(self.pending.len()));
                Ok(Flow::Go)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Flow::Go),
            Err(Errno::IO) => Ok(Flow::End),
            Err(e) => Err(io::Error::from(e).into()),
        }
    }
}

struct Ready {
    signal: bool,
    output: bool,
    input: bool,
}

#[derive(PartialEq, Eq)]
enum Flow {
    Go,
    End,
}

/// The user's terminal without line editing, echo and signals; as it was before when this is dropped.
struct RawTerminal<'a> {
    terminal: Option<(BorrowedFd<'a>, Termios)>,
}

impl<'a> RawTerminal<'a> {
    fn enter(fd: BorrowedFd<'a>) -> Result<Self> {
        if !isatty(fd) {
            return Ok(Self { terminal: None });
        }
        let before = tcgetattr(fd).map_err(io::Error::from)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(fd, OptionalActions::Now, &raw).map_err(io::Error::from)?;
        Ok(Self {
            terminal: Some((fd, before)),
        })
    }
}

impl Drop for RawTerminal<'_> {
    fn drop(&mut self) {
        if let Some((fd, before)) = &self.terminal {
            // A terminal that is gone needs no settings.
            let _ = tcsetattr(fd, OptionalActions::Now, before);
            let _ = io::stdout().write_all(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pseudo-terminal pair: the daemon's end and the path of the other.
    fn pty() -> (OwnedFd, String) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        (master, name.into_string().unwrap())
    }

    #[test]
    fn it_ends_with_the_domain() {
        let (master, name) = pty();
        let console = Console::open(&name).unwrap();
        let (mut input, other) = UnixStream::pair().unwrap();
        let (signals, _keep) = UnixStream::pair().unwrap();
        input.write_all(b"x").unwrap();
        drop(master);
        let mut carrier = Carrier {
            tty: &console.tty,
            stdin: Some(other.as_fd()),
            pending: Vec::new(),
        };
        assert!(carrier.carry(&signals).is_ok());
    }

    #[test]
    fn pending_input_reaches_the_guest_untouched() {
        let (master, name) = pty();
        let console = Console::open(&name).unwrap();
        let mut carrier = Carrier {
            tty: &console.tty,
            stdin: None,
            pending: b"a\r\n\x03".to_vec(),
        };
        assert!(carrier.send().unwrap() == Flow::Go);
        let mut got = [0; 8];
        let n = rustix::io::read(&master, &mut got).unwrap();
        assert_eq!(&got[..n], b"a\r\n\x03");
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        assert!(Console::open("/dev/null").is_err());
        assert!(Console::open("/nonexistent").is_err());
    }
}
