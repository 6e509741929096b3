//! A domain's nodes in xenstore, as guests, the console daemon and other tools expect them.

use domain_builder::Rings;
use domain_config::DomainConfig;
use hypercall::DomId;
use uuid::Uuid;
use xenstore::Permissions;

use super::Manager;
use crate::error::{Error, Result};

/// How much console output xenconsoled keeps for a terminal that nobody reads, in bytes.
const CONSOLE_LIMIT: &str = "1048576";

/// How often a transaction that met others is tried.
const ATTEMPTS: u32 = 100;

/// The nodes below a domain's own directory that the guest may write to.
const GUEST_WRITABLE: [&str; 9] = [
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "control/sysrq",
    "data",
    "drivers",
    "feature",
    "attr",
];

/// The nodes that only say that dom0 offers something; the guest may read them.
const GUEST_READABLE: [&str; 3] = ["device", "control", "error"];

/// The directory of a domain.
pub(super) fn domain_path(domain: DomId) -> String {
    format!("/local/domain/{domain}")
}

/// The directory of a virtual machine, which outlives the domain over a reboot.
pub(super) fn vm_path(uuid: Uuid) -> String {
    format!("/vm/{uuid}")
}

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Write(String, String),
    Mkdir(String),
    Permit(String, Permissions),
    Remove(String),
}

impl Manager {
    /// dom0's own nodes, which nobody else makes.
    pub(crate) async fn describe_dom0(&self) -> Result<()> {
        let steps = [
            write("/local/domain/0", "domid", "0"),
            write("/local/domain/0", "name", "Domain-0"),
            // There from the start, so that the last domain leaves the store as the first found it.
            Step::Mkdir("/vm".to_owned()),
        ];
        self.apply(&steps, "describe dom0 in xenstore").await
    }

    /// Makes a new domain's nodes, and tells xenstored of it.
    pub(super) async fn make_nodes(
        &self,
        domain: DomId,
        uuid: Uuid,
        config: &DomainConfig,
        rings: &Rings,
        started: u64,
    ) -> Result<()> {
        // What an earlier domain of this id or machine may have left goes first.
        let mut steps = removal(domain, uuid);
        steps.extend(vm(uuid, config, started));
        steps.extend(guest(domain, uuid, config));
        steps.extend(backends(domain, rings));
        self.apply(&steps, "make the domain's nodes in xenstore")
            .await?;
        self.store
            .introduce(domain.0, rings.xenstore_mfn, rings.xenstore_port)
            .await
            .map_err(Error::store("introduce the domain to xenstored"))
    }

    /// Removes a domain's nodes and those of its virtual machine.
    pub(super) async fn remove_nodes(&self, domain: DomId, uuid: Uuid) -> Result<()> {
        self.apply(
            &removal(domain, uuid),
            "remove the domain's nodes from xenstore",
        )
        .await
    }

    /// Gives a domain the name of `config` and another virtual machine.
    pub(super) async fn rename_nodes(
        &self,
        domain: DomId,
        uuid: Uuid,
        config: &DomainConfig,
        started: u64,
    ) -> Result<()> {
        let path = domain_path(domain);
        let mut steps = vec![
            write(&path, "name", &config.name),
            write(&path, "vm", vm_path(uuid)),
        ];
        steps.extend(vm(uuid, config, started));
        self.apply(&steps, "rename the domain in xenstore").await
    }

    /// Makes all changes or none; again where others interfered.
    async fn apply(&self, steps: &[Step], doing: &str) -> Result<()> {
        let failed = |e| Error::store(doing)(e);
        for _ in 0..ATTEMPTS {
            let transaction = self.store.begin().await.map_err(failed)?;
            for step in steps {
                match step {
                    Step::Write(path, value) => transaction.write(path, value).await,
                    Step::Mkdir(path) => transaction.mkdir(path).await,
                    Step::Permit(path, who) => transaction.set_permissions(path, who).await,
                    Step::Remove(path) => transaction.remove(path).await,
                }
                .map_err(failed)?;
            }
            match transaction.commit().await {
                Err(e) if e.is_again() => {}
                other => return other.map_err(failed),
            }
        }
        Err(failed(xenstore::Error::Contended(ATTEMPTS)))
    }
}

fn write(folder: &str, key: &str, value: impl Into<String>) -> Step {
    Step::Write(format!("{folder}/{key}"), value.into())
}

fn removal(domain: DomId, uuid: Uuid) -> Vec<Step> {
    vec![
        Step::Remove(domain_path(domain)),
        Step::Remove(vm_path(uuid)),
    ]
}

