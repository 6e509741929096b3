//! Ports that the hypervisor keeps, and those that it shares with dom0.

use core::sync::atomic::Ordering;

use oxen_abi::hypercall::HYPERVISOR_PHYSDEV_OP;
use oxen_abi::physdev::{PHYSDEVOP_SET_IOPL, SetIopl};

use super::{Outcome, Suite, ensure, good, same, skip};
use crate::sys::frame::Frame;
use crate::sys::{cpu, hypercall, probe};

const PCI_ADDRESS: u16 = 0xcf8;
const PCI_DATA: u16 = 0xcfc;
/// The host bridge's identity, enabled.
const HOST_BRIDGE: u32 = 1 << 31;
const RTC_INDEX: u16 = 0x70;
const RTC_DATA: u16 = 0x71;
const TIMER_2: u16 = 0x42;
const TIMER_MODE: u16 = 0x43;
const SPEAKER: u16 = 0x61;
/// Where a write does nothing but take time.
const POST: u16 = 0x80;

fn set_iopl(iopl: u32) -> hypercall::Result {
    let mut arg = SetIopl { iopl };
    hypercall::op(HYPERVISOR_PHYSDEV_OP, PHYSDEVOP_SET_IOPL, &mut arg)
}

/// Runs with the I/O privilege that a kernel has.
fn with_iopl(body: impl FnOnce() -> Outcome) -> Outcome {
    good!(set_iopl(1));
    let outcome = body();
    good!(set_iopl(0));
    outcome
}

fn of_dom0(s: &mut Suite<'_>) {
    s.check("ports/pci_configuration", || {
        with_iopl(|| {
            good!(probe::outl(PCI_ADDRESS, HOST_BRIDGE));
            same!(probe::inl(PCI_ADDRESS), Ok(HOST_BRIDGE));
            let identity = good!(probe::inl(PCI_DATA));
            ensure!(identity & 0xffff != 0xffff, "no host bridge");
            // The same by bytes and words.
            for (byte, port) in identity.to_le_bytes().into_iter().zip(PCI_DATA..) {
                same!(probe::inb(port), Ok(byte));
            }
            same!(u32::from(good!(probe::inw(PCI_DATA + 2))), identity >> 16);
            // What is read-only stays so, and a write to it does no harm.
            good!(probe::outl(PCI_DATA, !identity));
            same!(probe::inl(PCI_DATA), Ok(identity));
            // No device: all ones.
            good!(probe::outl(
                PCI_ADDRESS,
                HOST_BRIDGE | 0xff << 16 | 0x1f << 11
            ));
            same!(probe::inl(PCI_DATA), Ok(u32::MAX));
            good!(probe::outl(PCI_ADDRESS, 0));
            same!(probe::inl(PCI_ADDRESS), Ok(0));
            Ok(())
        })
    });
    s.check("ports/rtc", || {
        with_iopl(|| {
            // Status B says how numbers are, register 7 is the day of the month.
            good!(probe::outb(RTC_INDEX, 0x0b));
            same!(probe::inb(RTC_INDEX).map(|index| index & 0x7f), Ok(0x0b));
            let binary = good!(probe::inb(RTC_DATA)) & 4 != 0;
            good!(probe::outb(RTC_INDEX, 7));
            let day = good!(probe::inb(RTC_DATA));
            let day = if binary {
                day
            } else {
                (day >> 4) * 10 + (day & 15)
            };
            ensure!((1..=31).contains(&day), "day {day}");
            Ok(())
        })
    });
    s.check("ports/timer_2_and_speaker", || {
        with_iopl(|| {
            // Gate on, speaker off; count down from the top in mode 0.
            let before = good!(probe::inb(SPEAKER));
            good!(probe::outb(SPEAKER, before & !2 | 1));
            good!(probe::outb(TIMER_MODE, 0xb0));
            good!(probe::outb(TIMER_2, 0xff));
            good!(probe::outb(TIMER_2, 0xff));
            let count = || {
                good!(probe::outb(TIMER_MODE, 0x80));
                let low = good!(probe::inb(TIMER_2));
                Ok::<_, super::Why>(u16::from_le_bytes([low, good!(probe::inb(TIMER_2))]))
            };
            let first = count()?;
            let mut last = first;
            for _ in 0..10_000_000 {
                last = count()?;
                if last != first {
                    break;
                }
                cpu::pause();
            }
            ensure!(last != first, "timer 2 stands still at {first}");
            good!(probe::outb(SPEAKER, before & 3));
            Ok(())
        })
    });
    s.check("ports/kept_from_dom0", || {
        with_iopl(|| {
            // Interrupt controllers, timer 0, the console's serial line: as if nothing were there.
            for port in [0x20, 0x21, 0xa0, 0xa1, 0x40, 0x3f8, 0x3fd] {
                ensure!(
                    probe::inb(port) == Ok(0xff),
                    "port {port:#x}: {:x?}",
                    probe::inb(port)
                );
                good!(probe::outb(port, 0));
            }
            same!(probe::inw(0x20), Ok(0xffff));
            Ok(())
        })
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("ports/strings", || {
        with_iopl(|| {
            let page = Frame::new();
            same!(probe::rep_outsb(POST, page.address(), 300), Ok(0));
            same!(probe::rep_insb(0x20, page.address() + 8, 11), Ok(0));
            same!(page.words()[0].load(Ordering::SeqCst), 0);
            same!(page.words()[1].load(Ordering::SeqCst), u64::MAX);
            same!(page.words()[2].load(Ordering::SeqCst), 0xff_ffff);
            same!(probe::rep_insb(0x20, page.address(), 0), Ok(0));
            same!(page.words()[0].load(Ordering::SeqCst), 0);
            // Up to the fault, and the fault is where the next byte would be.
            let end = page.address() + 4096;
            let unmapped = Frame::new();
            if unmapped.address() != end {
                skip!("frames are not side by side");
            }
            good!(crate::pagetable::update_va(end, 0));
            let fault = super::faulted(probe::rep_insb(0x20, end - 3, 8), probe::PF);
            good!(crate::pagetable::make_writable(unmapped));
            same!(fault?.address, end);
            same!(page.words()[511].load(Ordering::SeqCst), 0xff_ffff << 40);
            Ok(())
        })
    });
    s.check("ports/not_a_guests", || {
        if privileged {
            skip!("dom0 has ports");
        }
        with_iopl(|| {
            for port in [0x20, 0x60, 0x71, 0x80, 0xcf8, 0xcfc, 0x3f8, 0xffff] {
                ensure!(
                    probe::inb(port) == Ok(0xff),
                    "port {port:#x}: {:x?}",
                    probe::inb(port)
                );
                good!(probe::outb(port, 0));
            }
            same!(probe::inl(PCI_DATA), Ok(u32::MAX));
            Ok(())
        })
    });
    if privileged {
        of_dom0(s);
    }
}
