//! Control commands, for people: `xenstore-control` and the like.

use core::fmt::Write as _;

use xenstore::ErrorCode;

use super::Logic;
use super::request::Request;

const HELP: &str = "check: compare the counts of nodes with the tree\n\
                    help: this text\n\
                    quota: the limits of guests\n\
                    stats: what is in use\n";

impl Logic {
    pub(super) fn control(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let strings = request.strings(1, usize::MAX)?;
        let text = match strings.as_slice() {
            ["help"] => HELP.to_owned(),
            ["check"] if self.tree.counts_are_true() => "OK".to_owned(),
            ["check"] => return Err(ErrorCode::EIO),
            ["quota"] => format!("{:#?}\n", self.limits),
            ["stats"] => self.stats(),
            _ => return Err(ErrorCode::EINVAL),
        };
        let mut payload = text.into_bytes();
        payload.push(0);
        Ok(payload)
    }

    fn stats(&self) -> String {
        let mut text = format!(
            "connections {}\ndomains {}\n",
            self.connections.len(),
            self.domains.known.len()
        );
        for domain in core::iter::once(0).chain(self.domains.known.keys().copied()) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "nodes of domain {domain} {}",
                self.tree.owned_by(domain)
            );
        }
        text
    }
}
