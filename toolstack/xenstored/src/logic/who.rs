//! Who asks, and what they may do.

use xenstore::{Access, Permissions};

use super::quota::Limits;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// Its domain.
    pub(crate) domain: u16,
    /// A domain whose rights it has as well.
    pub(crate) target: Option<u16>,
    /// A connection that may not change anything.
    pub(crate) read_only: bool,
    /// The limits it is under; dom0 is under none, and may do everything.
    pub(crate) limits: Option<Limits>,
}

impl Who {
    /// dom0, through the kernel's ring or a socket.
    pub(crate) fn dom0() -> Self {
        Self {
            domain: 0,
            target: None,
            read_only: false,
            limits: None,
        }
    }

    /// A guest.
    pub(crate) fn guest(domain: u16, limits: Limits) -> Self {
        Self {
            domain,
            target: None,
            read_only: false,
            limits: Some(limits),
        }
    }

    /// May do everything.
    pub(crate) fn is_privileged(&self) -> bool {
        self.limits.is_none()
    }

    /// What it may do with a node that has these permissions.
    pub(crate) fn access(&self, permissions: &Permissions) -> Access {
        if self.is_privileged() || self.owns(permissions) {
            return Access::Both;
        }
        let is_me = |domain: u16| domain == self.domain || Some(domain) == self.target;
        let entry = permissions.others.iter().find(|p| is_me(p.domain));
        entry.map_or(permissions.owner.access, |p| p.access)
    }

    /// Whether it may set these permissions.
    pub(crate) fn owns(&self, permissions: &Permissions) -> bool {
        let owner = permissions.owner.domain;
        self.is_privileged() || owner == self.domain || Some(owner) == self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_lend_their_rights() {
        let mut stub = Who::guest(8, Limits::default());
        let of_five = Permissions::private(5);
        assert_eq!(stub.access(&of_five), Access::None);
        stub.target = Some(5);
        assert_eq!(stub.access(&of_five), Access::Both);
        assert_eq!(Who::dom0().access(&of_five), Access::Both);
        assert_eq!(stub.access(&Permissions::readable_by(3, 5)), Access::Read);
    }
}
