//! Two appends.

use world_core::{Append, Appended, By, Due, List, LogId, NewRun, Record, World, WorldExt};

use super::rounds;
use crate::{
    case::{Case, case},
    claimer::commits,
    failure::{Verdict, ensure, ensure_eq},
    interleave::interleaved,
    kit::*,
    listing::metas,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contention [A2] of_two_outsiders_at_one_head_one_commits),
        case!(Contention [A2] of_two_creators_one_makes_the_run),
        case!(Contention [A2] of_an_owner_and_an_outsider_one_commits),
        case!(Contention [A2] of_a_rest_and_a_signal_one_commits),
        case!(Contention [A2] of_a_closing_and_a_signal_one_commits),
        case!(Contention [A6] the_same_bytes_twice_at_once_are_one_append),
        case!(Contention [A5] no_chunk_comes_after_the_end_was_seen),
    ]
}

/// That one of two appends committed, the other was told, and the log has just the one.
async fn one_commits(
    world: &dyn World,
    log: &LogId,
    (first, second): (&Append, &Append),
    answers: (Appended, Appended),
    what: &str,
) -> Verdict {
    let is_committed = |answer| matches!(answer, Appended::Committed { .. });
    let winner = match (is_committed(answers.0), is_committed(answers.1)) {
        (true, false) => first,
        (false, true) => second,
        _ => {
            return Err(crate::Failure::broken(
                crate::Rule::A2,
                format!("two appends at one head were answered {answers:?}; {what}"),
            ));
        }
    };
    let loser = if is_committed(answers.0) { answers.1 } else { answers.0 };
    let head = winner.head_after();
    let is_told = loser == Appended::Conflict { head } || loser == Appended::NotOpen;
    ensure!(A2, is_told, "the append that lost was answered {loser:?}, head {head}; {what}");
    let page = world.read_all(log).await?;
    ensure_eq!(A2, page.head, head, "the head after two appends; {what}");
    let tail: Vec<Record> =
        page.records.into_iter().filter(|r| r.position > winner.expected).collect();
    ensure!(A2, tail == winner.records, "the log has not what was committed alone; {what}");
    Ok(())
}

async fn of_two_outsiders_at_one_head_one_commits(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        commits(&world, &run(&name), &create(Due::Never, 1)).await?;
        commits(&world, &token(&name), &append(0, &["claimed"], 1, By::Outsider)).await?;
        for (log, mine) in [
            (run(&name), &["mine"][..]),
            (token(&name), &["mine"]),
            (token(&format!("new {name}")), &["one", "two", "three"]),
        ] {
            let head = world.read_all(&log).await?.head.get();
            let mine = append(head, mine, 2, By::Outsider);
            let theirs = append(head, &["theirs", "and more"], 3, By::Outsider);
            let calls = (world.append(&log, &mine), other.append(&log, &theirs));
            let (one, two) = interleaved(order, calls.0, calls.1).await;
            let what = format!("two outsiders on {log}: {order}");
            one_commits(&world, &log, (&mine, &theirs), (one?, two?), &what).await?;
        }
    }
    Ok(())
}

async fn of_two_creators_one_makes_the_run(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        let creates = ["left", "right"].map(|side| {
            let new = NewRun { queue: queue(side), ..new_run(Due::Never) };
            append(0, &[side], 1, By::Creator(new))
        });
        let [left, right] = &creates;
        let calls = (world.append(&log, left), other.append(&log, right));
        let (one, two) = interleaved(order, calls.0, calls.1).await;
        let (one, two) = (one?, two?);
        let what = format!("two creators of {log}: {order}");
        one_commits(&world, &log, (left, right), (one, two), &what).await?;
        let winner = if one == committed(1) { "left" } else { "right" };
        let listed = metas(&*world, &List::all(count(64))).await?;
        let queues: Vec<_> = listed
            .iter()
            .filter(|meta| meta.run == id(&name))
            .map(|meta| meta.queue.as_str())
            .collect();
        ensure_eq!(A2, queues, [winner], "the queue of the run as it is listed; {what}");
    }
    Ok(())
}

async fn of_an_owner_and_an_outsider_one_commits(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        commits(&world, &log, &create_leased(1, FAR, 1)).await?;
        let (step, signal) =
            (append(1, &["step"], 2, owner(1)), append(1, &["signal"], 2, By::Outsider));
        let calls = (world.append(&log, &step), other.append(&log, &signal));
        let (one, two) = interleaved(order, calls.0, calls.1).await;
        let what = format!("an owner and an outsider: {order}");
        one_commits(&world, &log, (&step, &signal), (one?, two?), &what).await?;
        let answer = world.append(&log, &append(2, &["next"], 3, owner(1))).await?;
        ensure_eq!(A2, answer, committed(3), "the owner's next append; {what}");
    }
    Ok(())
}

