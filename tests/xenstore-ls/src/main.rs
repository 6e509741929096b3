//! `xenstore-ls [PATH]`: prints every node below PATH (or below the root) as `path = "value"`, in order of paths.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::process::ExitCode;

use xenstore::blocking::{Client, Store};

fn main() -> ExitCode {
    let root = std::env::args().nth(1).unwrap_or_else(|| "/".to_owned());
    match Client::connect().and_then(|client| tree(&client.store(), &root)) {
        Ok(nodes) => {
            for (path, value) in nodes {
                println!("{path} = \"{}\"", value.escape_ascii());
            }
            ExitCode::SUCCESS
        }
        Err(err) => {
            eprintln!("xenstore-ls: {root}: {err}");
            ExitCode::FAILURE
        }
    }
}

/// All nodes below `root`. A node that goes away meanwhile is left out.
fn tree(store: &Store<'_>, root: &str) -> xenstore::Result<BTreeMap<String, Vec<u8>>> {
    let mut nodes = BTreeMap::new();
    let mut ahead = children(root, store.directory(root)?);
    while let Some(path) = ahead.pop() {
        if let (Ok(value), Ok(names)) = (store.read(&path), store.directory(&path)) {
            ahead.extend(children(&path, names));
            nodes.insert(path, value);
        }
    }
    Ok(nodes)
}

fn children(path: &str, names: Vec<String>) -> Vec<String> {
    let prefix = path.trim_end_matches('/');
    names
        .into_iter()
        .map(|name| format!("{prefix}/{name}"))
        .collect()
}
