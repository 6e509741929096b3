//! Finding and reading the configuration file of `xm create`.

use std::path::{Path, PathBuf};

use domain_config::source::Source;
use domain_config::{Loaded, Override};

use crate::cli::Create;
use crate::error::{Failure, Result};

/// The file that is used when none is named.
const DEFAULT: &str = "/etc/xen/xmdefconfig";
/// Where files are looked for that are not in the current folder.
const FOLDER: &str = "/etc/xen";

/// The file and the overrides that a command line names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) path: PathBuf,
    overrides: Vec<Override>,
}

impl Named {
    /// Sorts the arguments of `xm create`.
    pub(crate) fn from_arguments(args: &Create) -> Result<Self> {
        let (overrides, mut files): (Vec<_>, Vec<_>) = args
            .arguments
            .iter()
            .map(|a| Override::parse(a).ok_or(a.as_str()))
            .partition(std::result::Result::is_ok);
        files.extend(args.file.as_deref().map(Err));
        let files: Vec<&str> = files
            .into_iter()
            .filter_map(std::result::Result::err)
            .collect();
        let path = match files.as_slice() {
            [] => PathBuf::from(DEFAULT),
            [name] => find(name, Path::new(FOLDER)),
            [_, second, ..] => {
                return Err(Failure::Usage(format!(
                    "one configuration file at a time: `{second}` is one too many. Overrides have the form variable=value"
                )));
            }
        };
        let overrides = overrides.into_iter().flatten().collect();
        Ok(Self { path, overrides })
    }

    /// Reads the file.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let source = Source::read(&self.path).map_err(Failure::Other)?;
        let here = std::env::current_dir()?;
        Ok(domain_config::load(
            &source,
            &self.path,
            &here,
            &self.overrides,
        )?)
    }
}

/// A name without a slash that is not in the current folder is looked for in `folder`.
fn find(name: &str, folder: &Path) -> PathBuf {
    let here = PathBuf::from(name);
    if name.contains('/') || here.exists() {
        return here;
    }
    let there = folder.join(name);
    if there.exists() { there } else { here }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn named(line: &str) -> Result<Named> {
        match Cli::parse_from(line.split(' ')).command {
            Command::Create(args) => Named::from_arguments(&args),
            _ => panic!("not create"),
        }
    }

    #[test]
    fn files_and_overrides() {
        let n = named("xm create -c ./demo memory=64 vmid=1").unwrap();
        assert_eq!(n.path, Path::new("./demo"));
        assert_eq!(n.overrides.len(), 2);
        assert_eq!(named("xm create vmid=1").unwrap().path, Path::new(DEFAULT));
        assert_eq!(named("xm create -f /x a=b").unwrap().path, Path::new("/x"));
        assert!(named("xm create /x /y").is_err());
        assert!(named("xm create -f /x /y").is_err());
    }

    #[test]
    fn bare_names_are_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("only-there"), "").unwrap();
        assert_eq!(
            find("only-there", dir.path()),
            dir.path().join("only-there")
        );
        assert_eq!(find("nowhere", dir.path()), Path::new("nowhere"));
        assert_eq!(find("./only-there", dir.path()), Path::new("./only-there"));
    }
}
