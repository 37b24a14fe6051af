//! The strings that the steps of w4 return.

use std::sync::Arc;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::args::{CaseArgs, TextKind};

/// Text that is the same for every measurement, cut into one piece a step. Each step's piece is
/// its own, so that no two are alike, and taking one is a copy.
#[derive(Debug)]
pub(crate) struct Text {
    all: String,
    bytes: usize,
}

impl Text {
    pub(crate) fn of(case: &CaseArgs) -> Arc<Self> {
        let bytes = usize::try_from(case.bytes).unwrap_or(usize::MAX);
        let length = bytes + usize::try_from(case.n).unwrap_or(usize::MAX);
        let mut random = StdRng::seed_from_u64(4);
        let mut all = String::with_capacity(length + 128);
        while all.len() < length {
            match case.text {
                TextKind::Random => all.push(char::from(random.random_range(b' '..=b'~'))),
                TextKind::Compressible => {
                    let (order, cents) =
                        (random.random_range(0..1_000_000), random.random_range(0..100_000));
                    all.push_str(&format!(
                        "{{\"order\":{order},\"status\":\"paid\",\"currency\":\"EUR\",\"cents\":{cents}}}\n"
                    ));
                }
            }
        }
        Arc::new(Self { all, bytes })
    }

    /// The string that this step returns.
    pub(crate) fn piece(&self, step: u64) -> String {
        let start = usize::try_from(step).unwrap_or(usize::MAX);
        self.all.get(start..start + self.bytes).unwrap_or_default().to_owned()
    }
}
