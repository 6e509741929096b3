use proptest::prelude::*;

use super::*;
use crate::{Action, CpuSet};

const MINIMAL: &str = "kernel = '/boot/vmlinuz'\nname = 'demo'\n";

fn load_with(text: &str, overrides: &[&str]) -> Result<Loaded> {
    let source = Source::new("/etc/xen/demo", text);
    let overrides: Vec<_> = overrides
        .iter()
        .map(|o| Override::parse(o).unwrap())
        .collect();
    load(
        &source,
        Path::new("/etc/xen/demo"),
        Path::new("/root"),
        &overrides,
    )
}

fn config(text: &str, overrides: &[&str]) -> DomainConfig {
    load_with(text, overrides).unwrap().config
}

fn error(text: &str) -> String {
    load_with(text, &[]).unwrap_err().to_string()
}

#[test]
fn a_whole_file() {
    let text = "kernel = \"/boot/vmlinuz\"\nramdisk = 'initrd.img'\nmemory = 256\nmaxmem=512\n\
                name = \"demo\"\nvcpus = 2\ncpus = '0-1'\nvif = []\ndisk = [ ]\nroot = '/dev/ram0'\n\
                extra = 'console=hvc0'\non_reboot = 'preserve'\non_crash='destroy'\n\
                uuid = '3f0c2b9e-6d1a-4b52-9a50-0d4f1f3c7a11'\nbuilder='linux'\n";
    let loaded = load_with(text, &[]).unwrap();
    assert!(loaded.warnings.is_empty());
    let c = loaded.config;
    assert_eq!((c.memory_mib, c.maxmem_mib, c.vcpus), (256, 512, 2));
    assert_eq!(c.image.ramdisk, Some("/root/initrd.img".into()));
    assert_eq!(c.image.command_line, "root=/dev/ram0 console=hvc0");
    assert_eq!(c.cpus, vec![CpuSet::Some(vec![0, 1])]);
    assert_eq!(
        (c.on_poweroff, c.on_reboot, c.on_crash),
        (Action::Destroy, Action::Preserve, Action::Destroy)
    );
}

#[test]
fn defaults() {
    let c = config("kernel='/k'", &[]);
    assert_eq!((c.name.as_str(), c.memory_mib, c.vcpus), ("demo", 128, 1));
}

#[test]
fn overrides_win_and_are_seen_by_the_file() {
    let c = config(
        "kernel='/k'\nmemory=64\nvmid='0'\nname='VM'+vmid",
        &["memory=128", "vmid=7", "memory=256"],
    );
    assert_eq!((c.name.as_str(), c.memory_mib), ("VM7", 256));
}

#[test]
fn errors_name_file_line_column() {
    for (text, expected) in [
        (
            "kernel='/k'\nmemory = 'lots'\n",
            "/etc/xen/demo:2:10: `memory` is \"lots\"",
        ),
        (
            "kernel='/k'\nmemory = 0\n",
            "/etc/xen/demo:2:10: memory is 0 MiB",
        ),
        ("name='x'\n", "/etc/xen/demo:1:9: `kernel` is not set"),
        (
            "kernel='/k'\non_crash='explode'",
            "/etc/xen/demo:2:10: `on_crash` cannot be",
        ),
        (
            "kernel='/k'\ndisk=['phy:a,b,w']",
            "/etc/xen/demo:2:6: `disk` is not supported yet",
        ),
        (
            "kernel='/k'\nvif=['']",
            "/etc/xen/demo:2:5: `vif` is not supported yet",
        ),
        (
            "kernel='/k'\nbuilder='hvm'",
            "/etc/xen/demo:2:9: `builder` is \"hvm\"",
        ),
        (
            "kernel='/k'\nname='1'",
            "/etc/xen/demo:2:6: the name `1` is a number",
        ),
        ("kernel=[]", "/etc/xen/demo:1:8: `kernel` is a list"),
        (
            "kernel='/k'\nvcpus=4\ncpus=['0','1']",
            "/etc/xen/demo:3:6: cpus lists 2 sets",
        ),
        (
            "kernel='/k'\ncpus='0-'",
            "/etc/xen/demo:2:6: `0-` is no set",
        ),
        (
            "kernel='/k'\nuuid='x'",
            "/etc/xen/demo:2:6: `uuid` cannot be",
        ),
    ] {
        let got = error(text);
        assert!(got.starts_with(expected), "{text:?}: {got}");
    }
    let e = load_with(MINIMAL, &["memory=much"]).unwrap_err();
    assert!(e.to_string().starts_with("command line:1:8: `memory` is"));
}

#[test]
fn the_excerpt_shows_the_line_and_the_hint() {
    let e = load_with("kernel='/k'\nmemory = 'lots'\n", &[]).unwrap_err();
    let mut shown = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none())
        .render_report(&mut shown, e.as_ref())
        .unwrap();
    assert!(shown.contains("memory = 'lots'"), "{shown}");
    assert!(shown.contains("write memory = 64"), "{shown}");
}

#[test]
fn unknown_variables_warn_with_their_line() {
    let text = format!("{MINIMAL}memry = 64\nhelper = 'x'\nextra = helper\n");
    let warnings = load_with(&text, &[]).unwrap().warnings;
    assert_eq!(
        warnings,
        [Warning {
            location: "/etc/xen/demo:3:1".into(),
            message: "unknown variable `memry` is ignored (did you mean `memory`?)".into(),
        }]
    );
}

#[test]
fn lists_grow_over_repeated_overrides() {
    let e = load_with(MINIMAL, &["pci=1", "pci=2"]).unwrap_err();
    assert!(e.to_string().contains("`pci` is not supported yet"));
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("kernel='/k'\n".to_owned()),
        "[a-z_]{1,8} ?= ?",
        "'[^'\n]{0,12}'",
        "-?[0-9a-fxo_.]{1,6}",
        "[\\[\\](){},+%=\\\\;#\n '\"-]",
        "(name|memory|vcpus|cpus|disk|uuid|on_crash|root|maxmem)=",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = load_with(&text, &[]);
    }

    #[test]
    fn no_mixture_of_fragments_panics(parts in prop::collection::vec(fragment(), 0..40)) {
        if let Err(e) = load_with(&parts.concat(), &[]) {
            let mut shown = String::new();
            let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
            prop_assert!(handler.render_report(&mut shown, e.as_ref()).is_ok());
        }
    }

    #[test]
    fn no_override_panics(value in "\\PC{0,60}", name in "(memory|cpus|name|extra|vif|zzz)") {
        let _ = load_with(MINIMAL, &[&format!("{name}={value}")]);
    }

    #[test]
    fn what_is_accepted_passes_its_own_check(parts in prop::collection::vec(fragment(), 0..12)) {
        if let Ok(loaded) = load_with(&parts.concat(), &[]) {
            prop_assert!(loaded.config.check().is_ok());
        }
    }
}
