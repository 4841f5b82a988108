//! What every store must do, as rules that any store can run: natively through
//! [`store_conformance!`], composed or remote through [`check_all`] and an adapter.
//!
//! Rules see a store only through its contract. Their rows carry arbitrary bytes as headers:
//! stores know no hashes. Every refusal is checked to have written nothing.
//!
//! ```
//! use secure_log_conformance::{Configs, check_all};
//! use secure_log_sqlite::SqliteSecureLogStore;
//!
//! let stores = || Configs::<SqliteSecureLogStore>::new(":memory:");
//! let broken = check_all(stores, |rule| println!("{rule}"));
//! assert!(broken.is_empty(), "{broken:?}");
//! ```
//!
//! As tests, one for each rule, of a store in files:
//!
//! ```
//! use secure_log_conformance::{Configs, store_conformance};
//! use secure_log_sqlite::SqliteSecureLogStore;
//!
//! store_conformance!(sqlite, || {
//!     let dir = tempfile::tempdir().expect("a temporary directory");
//!     Configs::<SqliteSecureLogStore>::in_directory(dir.path()).keep(dir)
//! });
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "rules panic where they are broken, as tests do"
)]

mod erasure;
mod fixture;
mod heads;
pub mod liar;
mod limits;
mod objects;
mod persistence;
mod queries;
mod rows;
mod stores;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use stores::{AnyStore, Configs, Stores};

/// One thing that a store must do.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What it says.
    pub name: &'static str,
    /// Panics where it is broken. The stores must be fresh.
    pub check: fn(&mut dyn Stores),
}

/// Runs every rule on fresh stores from `make`; the names and reasons of those that are broken.
/// `report` is told each one before it begins.
pub fn check_all<S: Stores>(
    mut make: impl FnMut() -> S,
    mut report: impl FnMut(&'static str),
) -> Vec<(&'static str, String)> {
    let mut broken = Vec::new();
    for rule in RULES {
        report(rule.name);
        let result = catch_unwind(AssertUnwindSafe(|| (rule.check)(&mut make())));
        if let Err(panic) = result {
            let reason = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                .unwrap_or_else(|| "panicked".to_owned());
            broken.push((rule.name, reason));
        }
    }
    broken
}

macro_rules! rules {
    ($d:tt; $($module:ident: $($name:ident),+;)+) => {
        /// Every rule.
        pub const RULES: &[Rule] = &[$($(Rule { name: stringify!($name), check: $module::$name }),+),+];

        /// One `#[test]` for each rule, in a module of this name. The second argument is called
        /// for each and gives fresh [`Stores`].
        #[macro_export]
        macro_rules! store_conformance {
            ($d name:ident, $d make:expr) => {
                mod $d name {
                    #[allow(unused_imports, reason = "the expression may need nothing")]
                    use super::*;
                    $($(
                        #[test]
                        fn $name() {
                            let rule = $crate::RULES.iter().find(|r| r.name == stringify!($name));
                            (rule.expect("a rule of this name").check)(&mut ($d make)());
                        }
                    )+)+
                }
            };
        }
    };
}

rules! { $;
    rows:
        a_new_store_is_empty,
        rows_come_back_as_they_were,
        an_empty_payload_is_not_a_missing_one,
        payloads_are_left_out_when_not_asked_for,
        rows_are_read_from_a_number_on,
        rows_must_be_numbered_without_gaps,
        ids_are_unique_in_a_stream,
        ids_are_unique_in_a_batch,
        ids_are_found,
        a_frozen_stream_takes_no_rows;
    heads:
        a_wrong_prior_head_is_a_conflict,
        a_conflict_says_nothing_of_payloads,
        an_expected_head_must_hold,
        an_expected_absence_must_hold,
        expectations_are_about_the_time_before,
        many_streams_are_one_transaction,
        an_append_of_nothing_checks_what_is_expected,
        heads_are_listed_bytewise,
        heads_are_listed_in_pages;
    objects:
        most_objects_are_created_once,
        state_is_replaced_under_compare_and_set,
        a_refused_object_takes_the_rows_with_it,
        refused_rows_take_the_objects_with_them,
        objects_of_different_kinds_do_not_meet,
        objects_are_listed_bytewise_by_prefix,
        objects_are_listed_in_pages,
        the_last_object_of_a_prefix_is_found;
    limits:
        a_batch_of_ten_thousand_rows_is_taken,
        a_page_has_at_most_a_thousand_rows,
        a_page_has_at_most_four_mebibytes,
        the_largest_row_is_taken,
        numbers_never_wrap,
        odd_names_are_only_names;
    queries:
        rows_are_found_in_the_order_of_storing,
        every_filter_finds_what_it_says,
        times_are_from_inclusive_to_exclusive,
        a_clock_that_steps_back_hides_nothing,
        pages_of_a_query_join_without_seams,
        a_query_goes_on_with_later_rows,
        found_rows_have_no_payload,
        a_bad_cursor_is_invalid;
    erasure:
        erased_payloads_are_gone_and_nothing_else_is,
        an_erasure_can_be_run_again,
        an_erasure_ends_at_the_head,
        a_frozen_stream_can_be_erased,
        entries_follow_an_erasure,
        an_erasure_is_there_after_reopening,
        a_copy_has_no_erased_payloads;
    persistence:
        an_empty_configuration_is_invalid,
        everything_is_there_after_reopening,
        tiles_are_kept_and_replaced,
        a_copy_is_a_store,
        a_copy_goes_its_own_way,
        a_copy_replaces_nothing;
}
