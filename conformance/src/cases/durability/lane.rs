//! A run whose appends are known beforehand, so that every byte of it can be checked.

use world_core::{
    Append, By, Kind, LogId, NewRun, Record, Renewed, RunId, RunMeta, Sealed, Tag, Ticket, World,
};

use super::{draw, look};
use crate::{
    failure::{Failure, Verdict, ensure, ensure_eq},
    kit::*,
};

/// A run whose `n`-th append is the same in every process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) seed: u64,
    pub(super) number: u8,
}

impl Lane {
    pub(super) fn run(self) -> RunId {
        id(&format!("lane-{}", self.number))
    }

    pub(super) fn log(self) -> LogId {
        LogId::Run(self.run())
    }

    fn ticket(self) -> Ticket {
        ticket(self.number)
    }

    fn draw(self, n: u64, what: u64) -> u64 {
        draw(draw(self.seed, n), draw(u64::from(self.number), what))
    }

    /// How many records the `n`-th append has.
    fn records(self, n: u64) -> u64 {
        1 + self.draw(n, 0) % 4
    }

    /// The `n`-th append, from 0, at a head; the first creates the run with a lease for ever.
    pub(super) fn append(self, n: u64, expected: u64) -> Append {
        let at = at(1_000 + n);
        let record = |index: u64| Record {
            position: pos(expected + 1 + index),
            kind: self.kind(n),
            at,
            body: self.body(n, index),
        };
        let by = match n {
            0 => By::Creator(NewRun {
                lease: Some((self.ticket(), FAR)),
                tags: self.tags(n),
                ..new_run(world_core::Due::Now)
            }),
            _ => By::Owner {
                ticket: self.ticket(),
                close: false,
                rest: None,
                tags: Some(self.tags(n)),
            },
        };
        Append {
            expected: pos(expected),
            records: (0..self.records(n)).map(record).collect(),
            at,
            by,
        }
    }

    fn kind(self, n: u64) -> Kind {
        Kind((self.draw(n, 1) % 1000) as u16)
    }

    /// The tags that the `n`-th append leaves.
    fn tags(self, n: u64) -> Vec<Tag> {
        let low = u128::from(self.draw(n, 2));
        vec![Tag::from_bytes((low | u128::from(n) << 64).to_be_bytes())]
    }

    fn body(self, n: u64, index: u64) -> Sealed {
        let drawn = self.draw(n, 3 + index);
        let len = match drawn % 24 {
            0 => 40_000 + drawn % 20_000,
            1..4 => drawn % 5_000,
            _ => drawn % 200,
        };
        let words = (0..len.div_ceil(8)).flat_map(|word| draw(drawn, word).to_be_bytes());
        let mut bytes: Vec<u8> = [n, index].into_iter().flat_map(u64::to_be_bytes).collect();
        bytes.extend(words.take(usize::try_from(len).unwrap_or(0)));
        Sealed::from_stored(bytes)
    }

    /// How many appends there are at a head: `None` when the head is inside one.
    pub(super) fn appends_at(self, head: u64) -> Option<u64> {
        let (mut n, mut reached) = (0, 0);
        while reached < head {
            reached += self.records(n);
            n += 1;
        }
        (reached == head).then_some(n)
    }

    /// Checks everything that is there, after so many appends were acknowledged; gives how many
    /// appends there are.
    pub(super) async fn check(self, world: &dyn World, acknowledged: u64) -> Verdict<u64> {
        let log = self.log();
        let records = look::log(world, &log).await?;
        let (mut n, mut rest) = (0, &records[..]);
        while !rest.is_empty() {
            let expected = (records.len() - rest.len()) as u64;
            let append = self.append(n, expected);
            let (len, there) = (append.records.len(), rest.len());
            ensure!(
                A1,
                len <= there,
                "{log}: of the {len} records of the append at {expected}, which was killed, \
                 {there} are there"
            );
            let (these, others) = rest.split_at(len);
            for (record, wanted) in these.iter().zip(&append.records) {
                let position = wanted.position;
                ensure!(
                    R2,
                    record == wanted,
                    "{log}: the record {position} is not the one that was appended: it is \
                     {record:?}, not {wanted:?}"
                );
            }
            rest = others;
            n += 1;
        }
        ensure!(
            R1,
            n >= acknowledged,
            "{log}: {acknowledged} appends were acknowledged before the kill, and {n} are there"
        );
        if n > 0 {
            self.check_run(world, n, records.len() as u64).await?;
        }
        Ok(n)
    }

