//! The apt that packages come from: the machine's own, or one for another suite of Debian.
//!
//! An apt for another suite has its lists under the target folder and asks the machine's own mirror. Nothing of it is
//! installed, and the machine's own apt stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{packages, paths, sh};

/// Debian's keys, from the package debian-archive-keyring.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from.
pub(crate) enum Apt {
    /// The machine's own sources.
    Own,
    /// Another suite, by this configuration.
    Suite(PathBuf),
}

impl Apt {
    /// The suite `name` of the machine's mirror; its lists are read once in a target folder. An error if the mirror has
    /// no such suite (any more), or the machine is not Debian.
    pub(crate) fn suite(name: &str) -> Result<Self> {
        let dir = paths::target().join("apt").join(name);
        let config = dir.join("apt.conf");
        let apt = Self::Suite(config.clone());
        let done = dir.join("done");
        if done.exists() {
            return Ok(apt);
        }
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let mirror = packages::mirror()?;
        let list = format!("deb [signed-by={KEYS}] {mirror} {name} main\n");
        fs::write(dir.join("sources.list"), list)?;
        fs::write(dir.join("status"), "")?;
        fs::write(&config, configuration(&dir))?;
        apt.update()
            .with_context(|| format!("the mirror has no suite {name}"))?;
        fs::write(done, "")?;
        Ok(apt)
    }

    /// A command of apt's.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Self::Suite(config) = self {
            command.env("APT_CONFIG", config);
        }
        command
    }

    /// What apt says to a question.
    pub(crate) fn ask(&self, program: &str, args: &[&str]) -> Result<String> {
        match self {
            Self::Own => packages::ask(program, args),
            Self::Suite(_) => sh::output(self.command(program).env("LC_ALL", "C").args(args)),
        }
    }

    /// Reads the package lists anew.
    pub(crate) fn update(&self) -> Result<()> {
        match self {
            Self::Own => packages::update(),
            Self::Suite(_) => sh::quiet(self.command("apt-get").args([
                "-qq",
                "-o",
                "APT::Update::Error-Mode=any",
                "update",
            ])),
        }
    }
}

/// Everything that apt keeps, in `dir`; for the one architecture that there are kernels of.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::State \"{dir}\";\nDir::State::status \"{dir}/status\";\nDir::Cache \"{dir}/cache\";\n\
         Dir::Etc \"{dir}\";\nDir::Etc::sourceparts \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\nAcquire::Languages \"none\";\n\
         APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n"
    )
}
