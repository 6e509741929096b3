//! Domain ids.

use core::fmt;

/// The number of a domain, as the hypervisor gives it out: 0 is dom0, guests have 1 to 0x7fef.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomId(pub u16);

impl DomId {
    /// The control domain.
    pub const DOM0: Self = Self(0);
    /// The first id that is no real domain (`DOMID_FIRST_RESERVED`).
    pub const FIRST_RESERVED: Self = Self(0x7ff0);
    /// The calling domain (`DOMID_SELF`).
    pub const SELF: Self = Self(0x7ff0);
    /// Memory that belongs to no domain, such as device memory (`DOMID_IO`).
    pub const IO: Self = Self(0x7ff1);
    /// Memory of the hypervisor (`DOMID_XEN`).
    pub const XEN: Self = Self(0x7ff2);
    /// No domain (`DOMID_INVALID`).
    pub const INVALID: Self = Self(0x7ff4);

    /// Whether this is the id of a domain that can exist, not a reserved one.
    pub fn is_domain(self) -> bool {
        self < Self::FIRST_RESERVED
    }
}

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SELF => f.write_str("self"),
            Self::IO => f.write_str("DOMID_IO"),
            Self::XEN => f.write_str("DOMID_XEN"),
            Self::INVALID => f.write_str("DOMID_INVALID"),
            Self(id) => write!(f, "{id}"),
        }
    }
}

impl From<u16> for DomId {
    fn from(id: u16) -> Self {
        Self(id)
    }
}

impl From<DomId> for u16 {
    fn from(id: DomId) -> Self {
        id.0
    }
}

impl core::str::FromStr for DomId {
    type Err = core::num::ParseIntError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}
