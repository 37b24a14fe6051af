//! How far the log of each workflow follows from its code alone.

use super::Sample;

/// How far a log follows from the workflow's code, whatever the timing and however often a
/// worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decided {
    /// The same decisions in the same order.
    InOrder,
    /// The same decisions; bodies that run at once decide their order.
    InAnyOrder,
    /// Bodies race for what comes next: only what the run may come to is known.
    ByARace,
}

/// Whose bodies run at once, and all of them end.
const IN_ANY_ORDER: &[&str] = &[
    "all",
    "all_of_2000",
    "nested_branches",
    "branches_of_branches",
    "shared_future",
    "held",
    "tokio_join",
    "buffered",
    "buffer_unordered",
    "for_each_concurrent",
    "errors_beside_results",
    "timers_in_branches",
    "retries_in_a_fan",
    "undone_in_branches",
    "orders_at_once",
    "nested_join",
    "nested_join_all",
    "nested_try_join_all",
    "nested_unordered",
    "nested_ordered",
    "nested_buffered",
    "nested_buffer_unordered",
    "nested_for_each",
    "nested_tokio_join",
];

/// Whose bodies race.
const BY_A_RACE: &[&str] = &[
    "all_fails_early",
    "race",
    "race_stress",
    "any",
    "select_all",
    "loop_over_mut",
    "tokio_select",
    "futures_select",
    "futures_unordered",
    "race_then_all",
    "nested_select",
    "nested_select_two",
    "nested_select_all",
    "nested_select_ok",
    "nested_tokio_select",
    "nested_hedge",
];

/// What comes of these tells how often their workers died, or how late they went on.
const COUNT_DEATHS: &[&str] = &["at_most_once", "retried_in_vain", "sleep", "in_time_or_never"];

impl Sample {
    /// How far its log follows from its code.
    #[must_use]
    pub fn decided(&self) -> Decided {
        if BY_A_RACE.contains(&self.name) {
            Decided::ByARace
        } else if IN_ANY_ORDER.contains(&self.name) {
            Decided::InAnyOrder
        } else {
            Decided::InOrder
        }
    }

    /// Whether what it comes to tells how often its workers died or how late they went on, as it
    /// should: with `at_most_once` or a bound on attempts, for instance.
    #[must_use]
    pub fn counts_deaths(&self) -> bool {
        COUNT_DEATHS.contains(&self.name)
    }

    /// Whether its results differ from run to run, as they come from the run's own seed.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.name == "random"
    }
}

#[cfg(test)]
mod tests {
    use crate::corpus::corpus;

    #[test]
    fn every_name_is_one_of_the_corpus() {
        let corpus = corpus();
        for name in super::IN_ANY_ORDER.iter().chain(super::BY_A_RACE).chain(super::COUNT_DEATHS) {
            assert!(corpus.iter().any(|sample| sample.name == *name), "{name}");
        }
    }
}
