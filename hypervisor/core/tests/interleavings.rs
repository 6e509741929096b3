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
        both_sides_write_vcpu_info,
        a_poller_that_was_woken_otherwise_hears_of_its_next_port;
    fifo: the_next_port_is_linked_or_becomes_the_head,
        a_guest_that_masks_and_consumes_does_not_stop_the_link;
    grant: a_grant_of_version_1_ends_only_unused,
        a_grant_of_version_2_ends_only_unused,
        nobody_writes_what_became_read_only_in_version_1,
        nobody_writes_what_became_read_only_in_version_2;
    mm: a_page_table_is_never_writable,
        a_page_table_has_no_writers,
        a_page_table_has_one_level,
        one_validates,
        one_takes_over_what_stopped,
        one_takes_over_what_stops_again,
        a_pin_is_taken_off_once,
        a_frame_is_freed_once,
        no_translation_outlives_a_change_of_type,
        what_was_a_table_is_flushed_before_it_is_written,
        a_flush_left_out_was_not_needed,
        a_cpu_that_comes_is_flushed_if_needed,
        a_cpu_that_goes_is_flushed_if_needed,
        a_dying_domain_keeps_no_frame;
    sched: an_event_finds_a_vcpu_that_blocks,
        two_events_find_a_vcpu_that_blocks,
        a_vcpu_runs_on_one_cpu,
        who_has_paused_and_stopped_does_not_run,
        an_event_finds_a_vcpu_that_goes_on;
    growth: what_was_left_is_there,
        the_count_is_never_more,
        one_is_within;
    time: a_guest_reads_one_time,
        a_guest_reads_one_wall_clock;
}