/// What the machine is, for people and other tools.
fn vm(uuid: Uuid, config: &DomainConfig, started: u64) -> Vec<Step> {
    let vm = vm_path(uuid);
    let image = &config.image;
    let values = [
        ("name", config.name.clone()),
        ("uuid", uuid.to_string()),
        ("start_time", started.to_string()),
        ("image/ostype", "linux".to_owned()),
        ("image/kernel", image.kernel.display().to_string()),
        ("image/cmdline", image.command_line.clone()),
        ("memory", config.memory_mib.to_string()),
        ("maxmem", config.maxmem_mib.to_string()),
        ("vcpus", config.vcpus.to_string()),
        ("on_poweroff", config.on_poweroff.as_str().to_owned()),
        ("on_reboot", config.on_reboot.as_str().to_owned()),
        ("on_crash", config.on_crash.as_str().to_owned()),
    ];
    let mut steps = Vec::from(values.map(|(key, value)| write(&vm, key, value)));
    if let Some(path) = &image.ramdisk {
        steps.push(write(&vm, "image/ramdisk", path.display().to_string()));
    }
    steps
}

/// The domain's own directory.
fn guest(domain: DomId, uuid: Uuid, config: &DomainConfig) -> Vec<Step> {
    let path = domain_path(domain);
    let readable = Permissions::readable_by(0, domain.0);
    // First the directory's own permissions: nodes inherit them.
    let mut steps = vec![
        Step::Mkdir(path.clone()),
        Step::Permit(path.clone(), readable.clone()),
    ];
    let values = [
        ("vm", vm_path(uuid)),
        ("name", config.name.clone()),
        ("domid", domain.to_string()),
        ("memory/target", (config.memory_mib * 1024).to_string()),
        ("memory/static-max", (config.maxmem_mib * 1024).to_string()),
        (
            "control/platform-feature-multiprocessor-suspend",
            "1".to_owned(),
        ),
        ("control/platform-feature-xs_reset_watches", "1".to_owned()),
    ];
    steps.extend(values.map(|(key, value)| write(&path, key, value)));
    for vcpu in 0..config.vcpus {
        steps.push(write(&path, &format!("cpu/{vcpu}/availability"), "online"));
    }
    let permitted = GUEST_READABLE
        .map(|key| (key, readable.clone()))
        .into_iter()
        .chain(GUEST_WRITABLE.map(|key| (key, Permissions::private(domain.0))));
    for (key, who) in permitted {
        let node = format!("{path}/{key}");
        steps.push(Step::Mkdir(node.clone()));
        steps.push(Step::Permit(node, who));
    }
    steps
}

/// Where xenstored and the console daemon find their rings. The guest may only read this: it must
/// not be able to name another terminal.
fn backends(domain: DomId, rings: &Rings) -> Vec<Step> {
    let path = domain_path(domain);
    let values = [
        ("store/ring-ref", rings.xenstore_mfn.to_string()),
        ("store/port", rings.xenstore_port.to_string()),
        ("console/ring-ref", rings.console_mfn.to_string()),
        ("console/port", rings.console_port.to_string()),
        ("console/limit", CONSOLE_LIMIT.to_owned()),
        ("console/type", "xenconsoled".to_owned()),
        ("console/output", "pty".to_owned()),
    ];
    values
        .map(|(key, value)| write(&path, key, value))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Vec<Step> {
        let config = serde_json::from_str(
            r#"{"name":"demo","image":{"kernel":"/k","ramdisk":"/r"},"memory_mib":64,"maxmem_mib":65,"vcpus":2}"#,
        )
        .unwrap();
        let rings = Rings {
            console_mfn: 10,
            console_port: 1,
            xenstore_mfn: 11,
            xenstore_port: 2,
        };
        [
            vm(Uuid::from_u128(5), &config, 1000),
            guest(DomId(7), Uuid::from_u128(5), &config),
            backends(DomId(7), &rings),
        ]
        .concat()
    }

    #[test]
    fn the_nodes_that_guests_and_daemons_read() {
        let steps = steps();
        for (path, value) in [
            ("/local/domain/7/console/ring-ref", "10"),
            ("/local/domain/7/store/port", "2"),
            ("/local/domain/7/memory/static-max", "66560"),
            ("/local/domain/7/cpu/1/availability", "online"),
            (
                "/vm/00000000-0000-0000-0000-000000000005/image/ramdisk",
                "/r",
            ),
        ] {
            let step = Step::Write(path.into(), value.into());
            assert!(steps.contains(&step), "{path}");
        }
    }

    #[test]
    fn the_guest_writes_only_what_is_its_own() {
        for step in steps() {
            if let Step::Permit(path, who) = step {
                let own = GUEST_WRITABLE
                    .iter()
                    .any(|key| path == format!("/local/domain/7/{key}"));
                assert_eq!(who.access(7).writes(), own, "{path}");
                assert!(!who.access(8).reads(), "{path}");
            }
        }
    }

    #[test]
    fn a_node_is_made_before_its_permissions_are_set() {
        let mut made = Vec::new();
        for step in steps() {
            match step {
                Step::Mkdir(path) | Step::Write(path, _) => made.push(path),
                Step::Permit(path, _) => assert!(made.contains(&path), "{path}"),
                Step::Remove(_) => {}
            }
        }
    }
}