async fn of_a_rest_and_a_signal_one_commits(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        // A rest without records leaves the head as it is, and has to conflict all the same.
        for (timer, kind) in [(&["timer"][..], "with a record"), (&[], "without")] {
            let log = run(&format!("{name} {kind}"));
            commits(&world, &log, &create_leased(1, FAR, 1)).await?;
            let (rests, signal) =
                (append(1, timer, 2, rest(1, Due::Never)), append(1, &["signal"], 2, By::Outsider));
            let calls = (world.append(&log, &rests), other.append(&log, &signal));
            let (one, two) = interleaved(order, calls.0, calls.1).await;
            let (one, two) = (one?, two?);
            let what = format!("a rest {kind} and a signal: {order}");
            if !timer.is_empty() {
                one_commits(&world, &log, (&rests, &signal), (one, two), &what).await?;
            }
            // Seen or not, the signal wakes the run or fences nobody: the owner has it still.
            let answer = world.append(&log, &append(2, &[], 3, rest(1, Due::Never))).await?;
            let wanted = if one == conflict(2) { committed(2) } else { Appended::Fenced };
            let after = format!("a rest at head 2 after {one:?} and {two:?}; {what}");
            if wanted == Appended::Fenced {
                ensure_eq!(L3, answer, wanted, "{after}");
            } else {
                ensure_eq!(A2, answer, wanted, "{after}");
            }
        }
    }
    Ok(())
}

async fn of_a_closing_and_a_signal_one_commits(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        commits(&world, &log, &create_leased(1, FAR, 1)).await?;
        let (end, signal) =
            (append(1, &["end"], 2, close(1, None)), append(1, &["signal"], 2, By::Outsider));
        let calls = (world.append(&log, &end), other.append(&log, &signal));
        let (one, two) = interleaved(order, calls.0, calls.1).await;
        let (one, two) = (one?, two?);
        let what = format!("a closing and a signal: {order}");
        one_commits(&world, &log, (&end, &signal), (one, two), &what).await?;
        let answer = world.append(&log, &append(2, &["late"], 3, By::Outsider)).await?;
        let wanted = if one == committed(2) { Appended::NotOpen } else { committed(3) };
        ensure_eq!(A2, answer, wanted, "a signal afterwards; {what}");
    }
    Ok(())
}

async fn the_same_bytes_twice_at_once_are_one_append(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        commits(&world, &run(&name), &create_leased(1, FAR, 1)).await?;
        for (log, append) in [
            (token(&name), append(0, &["one", "two"], 1, By::Outsider)),
            (run(&name), append(1, &["step", "more"], 1, owner(1))),
            (run(&format!("new {name}")), create_leased(2, FAR, 1)),
            (stream(&name, "stream"), append(0, &["chunk"], 1, owner(1))),
        ] {
            let calls = (world.append(&log, &append), other.append(&log, &append));
            let (one, two) = interleaved(order, calls.0, calls.1).await;
            let wanted = Appended::Committed { head: append.head_after() };
            ensure_eq!(A6, (one?, two?), (wanted, wanted), "one append to {log}, twice: {order}");
            let page = world.read_all(&log).await?;
            let seen = (page.head, page.records.len() as u64);
            let head = append.head_after();
            ensure_eq!(A6, seen, (head, head.get()), "the head and records of {log}: {order}");
        }
    }
    Ok(())
}

/// A reader that has seen the end of a run reads its streams once more, and then stops.
async fn no_chunk_comes_after_the_end_was_seen(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let (log, stream) = (run(&name), stream(&name, "stream"));
        commits(&world, &log, &create_leased(1, FAR, 1)).await?;
        let (chunk, end) =
            (append(0, &["chunk"], 2, owner(1)), append(1, &["end"], 2, close(1, None)));
        let ends = async {
            commits(&other, &log, &end).await?;
            Ok::<_, crate::Failure>(other.read_all(&stream).await?.head)
        };
        let (chunk, seen) = interleaved(order, world.append(&stream, &chunk), ends).await;
        let (chunk, seen) = (chunk?, seen?);
        let wanted = if seen == pos(1) { committed(1) } else { Appended::NotOpen };
        ensure_eq!(
            A5,
            chunk,
            wanted,
            "a chunk beside the closing of its run, after which the stream's head was {seen}: \
             {order}"
        );
        let head = world.read_all(&stream).await?.head;
        ensure_eq!(A5, head, seen, "the stream's head once both had ended: {order}");
    }
    Ok(())
}
