//! Who may read and write a node.

use core::fmt;
use core::str::FromStr;

/// What a domain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `n`
    None,
    /// `r`
    Read,
    /// `w`
    Write,
    /// `b`
    Both,
}

impl Access {
    /// Whether reading is allowed.
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    /// Whether writing is allowed.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }

    fn letter(self) -> char {
        match self {
            Self::None => 'n',
            Self::Read => 'r',
            Self::Write => 'w',
            Self::Both => 'b',
        }
    }
}

/// One entry: what one domain may do. Written as a letter and the domain's id, such as `r3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// The domain.
    pub domain: u16,
    /// What it may do.
    pub access: Access,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access.letter(), self.domain)
    }
}

/// A string that is no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a permission is one of n, r, w, b and a domain id")]
pub struct InvalidPermission;

impl FromStr for Permission {
    type Err = InvalidPermission;

    fn from_str(s: &str) -> Result<Self, InvalidPermission> {
        let mut chars = s.chars();
        let access = match chars.next() {
            Some('n') => Access::None,
            Some('r') => Access::Read,
            Some('w') => Access::Write,
            Some('b') => Access::Both,
            _ => return Err(InvalidPermission),
        };
        let id = chars.as_str();
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidPermission);
        }
        Ok(Self {
            access,
            domain: id.parse().map_err(|_| InvalidPermission)?,
        })
    }
}

/// The permissions of a node. The first entry names its owner, who may do everything, and what domains without an
/// entry may do; the others say what single domains may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The owner and the default.
    pub owner: Permission,
    /// Entries of single domains.
    pub others: Vec<Permission>,
}

impl Permissions {
    /// Owned by `domain`, closed to others.
    pub fn private(domain: u16) -> Self {
        Self {
            owner: Permission {
                domain,
                access: Access::None,
            },
            others: Vec::new(),
        }
    }

    /// Owned by `owner`, readable by `reader`.
    pub fn readable_by(owner: u16, reader: u16) -> Self {
        Self::private(owner).with(reader, Access::Read)
    }

    /// The same with an entry more.
    #[must_use]
    pub fn with(mut self, domain: u16, access: Access) -> Self {
        self.others.push(Permission { domain, access });
        self
    }

    /// From a list of entries; `None` where it is empty.
    pub fn from_entries(entries: &[Permission]) -> Option<Self> {
        let (&owner, others) = entries.split_first()?;
        Some(Self {
            owner,
            others: others.to_vec(),
        })
    }

    /// All entries, the owner's first.
    pub fn entries(&self) -> impl Iterator<Item = Permission> {
        core::iter::once(self.owner).chain(self.others.iter().copied())
    }

    /// What `domain` may do by these entries. dom0's privilege is not looked at here.
    pub fn access(&self, domain: u16) -> Access {
        if domain == self.owner.domain {
            return Access::Both;
        }
        let own = self.others.iter().find(|p| p.domain == domain);
        own.map_or(self.owner.access, |p| p.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["n0", "r5", "w32751", "b1"] {
            assert_eq!(text.parse::<Permission>().unwrap().to_string(), text);
        }
        for bad in ["", "n", "x1", "r-1", "r+1", "r99999", "r1 "] {
            assert!(bad.parse::<Permission>().is_err(), "{bad}");
        }
    }

    #[test]
    fn owner_default_and_entries() {
        let p = Permissions::readable_by(3, 5);
        assert_eq!(p.access(3), Access::Both);
        assert_eq!(p.access(5), Access::Read);
        assert_eq!(p.access(7), Access::None);
    }
}
