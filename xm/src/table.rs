//! The columns of `xm list`, as scripts have parsed them since Xen 3.0.

use xend_api::Domain;

/// The header of `xm list`.
pub(crate) const HEADER: &str =
    "Name                              ID Mem(MiB) VCPUs State  Time(s)";

/// One line of `xm list`.
pub(crate) fn row(domain: &Domain) -> String {
    format!(
        "{:<32} {:>3} {:>8} {:>5} {:<6} {:>7}",
        domain.name,
        domain.domid,
        domain.memory_mib,
        domain.vcpus,
        domain.state.to_string(),
        seconds(domain.cpu_time_ns),
    )
}

/// Nanoseconds as seconds with one digit behind the point.
pub(crate) fn seconds(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_below_their_headings() {
        let domain: Domain = serde_json::from_str(
            r#"{"domid":0,"name":"Domain-0","uuid":"00000000-0000-0000-0000-000000000000",
                "memory_mib":1949,"maxmem_mib":1949,"vcpus":4,"cpu_time_ns":163949000000,
                "state":{"running":true,"blocked":false,"paused":false,"shutdown":false,"crashed":false,"dying":false}}"#,
        )
        .unwrap();
        assert_eq!(
            row(&domain),
            "Domain-0                           0     1949     4 r-----   163.9"
        );
        let end = |s: &str, what: &str| s.find(what).map(|at| at + what.len());
        let row = row(&domain);
        for (heading, value) in [
            ("ID", " 0"),
            ("Mem(MiB)", "1949"),
            ("VCPUs", " 4"),
            ("Time(s)", "163.9"),
        ] {
            assert_eq!(end(HEADER, heading), end(&row, value), "{heading}");
        }
        assert_eq!(HEADER.find("State"), row.find("r-----"));
    }
}