    /// What changes with the records is as the last append has left it.
    async fn check_run(self, world: &dyn World, appends: u64, head: u64) -> Verdict {
        let (log, last) = (self.log(), appends - 1);
        let is_current = |meta: Option<&RunMeta>| meta.is_some_and(|meta| meta.head == pos(head));
        let Some(meta) = look::meta(world, &self.run(), is_current).await? else {
            let what = format!("{log}: it has {head} records, and no listing shows it");
            return Err(Failure::broken(crate::Rule::A4, what));
        };
        ensure_eq!(A4, meta.head.get(), head, "{log}: the head that is listed");
        ensure_eq!(A4, meta.tags, self.tags(last), "{log}: the tags of its last append");
        ensure_eq!(A4, meta.last, self.kind(last), "{log}: the kind of its last record");
        let lease = world_core::Lease {
            run: self.run(),
            ticket: self.ticket(),
            attempt: 1,
            until: FAR,
            head: pos(head),
            closed: false,
        };
        let renewed = world.renew(&lease, FAR).await?;
        ensure_eq!(L3, renewed, Renewed::Held { head: pos(head) }, "{log}: its owner's renewal");
        let before = head - self.records(last).min(head);
        let again = world.append(&log, &self.append(last, before)).await?;
        ensure_eq!(A6, again, committed(head), "{log}: its last append, sent again");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use world_core::MemoryWorld;

    use super::*;
    use crate::Rule;

    /// The rule that a lane finds broken whose appends were changed on their way.
    async fn broken(change: impl Fn(&mut Append), acknowledged: u64) -> Option<Rule> {
        let (world, lane) = (MemoryWorld::new(), Lane { seed: 5, number: 1 });
        let mut head = 0;
        for n in 0..6 {
            let mut append = lane.append(n, head);
            change(&mut append);
            world.append(&lane.log(), &append).await.unwrap();
            head = append.head_after().get();
        }
        lane.check(&world, acknowledged).await.err().and_then(|failure| failure.rule())
    }

    #[tokio::test]
    async fn what_a_kill_may_leave_passes_and_all_else_names_its_rule() {
        assert_eq!(broken(|_| {}, 6).await, None);
        assert_eq!(broken(|_| {}, 5).await, None); // one was under way
        assert_eq!(broken(|_| {}, 7).await, Some(Rule::R1));
        let half = |append: &mut Append| append.records.truncate(1);
        assert_eq!(broken(half, 6).await, Some(Rule::R2));
        let late = |append: &mut Append| append.records[0].at = at(1);
        assert_eq!(broken(late, 6).await, Some(Rule::R2));
        let forgets_tags = |append: &mut Append| {
            if let By::Owner { tags, .. } = &mut append.by {
                *tags = None;
            }
        };
        assert_eq!(broken(forgets_tags, 6).await, Some(Rule::A4));
    }

    #[tokio::test]
    async fn the_half_of_the_last_append_is_seen() {
        let lane = (1..=9).map(|number| Lane { seed: 5, number }).find(|lane| lane.records(0) > 1);
        let (world, lane) = (MemoryWorld::new(), lane.unwrap());
        let mut append = lane.append(0, 0);
        append.records.truncate(1);
        world.append(&lane.log(), &append).await.unwrap();
        let failure = lane.check(&world, 0).await.unwrap_err();
        assert_eq!(failure.rule(), Some(Rule::A1), "{failure}");
    }
}
