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
    let found = tries.shorter(intents, found).await;
    // What is left may be there only so that the writer learns; as it was done, it need not.
    let exactly = found.exactly.clone();
    let found = tries.again(&exactly, found).await;
    let found = tries.shorter(&exactly, found).await;
    let on_one_handle: Vec<_> =
        found.exactly.iter().map(|intent| Intent { handle: 0, ..intent.clone() }).collect();
    tries.again(&on_one_handle, found).await
}

struct Tries<'a> {
    subject: &'a Subject,
    left: usize,
    until: Instant,
}

impl Tries<'_> {
    /// Leaves out ever smaller pieces of the intents that have failed so.
    async fn shorter(&mut self, intents: &[Intent], found: Deviation) -> Deviation {
        let mut kept: Vec<Intent> = intents.iter().take(found.intents).cloned().collect();
        let mut best = found;
        let mut piece = kept.len().div_ceil(2);
        while piece > 0 && self.left > 0 {
            let (mut start, mut is_shorter) = (0, false);
            while start < kept.len() {
                let rest = kept.iter().take(start).chain(kept.iter().skip(start + piece));
                let without: Vec<_> = rest.cloned().collect();
                match self.fails(&without).await {
                    Some(deviation) => {
                        kept = without;
                        kept.truncate(deviation.intents);
                        best = deviation;
                        is_shorter = true;
                    }
                    None => start += piece,
                }
            }
            if piece > 1 || !is_shorter {
                piece /= 2;
            }
        }
        best
    }

    /// The failure of these intents; the one before, if they do not fail.
    async fn again(&mut self, intents: &[Intent], found: Deviation) -> Deviation {
        self.fails(intents).await.unwrap_or(found)
    }

    async fn fails(&mut self, intents: &[Intent]) -> Option<Deviation> {
        if self.left == 0 || Instant::now() > self.until {
            self.left = 0;
            return None;
        }
        self.left -= 1;
        deviation(self.subject, intents).await.ok().flatten()
    }
}
