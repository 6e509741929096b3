//! Names of the hypervisor's functions, which dom0's profilers want (Linux shows them in
//! /proc/xen/xensyms).

use oxen_abi::Errno;
use oxen_abi::platform::SymData;

use super::super::{Outcome, Union, put, take};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;

/// Of a function.
const TEXT: u8 = b'T';

/// `get_symbol`: one of them, and the number of the next. `namelen` becomes the length with the
/// NUL behind the name, of which only what there is room for is copied. Behind the last one the
/// number stays and the name is empty; further on `ERANGE`.
pub(super) fn get<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut data: SymData = take(u);
    let index = usize::try_from(data.symnum).map_err(|_| Errno::ERANGE)?;
    let name = match cx.machine().symbol(index) {
        Some((address, name)) => {
            (data.address, data.type_) = (address, TEXT);
            data.symnum = data.symnum.saturating_add(1);
            name
        }
        None if index == cx.machine().symbol_count() => {
            (data.address, data.type_) = (0, 0);
            ""
        }
        None => return Err(Errno::ERANGE.into()),
    };
    let room = usize::try_from(data.namelen).unwrap_or(usize::MAX);
    let bytes = name.as_bytes();
    let to = GuestHandle::<u8>::new(data.name);
    cx.machine()
        .copy_to_guest(to.addr(), bytes.get(..room).unwrap_or(bytes))
        .map_err(|_| Errno::EFAULT)?;
    if room > bytes.len() {
        to.write_at(cx.machine(), bytes.len() as u64, &0)?;
    }
    data.namelen = u32::try_from(bytes.len() + 1).unwrap_or(u32::MAX);
    put(u, &data)
}
