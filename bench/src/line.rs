//! The line that a measurement prints: the peers' fields, and ours.

use dynamodb_servers::Metered;
use serde::{Deserialize, Serialize};

/// One measurement. Times are medians over the pairs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) peer: String,
    pub(crate) case: String,
    pub(crate) n: u64,
    pub(crate) wall_ms: f64,
    pub(crate) per_step_us: f64,
    pub(crate) peak_rss_mb: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) load1: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runs_per_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) steps_per_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) open_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body_end_ms: Option<f64>,
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<Cost>,
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) beside: Option<Beside>,
}

/// What a store that is paid by the request says that ours has taken, a step.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) requests_per_step: f64,
    pub(crate) write_units_per_step: f64,
    pub(crate) read_units_per_step: f64,
}

impl Cost {
    pub(crate) fn of(all: &Metered, steps: u64) -> Self {
        let a_step = |all: f64| rounded(all / steps as f64, 4);
        Self {
            requests_per_step: a_step(all.all() as f64),
            write_units_per_step: a_step(all.write),
            read_units_per_step: a_step(all.read),
        }
    }
}

/// The same work on the raw store, in the same process run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// The raw store's time for as many writes of the same size, a step.
    pub(crate) limit_us: f64,
    /// Bytes of each of those writes, on average.
    pub(crate) limit_bytes: f64,
    /// The same writes in as few transactions as they fit in; w2 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit_batch_us: Option<f64>,
    /// The median of the pairs' ratios.
    pub(crate) ratio: f64,
    pub(crate) ratio_min: f64,
    pub(crate) ratio_max: f64,
    /// The median of the pairs' differences, a step.
    pub(crate) overhead_us: f64,
    pub(crate) overhead_min_us: f64,
    pub(crate) overhead_max_us: f64,
    pub(crate) pairs: u32,
}

/// A number with so many decimals as are worth reading.
pub(crate) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// Many measurements of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|known| *known < value);
        self.0.insert(at, value);
    }

    /// The middle one, or the mean of the two in the middle; 0 of none.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match (self.0.get(middle), self.0.get(middle.wrapping_sub(1))) {
            (Some(upper), Some(lower)) if self.0.len().is_multiple_of(2) => (upper + lower) / 2.0,
            (Some(upper), _) => *upper,
            (None, _) => 0.0,
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(0.0)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_of_what_was_seen_in_any_order() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), 0.0);
        for (value, median) in [(5.0, 5.0), (1.0, 3.0), (9.0, 5.0), (2.0, 3.5)] {
            samples.push(value);
            assert_eq!(samples.median(), median);
        }
        assert_eq!((samples.least(), samples.most()), (1.0, 9.0));
    }
}
