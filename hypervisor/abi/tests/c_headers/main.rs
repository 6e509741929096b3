//! Compares every struct and constant with the C headers of libxen-dev, through the C compiler.

mod table;

mod modules;

use std::path::Path;
use std::process::Command;

use oxen_abi::domctl::XEN_DOMCTL_INTERFACE_VERSION;

const HEADER: &str = "/usr/include/xen/xen.h";

#[test]
fn agrees_with_the_c_headers() {
    if !Path::new(HEADER).exists() {
        eprintln!("skipped: {HEADER} is missing; install libxen-dev to run this test");
        return;
    }
    let mut table = table::Table::default();
    modules::add_all(&mut table);
    add_errors(&mut table);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("layout.c");
    let program = folder.path().join("layout");
    std::fs::write(&source, table.program()).expect("write the C program");
    // -w: the headers' own warnings say nothing about this crate.
    let status = Command::new("cc")
        .args(["-w", "-std=gnu11", "-o"])
        .arg(&program)
        .arg(&source)
        .status()
        .expect("run cc");
    assert!(status.success(), "cc failed on the generated program");
    let output = Command::new(&program)
        .output()
        .expect("run the generated program");
    let text = String::from_utf8(output.stdout).expect("digits");

    let figures: Vec<u64> = text
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    assert_eq!(figures.len(), table.rows.len());
    // The control interface may change from one Xen to the next, and its number with it.
    let version = (table.rows.iter().zip(&figures))
        .find(|(row, _)| row.expression == "XEN_DOMCTL_INTERFACE_VERSION")
        .map(|(_, c)| *c);
    let other = version != Some(XEN_DOMCTL_INTERFACE_VERSION.into());
    if other {
        eprintln!("domctl is not compared: the headers' interface is {version:#x?}");
    }
    let wrong: Vec<String> = (table.rows.iter().zip(&figures))
        .filter(|(row, _)| !(other && row.expression.to_lowercase().contains("domctl")))
        .filter(|(row, c)| {
            let mask = u64::MAX >> (64 - row.bits);
            (row.value ^ **c) & mask != 0
        })
        .map(|(row, c)| format!("{}: C {c:#x}, here {:#x}", row.expression, row.value))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        figures.len(),
        wrong.join("\n")
    );
    println!("{} figures agree", figures.len());
}

/// Adds the error numbers; two of them are the hypervisor's own and not in the headers that
/// tools see.
fn add_errors(table: &mut table::Table) {
    for number in 1..200 {
        match oxen_abi::Errno(number).name() {
            None | Some("EINTR" | "ERESTART") => {}
            Some(name) => {
                table.push(format!("XEN_{name}"), u64::from(number.unsigned_abs()), 4);
            }
        }
    }
}
