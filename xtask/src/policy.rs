//! The rule that unsafe code lies in few named places.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::paths;

/// Where unsafe code may be, and why.
const ALLOWED: [(&str, &str); 4] = [
    ("hypervisor/machine", "the mechanism"),
    ("toolstack/hypercall", "ioctls and mappings"),
    ("guest-drivers/src/sys", "the guest's lowest module"),
    ("tests/fpucheck", "holds values in vector registers"),
];

/// Prints the number of unsafe lines in each allowed place; an error if there is one elsewhere.
pub(crate) fn check() -> Result<()> {
    let mut elsewhere = Vec::new();
    let mut counts = [0usize; ALLOWED.len()];
    visit(&paths::root(), "", &mut |path, text| {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_unsafe(line)) {
            match ALLOWED
                .iter()
                .position(|(place, _)| path.starts_with(place))
            {
                Some(place) => counts[place] += 1,
                None => elsewhere.push(format!("{path}:{}: {}", number + 1, line.trim())),
            }
        }
    })?;
    for ((place, why), count) in ALLOWED.iter().zip(counts) {
        println!("{count:4} unsafe lines in {place} ({why})");
    }
    ensure!(
        elsewhere.is_empty(),
        "unsafe code outside the places that may have it:\n{}",
        elsewhere.join("\n")
    );
    Ok(())
}

/// Calls `see` with the relative path and text of each Rust file of the workspace.
fn visit(dir: &Path, prefix: &str, see: &mut impl FnMut(&str, &str)) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(dir)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                visit(&entry.path(), &format!("{path}/"), see)?;
            }
        } else if name.ends_with(".rs") {
            see(&path, &fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

/// Whether a line opens an unsafe block, function, impl or extern block, or has an unsafe attribute.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    code.match_indices("unsafe").any(|(at, word)| {
        let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
        let rest = code[at + word.len()..].trim_start();
        let opens = ["{", "fn ", "impl ", "impl<", "extern ", "trait ", "("];
        whole && opens.iter().any(|open| rest.starts_with(open))
    })
}

#[cfg(test)]
mod tests {
    use super::is_unsafe;

    /// The word is put together here, so that these lines do not count themselves.
    fn with_word(line: &str) -> String {
        line.replace('@', concat!("un", "safe"))
    }

    #[test]
    fn what_counts() {
        for line in ["    let x = @ { *p };", "pub @ fn f() {", "#[@(no_mangle)]"] {
            assert!(is_unsafe(&with_word(line)), "{line}");
        }
        for line in ["#![forbid(@_code)]", "// @ { }", "let not_@ = 1;"] {
            assert!(!is_unsafe(&with_word(line)), "{line}");
        }
    }
}
