//! Answers beside an append whose caller dies before it is committed: they are true for ever. A
//! World that answers from what is staged is caught: a refusal too comes after the commit.

use std::future::Future;

use futures::future::BoxFuture;
use world_core::{Append, Appended, By, Claim, Due, Lease, LogId, Position, Record, Renewed};

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict, ensure},
    interleave::beside_one_that_dies,
    kit::*,
    look::{Handle, POLLS_MAX, asked, page, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A1] what_is_committed_beside_a_dropped_append_is_there),
        case!(Contract [A2] a_conflict_with_a_dropped_append_is_true),
        case!(Contract [A5] a_run_is_not_open_beside_a_dropped_end_if_it_is_closed),
        case!(Contract [R2] what_is_read_beside_a_dropped_append_stays),
        case!(Contract [L1] a_lease_given_beside_a_dropped_append_is_current),
        case!(Contract [L3] an_owner_is_fenced_beside_a_dropped_rest_if_it_is_replaced),
        case!(Contract [L3] an_owner_is_fenced_beside_a_dropped_claim_if_it_is_replaced),
    ]
}

/// Two handles, the one whose caller dies first.
struct Two {
    dies: Handle,
    other: Handle,
}

/// Tries one thing at each poll before which a caller can die, until its call is answered first.
/// What is tried gives whether it was.
async fn at_each_poll(
    subject: &Subject,
    mut tried: impl for<'a> FnMut(&'a Two, usize) -> BoxFuture<'a, Verdict<bool>>,
) -> Verdict {
    let two = Two { dies: subject.open().await?, other: subject.open().await? };
    for polls in 0..=POLLS_MAX {
        let has_answered = tried(&two, polls).await.map_err(|failure| {
            failure.while_doing(format!("beside a call dropped after {polls} polls"))
        })?;
        subject.injected(1);
        if has_answered {
            break;
        }
    }
    Ok(())
}

/// Runs a call to its end beside one that dies; whether that one was answered, and the answer.
async fn beside<A, B>(
    polls: usize,
    dies: impl Future<Output = world_core::Result<A>>,
    other: impl Future<Output = world_core::Result<B>>,
) -> Verdict<(bool, B)> {
    let (died, answer) = beside_one_that_dies(polls, dies, other).await;
    Ok((died.transpose()?.is_some(), answer?))
}

const BATCH: [&str; 3] = ["staged", "staged too", "and staged"];

/// A log, what is there before, and a batch behind it whose caller dies.
struct Staged {
    log: LogId,
    before: Vec<Record>,
    batch: Append,
}

/// One of each kind of log, with what must be there before. Names end in `number`.
async fn logs(world: &Handle, number: usize) -> Verdict<Vec<Staged>> {
    let name = |what: &str| format!("{what} {number}");
    let first = append(0, &["first"], 1, By::Outsider);
    let leased = create_leased(1, FAR, 1);
    let created = append(0, &BATCH, 2, By::Creator(new_run(Due::Never)));
    let logs = [
        (run(&name("created")), None, created),
        (run(&name("signalled")), Some(create(Due::Never, 1)), append(1, &BATCH, 2, By::Outsider)),
        (run(&name("driven")), Some(leased), append(1, &BATCH, 2, owner(1))),
        (stream(&name("driven"), "stream"), None, append(0, &BATCH, 2, owner(1))),
        (token(&name("new")), None, append(0, &BATCH, 2, By::Outsider)),
        (token(&name("token")), Some(first), append(1, &BATCH, 2, By::Outsider)),
    ];
    let mut staged = Vec::new();
    for (log, before, batch) in logs {
        if let Some(before) = &before {
            put(Rule::A2, world, &log, before).await?;
        }
        let before = before.map(|append| append.records).unwrap_or_default();
        staged.push(Staged { log, before, batch });
    }
    Ok(staged)
}

/// Who writes to a log of this kind.
fn writer(log: &LogId) -> By {
    match log {
        LogId::Stream(..) => owner(1),
        LogId::Run(_) | LogId::Token(_) => By::Outsider,
    }
}

/// The log begins with these records, and goes on so when more is written.
async fn begins_with(
    rule: Rule,
    world: &Handle,
    log: &LogId,
    wanted: &[Record],
    what: &str,
) -> Verdict {
    for written in ["nothing more", "another record"] {
        let all = whole(world, log).await?.records;
        let there = all.iter().zip(wanted).take_while(|(seen, wanted)| seen == wanted).count();
        if there < wanted.len() {
            let (len, there_are) = (wanted.len(), all.len());
            let what = format!(
                "{what}: of its records 1 to {len} the first {there} are there, of {there_are} in \
                 all, when that caller is gone and {written} was written"
            );
            return Err(Failure::broken(rule, what));
        }
        goes_on(world, log).await?;
    }
    Ok(())
}

