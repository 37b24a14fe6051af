//! Tickets that pass though they are not current, and current ones that do not: rule L3.

use world_core::{
    Appended, By, LogId, Position, Renewed, Ticket, Timestamp,
    head::{self, Turn},
};

use crate::{
    flaw::{Flaw, flaw, run_of},
    logs::Logs,
};

/// Whether the writer's ticket passes for the current one, as `looks` says.
fn passes(
    logs: &mut Logs,
    log: &LogId,
    append: &world_core::Append,
    looks: fn(&[u8; 16], &[u8; 16]) -> bool,
) -> Option<world_core::Append> {
    let By::Owner { ticket, .. } = &append.by else { return None };
    let current = logs.run_mut(&run_of(log))?.ticket()?;
    if !looks(current.as_bytes(), ticket.as_bytes()) {
        return None;
    }
    let mut changed = append.clone();
    if let By::Owner { ticket, .. } = &mut changed.by {
        *ticket = current;
    }
    Some(changed)
}

/// A flaw by which tickets that differ look the same.
macro_rules! looks_the_same {
    ($name:literal, $what:literal, $looks:expr) => {
        flaw!(
            L3,
            $name,
            $what,
            append = |logs, log, append| {
                let changed = passes(logs, log, append, $looks);
                logs.append(log, changed.as_ref().unwrap_or(append))
            }
        )
    };
}

