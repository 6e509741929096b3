//! The kernel's command line from the variables that describe it.

/// The variables that end up on the kernel's command line; empty is unset.
#[derive(Debug, Default)]
pub(crate) struct CommandLine {
    pub(crate) root: String,
    pub(crate) extra: String,
    pub(crate) dhcp: String,
    pub(crate) ip: String,
    pub(crate) netmask: String,
    pub(crate) gateway: String,
    pub(crate) hostname: String,
    pub(crate) interface: String,
    pub(crate) nfs_server: String,
    pub(crate) nfs_root: String,
}

impl CommandLine {
    /// Puts it together: root, network, extra.
    pub(crate) fn build(&self) -> String {
        let mut parts = Vec::new();
        if !self.root.is_empty() {
            parts.push(format!("root={}", self.root));
        }
        if !self.nfs_root.is_empty() {
            let separator = if self.nfs_server.is_empty() { "" } else { ":" };
            let server = &self.nfs_server;
            parts.push(format!("nfsroot={server}{separator}{}", self.nfs_root));
        }
        parts.extend(self.ip());
        if !self.extra.is_empty() {
            parts.push(self.extra.clone());
        }
        parts.join(" ")
    }

    /// `ip=` as Linux documents it: client, server, gateway, netmask, host name, device, autoconf.
    fn ip(&self) -> Option<String> {
        let autoconf = match self.dhcp.as_str() {
            "" | "off" | "no" => "off",
            "on" | "yes" | "dhcp" => "dhcp",
            other => other,
        };
        let fixed = [&self.ip, &self.netmask, &self.gateway, &self.hostname];
        if autoconf == "off" && fixed.iter().all(|s| s.is_empty()) {
            return None;
        }
        let device = if self.interface.is_empty() {
            "eth0"
        } else {
            &self.interface
        };
        Some(format!(
            "ip={}:{}:{}:{}:{}:{device}:{autoconf}",
            self.ip, self.nfs_server, self.gateway, self.netmask, self.hostname
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_order() {
        let line = CommandLine {
            root: "/dev/xvda1 ro".into(),
            extra: "console=hvc0 4".into(),
            ..Default::default()
        };
        assert_eq!(line.build(), "root=/dev/xvda1 ro console=hvc0 4");
        assert_eq!(CommandLine::default().build(), "");
    }

    #[test]
    fn network() {
        let line = CommandLine {
            dhcp: "dhcp".into(),
            ..Default::default()
        };
        assert_eq!(line.build(), "ip=:::::eth0:dhcp");
        let line = CommandLine {
            root: "/dev/nfs".into(),
            nfs_server: "10.0.0.1".into(),
            nfs_root: "/srv/x".into(),
            ip: "10.0.0.2".into(),
            netmask: "255.255.255.0".into(),
            gateway: "10.0.0.254".into(),
            hostname: "vm".into(),
            ..Default::default()
        };
        assert_eq!(
            line.build(),
            "root=/dev/nfs nfsroot=10.0.0.1:/srv/x ip=10.0.0.2:10.0.0.1:10.0.0.254:255.255.255.0:vm:eth0:off"
        );
    }
}
