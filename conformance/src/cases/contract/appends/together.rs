//! Rule A4: records, lease, due time and closing change in one write.

use world_core::{By, Claim, Due, Lease, Renewed, Tag};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{Handle, POLLS_MAX, asked, claimed, cut, listed, log_is, not_due, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A4] a_creation_is_due_with_its_first_record),
        case!(Contract [A4] an_append_closes_and_rests_at_once),
        case!(Contract [A4] closing_alone_keeps_the_lease),
        case!(Contract [A4] a_rest_takes_effect_with_its_records),
        case!(Contract [A4] tags_change_with_the_append_that_sets_them),
        case!(Contract [A4] a_dropped_creation_is_due_if_it_is_there),
        case!(Contract [A4] a_dropped_signal_wakes_if_it_is_there),
        case!(Contract [A4] a_dropped_end_closes_and_rests_if_it_is_there),
        case!(Contract [A4] a_dropped_rest_gives_back_and_makes_due_or_neither),
    ]
}

fn lease_of(log: &str, number: u8) -> Lease {
    Lease {
        run: id(log),
        ticket: ticket(number),
        attempt: 1,
        until: FAR,
        head: pos(1),
        closed: false,
    }
}

fn a_claim(number: u8, now: u64) -> Claim {
    claim(&["queue"], number, now, now + 100, 64)
}

/// Whether the lease with this ticket is still the current one.
async fn is_held(world: &Handle, log: &str, number: u8) -> Verdict<bool> {
    Ok(matches!(world.renew(&lease_of(log, number), FAR).await?, Renewed::Held { .. }))
}

async fn a_creation_is_due_with_its_first_record(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    put(Rule::A4, &world, &run("due"), &create(Due::Now, 5)).await?;
    put(Rule::A4, &world, &run("waiting"), &create(Due::At(at(50)), 5)).await?;
    put(Rule::A4, &world, &run("parked"), &create(Due::Never, 5)).await?;
    put(Rule::A4, &world, &run("leased"), &create_leased(1, at(50), 5)).await?;
    let lease = claimed(&other, &run("due"), &a_claim(8, 49)).await?;
    ensure!(A4, lease.is_some(), "no claim gets a run that was created as due");
    for name in ["waiting", "parked", "leased"] {
        let lease = not_due(&other, &run(name), &a_claim(9, 49)).await?;
        ensure_eq!(A4, lease, None, "a claim at 49 of a run that was created as {name} until 50");
    }
    ensure!(A4, is_held(&other, "leased", 1).await?, "its creator's lease is not there");
    Ok(())
}

async fn an_append_closes_and_rests_at_once(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, due) in [("parked", Due::Never), ("kept", Due::At(at(500))), ("due", Due::Now)] {
        let log = run(name);
        put(Rule::A4, &world, &log, &create_leased(1, FAR, 1)).await?;
        put(Rule::A4, &world, &log, &append(1, &["end"], 2, close(1, Some(due)))).await?;
        let answer = asked(&other, &log, 1).await?;
        ensure!(
            A4,
            answer == world_core::Appended::NotOpen,
            "a record after the append that closed run {name}: {answer:?}, not NotOpen"
        );
        let is_held = is_held(&other, name, 1).await?;
        ensure!(A4, !is_held, "the append that closed run {name} gave its lease back: it is held");
        if due != Due::Now {
            let early = not_due(&other, &log, &a_claim(2, 499)).await?;
            ensure_eq!(A4, early, None, "a claim at 499 of a closed run that rests until {due:?}");
        }
        if due != Due::Never {
            let lease = claimed(&other, &log, &a_claim(2, 500)).await?;
            let closed = lease.map(|lease| lease.closed);
            ensure_eq!(A4, closed, Some(true), "the claim at 500 of a closed run resting {due:?}");
        }
    }
    Ok(())
}

async fn closing_alone_keeps_the_lease(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::A4, &world, &log, &create_leased(1, at(100), 1)).await?;
    put(Rule::A4, &world, &log, &append(1, &["end"], 2, close(1, None))).await?;
    let early = not_due(&other, &log, &a_claim(2, 99)).await?;
    ensure_eq!(A4, early, None, "a claim at 99, where the run was closed under a lease until 100");
    ensure!(A4, is_held(&other, "run", 1).await?, "closing without a rest has ended the lease");
    let answer = other.append(&log, &append(2, &[], 3, rest(1, Due::Never))).await?;
    ensure_eq!(A4, answer, committed(2), "the owner's rest after it closed the run");
    Ok(())
}

async fn a_rest_takes_effect_with_its_records(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, due) in [("parked", Due::Never), ("waiting", Due::At(at(500))), ("due", Due::Now)] {
        let log = run(name);
        put(Rule::A4, &world, &log, &create_leased(1, FAR, 1)).await?;
        put(Rule::A4, &world, &log, &append(1, &["slept"], 2, rest(1, due))).await?;
        let answer = asked(&other, &log, 1).await?;
        ensure!(
            A4,
            answer == world_core::Appended::Fenced,
            "an append under the ticket that was given back: {answer:?}, not Fenced"
        );
        if due != Due::Now {
            let early = not_due(&other, &log, &a_claim(2, 499)).await?;
            ensure_eq!(A4, early, None, "a claim at 499 of a run that rests: {due:?}");
        }
        if due != Due::Never {
            let lease = claimed(&other, &log, &a_claim(2, 500)).await?;
            let head = lease.map(|lease| lease.head);
            ensure_eq!(A4, head, Some(pos(2)), "the head of the claim of a run resting {due:?}");
        }
    }
    Ok(())
}

