//! Variables to the typed configuration.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cmdline::CommandLine;
use crate::cpuset::CpuSet;
use crate::domain::{Action, DomainConfig, Image};
use crate::error::Fault;
use crate::load::{Table, TableFault};
use crate::value::{Spanned, Value};

/// Memory of a domain whose file does not say, in MiB.
const DEFAULT_MEMORY_MIB: u64 = 128;

/// Every variable that is understood.
pub(crate) const KNOWN: [&str; 26] = [
    "name",
    "uuid",
    "builder",
    "type",
    "kernel",
    "ramdisk",
    "memory",
    "maxmem",
    "vcpus",
    "cpu",
    "cpus",
    "root",
    "extra",
    "dhcp",
    "ip",
    "netmask",
    "gateway",
    "hostname",
    "interface",
    "nfs_server",
    "nfs_root",
    "on_poweroff",
    "on_reboot",
    "on_crash",
    "bootloader",
    "maxvcpus",
];

/// Variables of the manual whose features are not there yet: refused when set, for a domain without
/// what its file asks for is not the domain that was wanted.
pub(crate) const NOT_YET: [&str; 43] = [
    "vif",
    "disk",
    "pci",
    "vtpm",
    "vfb",
    "access_control",
    "console",
    "bootloader",
    "bootargs",
    "blkif",
    "netif",
    "tpmif",
    "vnc",
    "sdl",
    "usb",
    "usbdevice",
    "serial",
    "cdrom",
    "boot",
    "device_model",
    "acpi",
    "apic",
    "pae",
    "ne2000",
    "localtime",
    "stdvga",
    "nographic",
    "full_screen",
    "enable_audio",
    "vncviewer",
    "vncpasswd",
    "vncdisplay",
    "vnclisten",
    "backend",
    "nics",
    "cpu_weight",
    "cpu_cap",
    "features",
    "irq",
    "ioports",
    "hap",
    "vscsi",
    "on_watchdog",
];

/// Variables that may be given several times on the command line, each adding to the list.
pub(crate) const LISTS: [&str; 9] = [
    "vif",
    "disk",
    "pci",
    "vtpm",
    "vfb",
    "usb",
    "irq",
    "ioports",
    "access_control",
];

/// Makes the configuration. `default_name` names a domain whose file does not, `directory` is where
/// relative paths start.
pub(crate) fn extract(
    table: &mut Table,
    default_name: &str,
    directory: &Path,
) -> Result<DomainConfig, TableFault> {
    builder(table)?;
    let memory_mib = table.unsigned("memory")?.unwrap_or(DEFAULT_MEMORY_MIB);
    let maxmem_mib = table.unsigned("maxmem")?.unwrap_or(memory_mib);
    let vcpus = vcpus(table)?;
    Ok(DomainConfig {
        name: table
            .text("name")?
            .unwrap_or_else(|| default_name.to_owned()),
        uuid: table.parsed("uuid", "a UUID like 3f0c2b9e-6d1a-4b52-9a50-0d4f1f3c7a11")?,
        image: image(table, directory)?,
        memory_mib,
        maxmem_mib,
        vcpus,
        cpus: cpus(table)?,
        on_poweroff: action(table, "on_poweroff", Action::Destroy)?,
        on_reboot: action(table, "on_reboot", Action::Restart)?,
        on_crash: action(table, "on_crash", Action::Restart)?,
    })
}

fn builder(table: &mut Table) -> Result<(), TableFault> {
    for key in ["builder", "type"] {
        match table.text(key)?.as_deref() {
            None | Some("linux" | "generic" | "pv") => {}
            Some(other) => {
                let message =
                    format!("`{key}` is {other:?}, which this version does not support yet");
                return Err(table
                    .fault(key, message, "this kind of domain")
                    .help("PV domains have builder = \"linux\", or no such line"));
            }
        }
    }
    Ok(())
}

fn vcpus(table: &mut Table) -> Result<u32, TableFault> {
    let vcpus = table.unsigned("vcpus")?;
    let most = table.unsigned("maxvcpus")?;
    if let (Some(most), number) = (most, vcpus.unwrap_or(1))
        && most != number
    {
        return Err(table
            .fault(
                "maxvcpus",
                "vCPUs cannot be added to a running domain yet",
                "differs from vcpus",
            )
            .help("remove maxvcpus, or make it equal to vcpus"));
    }
    // A number that is too large for the type is too large for the range too, which is checked later.
    Ok(vcpus.map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX)))
}

fn image(table: &mut Table, directory: &Path) -> Result<Image, TableFault> {
    if table.text("bootloader")?.is_some() {
        return Err(not_yet(table, "bootloader"));
    }
    let Some(kernel) = table.text("kernel")? else {
        return Err(table
            .fault("kernel", "`kernel` is not set", "the file ends without it")
            .help("add a line like kernel = \"/boot/vmlinuz\""));
    };
    let absolute = |path: String| directory.join(PathBuf::from(path));
    Ok(Image {
        kernel: absolute(kernel),
        ramdisk: table.text("ramdisk")?.map(absolute),
        command_line: command_line(table)?.build(),
    })
}

fn command_line(table: &mut Table) -> Result<CommandLine, TableFault> {
    let mut get = |key| table.text(key).map(Option::unwrap_or_default);
    Ok(CommandLine {
        root: get("root")?,
        extra: get("extra")?,
        dhcp: get("dhcp")?,
        ip: get("ip")?,
        netmask: get("netmask")?,
        gateway: get("gateway")?,
        hostname: get("hostname")?,
        interface: get("interface")?,
        nfs_server: get("nfs_server")?,
        nfs_root: get("nfs_root")?,
    })
}

fn action(table: &mut Table, key: &str, default: Action) -> Result<Action, TableFault> {
    let Some(text) = table.text(key)? else {
        return Ok(default);
    };
    Action::ALL
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, action)| *action)
        .ok_or_else(|| {
            table
                .fault(key, format!("`{key}` cannot be {text:?}"), "not an action")
                .help("it is destroy, restart, preserve or rename-restart")
        })
}

fn cpus(table: &mut Table) -> Result<Vec<CpuSet>, TableFault> {
    // `cpu` is the older variable, one CPU for the whole domain; -1 meant any.
    let key = if table.is_set("cpus") { "cpus" } else { "cpu" };
    let Some(entry) = table.take(key) else {
        return Ok(Vec::new());
    };
    let one = |item: &Spanned| -> Result<CpuSet, Fault> {
        let set = match &item.value {
            Value::Int(-1) => Some(CpuSet::All),
            Value::Int(n) => CpuSet::one(*n),
            Value::Str(s) => match CpuSet::from_str(s) {
                Ok(set) => Some(set),
                Err(e) => return Err(Fault::new(item.span, e.to_string(), "these CPUs")),
            },
            _ => None,
        };
        set.ok_or_else(|| {
            Fault::new(
                item.span,
                format!("`{key}` cannot be {}", item.value.kind()),
                "this value",
            )
            .help("write CPUs like \"0-3,5\" or \"all\"")
        })
    };
    let sets = match &entry.value {
        Value::None => Ok(Vec::new()),
        Value::Str(s) if s.is_empty() => Ok(Vec::new()),
        Value::List(items) => items.iter().map(one).collect(),
        _ => one(&entry).map(|set| vec![set]),
    };
    sets.map_err(|fault| table.at(key, fault))
}

/// The fault for a variable whose feature is still to come.
pub(crate) fn not_yet(table: &Table, key: &str) -> TableFault {
    table
        .fault(
            key,
            format!("`{key}` is not supported yet by this version"),
            "set here",
        )
        .help("remove the line to start the domain without it")
}
