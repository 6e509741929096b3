//! Paths in the store.
//!
//! Rules (xenstore.txt of the public documentation): components of letters, digits and `-_@`, separated by single
//! slashes, no slash at the end, up to 3072 bytes in all and 2048 below a domain's own directory.

use core::borrow::Borrow;
use core::fmt;
use std::sync::Arc;

use oxen_abi::io::xs_wire::{XENSTORE_ABS_PATH_MAX, XENSTORE_REL_PATH_MAX};

/// Longest absolute path, in bytes.
pub const ABS_PATH_MAX: usize = XENSTORE_ABS_PATH_MAX;
/// Longest path below a domain's own directory, in bytes.
pub const REL_PATH_MAX: usize = XENSTORE_REL_PATH_MAX;

/// A valid absolute path. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<str>);

/// Why a string is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// Empty, or relative where an absolute one is needed.
    #[error("a path begins with a slash")]
    NotAbsolute,
    /// Two slashes in a row.
    #[error("a path has no empty components")]
    EmptyComponent,
    /// A slash at the end.
    #[error("a path does not end with a slash")]
    TrailingSlash,
    /// A character that paths do not have.
    #[error("a path has only letters, digits and -_@/")]
    Character,
    /// Too long.
    #[error("a path has at most {ABS_PATH_MAX} bytes, {REL_PATH_MAX} below a domain's directory")]
    TooLong,
}

impl Path {
    /// The root.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Checks an absolute path.
    ///
    /// # Errors
    /// [`InvalidPath`].
    pub fn new(path: &str) -> Result<Self, InvalidPath> {
        check(path)?;
        Ok(Self(path.into()))
    }

    /// Checks a path that may be relative to `base`, as a guest's paths are to its own directory.
    ///
    /// # Errors
    /// [`InvalidPath`].
    pub fn resolve(base: &Path, path: &str) -> Result<Self, InvalidPath> {
        if path.starts_with('/') {
            return Self::new(path);
        }
        if path.is_empty() {
            return Err(InvalidPath::NotAbsolute);
        }
        if path.len() > REL_PATH_MAX {
            return Err(InvalidPath::TooLong);
        }
        let separator = if base.is_root() { "" } else { "/" };
        Self::new(&format!("{}{separator}{path}", base.as_str()))
    }

    /// The directory of a domain, `/local/domain/N`.
    pub fn of_domain(domain: u16) -> Self {
        Self(format!("/local/domain/{domain}").into())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Its components from the root down; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|c| !c.is_empty())
    }

    /// The path of the directory it is in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        match self.0.rsplit_once('/') {
            Some(("", _)) | None => Some(Self::root()),
            Some((parent, _)) => Some(Self(parent.into())),
        }
    }

    /// Its last component; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|n| !n.is_empty())
    }

    /// The path of a child.
    ///
    /// # Errors
    /// [`InvalidPath`] where `name` is no component or the path gets too long.
    pub fn child(&self, name: &str) -> Result<Self, InvalidPath> {
        if name.is_empty() || name.contains('/') {
            return Err(InvalidPath::EmptyComponent);
        }
        Self::resolve(self, name)
    }

    /// Whether `self` is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &Path) -> bool {
        match self.0.strip_prefix(&*ancestor.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || ancestor.is_root(),
            None => false,
        }
    }

    /// The path as seen from `base`, where it is below it.
    pub fn relative_to(&self, base: &Path) -> Option<&str> {
        if base.is_root() {
            return self.0.strip_prefix('/').filter(|p| !p.is_empty());
        }
        self.0.strip_prefix(&*base.0)?.strip_prefix('/')
    }
}

fn check(path: &str) -> Result<(), InvalidPath> {
    if !path.starts_with('/') {
        return Err(InvalidPath::NotAbsolute);
    }
    if path.len() > ABS_PATH_MAX || path.len() - domain_prefix_len(path) > REL_PATH_MAX {
        return Err(InvalidPath::TooLong);
    }
    if path != "/" && path.ends_with('/') {
        return Err(InvalidPath::TrailingSlash);
    }
    if path.contains("//") {
        return Err(InvalidPath::EmptyComponent);
    }
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'@' | b'/');
    if path.bytes().all(valid) {
        Ok(())
    } else {
        Err(InvalidPath::Character)
    }
}

/// Length of a leading `/local/domain/N/`, which does not count against the relative limit.
fn domain_prefix_len(path: &str) -> usize {
    const PREFIX: &str = "/local/domain/";
    let Some(rest) = path.strip_prefix(PREFIX) else {
        return 0;
    };
    match rest.split_once('/') {
        Some((id, _))
            if !id.is_empty() && id.len() <= 5 && id.bytes().all(|b| b.is_ascii_digit()) =>
        {
            PREFIX.len() + id.len() + 1
        }
        _ => 0,
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Path {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Path {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl core::str::FromStr for Path {
    type Err = InvalidPath;

    fn from_str(s: &str) -> Result<Self, InvalidPath> {
        Self::new(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold() {
        for good in ["/", "/a", "/local/domain/0", "/a-b/c_d/e@f/9", "/@x"] {
            assert!(Path::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "//",
            "/a/",
            "/a//b",
            "/a b",
            "/a.b",
            "/ä",
            "@introduceDomain",
        ] {
            assert!(Path::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn length_counts_below_the_domain() {
        let long = "x".repeat(REL_PATH_MAX);
        assert!(Path::new(&format!("/local/domain/12/{long}")).is_ok());
        assert!(Path::new(&format!("/local/domain/12/{long}x")).is_err());
        assert!(Path::new(&format!("/{long}")).is_err());
    }

    #[test]
    fn family() {
        let p = Path::new("/a/b").unwrap();
        assert_eq!(p.parent().unwrap().as_str(), "/a");
        assert_eq!(p.parent().unwrap().parent().unwrap().as_str(), "/");
        assert_eq!(Path::root().parent(), None);
        assert_eq!(p.name(), Some("b"));
        assert!(p.is_within(&Path::new("/a").unwrap()));
        assert!(p.is_within(&Path::root()));
        assert!(
            !Path::new("/ab")
                .unwrap()
                .is_within(&Path::new("/a").unwrap())
        );
        assert_eq!(p.relative_to(&Path::new("/a").unwrap()), Some("b"));
        assert_eq!(p.relative_to(&Path::root()), Some("a/b"));
        assert_eq!(
            Path::resolve(&Path::of_domain(3), "data").unwrap().as_str(),
            "/local/domain/3/data"
        );
        assert!(Path::resolve(&Path::of_domain(3), "../x").is_err());
    }
}
