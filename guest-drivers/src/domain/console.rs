//! dom0's end of a copy's console ring.

use core::sync::atomic::Ordering;

use oxen_abi::event_channel as abi;
use oxen_abi::hypercall::HYPERVISOR_EVENT_CHANNEL_OP;

use crate::println;
use crate::sys::hypercall::{self, Result};
use crate::sys::shared::{self, ConsoleRing};

/// Reads lines from a ring.
pub(super) struct Reader {
    domain: u16,
    ring: &'static ConsoleRing,
    port: u32,
    line: [u8; 240],
    used: usize,
}

impl Reader {
    /// Binds the console's port of the domain; the ring is mapped at `address`.
    pub(super) fn new(domain: u16, address: u64, remote_port: u32) -> Result<Self> {
        let mut bind = abi::BindInterdomain {
            remote_dom: domain,
            remote_port,
            ..abi::BindInterdomain::default()
        };
        hypercall::op(
            HYPERVISOR_EVENT_CHANNEL_OP,
            abi::EVTCHNOP_BIND_INTERDOMAIN,
            &mut bind,
        )?;
        Ok(Reader {
            domain,
            ring: shared::console_at(address),
            port: bind.local_port,
            line: [0; 240],
            used: 0,
        })
    }

    /// Prints the lines that came, each marked with the domain's number.
    pub(super) fn drain(&mut self, mut seen: impl FnMut(&str)) {
        let mut consumed = self.ring.out_cons.load(Ordering::Relaxed);
        let produced = self.ring.out_prod.load(Ordering::Acquire);
        // A producer that lies is read once round at most.
        let count = produced.wrapping_sub(consumed).min(2048);
        for _ in 0..count {
            let slot = self.ring.out.get(consumed as usize % 2048);
            let byte = slot.map_or(b'?', |slot| slot.load(Ordering::Relaxed));
            consumed = consumed.wrapping_add(1);
            if byte == b'\n' {
                self.end_line(&mut seen);
            } else if let Some(slot) = self.line.get_mut(self.used) {
                *slot = byte;
                self.used += 1;
            }
        }
        self.ring.out_cons.store(consumed, Ordering::Release);
        if count > 0 {
            let mut send = abi::Send { port: self.port };
            let _ = hypercall::op(HYPERVISOR_EVENT_CHANNEL_OP, abi::EVTCHNOP_SEND, &mut send);
        }
    }

    fn end_line(&mut self, seen: &mut impl FnMut(&str)) {
        let used = core::mem::take(&mut self.used);
        let text = self
            .line
            .get(..used)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("(not UTF-8)");
        println!("[{}] {text}", self.domain);
        seen(text);
    }

    /// Gives the port up.
    pub(super) fn close(&self) {
        let mut close = abi::Close { port: self.port };
        let _ = hypercall::op(HYPERVISOR_EVENT_CHANNEL_OP, abi::EVTCHNOP_CLOSE, &mut close);
    }
}
