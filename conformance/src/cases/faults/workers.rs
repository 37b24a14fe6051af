//! Two workers with the same runs.

use world_core::{
    Residency,
    layer::{Fault, Gate},
};

use crate::{
    case::{Case, case},
    corpus::Sample,
    failure::{Failure, Verdict},
    flows::{
        BEGIN, Ended, Flow, LATER, Look, Process, Undisturbed, at_once, broken_at, clock_at,
        samples, survived, unbroken,
    },
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Faults [] two_workers_at_once_end_every_run_once),
        case!(Faults [] a_worker_that_sleeps_past_its_lease_changes_nothing_when_it_wakes),
    ]
}

const CORE: &[&str] =
    &["same_name", "all", "nested_branches", "sleeps_and_steps", "orders_at_once", "retried"];

/// How many runs of each there are at once.
const RUNS: u64 = 3;

/// The most calls of one process that are tried.
const CALLS_MAX: u64 = 500;

async fn two_workers_at_once_end_every_run_once(subject: Subject) -> Verdict {
    let (look, core) = (Look::at(&subject).await?, samples(CORE)?);
    let (mut flows, mut wanted) = (Vec::new(), Vec::new());
    for sample in &core {
        wanted.push(Undisturbed::run(&look, sample, Residency::Resident).await?);
        for number in 0..RUNS {
            let id = format!("{}-{number}", sample.name);
            flows.push((Flow::new(sample, &id)?, wanted.len() - 1));
        }
    }
    let clock = clock_at(BEGIN);
    let process = |residency| {
        Process::with_clock(&subject, &look, &core, clock.clone(), residency, unbroken())
    };
    let (one, other) = (process(Residency::Resident).await?, process(Residency::Replay).await?);
    for (flow, _) in &flows {
        one.start(flow).await?;
    }
    // Each drives whatever is due, and asks for every run's end, the other from the last on.
    let drive = async |worker: &Process, flows: Vec<&Flow>| {
        for flow in flows {
            worker.drive(flow).await?;
        }
        Verdict::Ok(())
    };
    let forth = flows.iter().map(|(flow, _)| flow).collect();
    let back = flows.iter().rev().map(|(flow, _)| flow).collect();
    let (one, other) = futures::join!(drive(&one, forth), drive(&other, back));
    one.and(other)?;
    for (flow, sample) in &flows {
        let ended = Ended::Run(look.outcome(flow).await);
        let wanted = wanted.get(*sample).map(|wanted| &wanted.told);
        survived(&look, flow, &ended, wanted).await?;
    }
    Ok(())
}

async fn a_worker_that_sleeps_past_its_lease_changes_nothing_when_it_wakes(
    subject: Subject,
) -> Verdict {
    let look = Look::at(&subject).await?;
    let sleepy = samples(&["one_step", "all", "sleeps_and_steps", "orders_at_once"])?;
    at_once(&sleepy, |sample| sleeps_at_each(&subject, &look, sample)).await
}

async fn sleeps_at_each(subject: &Subject, look: &Look, sample: &Sample) -> Verdict {
    let holds = [("before", Fault::Held as fn(Gate) -> Fault), ("after", Fault::AnswerHeld)];
    let wanted = Undisturbed::run(look, sample, Residency::Resident).await?;
    for call in 1..=wanted.calls.min(CALLS_MAX) {
        for (what, hold) in holds {
            let flow = Flow::new(sample, &format!("{}-{call}-{what}", sample.name))?;
            sleeps_at(subject, look, &flow, call, hold, &wanted).await.map_err(|failure| {
                let name = sample.name;
                failure.while_doing(format!(
                    "{name}, whose worker slept past its lease {what} call {call}"
                ))
            })?;
            subject.injected(1);
        }
    }
    Ok(())
}

async fn sleeps_at(
    subject: &Subject,
    look: &Look,
    flow: &Flow,
    call: u64,
    hold: fn(Gate) -> Fault,
    wanted: &Undisturbed,
) -> Verdict {
    let samples = std::slice::from_ref(&flow.sample);
    let begin = |at, plan| Process::begin(subject, look, samples, at, Residency::Resident, plan);
    let gate = Gate::new();
    let sleeper = begin(BEGIN, broken_at(call, hold(gate.clone()))).await?;
    let mut asleep = std::pin::pin!(sleeper.drive(flow));
    tokio::select! {
        ended = &mut asleep => {
            return survived(look, flow, &ended?, Some(&wanted.told)).await.map(drop);
        }
        () = gate.arrived(1) => {}
    }
    let other = begin(sleeper.now().plus(LATER), unbroken()).await?;
    let ended = other.drive(flow).await?;
    survived(look, flow, &ended, Some(&wanted.told)).await?;
    let before = look.records(&flow.run).await?;
    gate.open();
    asleep.await?;
    let after = look.records(&flow.run).await?;
    if before != after {
        let (before, after) = (before.len(), after.len());
        return Err(Failure::failed(format!(
            "{}: the worker that woke changed its log, which had ended: {before} records then, \
             {after} now",
            flow.run
        )));
    }
    Ok(())
}
