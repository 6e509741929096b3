//! Traps on the simulated machine.

mod delivery;
mod frames;
mod hostile;
