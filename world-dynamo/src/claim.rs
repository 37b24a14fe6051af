//! Claiming due runs: the index proposes, and the head item decides.

use std::{
    collections::{BTreeSet, HashSet},
    num::NonZeroU32,
};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use futures::{FutureExt, StreamExt, future::join_all, stream};
use world_core::{
    Claim, Error, ErrorKind, Lease, LogId, Queue, Renewed, Result, RunId, Timestamp, head::Class,
};

use crate::{
    error::Stage,
    item::{Attributes, Item, Stamp, bytes, due, number, place_of, text},
    keys::{self, DUE, HEAD, INDEX, PK},
    known::Seen,
    request::{Sent, ask, send},
    store::{Store, key},
};

/// The most leases that one claim gives.
const LEASES_MAX: usize = 256;
/// The requests that one claim, or one who waits, sends at the same time.
pub(crate) const AT_ONCE_MAX: usize = 32;
/// The candidates that are looked for beyond those wanted, since others claim too.
const SPARE: usize = 8;
/// The pages of candidates that one claim looks at in a shard and class, should nothing on the
/// first be to be had.
const PAGES_MAX: usize = 8;
/// Due runs of a shard: the ready and the timed.
type ByClass = (Vec<Candidate>, Vec<Candidate>);

/// A run in the index: where it stands there.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    run: RunId,
    queue: Queue,
    due: String,
}