async fn tags_change_with_the_append_that_sets_them(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let tag = |number: u8| Tag::from_bytes([number; 16]);
    let mut new = new_run(Due::Now);
    new.tags = vec![tag(1), tag(2)];
    new.lease = Some((ticket(1), FAR));
    let created = append(0, &["created"], 1, By::Creator(new));
    put(Rule::A4, &world, &log, &created).await?;
    let sets = |tags| By::Owner { ticket: ticket(1), close: false, rest: None, tags };
    let steps = [
        (vec!["none"], None, vec![tag(1), tag(2)]),
        (vec!["others"], Some(vec![tag(3), tag(2)]), vec![tag(3), tag(2)]),
        (vec![], Some(vec![tag(4)]), vec![tag(4)]),
        (vec![], Some(Vec::new()), vec![]),
        (vec![], Some((0..16).map(tag).collect()), (0..16).map(tag).collect()),
    ];
    let mut head = 1;
    for (bodies, tags, mut wanted) in steps {
        put(Rule::A4, &world, &log, &append(head, &bodies, 2, sets(tags))).await?;
        head += bodies.len() as u64;
        wanted.sort_unstable();
        let tags_of = |meta: &world_core::RunMeta| {
            let mut tags = meta.tags.clone();
            tags.sort_unstable();
            tags
        };
        let meta = listed(&other, &log, |meta| tags_of(meta) == wanted).await?;
        let seen = meta.as_ref().map(tags_of);
        ensure_eq!(A4, seen, Some(wanted.clone()), "the tags after the append that set them");
    }
    Ok(())
}

async fn a_dropped_creation_is_due_if_it_is_there(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for polls in 0..=POLLS_MAX {
        let log = run(&format!("run {polls}"));
        let created = create(Due::Now, 1);
        let answer = cut(world.append(&log, &created), polls).await;
        subject.injected(1);
        let what = format!("a creation dropped after {polls} polls");
        is_due_if_there(&other, &log, 0, &what).await?;
        let again = other.append(&log, &created).await?;
        ensure_eq!(A4, again, committed(1), "{what} and sent again");
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}

async fn a_dropped_signal_wakes_if_it_is_there(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for polls in 0..=POLLS_MAX {
        let log = run(&format!("run {polls}"));
        put(Rule::A4, &world, &log, &create(Due::Never, 1)).await?;
        let signal = append(1, &["signal"], 2, By::Outsider);
        let answer = cut(world.append(&log, &signal), polls).await;
        subject.injected(1);
        let what = format!("a signal to a parked run, dropped after {polls} polls");
        is_due_if_there(&other, &log, 1, &what).await?;
        let again = other.append(&log, &signal).await?;
        ensure_eq!(A4, again, committed(2), "{what} and sent again");
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}

/// A run is due exactly if there are more records than before. The write may still land: so the
/// log is read before and after the claim.
async fn is_due_if_there(
    world: &Handle,
    log: &world_core::LogId,
    before: usize,
    what: &str,
) -> Verdict {
    let was_there = whole(world, log).await?.records.len() > before;
    let lease = if was_there {
        claimed(world, log, &a_claim(1, 10)).await?
    } else {
        not_due(world, log, &a_claim(1, 10)).await?
    };
    let is_there = whole(world, log).await?.records.len() > before;
    ensure!(A4, !was_there || lease.is_some(), "{what}: its record is there, but no claim gets it");
    ensure!(A4, lease.is_none() || is_there, "{what}: a claim gets it, but no record is there");
    Ok(())
}

async fn a_dropped_end_closes_and_rests_if_it_is_there(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for polls in 0..=POLLS_MAX {
        let name = format!("run {polls}");
        let log = run(&name);
        let created = create_leased(1, FAR, 1);
        put(Rule::A4, &world, &log, &created).await?;
        let end = append(1, &["end"], 2, close(1, Some(Due::Never)));
        let answer = cut(world.append(&log, &end), polls).await;
        subject.injected(1);

        let what = format!("an append that closes and rests, dropped after {polls} polls");
        let was_there = whole(&other, &log).await?.records.len() > 1;
        let is_closed = asked(&other, &log, 1).await? == world_core::Appended::NotOpen;
        let is_held = is_held(&other, &name, 1).await?;
        let is_there = whole(&other, &log).await?.records.len() > 1;
        // If it landed in between, the two say nothing.
        if was_there == is_there {
            let there = if is_there { "is" } else { "is not" };
            let open = if is_closed { "closed" } else { "open" };
            ensure!(A4, is_closed == is_there, "{what}: its record {there} there, the run {open}");
            let lease = if is_held { "is held" } else { "was given back" };
            ensure!(A4, is_held != is_there, "{what}: its record {there} there, the lease {lease}");
        }
        let again = other.append(&log, &end).await?;
        ensure_eq!(A4, again, committed(2), "{what} and sent again");
        let wanted = [created.records, end.records].concat();
        log_is(Rule::A4, &other, &log, &wanted, &what).await?;
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}

async fn a_dropped_rest_gives_back_and_makes_due_or_neither(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for polls in 0..=POLLS_MAX {
        let name = format!("run {polls}");
        let log = run(&name);
        put(Rule::A4, &world, &log, &create_leased(1, FAR, 1)).await?;
        let rests = append(1, &[], 2, rest(1, Due::Now));
        let answer = cut(world.append(&log, &rests), polls).await;
        subject.injected(1);

        let what = format!("a rest dropped after {polls} polls");
        if is_held(&other, &name, 1).await? {
            let again = other.append(&log, &rests).await?;
            let is_fine = again == committed(1) || again == world_core::Appended::Fenced;
            ensure!(A4, is_fine, "{what} and sent again: {again:?}, neither Committed nor Fenced");
        }
        let lease = claimed(&other, &log, &a_claim(2, 10)).await?;
        ensure!(A4, lease.is_some(), "{what}: the lease was given back, but no claim gets the run");
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}
