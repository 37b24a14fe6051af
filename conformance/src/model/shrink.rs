//! Makes a failing history of one writer shorter: intents are left out, and the rest is done
//! again at a new site, as long as it still fails.
//!
//! Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (IEEE Transactions
//! on Software Engineering 28, 2002): ever smaller pieces, until no single one can go.

use std::time::{Duration, Instant};

use crate::subject::Subject;

use super::{
    intent::Intent,
    sequential::{Deviation, deviation},
};

/// Histories that are tried, at most.
const TRIES_MAX: usize = 400;
/// For how long histories are tried.
const LONGEST: Duration = Duration::from_secs(20);

/// The shortest history found that still breaks a rule; it says which, as nothing in it is there
/// without a need.
pub(crate) async fn shortest(subject: &Subject, intents: &[Intent], found: Deviation) -> Deviation {
    let mut tries = Tries { subject, left: TRIES_MAX, until: Instant::now() + LONGEST };
    let mut kept: Vec<Intent> = intents.iter().take(found.intents).cloned().collect();
    let mut best = found;
    let mut piece = kept.len().div_ceil(2);
    while piece > 0 && !kept.is_empty() {
        let mut start = 0;
        let mut went = false;
        while start < kept.len() {
            let without: Vec<_> =
                kept.iter().take(start).chain(kept.iter().skip(start + piece)).cloned().collect();
            match tries.fails(&without).await {
                Some(deviation) => {
                    kept = without;
                    kept.truncate(deviation.intents);
                    best = deviation;
                    went = true;
                }
                None => start += piece,
            }
            if tries.left == 0 {
                return best;
            }
        }
        if piece > 1 || !went {
            piece /= 2;
        }
    }
    let on_one_handle: Vec<_> =
        kept.iter().map(|intent| Intent { handle: 0, ..intent.clone() }).collect();
    tries.fails(&on_one_handle).await.unwrap_or(best)
}

struct Tries<'a> {
    subject: &'a Subject,
    left: usize,
    until: Instant,
}

impl Tries<'_> {
    async fn fails(&mut self, intents: &[Intent]) -> Option<Deviation> {
        if self.left == 0 || Instant::now() > self.until {
            self.left = 0;
            return None;
        }
        self.left -= 1;
        deviation(self.subject, intents).await.ok().flatten()
    }
}