/// Writes a record at the head: what was taken back shows at the next commit at the latest.
async fn goes_on(world: &Handle, log: &LogId) -> Verdict {
    let mut head = page(world, log, Position::START, count(1)).await?.head;
    for _ in 0..4 {
        let next = append(head.get(), &["next"], 9, writer(log));
        match world.append(log, &next).await? {
            Appended::Conflict { head: now } => head = now, // the one that was dropped has landed
            Appended::Committed { .. } | Appended::Fenced | Appended::NotOpen => break,
        }
    }
    Ok(())
}

async fn what_is_committed_beside_a_dropped_append_is_there(subject: Subject) -> Verdict {
    at_each_poll(&subject, |two, polls| {
        Box::pin(async move {
            let mut has_answered = true;
            for is_same in [true, false] {
                let number = polls * 2 + usize::from(is_same);
                for Staged { log, before, batch } in logs(&two.dies, number).await? {
                    // The same again, or what stands behind it.
                    let (what, second) = if is_same {
                        ("the same batch", batch.clone())
                    } else {
                        let head = batch.head_after().get();
                        ("a record behind it", append(head, &["behind"], 3, writer(&log)))
                    };
                    let first = two.dies.append(&log, &batch);
                    let (died, answer) =
                        beside(polls, first, two.other.append(&log, &second)).await?;
                    has_answered &= died;
                    let mut wanted = [before, batch.records].concat();
                    if !is_same {
                        wanted.extend(second.records.iter().cloned());
                    }
                    if matches!(answer, Appended::Committed { .. }) {
                        let what = format!("{what}, sent to {log}, was answered {answer:?}");
                        begins_with(Rule::A1, &two.other, &log, &wanted, &what).await?;
                    }
                }
            }
            Ok(has_answered)
        })
    })
    .await
}

async fn a_conflict_with_a_dropped_append_is_true(subject: Subject) -> Verdict {
    at_each_poll(&subject, |two, polls| {
        Box::pin(async move {
            let mut has_answered = true;
            for Staged { log, batch, .. } in logs(&two.dies, polls).await? {
                let stated = batch.expected;
                let by = match &batch.by {
                    By::Creator(_) => batch.by.clone(),
                    By::Outsider | By::Owner { .. } => writer(&log),
                };
                let second = append(stated.get(), &["another"], 3, by);
                let first = two.dies.append(&log, &batch);
                let (died, answer) = beside(polls, first, two.other.append(&log, &second)).await?;
                has_answered &= died;
                let Appended::Conflict { head } = answer else { continue };
                let what = format!("an append to {log} at {stated} conflicts with head {head}");
                ensure!(A2, head != stated, "{what}, the one that it has stated");
                for _ in 0..2 {
                    let now = page(&two.other, &log, Position::START, count(1)).await?.head;
                    ensure!(A2, now >= head, "{what}; that caller is gone, and it is {now}");
                    goes_on(&two.other, &log).await?;
                }
            }
            Ok(has_answered)
        })
    })
    .await
}

async fn a_run_is_not_open_beside_a_dropped_end_if_it_is_closed(subject: Subject) -> Verdict {
    at_each_poll(&subject, |two, polls| {
        Box::pin(async move {
            let mut has_answered = true;
            for (name, is_signal) in [("signalled", true), ("streamed", false)] {
                let name = format!("{name} {polls}");
                let log = run(&name);
                put(Rule::A5, &two.dies, &log, &create_leased(1, FAR, 1)).await?;
                let (to, head) =
                    if is_signal { (log.clone(), 1) } else { (stream(&name, "stream"), 0) };
                let second = append(head, &["late"], 3, writer(&to));
                let end = append(1, &["end"], 2, close(1, None));
                let first = two.dies.append(&log, &end);
                let (died, answer) = beside(polls, first, two.other.append(&to, &second)).await?;
                has_answered &= died;
                if answer == Appended::NotOpen {
                    let now = asked(&two.other, &log, 1).await?;
                    ensure!(
                        A5,
                        now == Appended::NotOpen,
                        "{to} was not open beside the end of its run; that caller is gone, and \
                         the run's owner is answered {now:?}"
                    );
                }
            }
            Ok(has_answered)
        })
    })
    .await
}

async fn what_is_read_beside_a_dropped_append_stays(subject: Subject) -> Verdict {
    at_each_poll(&subject, |two, polls| {
        Box::pin(async move {
            let mut has_answered = true;
            for Staged { log, batch, .. } in logs(&two.dies, polls).await? {
                let first = two.dies.append(&log, &batch);
                let read = two.other.read(&log, Position::START, count(100));
                let (died, seen) = beside(polls, first, read).await?;
                has_answered &= died;
                let what = format!("a page of {log} with head {}", seen.head);
                begins_with(Rule::R2, &two.other, &log, &seen.records, &what).await?;
                let head = page(&two.other, &log, Position::START, count(1)).await?.head;
                ensure!(R2, head >= seen.head, "{what}; that caller is gone, and it is {head}");
            }
            Ok(has_answered)
        })
    })
    .await
}

