//! Workflows on the World under test: what the groups crash, faults, determinism and budget share.
//!
//! A [`Process`] is one client: a new handle, an engine on it and a clock, under faults. It drives
//! a [`Flow`], which is one run of a sample of the corpus, to its end or its own death. What the
//! log then [tells](Told) is compared with what an undisturbed run of it tells.

mod check;
mod counted;
mod look;
mod process;
mod put;
mod survive;
mod told;

use std::{future::Future, time::Duration};

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};

use world_core::{KeyId, Timestamp, VirtualClock, seal::Key};

use crate::{
    corpus::{Sample, corpus},
    failure::{Failure, Verdict},
};

pub(crate) use check::checked;
pub(crate) use counted::{Counted, soon};
pub(crate) use look::{Look, Standing};
pub(crate) use process::{Ended, Flow, Plan, Process, broken_at, plan, unbroken};
pub(crate) use put::put;
pub(crate) use survive::{Lives, Undisturbed, later, survived};
pub(crate) use told::Told;

/// When the first process of a case begins.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_000_000_000_000);

/// Longer than any lease: that of a dead process has run out when the next one begins.
pub(crate) const LATER: Duration = Duration::from_secs(400);

/// The key of every engine here: it keeps no secret, so that golden logs open for everybody.
pub(crate) fn public_test_key() -> Verdict<Key> {
    let id = KeyId::new("conformance-public-test-key")?;
    Ok(Key::from_bytes(id, *b"everybody may know this test key"))
}

/// A clock that begins at a time.
pub(crate) fn clock_at(time: Timestamp) -> VirtualClock {
    let clock = VirtualClock::default();
    clock.set(time);
    clock
}

/// How many are tried at once.
const AT_ONCE: usize = 16;

/// Does this with each, many at once, so that they share the time that the store takes.
pub(crate) async fn at_once<'a, T, F>(all: &'a [T], each: impl Fn(&'a T) -> F) -> Verdict
where
    F: Future<Output = Verdict> + Send + 'a,
{
    let each: Vec<BoxFuture<'a, Verdict>> = all.iter().map(|one| each(one).boxed()).collect();
    stream::iter(each).map(Ok).try_for_each_concurrent(AT_ONCE, |doing| doing).await
}

/// The samples of these names.
pub(crate) fn samples(names: &[&str]) -> Verdict<Vec<Sample>> {
    let mut corpus = corpus();
    let mut named = |name: &&str| {
        let found = corpus.iter().position(|sample| sample.name == *name);
        found
            .map(|at| corpus.swap_remove(at))
            .ok_or_else(|| Failure::failed(format!("the corpus has no {name}")))
    };
    names.iter().map(&mut named).collect()
}

/// The corpus without its longest, most of whose time would be replay.
pub(crate) fn short_samples() -> Vec<Sample> {
    corpus().into_iter().filter(|sample| sample.name != "all_of_2000").collect()
}
