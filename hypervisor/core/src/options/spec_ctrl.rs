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
    /// `xpti`: dom0's page tables are isolated from the hypervisor's.
    pub xpti_dom0: Option<bool>,
    /// `xpti`: those of other domains are.
    pub xpti_domu: Option<bool>,
}

/// What [`SpecCtrl::parse`] takes, for messages.
pub(super) const EXPECTED: &str = "a list of yes, no, xen, pv, hvm, msr-sc, rsb, md-clear, ibpb-entry, bti-thunk=<retpoline, lfence or jmp>, ibrs, ibpb, ssbd, psfd, eager-fpu, l1d-flush, branch-harden, srb-lock and unpriv-mmio, each with no- in front or =<boolean>";

/// What [`SpecCtrl::parse_xpti`] takes, for messages.
pub(super) const XPTI_EXPECTED: &str =
    "a list of default, yes, no, dom0 and domu, these two with no- in front or =<boolean>";

impl SpecCtrl {
    /// Takes the list `value` into account; what has no effect goes to `notes`. `None` for a list
    /// that is wrong somewhere.
    pub(super) fn parse(mut self, value: &str, notes: &mut Notes) -> Option<Self> {
        for part in value.split(',').map(str::trim) {
            match boolean(part) {
                Some(on) => {
                    self.set_guests(on);
                    self.set_own(on);
                    if !on {
                        // As in Xen, `xpti=` has the last word wherever it stands.
                        self.xpti_dom0.get_or_insert(false);
                        self.xpti_domu.get_or_insert(false);
                    }
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

    /// Takes the list of `xpti=` into account; without a value it asks for isolation of all.
    pub(super) fn parse_xpti(mut self, value: &str) -> Option<Self> {
        if value.is_empty() {
            (self.xpti_dom0, self.xpti_domu) = (Some(true), Some(true));
            return Some(self);
        }
        for part in value.split(',').map(str::trim) {
            if part == "default" {
                (self.xpti_dom0, self.xpti_domu) = (None, None);
            } else if let Some(on) = boolean(part) {
                (self.xpti_dom0, self.xpti_domu) = (Some(on), Some(on));
            } else {
                let (kind, on) = match (part.split_once('='), part.strip_prefix("no-")) {
                    (Some((kind, on)), _) => (kind, boolean(on)?),
                    (None, Some(kind)) => (kind, false),
                    (None, None) => (part, true),
                };
                *match kind {
                    "dom0" => &mut self.xpti_dom0,
                    "domu" => &mut self.xpti_domu,
                    _ => return None,
                } = Some(on);
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
        assert_eq!((none.xpti_dom0, none.xpti_domu), (Some(false), Some(false)));
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
                .parse_xpti(value)
                .map(|spec| (spec.xpti_dom0, spec.xpti_domu))
        };
        let both = |on| Some((Some(on), Some(on)));
        assert_eq!(parse(""), both(true));
        assert_eq!(parse("yes"), both(true));
        assert_eq!(parse("no"), both(false));
        assert_eq!(parse("default"), Some((None, None)));
        assert_eq!(parse("no,default"), Some((None, None)));
        assert_eq!(parse("dom0=no"), Some((Some(false), None)));
        assert_eq!(parse("no-dom0"), parse("dom0=no"));
        assert_eq!(parse("dom0,domu=0"), Some((Some(true), Some(false))));
        assert_eq!(parse("yes,domu=no"), Some((Some(true), Some(false))));
        for wrong in [
            "guests",
            "dom1=no",
            "dom0=perhaps",
            "no-dom0=yes",
            "yes,,no",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn xpti_has_the_last_word() {
        let on = SpecCtrl::default().parse_xpti("yes").unwrap();
        let spec = on.parse("no", &mut Vec::new()).unwrap();
        assert_eq!((spec.xpti_dom0, spec.rsb), (Some(true), Some(false)));
        let off = parse("no").unwrap().parse_xpti("domu").unwrap();
        assert_eq!((off.xpti_dom0, off.xpti_domu), (Some(false), Some(true)));
    }
}