fn lease_of(log: &str, number: u8, until: world_core::Timestamp) -> Lease {
    Lease { run: id(log), ticket: ticket(number), attempt: 1, until, head: pos(1), closed: false }
}

/// Whether the lease with this ticket is the current one.
async fn is_current(world: &Handle, name: &str, number: u8) -> Verdict<bool> {
    let renewed = world.renew(&lease_of(name, number, FAR), FAR).await?;
    Ok(matches!(renewed, Renewed::Held { .. }))
}

async fn a_lease_given_beside_a_dropped_append_is_current(subject: Subject) -> Verdict {
    at_each_poll(&subject, |two, polls| {
        Box::pin(async move {
            let mut has_answered = true;
            let creation = append(0, &["created"], 2, By::Creator(new_run(Due::Now)));
            let appends = [
                ("created", None, creation),
                ("rested", Some(create_leased(1, FAR, 1)), append(1, &[], 2, rest(1, Due::Now))),
                ("woken", Some(create(Due::Never, 1)), append(1, &["wakes"], 2, By::Outsider)),
            ];
            for (name, before, dropped) in appends {
                let name = format!("{name} {polls}");
                let log = run(&name);
                if let Some(before) = before {
                    put(Rule::L1, &two.dies, &log, &before).await?;
                }
                let claim = a_claim(2, 10);
                let first = two.dies.append(&log, &dropped);
                let (died, leases) = beside(polls, first, two.other.claim(&claim)).await?;
                has_answered &= died;
                if leases.iter().any(|lease| lease.run == id(&name)) {
                    let is_current = is_current(&two.other, &name, 2).await?;
                    ensure!(
                        L1,
                        is_current,
                        "a claim got {log} beside an append; that caller is gone, and the lease \
                         is not there"
                    );
                }
            }
            Ok(has_answered)
        })
    })
    .await
}

fn a_claim(number: u8, now: u64) -> Claim {
    claim(&["queue"], number, now, now + 1_000, 64)
}

async fn an_owner_is_fenced_beside_a_dropped_rest_if_it_is_replaced(subject: Subject) -> Verdict {
    at_each_poll(&subject, |two, polls| {
        Box::pin(async move {
            let mut has_answered = true;
            for (name, bodies) in [("rested", &[][..]), ("slept", &["slept"])] {
                let dropped = append(1, bodies, 2, rest(1, Due::Never));
                let replaces = Replaces::Append(dropped);
                has_answered &= is_fenced_truly(two, polls, name, &replaces).await?;
            }
            Ok(has_answered)
        })
    })
    .await
}

async fn an_owner_is_fenced_beside_a_dropped_claim_if_it_is_replaced(subject: Subject) -> Verdict {
    at_each_poll(&subject, |two, polls| {
        Box::pin(async move {
            let replaces = Replaces::Claim(a_claim(2, 1_000));
            is_fenced_truly(two, polls, "claimed", &replaces).await
        })
    })
    .await
}

/// What ends a lease.
enum Replaces {
    Append(Append),
    Claim(Claim),
}

impl Replaces {
    async fn happens(&self, world: &Handle, log: &LogId) -> world_core::Result<()> {
        match self {
            Self::Append(append) => world.append(log, append).await.map(drop),
            Self::Claim(claim) => world.claim(claim).await.map(drop),
        }
    }
}

/// An owner whose lease has run out asks beside a call that may replace it: if it is told that its
/// ticket is not the current one, that is so.
async fn is_fenced_truly(
    two: &Two,
    polls: usize,
    name: &str,
    replaces: &Replaces,
) -> Verdict<bool> {
    let mut has_answered = true;
    for asks in ["append", "renewal"] {
        let name = format!("{name} {asks} {polls}");
        let log = run(&name);
        put(Rule::L3, &two.dies, &log, &create_leased(1, at(100), 1)).await?;
        let second = async {
            if asks == "append" {
                // It states no true head: it must not take effect itself.
                let append = append(77, &["work"], 3, owner(1));
                return Ok(two.other.append(&log, &append).await? == Appended::Fenced);
            }
            let renewed = two.other.renew(&lease_of(&name, 1, at(100)), at(100)).await?;
            Ok(renewed == Renewed::Lost)
        };
        let (died, is_fenced) = beside(polls, replaces.happens(&two.dies, &log), second).await?;
        has_answered &= died;
        if is_fenced {
            let is_current = is_current(&two.other, &name, 1).await?;
            ensure!(
                L3,
                !is_current,
                "the owner of {log} was told, at its {asks}, that it is replaced; that caller is \
                 gone, and its ticket is the current one"
            );
        }
    }
    Ok(has_answered)
}
