//! A serial line: a 16550 with its queue of output.

use oxen_core::options::{Parity, Serial, Share};
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{self as registers, IER, WordLength};
use uart_16550::{BaudRate, Config, Uart16550};

use super::queue::Queue;

/// Polls for room in the transmitter before the byte is given up: about 100 ms on silicon, where each takes 1 us.
/// A line that takes nothing must not hang the hypervisor.
const SEND_POLLS: u32 = 100_000;
const TOP_BIT: u8 = 0x80;

/// A serial line; its queue is beside it, for it is large. Shared ones have the console's bytes marked by their top bit.
#[derive(Debug)]
pub(super) struct Line {
    uart: Uart16550<PioBackend>,
    share: Share,
    /// It interrupts, so that output may wait.
    interrupts: bool,
    /// It is asked to interrupt when there is room for output.
    asked: bool,
}

impl Line {
    /// The UART that `serial` describes, ready to send; `None` if there is none.
    pub(super) fn open(serial: &Serial, share: Share) -> Option<Self> {
        // SAFETY: dom0 is never given the console's ports, so this driver is the only one that touches them.
        let mut uart = unsafe { Uart16550::new_port(serial.io_base) }.ok()?;
        if !uart.check_present() {
            return None;
        }
        let divisor = match serial.divisor() {
            Some(divisor) => divisor,
            // As the boot loader left it.
            None => {
                let (low, high) = uart.dll_dlm();
                (u16::from(high) << 8 | u16::from(low)).max(1)
            }
        };
        // The driver takes a clock and a rate that divide evenly; only the divisor counts.
        const RATE: u32 = 50;
        let config = Config {
            frequency: 16 * RATE * u32::from(divisor),
            baud_rate: BaudRate::from_integer(RATE),
            data_bits: match serial.data_bits {
                5 => WordLength::FiveBits,
                6 => WordLength::SixBits,
                7 => WordLength::SevenBits,
                _ => WordLength::EightBits,
            },
            parity: match serial.parity {
                Parity::None => registers::Parity::Disabled,
                Parity::Odd => registers::Parity::Odd,
                Parity::Even => registers::Parity::Even,
                Parity::Mark => registers::Parity::Forced1,
                Parity::Space => registers::Parity::Forced0,
            },
            extra_stop_bits: serial.stop_bits == 2,
            ..Config::DEFAULT
        };
        uart.init(config).ok()?;
        Some(Self {
            uart,
            share,
            interrupts: false,
            asked: false,
        })
    }

    /// From here on the line interrupts when it has received something, and output may wait for it.
    pub(super) fn enable_interrupts(&mut self) {
        self.interrupts = true;
        self.uart.enable_interrupts(IER::DATA_READY);
    }

    /// Sends `bytes`, with a carriage return before each line feed. Unless `now` is set or the line does not interrupt,
    /// what the transmitter has no room for waits. Bytes that the line does not take in time are dropped.
    pub(super) fn write(&mut self, queue: &mut Queue, bytes: &[u8], now: bool) {
        for byte in bytes {
            if *byte == b'\n' {
                self.put(queue, b'\r');
            }
            self.put(queue, *byte);
        }
        if now || !self.interrupts {
            self.drain(queue, 0);
        }
        self.pump(queue);
    }

    fn put(&mut self, queue: &mut Queue, byte: u8) {
        let byte = match self.share {
            Share::No => byte,
            Share::High => byte | TOP_BIT,
            Share::Low => byte & !TOP_BIT,
        };
        if !queue.push(byte) {
            // A moment's wait for some room. What was queued is lost if the line is dead.
            self.drain(queue, 64);
            queue.push(byte);
        }
    }

    /// Gives the transmitter what it has room for, and asks for an interrupt if something is left.
    pub(super) fn pump(&mut self, queue: &mut Queue) {
        loop {
            let sent = self.uart.send_bytes(queue.front());
            queue.consume(sent);
            if sent == 0 {
                break;
            }
        }
        let ask = self.interrupts && !queue.is_empty();
        if ask != self.asked {
            self.asked = ask;
            if ask {
                self.uart.enable_interrupts(IER::THR_EMPTY);
            } else {
                self.uart.disable_interrupts(IER::THR_EMPTY);
            }
        }
    }

    /// Sends by polling, at least `least` bytes, all of them if that is 0. A line that does not move loses what waits.
    pub(super) fn drain(&mut self, queue: &mut Queue, least: usize) {
        let (mut polls, mut done) = (0, 0);
        while !queue.is_empty() && (least == 0 || done < least) {
            let sent = self.uart.send_bytes(queue.front());
            queue.consume(sent);
            done += sent;
            polls = if sent == 0 { polls + 1 } else { 0 };
            if polls > SEND_POLLS {
                queue.clear();
                return;
            }
            core::hint::spin_loop();
        }
    }

    /// Takes received bytes that are for the console; returns how many were put into `bytes`.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> usize {
        let mut kept = 0;
        while kept < bytes.len() {
            let mut byte = [0];
            if self.uart.receive_bytes(&mut byte) == 0 {
                break;
            }
            let ours = match self.share {
                Share::No => true,
                Share::High => byte[0] & TOP_BIT != 0,
                Share::Low => byte[0] & TOP_BIT == 0,
            };
            let plain = match self.share {
                Share::No => byte[0],
                Share::High | Share::Low => byte[0] & !TOP_BIT,
            };
            if let (true, Some(place)) = (ours, bytes.get_mut(kept)) {
                *place = plain;
                kept += 1;
            }
        }
        kept
    }
}