pub(crate) fn flaws() -> Vec<Flaw> {
    vec![
        looks_the_same!("any_ticket", "an owner's ticket is not looked at", |_, _| true),
        looks_the_same!(
            "tickets_of_8_bytes",
            "tickets are compared by their first 8 bytes",
            |a, b| { a[..8] == b[..8] }
        ),
        looks_the_same!(
            "tickets_of_15_bytes",
            "tickets are compared by their first 15 bytes",
            |a, b| { a[..15] == b[..15] }
        ),
        looks_the_same!(
            "tickets_end_at_nul",
            "tickets are compared up to the first zero byte",
            |a, b| { a.split(|byte| *byte == 0).next() == b.split(|byte| *byte == 0).next() }
        ),
        looks_the_same!(
            "tickets_of_seven_bits",
            "the highest bit of each byte of a ticket is lost",
            |a, b| a.map(|byte| byte & 0x7F) == b.map(|byte| byte & 0x7F)
        ),
        looks_the_same!(
            "tickets_without_case",
            "tickets are compared as text without case",
            |a, b| { a.eq_ignore_ascii_case(b) }
        ),
        looks_the_same!(
            "later_tickets_win",
            "a ticket is a counter: a larger one is newer, and passes",
            |a, b| b >= a
        ),
        flaw!(
            L3,
            "stream_takes_any_ticket",
            "a stream does not look at the ticket",
            append = |logs, log, append| {
                let changed = match log {
                    LogId::Stream(..) => passes(logs, log, append, |_, _| true),
                    LogId::Run(_) | LogId::Token(_) => None,
                };
                logs.append(log, changed.as_ref().unwrap_or(append))
            },
        ),
        flaw!(
            L3,
            "rest_takes_any_ticket",
            "a rest without records does not look at the ticket",
            append = |logs, log, append| {
                let changed =
                    passes(logs, log, append, |_, _| true).filter(|it| it.records.is_empty());
                logs.append(log, changed.as_ref().unwrap_or(append))
            },
        ),
        flaw!(
            L3,
            "renewal_takes_any_ticket",
            "a renewal does not look at the ticket",
            renew = |logs, lease, until| {
                let current =
                    logs.run_mut(&LogId::Run(lease.run.clone())).and_then(|run| run.ticket());
                let ticket = current.unwrap_or(lease.ticket);
                logs.renew(&world_core::Lease { ticket, ..lease.clone() }, until)
            },
        ),
        flaw!(
            L3,
            "renewal_revives",
            "a renewal takes a lease again that was given back",
            renew = |logs, lease, until| {
                let log = LogId::Run(lease.run.clone());
                if let Some(run) = logs.run_mut(&log)
                    && run.ticket().is_none()
                {
                    run.turn = Turn::Leased { ticket: lease.ticket, until };
                }
                logs.renew(lease, until)
            },
        ),
        flaw!(
            L3,
            "rest_keeps_the_ticket",
            "the ticket of a run that rests is still good until the next claim",
            append = |logs, log, append| {
                let (run, turn) = (run_of(log), logs.turn(log));
                let key = format!("{run:?}");
                if let (
                    By::Owner { ticket, .. },
                    Some(Turn::Ready { .. } | Turn::Waiting(_) | Turn::Parked),
                ) = (&append.by, turn)
                    && logs.notes.pages.contains_key(&format!("{key} {:?}", ticket.as_bytes()))
                    && let Some(state) = logs.run_mut(log)
                {
                    state.turn = Turn::Leased { ticket: *ticket, until: Timestamp::ZERO };
                    let answer = logs.append(log, append);
                    if let (Some(state), Some(turn)) = (logs.run_mut(log), turn) {
                        state.turn = turn;
                    }
                    return answer;
                }
                if let Some(Turn::Leased { ticket, .. }) = turn {
                    let page = logs.page(log, Position::START, 1);
                    logs.notes.pages.insert(format!("{key} {:?}", ticket.as_bytes()), page);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            L3,
            "expired_is_fenced",
            "a ticket whose lease has run out is refused, though nobody replaced it",
            append = |logs, log, append| {
                let is_expired = matches!(logs.turn(log), Some(Turn::Leased { until, .. }) if until <= append.at);
                let answer = logs.rule(log, append)?;
                if let (By::Owner { .. }, true, head::Ruling::Write(_)) =
                    (&append.by, is_expired, answer)
                {
                    return Ok(Appended::Fenced);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            L3,
            "expired_cannot_be_renewed",
            "a lease that has run out cannot be renewed, though nobody replaced it",
            renew = |logs, lease, until| {
                let turn = logs.turn(&LogId::Run(lease.run.clone()));
                if matches!(turn, Some(Turn::Leased { until: old, .. }) if old < until && old <= lease.until && old.as_millis() + 1000 < until.as_millis())
                {
                    return Ok(Renewed::Lost);
                }
                logs.renew(lease, until)
            },
        ),
        flaw!(
            L3,
            "the_whole_lease_is_compared",
            "a second renewal with the lease as it was first given is lost",
            renew = |logs, lease, until| {
                let turn = logs.turn(&LogId::Run(lease.run.clone()));
                let is_as_given =
                    matches!(turn, Some(Turn::Leased { until, .. }) if until == lease.until);
                if is_as_given { logs.renew(lease, until) } else { Ok(Renewed::Lost) }
            },
        ),
        flaw!(
            L3,
            "renewal_at_the_claimed_head",
            "a renewal is lost once the log has grown",
            renew = |logs, lease, until| {
                let head = logs.last(&LogId::Run(lease.run.clone()));
                if head == lease.head { logs.renew(lease, until) } else { Ok(Renewed::Lost) }
            },
        ),
        flaw!(
            L3,
            "renewal_says_the_old_head",
            "a renewal reports the head of the lease, so an owner never learns of a signal",
            renew = |logs, lease, until| {
                Ok(match logs.renew(lease, until)? {
                    Renewed::Held { .. } => Renewed::Held { head: lease.head },
                    Renewed::Lost => Renewed::Lost,
                })
            },
        ),
        flaw!(
            L3,
            "fenced_takes_the_lease",
            "an append that is fenced ends the lease of the run's owner",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::Fenced, Some(run)) = (answer, logs.run_mut(log)) {
                    run.turn = Turn::Ready { since: append.at };
                }
                Ok(answer)
            },
        ),
        flaw!(
            L3,
            "lost_renewal_moves_the_lease",
            "a renewal that is lost still moves the end of the lease",
            renew = |logs, lease, until| {
                let renewed = logs.renew(lease, until)?;
                if let (Renewed::Lost, Some(run)) =
                    (renewed, logs.run_mut(&LogId::Run(lease.run.clone())))
                    && let Turn::Leased { until: end, .. } = &mut run.turn
                {
                    *end = until;
                }
                Ok(renewed)
            },
        ),
        flaw!(
            L3,
            "own_tickets",
            "the World makes the ticket itself, and the claimer's is none",
            claim = |logs, claim| {
                let mut bytes = *claim.ticket.as_bytes();
                bytes[15] ^= 0xFF;
                let claim =
                    world_core::Claim { ticket: Ticket::from_bytes(bytes), ..claim.clone() };
                let mut leases = logs.claim(&claim);
                bytes[15] ^= 0xFF;
                leases.iter_mut().for_each(|lease| lease.ticket = Ticket::from_bytes(bytes));
                leases
            },
        ),
    ]
}
