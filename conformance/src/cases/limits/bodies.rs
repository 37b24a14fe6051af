//! Rule I1: bodies, kinds and times are kept exactly.

use world_core::{By, Due, Kind, NewRun, Phase, Record, Sealed, Timestamp};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    look::{Handle, is_refusal, listed, log_is, put},
    rule::Rule,
    subject::Subject,
};

use super::bytes;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [I1] bodies_are_kept_byte_for_byte),
        case!(Limits [I1] a_body_of_any_one_byte_is_kept),
        case!(Limits [I1] large_bodies_are_kept),
        case!(Limits [I1] an_empty_body_is_kept_or_refused),
        case!(Contract [I1] every_kind_and_time_is_kept),
        case!(Limits [I1] times_of_a_run_are_kept_to_the_millisecond),
    ]
}

/// Writes records with these bodies, 32 an append, and reads them back by another handle.
async fn are_kept(subject: &Subject, bodies: &[Vec<u8>]) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    put(Rule::I1, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    for (log, by) in [(token("token"), By::Outsider), (stream("run", "stream"), owner(1))] {
        let mut written: Vec<Record> = Vec::new();
        for bodies in bodies.chunks(32) {
            let blank = vec![""; bodies.len()];
            let mut next = append(written.len() as u64, &blank, 2, by.clone());
            for (record, body) in next.records.iter_mut().zip(bodies) {
                record.body = Sealed::from_stored(body.clone());
            }
            put(Rule::I1, &world, &log, &next).await?;
            written.extend(next.records);
        }
        log_is(Rule::I1, &other, &log, &written, "read by another handle").await?;
    }
    Ok(())
}

async fn bodies_are_kept_byte_for_byte(subject: Subject) -> Verdict {
    let all: Vec<_> = (0..=255).collect();
    let backwards: Vec<_> = (0..=255).rev().collect();
    let mut bodies = vec![all, backwards];
    // What a text column, a number column, a script or a serializer might take for its own.
    bodies.extend(
        [
            &b"a\0b"[..],
            b"\0a",
            b"a\0",
            b"\0",
            b"\0\0\0",
            b" a ",
            b"a\n",
            b"a\r\n",
            b"\t",
            b"'",
            b"\"",
            b"\\",
            b"\\x00",
            b"%00%s%n",
            b"1",
            b"01",
            b"1.0",
            b"1e5",
            b"-0",
            b"null",
            b"NULL",
            b"nil",
            b"true",
            b"{}",
            b"[]",
            b"{\"a\":1}",
            b"AAEC",
            b"0x00",
            b"e\xCC\x81",
            b"\xC3\xA9",
            b"\xFF\xFE",
            b"\xEF\xBB\xBFa",
            b"\xED\xA0\x80",
            b"\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80",
            b"\x1F\x8B\x08\0",
            b"\x28\xB5\x2F\xFD",
        ]
        .map(<[u8]>::to_vec),
    );
    are_kept(&subject, &bodies).await
}

async fn a_body_of_any_one_byte_is_kept(subject: Subject) -> Verdict {
    let one = (0..=255).map(|byte| vec![byte]);
    let last = (0..=255).map(|byte| vec![b'a', byte]);
    are_kept(&subject, &one.chain(last).collect::<Vec<_>>()).await
}

async fn large_bodies_are_kept(subject: Subject) -> Verdict {
    for size in [255, 256, 65_535, 65_536, 65_537, 200_000, 256 << 10] {
        are_kept(&subject.elsewhere()?, &[vec![0; size], bytes(size)]).await?;
    }
    Ok(())
}

async fn an_empty_body_is_kept_or_refused(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    put(Rule::I1, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    for (log, by, bodies) in [
        (run("created"), By::Creator(new_run(Due::Never)), &[""][..]),
        (stream("run", "stream"), owner(1), &["", ""]),
        (token("token"), By::Outsider, &["", "a", ""]),
    ] {
        let append = append(0, bodies, 2, by);
        let wanted = match world.append(&log, &append).await {
            Ok(answer) => {
                let head = bodies.len() as u64;
                ensure_eq!(I1, answer, committed(head), "an append with an empty body to {log}");
                append.records
            }
            Err(error) if is_refusal(error.kind()) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        log_is(Rule::I1, &world, &log, &wanted, "after an append with an empty body").await?;
    }
    Ok(())
}

/// Times at which something rounds, wraps or ends.
const TIMES: [u64; 16] = [
    0,
    1,
    999,
    1_000,
    1_001,
    1_499,
    1_500,
    (1 << 31) - 1,
    1 << 32,
    1_700_000_000_123,
    2_147_483_647_999,
    2_147_483_648_000,
    4_294_967_296_001,
    253_402_300_799_000,
    253_402_300_799_998,
    Timestamp::MAX.as_millis(),
];

async fn every_kind_and_time_is_kept(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    put(Rule::I1, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    let kinds = [0, 1, 2, 127, 128, 255, 256, 257, 9_999, 32_767, 32_768, 65_534, 65_535];
    for (log, by) in [
        (run("created"), By::Creator(new_run(Due::Never))),
        (stream("run", "stream"), owner(1)),
        (token("token"), By::Outsider),
    ] {
        let mut all = append(0, &["body"; 29], 5, by);
        for (record, kind) in all.records.iter_mut().zip(kinds) {
            record.kind = Kind(kind);
        }
        for (record, millis) in all.records.iter_mut().skip(kinds.len()).zip(TIMES) {
            record.at = at(millis);
        }
        put(Rule::I1, &world, &log, &all).await?;
        log_is(Rule::I1, &other, &log, &all.records, "read by another handle").await?;
    }
    Ok(())
}

async fn created(world: &Handle, millis: u64) -> Verdict {
    let (waiting, leased) = (run(&format!("waiting {millis}")), run(&format!("leased {millis}")));
    put(Rule::I1, world, &waiting, &create(Due::At(at(millis)), millis)).await?;
    let new = NewRun { lease: Some((ticket(1), at(millis))), ..new_run(Due::Now) };
    put(Rule::I1, world, &leased, &append(0, &["x"], millis, By::Creator(new))).await
}

async fn times_of_a_run_are_kept_to_the_millisecond(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for millis in TIMES {
        created(&world, millis).await?;
        let log = run(&format!("waiting {millis}"));
        let wanted = Phase::Waiting(at(millis));
        let meta = listed(&other, &log, |meta| meta.phase == wanted).await?;
        let seen = meta.map(|meta| (meta.created, meta.phase));
        ensure_eq!(I1, seen, Some((at(millis), wanted)), "created and phase of {log}");
    }
    Ok(())
}
