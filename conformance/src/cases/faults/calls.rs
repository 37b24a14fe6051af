//! Calls that are lost, doubled, late or left without an answer.

use std::{
    ops::Range,
    slice::from_ref,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use world_core::{
    ErrorKind, Residency,
    layer::{Fault, Gate},
};

use crate::{
    case::{Case, case},
    corpus::{Sample, pick, turns},
    failure::Verdict,
    flows::{
        BEGIN, Flow, Look, Plan, Process, Undisturbed, at_once, plan, samples, short_samples,
        survived,
    },
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Faults [] any_one_call_may_be_lost_doubled_late_or_unanswered),
        case!(Faults [] calls_may_go_wrong_at_random_in_every_workflow),
    ]
}

/// What is tried with every fault at every call.
const CORE: &[&str] = &["one_step", "all", "sleeps_and_steps", "undone_by_hand"];

/// The most calls of one process that are tried.
const CALLS_MAX: u64 = 500;

/// How many calls in a row may fail: an engine that fails more often asks the clock to wait.
const IN_A_ROW_MAX: u64 = 4;

type Break = fn() -> Fault;

/// What can become of a call.
const BREAKS: &[(&str, Break)] = &[
    ("is lost", || Fault::Lost),
    ("loses its answer", || Fault::AnswerLost),
    ("is sent twice", || Fault::Twice),
    ("arrives when its sender has given it up", || Fault::Late),
    ("arrives once more later", || Fault::Again),
    ("times out undone", || Fault::Error(ErrorKind::Unknown)),
    ("meets a connection that is reset", || Fault::Error(ErrorKind::Unavailable)),
    ("is slow to arrive", || Fault::Held(opened_soon())),
    ("is slow to be answered", || Fault::AnswerHeld(opened_soon())),
];

/// A gate that opens when other tasks have had their turns.
fn opened_soon() -> Gate {
    let gate = Gate::new();
    let opens = gate.clone();
    tokio::spawn(async move {
        opens.arrived(1).await;
        turns(50).await;
        opens.open();
    });
    gate
}

async fn any_one_call_may_be_lost_doubled_late_or_unanswered(subject: Subject) -> Verdict {
    let core = samples(CORE)?;
    at_once(BREAKS, |(what, fault)| breaks_each(subject.elsewhere(), &core, what, *fault)).await
}

/// Breaks each call of each sample in turn.
async fn breaks_each(
    subject: Verdict<Subject>,
    core: &[Sample],
    what: &str,
    fault: Break,
) -> Verdict {
    let subject = subject?;
    let look = Look::at(&subject).await?;
    for sample in core {
        let wanted = Undisturbed::run(&look, sample, Residency::Resident).await?;
        for call in 1..=wanted.calls.min(CALLS_MAX) {
            let flow = Flow::new(sample, &format!("{}-{call}", sample.name))?;
            let broken =
                plan(
                    move |number, seen| {
                        if number == call && seen.method.changes() { fault() } else { Fault::None }
                    },
                );
            disturbed(&subject, &look, &flow, Residency::Resident, broken, &wanted).await.map_err(
                |failure| failure.while_doing(format!("{}, call {call} {what}", sample.name)),
            )?;
            subject.injected(1);
        }
    }
    Ok(())
}

async fn disturbed(
    subject: &Subject,
    look: &Look,
    flow: &Flow,
    residency: Residency,
    plan: Plan,
    wanted: &Undisturbed,
) -> Verdict {
    let process =
        Process::begin(subject, look, from_ref(&flow.sample), BEGIN, residency, plan).await?;
    let ended = process.drive(flow).await?;
    survived(look, flow, &ended, Some(&wanted.told)).await.map(drop)
}

async fn calls_may_go_wrong_at_random_in_every_workflow(subject: Subject) -> Verdict {
    let (look, seeds) = (Look::at(&subject).await?, subject.seeds(1));
    at_once(&short_samples(), |sample| breaks_at_seeds(&subject, &look, sample, seeds.clone()))
        .await
}

async fn breaks_at_seeds(
    subject: &Subject,
    look: &Look,
    sample: &Sample,
    seeds: Range<u64>,
) -> Verdict {
    let wanted = Undisturbed::run(look, sample, Residency::Resident).await?;
    for seed in seeds {
        let residency = match pick(seed, sample.name, 2) {
            0 => Residency::Resident,
            _ => Residency::Replay,
        };
        let flow = Flow::new(sample, &format!("{}-{seed}", sample.name))?;
        let plan = at_random(pick(seed, sample.name, u64::MAX), subject);
        disturbed(subject, look, &flow, residency, plan, &wanted).await.map_err(|failure| {
            failure.while_doing(format!("{} under faults", sample.name)).at_seed(seed)
        })?;
    }
    Ok(())
}

/// Breaks about every second call.
fn at_random(seed: u64, subject: &Subject) -> Plan {
    let faults = Fault::seeded(
        seed,
        vec![
            (Fault::AnswerLost, 100),
            (Fault::Late, 100),
            (Fault::Twice, 80),
            (Fault::Again, 80),
            (Fault::Lost, 100),
            (Fault::Error(ErrorKind::Unavailable), 40),
        ],
    );
    let (in_a_row, subject) = (AtomicU64::new(0), subject.clone());
    plan(move |_, seen| match faults(seen) {
        Fault::None => {
            in_a_row.store(0, Relaxed);
            Fault::None
        }
        _ if in_a_row.fetch_add(1, Relaxed) >= IN_A_ROW_MAX => {
            in_a_row.store(0, Relaxed);
            Fault::None
        }
        fault => {
            subject.injected(1);
            fault
        }
    })
}
