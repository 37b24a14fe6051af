//! What helps a World to store heads and records, and to answer reads, listings and claims.

use std::{num::NonZeroU32, time::Duration};

use super::kept::*;
use crate::{
    Claim, ErrorKind, List, LogId, NAME_BYTES_MAX, Position, Queue, Record, Result, RunId,
    Timestamp, Wait,
    head::{self, Head, Place, Snapshot, Stored, Transaction, Turns},
    list::Cursor,
};

fn most(limit: u32) -> NonZeroU32 {
    NonZeroU32::new(limit).unwrap()
}

#[test]
fn a_head_and_a_record_come_back_from_their_bytes() {
    let kept = Kept::with_run("r", 1);
    let (log, head) = (run("r"), &kept.heads[&run("r")]);
    let read = Head::from_bytes(&log, &head.to_bytes().unwrap()).unwrap();
    assert_eq!(&read, head);
    let record = &kept.records[&(log.clone(), Position::new(1))];
    let bytes = record.to_bytes().unwrap();
    assert_eq!(&Record::from_bytes(&log, Position::new(1), &bytes).unwrap(), record);
    let moved = Record::from_bytes(&log, Position::new(2), &bytes).unwrap_err();
    assert_eq!(moved.kind(), ErrorKind::Corrupt);
    assert_eq!((moved.log_id(), moved.at_position()), (Some(&log), Some(Position::new(2))));
}

