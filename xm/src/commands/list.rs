//! `xm list`.

use std::io::Write;

use xend_api::{Client, Domain};

use super::domain;
use crate::cli::List;
use crate::error::{Failure, Result};
use crate::{sxp, table};

pub(crate) fn run(client: &Client, args: &List) -> Result<()> {
    let domains = wanted(client, &args.domains)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let text =
            serde_json::to_string_pretty(&domains).map_err(|e| Failure::Other(e.to_string()))?;
        return Ok(writeln!(out, "{text}")?);
    }
    if args.long {
        for domain in &domains {
            writeln!(out, "{}", sxp::domain(domain))?;
        }
        return Ok(());
    }
    writeln!(out, "{}", table::HEADER)?;
    for domain in &domains {
        writeln!(out, "{}", table::row(domain))?;
    }
    Ok(())
}

/// The domains that are named, or all.
pub(super) fn wanted(client: &Client, names: &[String]) -> Result<Vec<Domain>> {
    if names.is_empty() {
        return Ok(client.get("/v1/domains")?);
    }
    names.iter().map(|name| domain(client, name)).collect()
}
