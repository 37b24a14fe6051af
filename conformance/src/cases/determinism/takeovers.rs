//! Golden logs that break off anywhere, and are gone on with.

use std::{
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use world_core::{Residency, event::Event, event::Logged};

use crate::{
    case::{Case, case},
    corpus::{Decided, Sample},
    failure::{Failure, Verdict},
    flows::{Flow, Look, Process, Told, at_once, later, put, samples, survived, unbroken},
    golden::{self, Golden},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Determinism [] a_golden_log_that_breaks_off_anywhere_is_finished_and_repeats_nothing),
    ]
}

async fn a_golden_log_that_breaks_off_anywhere_is_finished_and_repeats_nothing(
    subject: Subject,
) -> Verdict {
    let golden = golden::all()?;
    let longest = golden.iter().map(|golden| golden.records.len()).max().unwrap_or_default();
    let heads: Vec<_> = (1..longest).collect();
    at_once(&heads, |head| finished_from(subject.elsewhere(), &golden, *head)).await
}

/// Breaks each of them off at this head, in a place of their own.
async fn finished_from(subject: Verdict<Subject>, golden: &[Golden], head: usize) -> Verdict {
    let subject = subject?;
    let residency = if head.is_multiple_of(2) { Residency::Resident } else { Residency::Replay };
    for golden in golden.iter().filter(|golden| head < golden.records.len()) {
        finished(&subject, golden, head, residency).await.map_err(|failure| {
            failure.while_doing(format!("{}, broken off at {head}", golden.run))
        })?;
    }
    Ok(())
}

async fn finished(
    subject: &Subject,
    golden: &Golden,
    head: usize,
    residency: Residency,
) -> Verdict {
    let look = Look::at(subject).await?;
    let (begun, sample) = counted(golden)?;
    put(&*look.world, golden, head).await?;
    let known = golden.records.get(..head).unwrap_or_default();
    let Some(last) = known.last() else { return Ok(()) };
    let flow = Flow::new(&sample, golden.run.as_str())?;
    let samples = from_ref(&sample);
    let process =
        Process::begin(subject, &look, samples, later(last.at), residency, unbroken()).await?;
    let ended = process.drive(&flow).await?;
    let wanted = Told::of(&golden.open(&golden.records).await?);
    survived(&look, &flow, &ended, Some(&wanted)).await?;
    if look.records(&golden.run).await?.get(..head) != Some(known) {
        return Err(Failure::failed("the records that were there are not there as they were"));
    }
    let log = look.log(&flow).await?;
    let attempts: u64 = log.iter().skip(head).map(attempts).sum();
    let begun = begun.load(SeqCst);
    if sample.decided() != Decided::ByARace && begun > attempts {
        return Err(Failure::failed(format!(
            "{begun} bodies were begun, where {attempts} were left: a step that was in the log \
             ran again"
        )));
    }
    Ok(())
}

/// How many bodies a step that this event ends has had.
fn attempts(logged: &Logged) -> u64 {
    match &logged.event {
        Event::StepCompleted { attempts, .. } | Event::StepFailed { attempts, .. } => {
            u64::from(*attempts)
        }
        _ => 0,
    }
}

/// The sample of a golden log, with a count of the bodies that it begins.
fn counted(golden: &Golden) -> Verdict<(Arc<AtomicU64>, Sample)> {
    let begun = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&begun);
    let sample = samples(&[&golden.sample])?.pop();
    let sample = sample.ok_or_else(|| Failure::failed("a golden log of no sample"))?;
    let sample = sample.paced(Arc::new(move |_, _| {
        counter.fetch_add(1, SeqCst);
        Box::pin(std::future::ready(()))
    }));
    Ok((begun, sample))
}
