//! `spec-ctrl=` and `xpti=`: defences against speculative side channels.
//!
//! The names are those of Xen 4.17. Parts of a list are `<name>`, `no-<name>` or `<name>=<boolean>`.

use super::{Notes, boolean};

/// What the user asks for; `None` leaves it to what the processor needs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SpecCtrl {
    /// `rsb`: overwrite the return stack on entry from a guest.
    pub rsb: Option<bool>,
    /// `msr-sc`: change MSR SPEC_CTRL between the hypervisor and its guests.
    pub msr_sc: Option<bool>,
    /// `md-clear`: overwrite the processor's buffers on the way to a guest.
    pub md_clear: Option<bool>,
    /// `ibpb-entry`: forget branch predictions on entry from a guest.
    pub ibpb_entry: Option<bool>,
    /// `ibrs`: restrict indirect branch prediction while the hypervisor runs.
    pub ibrs: Option<bool>,
    /// `ibpb`: forget branch predictions when a CPU changes from one domain to another.
    pub ibpb: Option<bool>,
    /// `ssbd`: loads do not pass earlier stores.
    pub ssbd: Option<bool>,
    /// `xpti`, for unprivileged domains: they may run on a processor that needs page-table
    /// isolation, which this hypervisor has not got.
    pub without_isolation: bool,
}

/// What [`SpecCtrl::parse`] takes, for messages.
pub(super) const EXPECTED: &str = "a list of yes, no, xen, pv, hvm, msr-sc, rsb, md-clear, ibpb-entry, bti-thunk=<retpoline, lfence or jmp>, ibrs, ibpb, ssbd, psfd, eager-fpu, l1d-flush, branch-harden, srb-lock and unpriv-mmio, each with no- in front or =<boolean>";

/// What [`SpecCtrl::parse_xpti`] takes, for messages.
pub(super) const XPTI_EXPECTED: &str =
    "a list of default, yes, no, dom0=<boolean> and domu=<boolean>";

impl SpecCtrl {
    /// Takes the list `value` into account; what has no effect goes to `notes`. `None` for a list
    /// that is wrong somewhere.
    pub(super) fn parse(mut self, value: &str, notes: &mut Notes) -> Option<Self> {
        for part in value.split(',').map(str::trim) {
            match boolean(part) {
                Some(on) => {
                    self.set_guests(on);
                    self.set_own(on);
                    self.without_isolation |= !on;
                }
                None => self.take(part, notes)?,
            }
        }
        Some(self)
    }

    /// The switches about entries from guests and returns to them. On is what the processor needs.
    fn set_guests(&mut self, on: bool) {
        let choice = off(on);
        (self.rsb, self.msr_sc, self.md_clear, self.ibpb_entry) = (choice, choice, choice, choice);
    }

    /// The switches about the hypervisor itself.
    fn set_own(&mut self, on: bool) {
        let choice = off(on);
        (self.ibrs, self.ibpb, self.ssbd) = (choice, choice, choice);
    }

