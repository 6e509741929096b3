//! Domains: introducing, releasing, noticing their end.

use std::collections::{BTreeMap, BTreeSet};

use xenstore::{ErrorCode, Path};

use super::connection::{ConnectionId, Peer};
use super::request::{Request, number};
use super::watches::Event;
use super::{DomainState, INTRODUCE, Logic, Platform, RELEASE, done};

/// The domains that are introduced.
#[derive(Debug, Default)]
pub(super) struct Domains {
    pub(super) known: BTreeMap<u16, Domain>,
    /// Released while they still existed: their rights end when they do.
    released: BTreeSet<u16>,
}

/// An introduced domain.
#[derive(Clone, Debug)]
pub(super) struct Domain {
    pub(super) connection: ConnectionId,
    pub(super) frame: u64,
    pub(super) port: u32,
    /// Its shutdown was reported.
    pub(super) shut_down: bool,
}

impl Logic {
    pub(super) fn introduce(
        &mut self,
        request: &Request,
        platform: &mut impl Platform,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        // Some clients send a fourth string, which the protocol reserves.
        let strings = request.strings(3, 4)?;
        let [domain, frame, port, ..] = strings.as_slice() else {
            return Err(ErrorCode::EINVAL);
        };
        let (domain, port): (u16, u32) = (number(domain)?, number(port)?);
        // A frame may be given as the negative number that a signed long makes of it; only the fall-back needs it.
        let frame = number(frame).unwrap_or(0);
        if domain == 0 || port == 0 {
            return Err(ErrorCode::EINVAL);
        }
        if platform.state(domain) == DomainState::Gone {
            return Err(ErrorCode::EINVAL);
        }
        platform.attach(domain, frame, port)?;
        self.add_domain(domain, frame, port);
        effects.push(Event::Special(INTRODUCE));
        Ok(done())
    }

    /// Notes a domain whose ring is attached; where it is known already, its connection starts over.
    pub(crate) fn add_domain(&mut self, domain: u16, frame: u64, port: u32) -> ConnectionId {
        if let Some(known) = self.domains.known.get_mut(&domain) {
            (known.frame, known.port, known.shut_down) = (frame, port, false);
            let id = known.connection;
            self.start_over(id);
            return id;
        }
        self.domains.released.remove(&domain);
        let connection = self.connect(Peer::Domain(domain));
        self.domains.known.insert(
            domain,
            Domain {
                connection,
                frame,
                port,
                shut_down: false,
            },
        );
        connection
    }

    pub(super) fn release(
        &mut self,
        request: &Request,
        platform: &mut impl Platform,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let domain = request.domain()?;
        if domain == 0 {
            return Err(ErrorCode::EINVAL);
        }
        if !self.domains.known.contains_key(&domain) {
            return Err(ErrorCode::ENOENT);
        }
        self.drop_domain(domain, platform);
        self.domains.released.insert(domain);
        self.forget_released(platform);
        effects.push(Event::Special(RELEASE));
        Ok(done())
    }

    fn drop_domain(&mut self, domain: u16, platform: &mut impl Platform) {
        let Some(known) = self.domains.known.remove(&domain) else {
            return;
        };
        platform.detach(domain);
        self.disconnect(known.connection);
        for connection in self.connections.values_mut() {
            if connection.who.target == Some(domain) {
                connection.who.target = None;
            }
        }
    }

    pub(super) fn resume(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let domain = request.domain()?;
        let known = self
            .domains
            .known
            .get_mut(&domain)
            .ok_or(ErrorCode::ENOENT)?;
        known.shut_down = false;
        Ok(done())
    }

    pub(super) fn set_target(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let (domain, target) = request.two_strings()?;
        let (domain, target): (u16, u16) = (number(domain)?, number(target)?);
        let connection_of = |domain| self.domains.known.get(&domain).map(|d| d.connection);
        let id = connection_of(domain).ok_or(ErrorCode::ENOENT)?;
        connection_of(target).ok_or(ErrorCode::ENOENT)?;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.who.target = Some(target);
        }
        Ok(done())
    }

    pub(super) fn get_domain_path(request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let domain = request.domain()?;
        Ok(format!("{}\0", Path::of_domain(domain)).into_bytes())
    }

    pub(super) fn is_domain_introduced(&self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let domain = request.domain()?;
        let known = domain == 0 || self.domains.known.contains_key(&domain);
        Ok(if known {
            b"T\0".to_vec()
        } else {
            b"F\0".to_vec()
        })
    }

    /// Looks at all domains after the hypervisor said that one of them shut down or went.
    pub(crate) fn domains_changed(&mut self, platform: &mut impl Platform) {
        let mut report = false;
        let known: Vec<u16> = self.domains.known.keys().copied().collect();
        for domain in known {
            match platform.state(domain) {
                DomainState::Alive => {}
                DomainState::ShutDown => {
                    if let Some(known) = self.domains.known.get_mut(&domain) {
                        report |= !known.shut_down;
                        known.shut_down = true;
                    }
                }
                DomainState::Gone => {
                    self.drop_domain(domain, platform);
                    // Its id may be given to another domain some day.
                    self.tree.forget_domain(domain);
                    report = true;
                }
            }
        }
        self.forget_released(platform);
        if report {
            self.fire(vec![Event::Special(RELEASE)]);
        }
    }

    fn forget_released(&mut self, platform: &mut impl Platform) {
        let gone: Vec<u16> = self.domains.released.iter().copied().collect();
        for domain in gone
            .into_iter()
            .filter(|&d| platform.state(d) == DomainState::Gone)
        {
            self.domains.released.remove(&domain);
            self.tree.forget_domain(domain);
        }
    }

    /// The connection of an introduced domain.
    pub(crate) fn connection_of(&self, domain: u16) -> Option<ConnectionId> {
        self.domains.known.get(&domain).map(|d| d.connection)
    }
}
