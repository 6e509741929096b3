use alloc::format;
use alloc::string::ToString;

use proptest::prelude::*;

use super::*;

fn clean(line: &str) -> Options {
    let (options, warnings) = Options::parse(line);
    assert!(warnings.is_empty(), "{line}: {warnings:?}");
    options
}

#[test]
fn an_empty_line_gives_the_defaults() {
    assert_eq!(clean(""), Options::default());
    assert_eq!(clean("placeholder"), Options::default());
}

#[test]
fn a_usual_line() {
    let options = clean(
        "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all/all dom0_mem=512M,max:512M \
         dom0_max_vcpus=2 noreboot nosmp dom0_vcpus_pin sched=credit",
    );
    assert_eq!(
        options.console,
        Sinks {
            com1: Some(Share::No),
            com2: None,
            vga: false
        }
    );
    assert_eq!(
        options.log,
        Levels {
            always: Some(Level::Debug),
            limited: Some(Level::Debug)
        }
    );
    assert!(options.noreboot && options.nosmp && options.dom0_vcpus_pin);
    assert_eq!(options.dom0_max_vcpus, Dom0Vcpus { min: 2, max: 2 });
    assert_eq!(options.dom0_mem.frames(1 << 20, 0), 512 << 8);
}

#[test]
fn the_manuals_spaced_form() {
    let options = clean("com1=9600, 8n1, 0x408, 5 noreboot");
    assert_eq!(options.com1.io_base, 0x408);
    assert_eq!(options.com1.irq, 5);
    assert!(options.noreboot);
}

#[test]
fn flags_take_booleans() {
    assert!(!clean("noreboot=no").noreboot);
    assert!(clean("noreboot=yes").noreboot);
    assert!(!clean("dom0_vcpus_pin no-dom0_vcpus_pin").dom0_vcpus_pin);
}

#[test]
fn unknown_and_wrong_are_named() {
    let (options, warnings) = Options::parse("frobnicate=3 dom0_mem=lots loglvl=loud noreboot");
    assert!(options.noreboot);
    assert_eq!(options.dom0_mem, Dom0Mem::default());
    let text: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 3);
    assert!(text[0].contains("'frobnicate=3' is not known"));
    assert!(text[1].contains("'dom0_mem=lots'") && text[1].contains("min:"));
    assert!(text[2].contains("rate-limited level"));
}

#[test]
fn every_option_of_the_manual_is_known() {
    let line = "noreboot nosmp ignorebiostables watchdog noirqbalance badpage=0x12345,0x12346 \
        com1=9600,8n1,0x408,5 com2=auto console=com1,vga vga=text-80x50,keep no-real-mode \
        edid=no edid=force edd=off edd=on edd=skipmbr console_to_ring sync_console conswitch=ax \
        loglvl=warning guest_loglvl=none/warning nmi=fatal nmi=dom0 nmi=ignore mem=1G \
        dom0_mem=min:128M,max:1G,512M dom0_vcpus_pin tbuf_size=4 sched=credit \
        apic_verbosity=debug lapic nolapic apic=bigsmp dma_bits=30 dma_emergency_pool=4M hap \
        acpi=off acpi_skip_timer_override noapic";
    let (options, warnings) = Options::parse(line);
    for warning in &warnings {
        assert!(matches!(warning, Warning::NoEffect { .. }), "{warning}");
    }
    assert_eq!(options.bad_pages, [0x12345, 0x12346]);
    assert_eq!(options.mem, Some(1 << 30));
    assert_eq!(
        options.dom0_extra,
        "acpi=off acpi_skip_timer_override noapic"
    );
    assert!(options.vga_keep && !options.switch.auto);
    assert!(options.no_real_mode);
    assert_eq!((options.edid, options.edd), (Edid::Force, Edd::SkipMbr));
}

#[test]
fn the_clock_that_the_tsc_is_measured_against() {
    assert_eq!(clean("").clock_source, ClockSource::Best);
    assert_eq!(clean("clocksource=pit").clock_source, ClockSource::Pit);
    assert_eq!(clean("clocksource=acpi").clock_source, ClockSource::PmTimer);
    assert_eq!(clean("clocksource=hpet").clock_source, ClockSource::Hpet);
    let (options, warnings) = Options::parse("clocksource=sundial");
    assert_eq!(options.clock_source, ClockSource::Best);
    assert!(warnings[0].to_string().contains("hpet, acpi, pit or tsc"));
}

#[test]
fn behind_two_dashes_is_dom0s() {
    let options = clean("noreboot -- quiet single");
    assert_eq!(options.dom0_extra, "quiet single");
}

#[test]
fn sedf_is_refused_with_the_choice() {
    let (_, warnings) = Options::parse("sched=sedf");
    assert!(warnings[0].to_string().contains("expected credit"));
}

#[test]
fn debug_exit_has_a_usual_port() {
    assert_eq!(clean("debug-exit").debug_exit, Some(0xf4));
    assert_eq!(clean("debug-exit=0x501").debug_exit, Some(0x501));
}

proptest! {
    #[test]
    fn any_line_is_taken(line in "\\PC{0,200}") {
        let _ = Options::parse(&line);
    }

    #[test]
    fn any_value_is_taken(at in 0..table::TABLE.len(), value in "[-+0-9a-zA-Z:,/x. ]{0,24}") {
        let _ = Options::parse(&format!("{}={value}", table::TABLE[at].0));
    }
}
