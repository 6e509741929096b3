//! Guest pointers: allegations until copied.

use core::marker::PhantomData;

use oxen_abi::errno::Errno;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::machine::Machine;

/// A pointer that a guest handed over: to an array of `T` in the guest's own address space.
/// It says nothing about whether anything is there.
pub struct GuestHandle<T> {
    addr: u64,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for GuestHandle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for GuestHandle<T> {}

impl<T> GuestHandle<T> {
    /// Takes the guest's word for it.
    pub const fn new(addr: u64) -> Self {
        Self {
            addr,
            item: PhantomData,
        }
    }

    /// Whether this is the null handle, which several operations give a meaning to.
    pub const fn is_null(self) -> bool {
        self.addr == 0
    }

    /// The alleged address.
    pub const fn addr(self) -> u64 {
        self.addr
    }

    /// The handle of item `index`; `EFAULT` when that is past the end of the address space.
    pub fn at(self, index: u64) -> Result<Self, Errno> {
        (core::mem::size_of::<T>() as u64)
            .checked_mul(index)
            .and_then(|offset| self.addr.checked_add(offset))
            .map(Self::new)
            .ok_or(Errno::EFAULT)
    }

    /// The same address as a pointer to something else.
    pub const fn cast<U>(self) -> GuestHandle<U> {
        GuestHandle::new(self.addr)
    }
}

impl<T: FromBytes + IntoBytes> GuestHandle<T> {
    /// Copies the item in: one read of each byte.
    #[inline]
    pub fn read<M: Machine>(self, machine: &M) -> Result<T, Errno> {
        let mut item = T::new_zeroed();
        self.read_into(machine, &mut item)?;
        Ok(item)
    }

    /// The same to a place that there is already. After a fault a part of it may be there.
    #[inline]
    pub fn read_into<M: Machine>(self, machine: &M, item: &mut T) -> Result<(), Errno> {
        machine
            .copy_from_guest(self.addr, item.as_mut_bytes())
            .map_err(|_| Errno::EFAULT)
    }

    /// Copies item `index` in.
    pub fn read_at<M: Machine>(self, machine: &M, index: u64) -> Result<T, Errno> {
        self.at(index)?.read(machine)
    }
}

impl<T: IntoBytes + Immutable> GuestHandle<T> {
    /// Copies the item out.
    pub fn write<M: Machine>(self, machine: &M, item: &T) -> Result<(), Errno> {
        machine
            .copy_to_guest(self.addr, item.as_bytes())
            .map_err(|_| Errno::EFAULT)
    }

    /// Copies the item out to place `index`.
    pub fn write_at<M: Machine>(self, machine: &M, index: u64, item: &T) -> Result<(), Errno> {
        self.at(index)?.write(machine, item)
    }
}

/// A zeroed value of an ABI structure.
pub fn zeroed<T: FromZeros>() -> T {
    T::new_zeroed()
}
