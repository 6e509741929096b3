//! A pseudo-terminal: the end that the daemon holds, and the name of the one that people open.

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tokio::net::unix::pipe;

/// An open pseudo-terminal.
pub(crate) struct Terminal {
    /// What people type.
    input: pipe::Receiver,
    /// What people see.
    output: pipe::Sender,
    /// Kept open, so that the terminal lives while nobody has it open.
    _user: OwnedFd,
    name: String,
}

impl Terminal {
    /// Opens a new one, in raw mode.
    pub(crate) fn open() -> Result<Self> {
        let controller =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
                .context("cannot get a pseudo-terminal")?;
        rustix::pty::grantpt(&controller).context("grantpt")?;
        rustix::pty::unlockpt(&controller).context("unlockpt")?;
        let name = rustix::pty::ptsname(&controller, Vec::new()).context("ptsname")?;
        let name = name.into_string().context("the pseudo-terminal's name")?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let user = rustix::fs::open(&name, flags, Mode::empty())
            .with_context(|| format!("cannot open {name}"))?;
        let mut modes =
            rustix::termios::tcgetattr(&user).with_context(|| format!("modes of {name}"))?;
        // The guest does its own line editing and echo.
        modes.make_raw();
        rustix::termios::tcsetattr(&user, OptionalActions::Now, &modes)
            .with_context(|| format!("modes of {name}"))?;
        let flags = rustix::fs::fcntl_getfl(&controller).context("fcntl")?;
        rustix::fs::fcntl_setfl(&controller, flags | OFlags::NONBLOCK).context("fcntl")?;
        let other = controller.try_clone().context("dup")?;
        // tokio has no type for terminals, but its pipe ends take any descriptor that epoll takes.
        let input = pipe::Receiver::from_owned_fd_unchecked(controller).context("epoll")?;
        let output = pipe::Sender::from_owned_fd_unchecked(other).context("epoll")?;
        Ok(Self {
            input,
            output,
            _user: user,
            name,
        })
    }

    /// The name of the end that people open, such as `/dev/pts/3`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until something was typed.
    pub(crate) async fn typed(&self) -> io::Result<()> {
        self.input.readable().await
    }

    /// Takes what was typed, at most as much as fits; nothing if there is nothing.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        would_block_is_zero(self.input.try_read(into))
    }

    /// Waits until more can be shown.
    pub(crate) async fn has_room(&self) -> io::Result<()> {
        self.output.writable().await
    }

    /// Shows bytes, as many as there is room for.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        would_block_is_zero(self.output.try_write(bytes))
    }
}

fn would_block_is_zero(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_unchanged() {
        let terminal = Terminal::open().unwrap();
        let user = rustix::fs::open(
            terminal.name(),
            OFlags::RDWR | OFlags::NOCTTY,
            Mode::empty(),
        )
        .unwrap();
        let mut buffer = [0; 16];
        for text in [&b"first\n"[..], b"\x03second\r\n"] {
            assert_eq!(rustix::io::write(&user, text).unwrap(), text.len());
            terminal.typed().await.unwrap();
            let n = terminal.read(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], text);
            assert_eq!(terminal.read(&mut buffer).unwrap(), 0);
        }
        terminal.has_room().await.unwrap();
        assert_eq!(terminal.write(b"out\n").unwrap(), 4);
        let n = rustix::io::read(&user, &mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"out\n");
    }
}
