//! The commands; the short ones are here.

pub(crate) mod create;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod shutdown;
pub(crate) mod uptime;
pub(crate) mod vcpu_list;

use std::io::Write;

use xend_api::{Client, Console, Domain};

use crate::console;
use crate::error::{Failure, Result, say};

/// The path of a domain in xend's interface. A reference may hold any character; what a URL gives a
/// meaning to is escaped.
fn path(reference: &str, what: &str) -> String {
    let mut path = String::from("/v1/domains/");
    for byte in reference.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path.push_str(what);
    path
}

/// Looks a domain up by name or id.
fn domain(client: &Client, reference: &str) -> Result<Domain> {
    if reference.is_empty() {
        return Err(Failure::Other("Domain '' does not exist.".into()));
    }
    Ok(client.get(&path(reference, ""))?)
}

/// Does something with several domains. One that fails does not keep the others from it.
pub(crate) fn each(domains: &[String], act: impl Fn(&str) -> Result<()>) -> Result<()> {
    if let [only] = domains {
        return act(only);
    }
    let mut result = Ok(());
    for domain in domains {
        if let Err(e) = act(domain) {
            say(&e.to_string());
            result = Err(Failure::Some);
        }
    }
    result
}

pub(crate) fn pause(client: &Client, reference: &str) -> Result<()> {
    Ok(client.post(&path(reference, "/pause"))?)
}

pub(crate) fn unpause(client: &Client, reference: &str) -> Result<()> {
    Ok(client.post(&path(reference, "/unpause"))?)
}

pub(crate) fn destroy(client: &Client, reference: &str) -> Result<()> {
    Ok(client.delete(&path(reference, ""))?)
}

pub(crate) fn domid(client: &Client, reference: &str) -> Result<()> {
    let domain = domain(client, reference)?;
    Ok(writeln!(std::io::stdout(), "{}", domain.domid)?)
}

pub(crate) fn domname(client: &Client, reference: &str) -> Result<()> {
    let domain = domain(client, reference)?;
    Ok(writeln!(std::io::stdout(), "{}", domain.name)?)
}

pub(crate) fn dmesg(client: &Client, clear: bool) -> Result<()> {
    let text = client.get_text(&format!("/v1/host/dmesg?clear={clear}"))?;
    Ok(std::io::stdout().write_all(&text)?)
}

pub(crate) fn console(client: &Client, reference: &str) -> Result<()> {
    let Console { tty, .. } = client.get(&path(reference, "/console"))?;
    console::Console::open(&tty)?.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_escaped() {
        assert_eq!(path("demo-1.x", ""), "/v1/domains/demo-1.x");
        assert_eq!(
            path("a/../b c?", "/pause"),
            "/v1/domains/a%2F..%2Fb%20c%3F/pause"
        );
    }

    #[test]
    fn one_failure_does_not_stop_the_others() {
        let seen = std::cell::Cell::new(0);
        let names = ["a".to_owned(), "b".to_owned()];
        let result = each(&names, |name| {
            seen.set(seen.get() + 1);
            if name == "a" {
                Err(Failure::Other("no".into()))
            } else {
                Ok(())
            }
        });
        assert!(matches!(result, Err(Failure::Some)));
        assert_eq!(seen.get(), 2);
    }
}
