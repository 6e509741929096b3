//! S-expressions, the form in which xend of old showed domains.

use std::fmt;

use domain_config::DomainConfig;
use xend_api::Domain;

/// An atom or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sxp {
    Atom(String),
    List(Vec<Sxp>),
}

impl Sxp {
    fn pair(key: &str, value: impl ToString) -> Self {
        Self::List(vec![Self::Atom(key.into()), Self::Atom(value.to_string())])
    }

    fn list(key: &str, items: Vec<Self>) -> Self {
        let mut all = vec![Self::Atom(key.into())];
        all.extend(items);
        Self::List(all)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Self::Atom(text) => write_atom(f, text),
            Self::List(items) => {
                let nested = items.iter().any(|i| matches!(i, Self::List(_)));
                f.write_str("(")?;
                for (i, item) in items.iter().enumerate() {
                    match (i, nested) {
                        (0, _) => {}
                        (_, false) => f.write_str(" ")?,
                        (_, true) => write!(f, "\n{:indent$}", "", indent = 4 * (depth + 1))?,
                    }
                    item.write(f, depth + 1)?;
                }
                if nested {
                    write!(f, "\n{:indent$}", "", indent = 4 * depth)?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Sxp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// Atoms with anything special in them stand in quotes.
fn write_atom(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let special = |c: char| c.is_whitespace() || c.is_control() || "()'\"\\;".contains(c);
    if !text.is_empty() && !text.contains(special) {
        return f.write_str(text);
    }
    f.write_str("'")?;
    for c in text.chars() {
        match c {
            '\'' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("'")
}

/// A configuration, as `xm create -n` shows it.
pub(crate) fn config(config: &DomainConfig) -> Sxp {
    let mut items = vec![Sxp::pair("name", &config.name)];
    items.extend(config.uuid.map(|uuid| Sxp::pair("uuid", uuid)));
    items.push(Sxp::pair("memory", config.memory_mib));
    items.push(Sxp::pair("maxmem", config.maxmem_mib));
    items.push(Sxp::pair("vcpus", config.vcpus));
    items.extend(details(config));
    Sxp::list("vm", items)
}

/// A running domain, as `xm list -l` shows it.
pub(crate) fn domain(domain: &Domain) -> Sxp {
    let mut items = vec![
        Sxp::pair("domid", domain.domid),
        Sxp::pair("uuid", domain.uuid),
        Sxp::pair("vcpus", domain.vcpus),
        Sxp::pair("memory", domain.memory_mib),
        Sxp::pair("maxmem", domain.maxmem_mib),
        Sxp::pair("name", &domain.name),
    ];
    if let Some(config) = &domain.config {
        items.extend(details(config));
    }
    items.push(Sxp::pair("state", domain.state));
    items.push(Sxp::pair(
        "cpu_time",
        crate::table::seconds(domain.cpu_time_ns),
    ));
    items.push(Sxp::pair("online_vcpus", domain.vcpus));
    if let Some(start) = domain.start_time {
        items.push(Sxp::pair("start_time", start));
    }
    Sxp::list("domain", items)
}

fn details(config: &DomainConfig) -> Vec<Sxp> {
    let image = &config.image;
    let mut linux = vec![Sxp::pair("kernel", image.kernel.display())];
    if let Some(ramdisk) = &image.ramdisk {
        linux.push(Sxp::pair("ramdisk", ramdisk.display()));
    }
    linux.push(Sxp::pair("args", &image.command_line));
    let mut items = vec![
        Sxp::pair("on_poweroff", config.on_poweroff.as_str()),
        Sxp::pair("on_reboot", config.on_reboot.as_str()),
        Sxp::pair("on_crash", config.on_crash.as_str()),
    ];
    if !config.cpus.is_empty() {
        let sets = config.cpus.iter().map(|s| Sxp::Atom(s.to_string()));
        items.push(Sxp::list("cpus", sets.collect()));
    }
    items.push(Sxp::list("image", vec![Sxp::list("linux", linux)]));
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration() {
        let text = r#"{"name":"demo","image":{"kernel":"/k","command_line":"a 'b'"},"memory_mib":64,"maxmem_mib":64,"vcpus":1,"cpus":["0-1"]}"#;
        let shown = config(&serde_json::from_str(text).unwrap()).to_string();
        assert!(shown.starts_with("(vm\n    (name demo)\n"), "{shown}");
        assert!(shown.contains("    (cpus 0-1)\n"), "{shown}");
        assert!(
            shown.ends_with(
                "    (image\n        (linux\n            (kernel /k)\n            (args 'a \\'b\\'')\n        )\n    )\n)"
            ),
            "{shown}"
        );
    }
}
