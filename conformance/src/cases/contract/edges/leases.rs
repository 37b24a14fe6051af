//! Rules L2 to L4: what blocks no other, tickets byte by byte, renewals that are lost.

use std::collections::BTreeSet;

use world_core::{Appended, By, Claim, Due, Lease, NewRun, Renewed, Ticket};

use crate::{
    case::{Case, case},
    claimer::CLAIMS_MAX,
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{claimed, not_due, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L2] a_run_is_given_out_however_often_its_workers_die),
        case!(Contract [L2] what_is_not_due_blocks_nothing_behind_it),
        case!(Contract [L3] every_byte_of_a_ticket_counts),
        case!(Contract [L3] a_renewal_that_is_lost_moves_no_lease),
        case!(Contract [L4] a_ready_run_stays_due_after_any_number_of_signals),
    ]
}

/// More deaths than any limit on deliveries that a queue is wont to have.
const DEATHS: u64 = 101;

async fn a_run_is_given_out_however_often_its_workers_die(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::L2, &world, &log, &create(Due::Now, 1)).await?;
    for claims in 1..=DEATHS {
        let world = if claims % 2 == 0 { &world } else { &other };
        let claim = claim(&["queue"], 1 + (claims % 100) as u8, claims * 10, claims * 10 + 10, 1);
        let attempt = claimed(world, &log, &claim).await?.map(|lease| u64::from(lease.attempt));
        ensure_eq!(L2, attempt, Some(claims), "the attempt of claim {claims}; all before it died");
    }
    Ok(())
}

async fn what_is_not_due_blocks_nothing_behind_it(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for number in 0..4 {
        let name = |what: &str| run(&format!("{what} {number}"));
        put(Rule::L2, &world, &name("parked"), &create(Due::Never, 1)).await?;
        put(Rule::L2, &world, &name("waiting"), &create(Due::At(at(900)), 1)).await?;
        put(Rule::L2, &world, &name("leased"), &create_leased(1, at(900), 1)).await?;
        put(Rule::L2, &world, &name("closed"), &create_leased(1, at(900), 1)).await?;
        put(Rule::L2, &world, &name("closed"), &append(1, &["end"], 1, close(1, Some(Due::Never))))
            .await?;
    }
    put(Rule::L2, &world, &run("ready"), &create(Due::Now, 2)).await?;
    put(Rule::L2, &world, &run("timed"), &create(Due::At(at(50)), 2)).await?;
    put(Rule::L2, &world, &run("expired"), &create_leased(1, at(50), 2)).await?;
    let mut missing = BTreeSet::from(["ready", "timed", "expired"]);
    for _ in 0..CLAIMS_MAX {
        for lease in other.claim(&claim(&["queue"], 2, 60, 900, 8)).await? {
            missing.remove(lease.run.as_str());
        }
        if missing.is_empty() {
            return Ok(());
        }
    }
    ensure!(
        L2,
        missing.is_empty(),
        "{CLAIMS_MAX} claims never gave {missing:?}, which is due, behind 16 runs that are not"
    );
    Ok(())
}

/// Tickets that a World might take for this one: one byte is another.
fn others(ticket: Ticket) -> impl Iterator<Item = (String, Ticket)> {
    let changed = move |place: usize, change: u8| {
        let mut bytes = *ticket.as_bytes();
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= change;
        }
        (format!("byte {place} changed by {change:#04x}"), Ticket::from_bytes(bytes))
    };
    let places = (0..16).flat_map(move |place| [0x01, 0x20, 0x80].map(|bit| changed(place, bit)));
    places.filter(move |(_, other)| *other != ticket)
}

async fn every_byte_of_a_ticket_counts(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    // Letters, bytes that are no text, and zero bytes.
    for (number, bytes) in [[b'a'; 16], [0xF1; 16], [0; 16]].into_iter().enumerate() {
        let mut bytes = bytes;
        bytes[0] = b'T';
        let (name, own) = (format!("run {number}"), Ticket::from_bytes(bytes));
        let log = run(&name);
        let new = NewRun { lease: Some((own, FAR)), ..new_run(Due::Now) };
        put(Rule::L3, &world, &log, &append(0, &["created"], 1, By::Creator(new))).await?;
        for (what, other) in others(own) {
            let by = By::Owner { ticket: other, close: false, rest: None, tags: None };
            let answer = world.append(&log, &append(1, &["x"], 2, by)).await?;
            ensure_eq!(L3, answer, Appended::Fenced, "an append under the ticket with {what}");
            let lease = lease_of(&name, other);
            let renewed = world.renew(&lease, FAR).await?;
            ensure_eq!(L3, renewed, Renewed::Lost, "a renewal under the ticket with {what}");
        }
        let by = By::Owner { ticket: own, close: false, rest: None, tags: None };
        put(Rule::L3, &world, &log, &append(1, &["work"], 3, by)).await?;
    }
    Ok(())
}

fn lease_of(name: &str, ticket: Ticket) -> Lease {
    Lease { run: id(name), ticket, attempt: 1, until: at(100), head: pos(1), closed: false }
}

async fn a_renewal_that_is_lost_moves_no_lease(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::L3, &world, &log, &create_leased(1, at(100), 1)).await?;
    for (number, until) in [(2, 50), (3, 900), (4, 0), (5, u64::MAX)] {
        let renewed = other.renew(&lease_of("run", ticket(number)), at(until)).await?;
        ensure_eq!(L3, renewed, Renewed::Lost, "a renewal until {until} under another ticket");
        let early = not_due(&world, &log, &a_claim(99)).await?;
        ensure_eq!(L3, early, None, "a claim at 99 of a lease until 100, after a lost renewal");
    }
    let lease = claimed(&world, &log, &a_claim(100)).await?.map(|lease| lease.attempt);
    ensure_eq!(L3, lease, Some(2), "a claim at 100 of a lease until 100, after lost renewals");
    Ok(())
}

fn a_claim(now: u64) -> Claim {
    claim(&["queue"], 9, now, 1_000, 1)
}

async fn a_ready_run_stays_due_after_any_number_of_signals(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (number, due) in [Due::Now, Due::Never, Due::At(at(900))].into_iter().enumerate() {
        for signals in 1..=4 {
            let log = run(&format!("run {number} {signals}"));
            put(Rule::L4, &world, &log, &create(due, 1)).await?;
            for head in 1..=signals {
                let signal = append(head, &["signal"], 1 + head, By::Outsider);
                put(Rule::L4, &other, &log, &signal).await?;
            }
            let lease = claimed(&world, &log, &a_claim(10)).await?.map(|lease| lease.head);
            let what = format!("a claim of a run that was {due:?} and got {signals} signals");
            ensure_eq!(L4, lease, Some(pos(1 + signals)), "{what}");
        }
    }
    Ok(())
}
