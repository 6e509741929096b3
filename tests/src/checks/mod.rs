//! The checks, by what they are about.

pub mod faults;
pub mod guest;
pub mod hardware;
pub mod isolation;
pub mod leaks;
pub mod lifecycle;
pub mod registers;
pub mod stress;
pub mod vcpus;
pub mod xl;