    fn take(&mut self, part: &str, notes: &mut Notes) -> Option<()> {
        if let Some(thunk) = part.strip_prefix("bti-thunk=") {
            return match thunk {
                "jmp" => Some(()),
                "retpoline" | "lfence" => {
                    notes.push((
                        "spec-ctrl=bti-thunk",
                        "indirect branches are compiled as they are",
                    ));
                    Some(())
                }
                _ => None,
            };
        }
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (part, None),
        };
        let (name, on) = match name.strip_prefix("no-") {
            Some(name) => (name, false),
            None => (name, true),
        };
        let on = match value {
            None => on,
            // `rsb=pv`, `rsb=no-pv`: for one kind of guests. There is one kind.
            Some("pv" | "hvm") if self.per_kind(name).is_some() => true,
            Some("no-pv") if self.per_kind(name).is_some() => false,
            Some("no-hvm") if self.per_kind(name).is_some() => return Some(()),
            Some(value) => boolean(value)? == on,
        };
        if let Some(field) = self.per_kind(name) {
            *field = Some(on);
            return Some(());
        }
        match name {
            "xen" => self.set_own(on),
            "pv" => self.set_guests(on),
            "ibrs" => self.ibrs = Some(on),
            "ibpb" => self.ibpb = Some(on),
            "ssbd" => self.ssbd = Some(on),
            "hvm" => notes.push(("spec-ctrl=hvm", "there are no HVM guests")),
            "eager-fpu" if on => {}
            "eager-fpu" => notes.push((
                "spec-ctrl=no-eager-fpu",
                "FPU state is always switched with the vCPU",
            )),
            "branch-harden" if on => notes.push((
                "spec-ctrl=branch-harden",
                "indexes are clamped, branches are not fenced",
            )),
            "l1d-flush" | "psfd" | "srb-lock" | "unpriv-mmio" if on => {
                notes.push((
                    "spec-ctrl=l1d-flush, psfd, srb-lock, unpriv-mmio",
                    "this version has not got these defences",
                ));
            }
            "branch-harden" | "l1d-flush" | "psfd" | "srb-lock" | "unpriv-mmio" => {}
            _ => return None,
        }
        Some(())
    }

    /// The switch of this name, if it is one that Xen has for PV and HVM guests apart.
    fn per_kind(&mut self, name: &str) -> Option<&mut Option<bool>> {
        Some(match name {
            "msr-sc" => &mut self.msr_sc,
            "rsb" => &mut self.rsb,
            "md-clear" => &mut self.md_clear,
            "ibpb-entry" => &mut self.ibpb_entry,
            _ => return None,
        })
    }

    /// Takes the list of `xpti=` into account.
    pub(super) fn parse_xpti(mut self, value: &str, notes: &mut Notes) -> Option<Self> {
        for part in value.split(',').map(str::trim) {
            let (domain, on) = match part.split_once('=') {
                _ if part == "default" => {
                    self.without_isolation = false;
                    continue;
                }
                Some((domain @ ("dom0" | "domu"), value)) => (domain, boolean(value)?),
                None if matches!(part, "dom0" | "domu") => (part, true),
                None => ("domu", boolean(part)?),
                Some(_) => return None,
            };
            if on {
                notes.push((
                    "xpti",
                    "this version has no page-table isolation; where it is needed, only dom0 runs",
                ));
            }
            if domain == "domu" {
                self.without_isolation = !on;
            }
        }
        Some(self)
    }
}

/// On leaves the choice to what the processor needs.
fn off(on: bool) -> Option<bool> {
    (!on).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn parse(value: &str) -> Option<SpecCtrl> {
        SpecCtrl::default().parse(value, &mut Vec::new())
    }

    #[test]
    fn all_off_and_single_ones() {
        let none = parse("no").unwrap();
        assert_eq!(
            (none.rsb, none.ibpb, none.md_clear),
            (Some(false), Some(false), Some(false))
        );
        assert!(none.without_isolation);
        let some = parse("rsb,no-ibpb,md-clear=yes,no-ssbd=yes,ibpb-entry=no-pv").unwrap();
        assert_eq!(
            (some.rsb, some.ibpb, some.md_clear),
            (Some(true), Some(false), Some(true))
        );
        assert_eq!(
            (some.ssbd, some.ibpb_entry, some.ibrs),
            (Some(false), Some(false), None)
        );
        assert_eq!(parse("no,rsb").unwrap().rsb, Some(true));
        assert_eq!(parse("no-xen").unwrap().rsb, None);
        assert_eq!(parse("rsb=pv").unwrap().rsb, Some(true));
        assert_eq!(parse("pv=no").unwrap().msr_sc, Some(false));
    }

    #[test]
    fn what_has_no_effect_is_noted() {
        let mut notes = Vec::new();
        let list = "bti-thunk=retpoline,hvm=no,l1d-flush,eager-fpu,no-branch-harden";
        assert!(SpecCtrl::default().parse(list, &mut notes).is_some());
        assert_eq!(notes.len(), 3);
    }

    #[test]
    fn wrong_lists() {
        for text in [
            "",
            "rsp",
            "rsb=maybe",
            "bti-thunk=spin",
            "ibrs=pv",
            "yes,,no",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn xpti() {
        let parse = |value: &str| {
            SpecCtrl::default()
                .parse_xpti(value, &mut Vec::new())
                .map(|spec| spec.without_isolation)
        };
        assert_eq!(parse("no"), Some(true));
        assert_eq!(parse("dom0=no"), Some(false));
        assert_eq!(parse("dom0,domu=0"), Some(true));
        assert_eq!(parse("yes"), Some(false));
        assert_eq!(parse("no,default"), Some(false));
        assert_eq!(parse("guests"), None);
        assert_eq!(parse("dom1=no"), None);
    }
}
