//! What can go wrong with a call, and which calls it goes wrong with.

use crate::{error::ErrorKind, ids::LogId, layer::Method, record::Append};

use super::Gate;

/// A call, as a plan sees it before it is delivered.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What is called.
    pub method: Method,
    /// Which call this is, from 1.
    pub number: u64,
    /// Which call of this method this is, from 1.
    pub nth: u64,
    /// The log it concerns; a renewal's is the run's. `None` for a claim, a listing and a wait.
    pub log: Option<&'a LogId>,
    /// What is appended.
    pub append: Option<&'a Append>,
}

/// What becomes of a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It is delivered and answered.
    None,
    /// The request is lost: not done, `Unavailable`.
    Lost,
    /// The answer is lost: done, and `Unknown` (`Unavailable` when it changes nothing).
    AnswerLost,
    /// The request is delivered twice, one after the other; the second answer is given.
    Twice,
    /// The client learns nothing, as with [`Fault::AnswerLost`]; the request is done when
    /// [`deliver_kept`](super::FaultLayer::deliver_kept) is called. A read, a listing and a wait
    /// are not done at all.
    Late,
    /// It is delivered and answered, and the same request is delivered once more when
    /// [`deliver_kept`](super::FaultLayer::deliver_kept) is called.
    Again,
    /// It is delivered once the gate opens.
    Held(Gate),
    /// It is delivered at once and answered once the gate opens.
    AnswerHeld(Gate),
    /// It fails with this kind and is not done.
    Error(ErrorKind),
    /// The client crashes before the request leaves: not done.
    CrashBefore,
    /// The client crashes before the answer arrives: done.
    CrashAfter,
    /// The client crashes while the request is on its way, after the call has been polled this
    /// many times: perhaps done, now or later.
    CrashMidway(u32),
}

impl Fault {
    /// A plan that picks each call's fault by the seed and the call's number: the same choice in
    /// every test that makes the same calls. Of each 1000 calls about as many get a fault as
    /// stands beside it, and the rest none.
    ///
    /// ```
    /// # use world_core::{layer::{Fault, FaultLayer}, MemoryWorld};
    /// let plan = Fault::seeded(7, vec![(Fault::Lost, 50), (Fault::AnswerLost, 50)]);
    /// let world = FaultLayer::new(MemoryWorld::new(), plan);
    /// # drop(world);
    /// ```
    pub fn seeded(
        seed: u64,
        per_mille: Vec<(Self, u64)>,
    ) -> impl Fn(&Seen<'_>) -> Self + Send + Sync + 'static {
        move |seen| {
            let mut drawn = mix(seed ^ mix(seen.number)) % 1000;
            for (fault, share) in &per_mille {
                if drawn < *share {
                    return fault.clone();
                }
                drawn -= share;
            }
            Self::None
        }
    }
}

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
const fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
