//! The daemon around the logic: sockets, rings, and one loop that serves them in turn.

mod platform;
mod ring;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use anyhow::{Context as _, Result};
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use xenstore::Message;

use crate::logic::quota::Limits;
use crate::logic::state::Saved;
use crate::logic::{ConnectionId, Logic, Peer};
use platform::Domains;
use socket::Socket;

/// Programs connected at a time; more are turned away.
pub(crate) const MOST_SOCKETS: usize = 1024;
/// Requests of one connection that are handled before the others have their turn.
const TURN: usize = 1;
/// Events taken from the kernel at a time.
const MOST_EVENTS: usize = 64;

/// What epoll's numbers mean: a listener, the event channels, the signal, or `FIRST_SOCKET` plus the connection.
const LISTEN: u64 = 0;
const LISTEN_READ_ONLY: u64 = 1;
const CHANNELS: u64 = 2;
const SIGNAL: u64 = 3;
const FIRST_SOCKET: u64 = 16;

/// Where programs connect.
pub(crate) struct Listeners {
    /// For requests of all kinds.
    pub(crate) all: UnixListener,
    /// For reading only.
    pub(crate) read_only: UnixListener,
}

/// The daemon.
pub(crate) struct Server {
    logic: Logic,
    domains: Domains,
    sockets: BTreeMap<ConnectionId, Socket>,
    /// Connections that may have a request waiting.
    ready: BTreeSet<ConnectionId>,
    epoll: OwnedFd,
}