#[test]
fn bytes_that_no_head_has_are_corrupt_and_never_a_panic() {
    let log = run("r");
    let whole = Kept::with_run("r", 1).heads[&log].to_bytes().unwrap();
    for cut in 0..whole.len() {
        let error = Head::from_bytes(&log, &whole[..cut]).unwrap_err();
        assert_eq!((error.kind(), error.log_id()), (ErrorKind::Corrupt, Some(&log)), "{cut}");
    }
    let longer = [&whole[..], &[0xc0]].concat();
    assert_eq!(Head::from_bytes(&log, &longer).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_name_a_time_or_a_field_that_cannot_be_is_an_error() {
    let json = serde_json::to_value(&Kept::with_run("r", 1).heads[&run("r")]).unwrap();
    let read = |json| serde_json::from_value::<Head>(json).map(drop);
    read(json.clone()).unwrap();
    let broken: [(&str, serde_json::Value); 6] = [
        ("/run/new/queue", "".into()),
        ("/run/new/workflow", "x".repeat(NAME_BYTES_MAX + 1).into()),
        ("/run/new/key", "".into()),
        ("/run/created", (Timestamp::MAX.as_millis() + 1).into()),
        ("/run/turn", serde_json::json!({"leased": {"ticket": [1, 2], "until": 1}})),
        ("/run/new/tags", serde_json::json!([[1, 2, 3]])),
    ];
    for (field, value) in broken {
        let mut json = json.clone();
        *json.pointer_mut(field).unwrap() = value;
        assert!(read(json).is_err(), "{field}");
    }
    let mut newer = json;
    newer.as_object_mut().unwrap().insert("later".into(), 1.into());
    assert!(read(newer).is_err());
}

/// A page of a log that holds these records beside a head from 3 to 6.
fn page(after: u64, limit: u32, stored: &[u64]) -> Result<(Vec<u64>, u64)> {
    let log = run("r");
    let of = Kept::with_run("r", 1);
    let like = &of.records[&(log.clone(), Position::new(1))];
    let records = stored.iter().map(|at| Record { position: Position::new(*at), ..like.clone() });
    let head = Head { head: Position::new(6), base: Position::new(2), deleted: false, run: None };
    let page = head::page(&log, Some(&head), Position::new(after), most(limit), records.map(Ok))?;
    Ok((page.records.iter().map(|record| record.position.get()).collect(), page.head.get()))
}

#[test]
fn r3_a_page_begins_above_its_base_and_ends_at_its_head() {
    let all = [1, 2, 3, 4, 5, 6, 7];
    assert_eq!(page(0, 9, &all).unwrap(), (vec![3, 4, 5, 6], 6));
    assert_eq!(page(4, 1, &all).unwrap(), (vec![5], 6));
    assert_eq!(page(6, 9, &[7]).unwrap(), (vec![], 6));
    assert_eq!(page(u64::MAX, 9, &[]).unwrap(), (vec![], 6));
    assert_eq!(head::page(&run("none"), None, Position::START, most(1), []).unwrap().head.get(), 0);
}

#[test]
fn r3_a_missing_record_is_corrupt_and_never_a_short_page() {
    for stored in [&[3, 5, 6][..], &[3], &[]] {
        let error = page(2, 9, stored).unwrap_err();
        let missing = if stored.is_empty() { 3 } else { 4 };
        assert_eq!(error.at_position(), Some(Position::new(missing)));
        assert_eq!((error.kind(), error.log_id()), (ErrorKind::Corrupt, Some(&run("r"))));
    }
    assert_eq!(page(2, 1, &[3]).unwrap(), (vec![3], 6)); // as many as asked for
}

#[test]
fn r4_a_listing_goes_on_after_the_last_run_looked_at() {
    let mut kept = Kept::default();
    for name in ["a", "b", "c", "d"] {
        kept.append(&run(name), &create(Some(1)));
    }
    let dead = Head { head: Position::new(1), base: Position::new(1), deleted: true, run: None };
    kept.heads.insert(run("b"), dead);
    let mut list = List::all(most(1));
    let mut seen = Vec::new();
    loop {
        let after = head::after(&list).unwrap().map(LogId::Run);
        let rest = kept.heads.iter().filter(|(log, _)| Some(*log) > after.as_ref());
        let stored = rest.map(|(log, head)| Ok((log.run().unwrap().clone(), head.clone())));
        let page = head::list(&list, stored).unwrap();
        assert!(page.runs.len() <= 1);
        seen.extend(page.runs.into_iter().map(|run| run.run));
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "c", "d"].map(|name| RunId::new(name).unwrap()));
}

#[test]
fn r4_a_page_of_a_listing_that_matches_little_ends_before_it_has_looked_at_all() {
    let mut kept = Kept::default();
    kept.append(&run("r"), &create(Some(1)));
    let list = List { queue: Some(Queue::new("other").unwrap()), ..List::all(most(1)) };
    let stored = (0..10_000).map(|number| {
        let id = RunId::new(format!("r{number:05}")).unwrap();
        Ok((id, kept.heads[&run("r")].clone()))
    });
    let page = head::list(&list, stored).unwrap();
    assert!(page.runs.is_empty());
    assert_eq!(page.next.unwrap().as_bytes(), b"run:r04095");
}

#[test]
fn a_cursor_of_another_world_is_invalid() {
    for bytes in [&b""[..], b"run:", b"run:\xff", b"r1"] {
        let list = List { after: Some(Cursor::from_bytes(bytes)), ..List::all(most(1)) };
        assert_eq!(head::after(&list).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn l2_each_set_of_queues_takes_its_own_turns() {
    let turns = Turns::default();
    let merged = |queues: &[&str], limit| {
        let queues = queues.iter().map(|queue| Queue::new(*queue).unwrap()).collect();
        let claim = Claim { queues, limit: most(limit), ..ask(1, 0, 1) };
        turns.merge(&claim, vec!["r1", "r2"], vec!["t1", "t2"])
    };
    for _ in 0..3 {
        assert_eq!(merged(&["q"], 1), ["r1"]);
        assert_eq!(merged(&["q", "p"], 1), ["r1"]);
        assert_eq!(merged(&["q"], 1), ["t1"]);
        assert_eq!(merged(&["q", "p"], 9), ["t1", "r1", "t2", "r2"]);
    }
}

#[test]
fn l2_a_claim_that_finds_one_class_takes_no_turn() {
    let turns = Turns::default();
    assert_eq!(turns.merge(&ask(1, 0, 1), vec!["r"], vec![]), ["r"]);
    assert_eq!(turns.merge(&ask(1, 0, 1), vec!["r"], vec!["t"])[0], "r");
    assert_eq!(turns.merge(&ask(1, 0, 1), vec![], vec!["t"]), ["t"]);
    assert_eq!(turns.merge(&ask(1, 0, 1), vec!["r"], vec!["t"])[0], "t");
}

/// A store of which some heads cannot be read, and how many due runs it was asked for.
struct Damaged(Kept, Vec<usize>);

impl Stored for Damaged {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        match log.run() {
            Some(run) if run.as_str().starts_with("bad") => Head::from_bytes(log, b"").map(Some),
            Some(run) if run.as_str().starts_with("gone") => Ok(None),
            _ => self.0.head(log),
        }
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        self.0.record(log, position)
    }
}

impl Snapshot for Damaged {
    fn records(
        &mut self,
        log: &LogId,
        after: Position,
    ) -> Result<impl Iterator<Item = Result<Record>>> {
        self.0.records(log, after)
    }

    fn runs(
        &mut self,
        after: Option<&RunId>,
    ) -> Result<impl Iterator<Item = Result<(RunId, Head)>>> {
        self.0.runs(after)
    }

    fn oldest(
        &mut self,
        queue: &Queue,
        last: Place,
        most: usize,
    ) -> Result<Vec<(Timestamp, RunId)>> {
        self.1.push(most);
        self.0.oldest(queue, last, most)
    }
}

impl Transaction for Damaged {
    fn store(&mut self, log: &LogId, head: &Head, records: &[Record]) -> Result<()> {
        self.0.store(log, head, records)
    }

    fn remove(&mut self, log: &LogId) -> Result<()> {
        self.0.remove(log)
    }
}

#[test]
fn l2_runs_that_cannot_be_read_do_not_stand_in_the_way_of_the_others() {
    let mut kept = Kept::default();
    for name in ["bad1", "bad2", "bad3", "gone", "good1", "good2"] {
        kept.append(&run(name), &create(None));
    }
    let mut damaged = Damaged(kept, Vec::new());
    let mut claimed = |number| {
        let claim = Claim { limit: most(1), ..ask(number, 0, 100) };
        let leases = damaged.claim(&claim, &Turns::default()).unwrap();
        leases.into_iter().map(|lease| lease.run.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(claimed(1), ["good1"]);
    assert_eq!(claimed(2), ["good2"]);
    assert!(claimed(3).is_empty());
}

#[test]
fn l6_excepted_runs_do_not_keep_those_behind_them_from_being_claimed() {
    let mut kept = Kept::default();
    let names: Vec<_> = (0..600).map(|number| format!("r{number:03}")).collect();
    for name in &names {
        kept.append(&run(name), &create(Some(1)));
    }
    // The oldest by their names, and the newest: all but the 344 between.
    let except = names[..128].iter().chain(&names[472..]).map(|name| id(name)).collect();
    let claim = Claim { limit: most(600), except, ..ask(2, 100, 200) };
    let mut damaged = Damaged(kept, Vec::new());
    let leases = damaged.claim(&claim, &Turns::default()).unwrap();
    let given: Vec<_> = leases.into_iter().map(|lease| lease.run.to_string()).collect();
    assert_eq!(given, names[128..384], "256 leases, oldest first");
    assert_eq!(damaged.1, [256, 512], "one look a class, and no further than the excepted reach");
}

#[test]
fn l1_a_queue_named_twice_gives_a_run_once() {
    let mut kept = Kept::default();
    kept.append(&run("r"), &create(None));
    let mut claim = Claim { limit: most(9), ..ask(1, 0, 0) }; // its lease runs out at once, so only the turn keeps it
    claim.queues.push(claim.queues[0].clone());
    assert_eq!(Transaction::claim(&mut kept, &claim, &Turns::default()).unwrap().len(), 1);
}

#[test]
fn what_is_waited_for_has_come_once_a_head_is_another_or_a_run_is_ready() {
    let mut kept = Kept::with_run("r", 1);
    let wait = |queue: &str, seen| Wait {
        queues: vec![Queue::new(queue).unwrap()],
        logs: vec![(run("r"), Position::new(seen)), (run("none"), Position::START)],
        at_most: Duration::ZERO,
    };
    assert!(!kept.has_come(&wait("queue", 1)).unwrap()); // it is leased
    assert!(kept.has_come(&wait("queue", 0)).unwrap());
    kept.append(&run("ready"), &create(None));
    assert!(kept.has_come(&wait("queue", 1)).unwrap());
    assert!(!kept.has_come(&wait("other", 1)).unwrap());
}
