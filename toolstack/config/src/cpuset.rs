//! A set of physical CPUs as `cpus=` writes it: "0-3,5,^1", or "all".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// CPU numbers must be below this; Xen's largest build has 4095 CPUs.
const MAX_CPU: u32 = 4096;

/// A set of physical CPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CpuSet {
    /// Any CPU.
    All,
    /// These, ascending, each once; never empty.
    Some(Vec<u32>),
}

/// Why a text is no set of CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no set of CPUs: {reason}")]
pub struct CpuSetError {
    text: String,
    reason: &'static str,
}

impl CpuSet {
    /// The set with this one CPU; `None` if there can be no such CPU.
    #[must_use]
    pub fn one(cpu: i64) -> Option<Self> {
        let cpu = u32::try_from(cpu).ok().filter(|c| *c < MAX_CPU)?;
        Some(Self::Some(vec![cpu]))
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    fn from_str(text: &str) -> Result<Self, CpuSetError> {
        let fail = |reason| CpuSetError {
            text: text.to_owned(),
            reason,
        };
        if matches!(text.trim(), "all" | "any") {
            return Ok(Self::All);
        }
        // A `^` takes CPUs away, wherever it stands.
        let mut wanted = vec![false; MAX_CPU as usize];
        let mut taken = vec![false; MAX_CPU as usize];
        let mut only_taken = true;
        for part in text.split(',').map(str::trim) {
            if part.is_empty() {
                return Err(fail("a part is empty"));
            }
            let (set, range) = match part.strip_prefix('^') {
                Some(range) => (&mut taken, range),
                None => {
                    only_taken = false;
                    (&mut wanted, part)
                }
            };
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |s: &str| s.trim().parse::<u32>().ok();
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                return Err(fail(
                    "expected numbers, ranges like 0-3, and ^ to leave out",
                ));
            };
            if last >= MAX_CPU {
                return Err(fail("CPU numbers end at 4095"));
            }
            if first > last {
                return Err(fail("a range runs backwards"));
            }
            for slot in set.iter_mut().take(last as usize + 1).skip(first as usize) {
                *slot = true;
            }
        }
        let cpus: Vec<u32> = (0..MAX_CPU)
            .zip(wanted.iter().zip(&taken))
            .filter(|(_, (wanted, taken))| (**wanted || only_taken) && !**taken)
            .map(|(cpu, _)| cpu)
            .collect();
        if cpus.is_empty() {
            return Err(fail("no CPU is left in it"));
        }
        Ok(Self::Some(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Some(cpus) = self else {
            return f.write_str("all");
        };
        let mut rest = cpus.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|n| Some(*n) == last.checked_add(1)) {
                last = next;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuSet {
    type Error = CpuSetError;
    fn try_from(text: String) -> Result<Self, CpuSetError> {
        text.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, shown) in [
            ("0-3,5,^1", "0,2-3,5"),
            ("^1,0-2", "0,2"),
            ("7", "7"),
            ("all", "all"),
            ("3,1,2,2", "1-3"),
        ] {
            assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), shown);
        }
        assert!(
            "^0".parse::<CpuSet>()
                .unwrap()
                .to_string()
                .starts_with("1-")
        );
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "a",
            "3-1",
            "1,,2",
            "0,^0",
            "5000",
            "0-99999999999",
            "-1",
        ] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }
}
