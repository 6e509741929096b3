//! Updates of the processors' microcode.

use oxen_abi::platform::MicrocodeUpdate;

use super::super::{Union, take};
use crate::error::Stop;
use crate::machine::Machine;
use crate::percpu::Cx;

/// `microcode_update`; `arg` is that of the whole call.
pub(super) fn update<M: Machine>(cx: &Cx<'_, M>, arg: u64, u: &Union) -> Result<(), Stop> {
    let MicrocodeUpdate { data, length, .. } = take(u);
    crate::microcode::update(cx, arg, data, length)
}
