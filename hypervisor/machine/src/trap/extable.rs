//! Where the hypervisor goes on after a fault that it reckons with.
//!
//! Code that may fault puts a pair into the section `.extable`: the instruction's address and where to resume.

unsafe extern "C" {
    static __extable_start: [u64; 2];
    static __extable_end: [u64; 2];
}

/// Where to resume after a fault at `rip`, if a fault was reckoned with there.
pub(super) fn fixup(rip: u64) -> Option<u64> {
    let start = &raw const __extable_start;
    let end = &raw const __extable_end;
    let count = (end as usize - start as usize) / size_of::<[u64; 2]>();
    // SAFETY: the linker script puts the two symbols around an array of such pairs in read-only memory.
    let table = unsafe { core::slice::from_raw_parts(start, count) };
    table
        .iter()
        .find(|[at, _]| *at == rip)
        .map(|[_, resume]| *resume)
}
