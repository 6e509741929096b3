//! `xm uptime`.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use xend_api::{Client, Domain};

use super::list::wanted;
use crate::cli::Uptime;
use crate::error::Result;

pub(crate) fn run(client: &Client, args: &Uptime) -> Result<()> {
    let domains = wanted(client, &args.domains)?;
    let mut out = std::io::stdout().lock();
    if !args.short {
        writeln!(out, "Name                              ID Uptime")?;
    }
    for domain in &domains {
        let seconds = seconds(domain);
        if args.short {
            writeln!(out, "{}", seconds.map_or("-".into(), |s| s.to_string()))?;
        } else {
            let shown = seconds.map_or("-".into(), clock);
            writeln!(out, "{:<32} {:>3} {shown}", domain.name, domain.domid)?;
        }
    }
    Ok(())
}

/// How long a domain has been running; dom0's kernel knows its own time, and of a domain that another
/// tool started nothing is known.
fn seconds(domain: &Domain) -> Option<u64> {
    if domain.domid == 0 {
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        return uptime.split('.').next()?.parse().ok();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs().saturating_sub(domain.start_time?))
}

/// Like "1 day, 3:04:05".
fn clock(seconds: u64) -> String {
    let (minutes, s) = (seconds / 60, seconds % 60);
    let (hours, m) = (minutes / 60, minutes % 60);
    let (days, h) = (hours / 24, hours % 24);
    match days {
        0 => format!("{h}:{m:02}:{s:02}"),
        1 => format!("1 day, {h}:{m:02}:{s:02}"),
        n => format!("{n} days, {h}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        assert_eq!(clock(59), "0:00:59");
        assert_eq!(clock(86_400 + 3 * 3600 + 65), "1 day, 3:01:05");
        assert_eq!(clock(3 * 86_400), "3 days, 0:00:00");
    }
}
