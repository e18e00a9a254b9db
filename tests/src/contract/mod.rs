//! The store's contract, as tests that run on any engine.
//!
//! Every function takes a function that opens an empty store. `contract_suite!` generates a test of each of them for
//! one engine, so that every engine runs the whole contract.

pub mod aggregate;
pub mod append;
pub mod catalog_rows;
pub mod deletion;
pub mod dependencies;
pub mod disk_quota;
pub mod engine;
pub mod extremes;
pub mod grace;
pub mod logs;
pub mod paging;
pub mod pins;
pub mod retention;
pub mod rules;
pub mod scan;
pub mod search;
pub mod tables;

use crate::harness::Harness;

/// Opens an empty store.
pub type Open<'a> = &'a dyn Fn() -> Harness;

/// Generates the tests of one engine, in a module of its name.
#[macro_export]
macro_rules! contract_suite {
    ($engine:ident, $open:expr) => {
        $crate::contract_tests! { $engine, $open,
            append: [
                a_trace_is_found_by_its_id,
                spans_of_one_key_keep_their_order,
                what_was_never_sent_is_not_found,
                nothing_to_store_is_no_error,
                equal_spans_are_shown_once,
                equal_spans_of_a_long_trace_are_shown_once,
                a_span_that_is_written_in_many_ways_is_one,
                spans_that_share_an_id_are_all_kept,
                the_same_span_of_two_resources_is_two_spans,
                tenants_never_see_each_other,
                batches_of_several_tenants_are_stored_together,
                an_unknown_tenant_is_one_without_data,
                a_trace_lies_in_many_windows,
                many_spans_of_one_key_are_told_apart_in_time,
                a_slow_append_hides_no_other,
                a_version_is_another_one_after_every_change_of_its_range,
                a_closed_store_takes_nothing,
            ],
            search: [
                predicates_find_what_they_say,
                arrays_are_found_by_their_elements,
                texts_are_compared_by_number_and_by_part,
                ranges_are_half_open,
                orders_hold_over_all_blocks,
                equal_spans_count_once_in_every_order,
                a_summary_describes_the_whole_trace,
                at_most_twenty_matching_spans_are_listed,
                names_are_those_of_the_spans,
                pages_that_cannot_match_are_passed_over,
                a_page_that_is_full_ends_the_search,
                blocks_without_the_value_are_passed_over,
            ],
            paging: [
                pages_neither_skip_nor_repeat,
                pages_hold_still_while_spans_arrive,
                an_early_span_that_arrives_late_moves_nothing,
                pages_of_several_tenants_neither_skip_nor_repeat,
                a_trace_of_two_tenants_is_one_of_a_page,
                too_many_candidates_are_a_partial_answer,
            ],
            scan: [
                every_matching_trace_is_given_whole_and_once,
                a_trace_across_windows_is_given_once,
                what_arrives_during_a_scan_is_left_out,
                merges_and_retention_take_nothing_from_a_scan,
                tenants_are_scanned_alone,
            ],
            tables: [
                passes_show_what_searches_find,
                columns_have_what_was_sent,
                unusual_bytes_read_the_same,
                duplicates_come_once_in_a_trace,
                a_fold_ends_its_pass,
                a_pass_goes_on_where_an_earlier_one_ended,
                attributes_have_names_and_types,
                skipped_columns_are_empty,
                too_many_traces_are_a_partial_pass,
                deleted_traces_are_in_no_table,
                a_select_has_the_order_of_a_search,
                the_judge_names_the_matching_spans,
                a_judge_ends_the_search,
                a_judge_sees_what_may_be_in_front,
                later_spans_are_not_judged,
                a_signal_ends_every_query,
                companions_leave_out_no_match,
                traces_in_many_blocks_come_once,
            ],
            aggregate: [
                counts_are_those_of_the_spans,
                ranges_and_steps_need_no_alignment,
                the_worst_span_is_shown,
                duplicates_leave_with_the_merge,
                percentiles_are_close,
                clocks_far_ahead_cost_no_more_than_the_limit,
                status_counts,
            ],
            dependencies: [
                a_message_makes_its_edge_however_old_it_is,
                one_old_message_has_many_consumers,
                lookups_of_old_callers_are_bounded,
                an_expired_message_has_no_edge,
                clients_that_handle_messages_are_told_apart,
                edges_are_those_of_the_spans,
                halves_that_arrive_seconds_apart_are_joined,
                a_late_callee_makes_a_virtual_edge_real,
                a_call_from_the_future_waits_for_its_window,
                links_join_across_traces,
                ranges_count_every_minute_that_they_touch,
                a_long_call_finds_its_late_callees,
                duplicates_leave_with_the_merge,
                spans_that_share_an_id_are_caller_and_callee,
                one_id_for_very_many_spans_is_looked_up_in_bounds,
                tenants_have_graphs_of_their_own,
                any_split_gives_the_same_edges,
            ],
            retention: [
                windows_go_by_arrival,
                tenants_have_retentions_of_their_own,
                dropped_windows_give_their_space_back,
                a_clock_that_runs_backwards_opens_no_older_window,
                what_was_dropped_stays_away,
                a_window_goes_while_it_is_read,
            ],
            deletion: [
                whole_traces_are_deleted,
                a_tenant_is_deleted_as_a_whole,
                names_are_deleted_with_their_spans,
                spans_that_arrive_later_stay,
                spans_that_arrive_again_stay,
                what_is_being_deleted_finds_nothing,
                what_is_being_deleted_is_not_counted,
                what_is_being_deleted_is_not_pinned,
                a_deletion_survives_restarts,
                nothing_to_delete_is_no_error,
            ],
            logs: [
                logs_are_found_with_their_trace_and_count_as_nothing,
                logs_live_and_go_with_their_trace,
                logs_of_no_span_live_by_the_default,
                traces_of_logs_alone_are_deleted_with_everything,
                tenants_never_see_logs_of_each_other,
                tables_have_logs_among_the_events,
            ],
            pins: [
                pinned_traces_stay,
            ],
            rules: [
                rules_keep_whole_traces,
                counts_outlive_their_spans,
            ],
            disk_quota: [
                the_oldest_windows_go_first,
                ingest_waits_only_when_nothing_can_go,
            ],
            grace: [
                replaced_blocks_stay_for_their_grace,
                no_grace_outlives_the_process,
                a_reader_outlives_the_grace,
                a_deletion_ends_the_grace,
                a_deletion_waits_for_readers_and_not_for_the_grace,
                what_retention_takes_has_no_grace,
                the_bound_of_the_disk_ends_the_grace,
                a_clock_that_jumps_back_ends_the_grace,
            ],
            engine: [
                a_commit_needs_the_rows_that_it_removes,
                a_failed_commit_leaves_nothing,
                removed_blocks_stay_readable_until_they_are_deleted,
                unknown_blocks_are_named,
                many_traces_are_found_like_one,
            ],
            catalog_rows: [
                a_row_follows_from_its_block,
                a_row_whose_block_is_gone_keeps_the_store_closed,
                a_block_without_a_readable_row_can_be_removed,
                a_newer_row_is_refused,
            ],
            extremes: [
                any_time_is_kept,
                large_values_are_kept,
                merged_blocks_are_cut_and_traces_stay_whole,
                a_trace_of_very_many_spans,
                many_keys_do_not_add_up_in_merges,
                too_many_unsealed_spans_press_back,
                too_much_memory_for_unsealed_spans_presses_back,
            ],
        }
    };
}

/// Used by `contract_suite!`.
#[macro_export]
macro_rules! contract_tests {
    ($engine:ident, $open:expr, $($section:ident: [$($name:ident,)*],)*) => {
        mod $engine {
            use super::*;
            $(mod $section {
                use super::*;
                $(
                    #[test]
                    fn $name() {
                        spandrel_tests::contract::$section::$name(&$open);
                    }
                )*
            })*
        }
    };
}
