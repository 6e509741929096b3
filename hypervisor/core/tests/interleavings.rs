//! The models of what is lock-free, each a test. Nothing without `--cfg loom`.
#![cfg(loom)]

macro_rules! models {
    ($($part:ident: $($name:ident),*;)*) => {$(
        mod $part {
            $(#[test]
            fn $name() {
                oxen_core::models::$part::$name();
            })*
        }
    )*};
}

models! {
    event: no_event_is_lost,
        an_event_finds_a_port_that_is_being_unmasked,
        an_event_finds_a_port_that_the_hypervisor_unmasks,
        both_sides_select,
        a_poller_that_was_woken_otherwise_hears_of_its_next_port;
    fifo: the_next_port_is_linked_or_becomes_the_head,
        a_guest_that_masks_and_consumes_does_not_stop_the_link;
    grant: a_grant_of_version_1_ends_only_unused,
        a_grant_of_version_2_ends_only_unused,
        nobody_writes_what_became_read_only_in_version_1,
        nobody_writes_what_became_read_only_in_version_2;
}