impl Server {
    /// Takes up a saved state, or begins with an empty store. `with_domains` is off where no hypervisor is below, for
    /// tests of the sockets.
    pub(crate) fn new(limits: Limits, saved: Option<&Saved>, with_domains: bool) -> Result<Self> {
        let logic = match saved {
            None => Logic::new(limits),
            Some(saved) => Logic::restore(limits, saved)
                .map_err(anyhow::Error::msg)
                .context("the saved state")?,
        };
        let domains = if with_domains {
            Domains::open()?
        } else {
            Domains::none()
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
        let mut server = Self {
            logic,
            domains,
            sockets: BTreeMap::new(),
            ready: BTreeSet::new(),
            epoll,
        };
        if let Some(channels) = server.domains.channels() {
            add(&server.epoll, channels, CHANNELS, EventFlags::IN)?;
        }
        server.attach_domains(saved)?;
        Ok(server)
    }

    /// Attaches dom0's kernel and the domains of a saved state.
    fn attach_domains(&mut self, saved: Option<&Saved>) -> Result<()> {
        let saved = saved.map_or(&[][..], |s| s.domains.as_slice());
        if !self.domains.is_open() {
            return Ok(());
        }
        let kernel = saved.iter().find(|d| d.domain == 0);
        let id = match kernel {
            Some(kernel) => self.logic.restore_domain(kernel),
            None => self.logic.connect(Peer::Domain(0)),
        };
        self.domains.attach_kernel(id).context("dom0's kernel")?;
        for domain in saved {
            let id = match domain.domain {
                0 => id,
                _ => self.logic.restore_domain(domain),
            };
            if domain.domain != 0
                && let Err(code) =
                    self.domains
                        .attach_again(domain.domain, domain.frame, domain.port)
            {
                // It may have gone meanwhile, which the look at all domains below notices.
                tracing::warn!(domain = domain.domain, %code, "cannot attach the ring again");
                continue;
            }
            self.domains
                .resume(domain.domain, &domain.input.bytes(), domain.output.bytes());
            self.domains.identify(domain.domain, id);
        }
        self.logic.domains_changed(&mut self.domains);
        self.ready.extend(self.domains.connections());
        Ok(())
    }

    /// Serves until `signal` becomes readable. The state is to be saved afterwards.
    pub(crate) fn run(&mut self, listeners: &Listeners, signal: impl AsFd) -> Result<()> {
        add(&self.epoll, &listeners.all, LISTEN, EventFlags::IN)?;
        add(
            &self.epoll,
            &listeners.read_only,
            LISTEN_READ_ONLY,
            EventFlags::IN,
        )?;
        add(&self.epoll, &signal, SIGNAL, EventFlags::IN)?;
        let mut events = Vec::with_capacity(MOST_EVENTS);
        loop {
            self.serve_turn();
            self.flush();
            events.clear();
            // With requests waiting, only look what else has come.
            let now = rustix::event::Timespec::default();
            let timeout = if self.ready.is_empty() {
                None
            } else {
                Some(&now)
            };
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout,
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e).context("epoll"),
            }
            for event in &events {
                let Event { data, flags } = *event;
                match data.u64() {
                    LISTEN => self.accept(&listeners.all, Peer::Socket { writes: true }),
                    LISTEN_READ_ONLY => {
                        self.accept(&listeners.read_only, Peer::Socket { writes: false })
                    }
                    CHANNELS => self.take_events(),
                    SIGNAL => return Ok(()),
                    number => {
                        self.socket_event(ConnectionId(number.wrapping_sub(FIRST_SOCKET)), flags)
                    }
                }
            }
        }
    }

    /// The state, to be taken up by the next xenstored.
    pub(crate) fn save(&mut self) -> Saved {
        let kernel = self.domains.connection_of(0);
        self.logic.save(kernel, |id| self.domains.in_flight(id))
    }

    /// Lets every connection that has something to say have its turn.
    fn serve_turn(&mut self) {
        for id in core::mem::take(&mut self.ready) {
            for _ in 0..TURN {
                if !self.logic.may_ask(id) {
                    // It is asked again when it has taken its answers.
                    break;
                }
                match self.next_request(id) {
                    Ok(Some(message)) => {
                        tracing::trace!(connection = id.0, kind = message.kind, "request");
                        self.logic.handle(id, message, &mut self.domains);
                        self.domains.identify_new(&self.logic);
                        self.ready.insert(id);
                    }
                    Ok(None) => {
                        self.ready.remove(&id);
                        break;
                    }
                    Err(Closed) => {
                        self.close(id);
                        break;
                    }
                }
            }
        }
    }

    fn next_request(&mut self, id: ConnectionId) -> core::result::Result<Option<Message>, Closed> {
        match self.sockets.get_mut(&id) {
            Some(socket) => socket.receive(),
            None => Ok(self.domains.receive(id)),
        }
    }

    /// Sends what can be sent.
    fn flush(&mut self) {
        for id in self.logic.take_fresh() {
            self.send(id);
        }
        self.domains.notify();
    }

    fn send(&mut self, id: ConnectionId) {
        let logic = &mut self.logic;
        let sent = match self.sockets.get_mut(&id) {
            Some(socket) => socket.send(|| logic.next_output(id)),
            None => {
                self.domains.send(id, || logic.next_output(id));
                Ok(())
            }
        };
        if sent.is_err() || self.logic.has_overflowed(id) {
            self.close(id);
        } else {
            // It may have been waiting for its answers to be taken.
            self.ready.insert(id);
        }
    }

    fn accept(&mut self, listener: &UnixListener, peer: Peer) {
        match listener.accept() {
            Ok((stream, _))
                if self.sockets.len() < MOST_SOCKETS && stream.set_nonblocking(true).is_ok() =>
            {
                let id = self.logic.connect(peer);
                let interest = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
                match add(
                    &self.epoll,
                    &stream,
                    FIRST_SOCKET.wrapping_add(id.0),
                    interest,
                ) {
                    Ok(()) => {
                        self.sockets.insert(id, Socket::new(stream));
                        self.ready.insert(id);
                    }
                    Err(error) => {
                        tracing::warn!("cannot watch a new connection: {error:#}");
                        self.logic.disconnect(id);
                    }
                }
            }
            Ok(_) => tracing::warn!(
                most = MOST_SOCKETS,
                "too many connections; one was turned away"
            ),
            Err(error) => tracing::warn!("cannot accept a connection: {error}"),
        }
    }

    fn socket_event(&mut self, id: ConnectionId, flags: EventFlags) {
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            self.close(id);
            return;
        }
        if self.sockets.contains_key(&id) {
            if flags.contains(EventFlags::OUT) {
                self.send(id);
            }
            self.ready.insert(id);
        }
    }

    /// Takes the pending event channels.
    fn take_events(&mut self) {
        let pending = self.domains.take_pending();
        if pending.domains_changed {
            self.logic.domains_changed(&mut self.domains);
        }
        for id in pending.connections {
            if self.domains.reconnects(id) {
                self.logic.start_over(id);
            }
            self.send(id);
            self.ready.insert(id);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        // Closing the descriptor takes it out of epoll.
        self.sockets.remove(&id);
        self.ready.remove(&id);
        if self.domains.is_ring(id) {
            return;
        }
        self.logic.disconnect(id);
    }
}

/// The other end is gone, or does not speak the protocol.
pub(crate) struct Closed;

fn add(epoll: &OwnedFd, fd: impl AsFd, number: u64, flags: EventFlags) -> Result<()> {
    epoll::add(epoll, fd, EventData::new_u64(number), flags).context("epoll")
}