impl Store {
    /// Takes leases: from the shards in turn, and in each from the ready and the timed in turn.
    pub(crate) async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let limit = usize::try_from(claim.limit.get()).unwrap_or(LEASES_MAX).min(LEASES_MAX);
        let (mut leases, mut failed, mut asked_for) = (Vec::new(), None, HashSet::new());
        for (shard, found) in self.candidates(claim, limit).await {
            let (ready, timed) = match found {
                Ok(found) => found,
                Err(error) => {
                    failed = Some(worse(failed, error));
                    continue;
                }
            };
            let Some(turns) = self.turns.classes.get(usize::from(shard)) else { continue };
            if leases.len() >= limit {
                break;
            }
            // All of them: should one not be to be had, it is the next one's turn.
            let all = Claim { limit: NonZeroU32::MAX, ..claim.clone() };
            let mut next = turns.merge(&all, ready, timed).into_iter();
            while leases.len() < limit {
                let wanted = (limit - leases.len()).min(AT_ONCE_MAX);
                // The index may show a run at two places for a moment: it is one run, and one lease.
                let others = next.by_ref().filter(|one| asked_for.insert(one.run.clone()));
                let asked: Vec<_> = others.take(wanted).map(|one| self.take(claim, one)).collect();
                if asked.is_empty() {
                    break;
                }
                for taken in join_all(asked).await {
                    match taken {
                        Ok(lease) => leases.extend(lease),
                        // What was claimed is not to be lost with an error.
                        Err(error) => failed = Some(worse(failed, error)),
                    }
                }
            }
        }
        self.turns.note(&claim.queues, leases.len() < limit);
        match failed {
            Some(error) if leases.is_empty() => Err(error),
            _ => Ok(leases),
        }
    }

    /// The ready and the timed of each shard that are due, each oldest first; the shards from the one
    /// whose turn it is.
    async fn candidates(&self, claim: &Claim, limit: usize) -> Vec<(u16, Result<ByClass>)> {
        let timed = due((Class::Timed, Timestamp::ZERO));
        let queues: BTreeSet<&Queue> = claim.queues.iter().collect();
        let except: HashSet<&RunId> = claim.except.iter().collect();
        let mut looks = Vec::new();
        for shard in self.turns.shards(&claim.queues) {
            for queue in &queues {
                let look = self.due_now(shard, queue, claim.now, limit + SPARE, &except);
                looks.push(look.map(move |found| (shard, found)).boxed());
            }
        }
        let found: Vec<_> = stream::iter(looks).buffered(AT_ONCE_MAX).collect().await;
        let mut by_shard: Vec<(u16, Result<Vec<Candidate>>)> = Vec::new();
        for (shard, found) in found {
            match (by_shard.last_mut(), found) {
                (Some((last, Ok(all))), Ok(more)) if *last == shard => all.extend(more),
                (Some((last, one)), Err(error)) if *last == shard => *one = Err(error),
                (Some((last, Err(_))), Ok(_)) if *last == shard => {}
                (_, found) => by_shard.push((shard, found)),
            }
        }
        let sorted = by_shard.into_iter().map(|(shard, found)| {
            let found = found.map(|mut all| {
                all.sort_by(|one, other| (&one.due, &one.run).cmp(&(&other.due, &other.run)));
                all.into_iter().partition(|one| one.due < timed)
            });
            (shard, found)
        });
        sorted.collect()
    }

    /// The runs of a queue that are due: the oldest of the ready, and the oldest of the timed but for
    /// those that the claim excepts (rule L6).
    async fn due_now(
        &self,
        shard: u16,
        queue: &Queue,
        now: Timestamp,
        wanted: usize,
        except: &HashSet<&RunId>,
    ) -> Result<Vec<Candidate>> {
        let ready = due((Class::Ready, Timestamp::ZERO));
        let timed = due((Class::Timed, Timestamp::ZERO));
        let now = due((Class::Timed, now));
        let (mut found, is_cut) = self.due(shard, queue, &ready, &now, wanted, except).await?;
        // The ready stand first; where they fill the page, the timed were not seen.
        if is_cut && found.last().is_some_and(|last| last.due < timed) {
            found.extend(self.due(shard, queue, &timed, &now, wanted, except).await?.0);
        }
        Ok(found)
    }

    /// The runs of a queue that stand between these places in the index, but for the timed that are
    /// excepted, and whether there may be more.
    pub(crate) async fn due(
        &self,
        shard: u16,
        queue: &Queue,
        first: &str,
        last: &str,
        wanted: usize,
        except: &HashSet<&RunId>,
    ) -> Result<(Vec<Candidate>, bool)> {
        let (mut found, mut from): (Vec<Candidate>, Option<Attributes>) = (Vec::new(), None);
        let bad = self.turns.bad();
        let timed = due((Class::Timed, Timestamp::ZERO));
        let is_passed_over = |one: &Candidate| {
            bad.contains(&one.run) || one.due >= timed && except.contains(&one.run)
        };
        let limit = i32::try_from(wanted + bad.len() + except.len()).unwrap_or(i32::MAX);
        for _ in 0..PAGES_MAX {
            let page = ask(Stage::Read, self.options.timeout, || {
                self.client
                    .query()
                    .table_name(&self.table)
                    .index_name(INDEX)
                    .key_condition_expression("queue = :queue AND due BETWEEN :first AND :last")
                    .expression_attribute_values(":queue", text(keys::queue(shard, queue)))
                    .expression_attribute_values(":first", text(first))
                    .expression_attribute_values(":last", text(last))
                    .set_exclusive_start_key(from.clone())
                    .limit(limit)
                    .send()
            });
            let page = page.await?;
            let items = page.items.unwrap_or_default();
            let shown = items.iter().filter_map(|item| candidate(queue, item));
            found.extend(shown.filter(|one| !is_passed_over(one)));
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() || found.len() >= wanted {
                break;
            }
        }
        Ok((found, from.is_some()))
    }

    /// Takes the lease of a run that stands in the index, if it still stands there.
    async fn take(&self, claim: &Claim, one: Candidate) -> Result<Option<Lease>> {
        let log = LogId::Run(one.run.clone());
        let until = due((Class::Timed, claim.until));
        let stamp = Stamp::new();
        let call = || {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(key(&log, HEAD)))
                .update_expression(
                    "SET ticket = :ticket, due = :until, stamp = :stamp, \
                     attempt = if_not_exists(attempt, :zero) + :one",
                )
                .condition_expression(
                    "due = :due AND queue = :queue AND (attribute_not_exists(ticket) OR ticket <> :ticket)",
                )
                .expression_attribute_values(":ticket", bytes(claim.ticket.as_bytes()))
                .expression_attribute_values(":until", text(&until))
                .expression_attribute_values(":stamp", bytes(&stamp.0))
                .expression_attribute_values(":zero", number(0))
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":due", text(&one.due))
                .expression_attribute_values(":queue", text(keys::queue(log.shard(self.shards), &one.queue)))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .send()
        };
        let found = match send(Stage::Write, self.options.timeout, call).await {
            Ok(Sent::Done(done)) => done.attributes,
            Ok(Sent::Unmet(found)) => found,
            // One run that cannot be claimed keeps no other from it.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                tracing::error!(%error, %log, "a due run cannot be claimed");
                self.turns.pass_over(one.run);
                return Ok(None);
            }
            Err(error) => return Err(error.log(log)),
        };
        let item = match found.map(|item| Item::stored(&log, item)).transpose() {
            Ok(item) => item,
            Err(error) => {
                tracing::error!(%error, "a due run cannot be claimed");
                return Ok(None);
            }
        };
        // An earlier try may have won: then the lease is there, and its answer was lost.
        let Some(item) = item.filter(|item| item.ticket() == Some(claim.ticket)) else {
            return Ok(None);
        };
        let Some(run) = &item.head.run else { return Ok(None) };
        let lease = Lease {
            run: one.run,
            ticket: claim.ticket,
            attempt: run.attempt,
            until: claim.until,
            head: item.head.head,
            closed: run.closed,
        };
        self.remember(&log, Seen::new(item));
        Ok(Some(lease))
    }

    /// Moves the end of a lease.
    pub(crate) async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let log = LogId::Run(lease.run.clone());
        let (until, stamp) = (due((Class::Timed, until)), Stamp::new());
        let call = || {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(key(&log, HEAD)))
                .update_expression("SET due = :until, stamp = :stamp")
                .condition_expression("ticket = :ticket")
                .expression_attribute_values(":ticket", bytes(lease.ticket.as_bytes()))
                .expression_attribute_values(":until", text(&until))
                .expression_attribute_values(":stamp", bytes(&stamp.0))
                .return_values(ReturnValue::AllNew)
                .send()
        };
        let Sent::Done(done) = send(Stage::Write, self.options.timeout, call).await? else {
            return Ok(Renewed::Lost);
        };
        let item = Item::stored(&log, done.attributes.unwrap_or_default())?;
        let head = item.head.head;
        // What of its tail has been copied stays known.
        let seen = match self.known.get(&log) {
            Some(seen) if seen.item.life == item.life => Seen { item, copied: seen.copied },
            _ => Seen::new(item),
        };
        self.remember(&log, seen);
        Ok(Renewed::Held { head })
    }
}

/// Of two errors the later one, unless the earlier says that something may have been claimed.
fn worse(before: Option<Error>, error: Error) -> Error {
    before.filter(|before| before.kind() == ErrorKind::Unknown).unwrap_or(error)
}

/// A run that stands in the index.
fn candidate(queue: &Queue, item: &Attributes) -> Option<Candidate> {
    let text = |name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => Some(text),
        _ => None,
    };
    let (partition, due) = (text(PK)?, text(DUE)?);
    place_of(due)?;
    Some(Candidate { run: keys::run_of(partition)?, queue: queue.clone(), due: due.clone() })
}
