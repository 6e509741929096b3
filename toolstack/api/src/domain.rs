//! Domains.

use std::fmt;

use domain_config::DomainConfig;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A running domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Its id.
    pub domid: u16,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
    /// Memory it has now, in MiB.
    pub memory_mib: u64,
    /// Memory it may have, in MiB.
    pub maxmem_mib: u64,
    /// vCPUs that are online.
    pub vcpus: u32,
    /// What it is doing.
    pub state: State,
    /// CPU time it has used, in nanoseconds.
    pub cpu_time_ns: u64,
    /// When it was started, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<u64>,
    /// What it was made from, where xend made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<DomainConfig>,
}

/// What a domain is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// A vCPU runs.
    pub running: bool,
    /// All vCPUs wait for events.
    pub blocked: bool,
    /// It is paused.
    pub paused: bool,
    /// It has shut down and is still there.
    pub shutdown: bool,
    /// It has crashed and is still there.
    pub crashed: bool,
    /// It is being destroyed.
    pub dying: bool,
}

impl fmt::Display for State {
    /// Six characters, `rbpscd`, with `-` for what does not hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (self.running, 'r'),
            (self.blocked, 'b'),
            (self.paused, 'p'),
            (self.shutdown, 's'),
            (self.crashed, 'c'),
            (self.dying, 'd'),
        ];
        flags
            .into_iter()
            .try_for_each(|(holds, letter)| write!(f, "{}", if holds { letter } else { '-' }))
    }
}

/// A domain to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// What to make.
    pub config: DomainConfig,
    /// Whether it stays paused.
    #[serde(default)]
    pub paused: bool,
}

/// A domain that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Its id.
    pub domid: u16,
    /// Its name.
    pub name: String,
}

/// What happens while a domain is being started. The last one is `Created` or `Failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreateEvent {
    /// A phase begins.
    Phase(Phase),
    /// The domain runs.
    Created(Created),
    /// It could not be started, and nothing is left of it.
    Failed(crate::Failure),
}

/// The phases of starting a domain, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading and unpacking kernel and RAM disk, and planning the layout.
    Plan,
    /// Allocating memory.
    Allocate,
    /// Copying, and making page tables.
    Populate,
    /// Making its nodes in xenstore.
    Devices,
    /// Letting it run.
    Unpause,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plan => "reading the kernel",
            Self::Allocate => "allocating memory",
            Self::Populate => "loading the kernel",
            Self::Devices => "setting up devices",
            Self::Unpause => "starting it",
        })
    }
}

/// How to shut a domain down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// What the guest is asked for.
    pub kind: ShutdownKind,
}

/// What a guest can be asked for through xenstore's control/shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownKind {
    /// Power off.
    Poweroff,
    /// Reboot.
    Reboot,
    /// Halt.
    Halt,
}

impl ShutdownKind {
    /// As xenstore has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
            Self::Halt => "halt",
        }
    }
}

/// How a domain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Whether it is still there, because its configuration says so.
    pub preserved: bool,
}

/// A domain's console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// The domain.
    pub domid: u16,
    /// The terminal that the console daemon offers.
    pub tty: String,
}

/// A vCPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcpu {
    /// Its number.
    pub vcpu: u32,
    /// The CPU that it runs or last ran on.
    pub cpu: u32,
    /// Not unplugged.
    pub online: bool,
    /// Waiting for an event.
    pub blocked: bool,
    /// Running now.
    pub running: bool,
    /// CPU time it has used, in nanoseconds.
    pub cpu_time_ns: u64,
    /// The CPUs that it may run on: "any cpu", or like "0-3,5".
    pub affinity: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_has_six_letters() {
        assert_eq!(State::default().to_string(), "------");
        let state = State {
            blocked: true,
            crashed: true,
            ..State::default()
        };
        assert_eq!(state.to_string(), "-b--c-");
    }

    #[test]
    fn events_are_objects_with_one_key() {
        let text = serde_json::to_string(&CreateEvent::Phase(Phase::Allocate)).unwrap();
        assert_eq!(text, r#"{"phase":"allocate"}"#);
    }
}
