//! Rule I1: a key that is put together from names never means another log.

use world_core::{By, Deleted, Due, LogId};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    look::{log_is, put, whole},
    rule::Rule,
    subject::Subject,
};

use super::strange::is_taken;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [I1] no_run_and_stream_make_up_another),
        case!(Limits [I1] a_deletion_hides_no_run_whose_name_begins_alike),
    ]
}

/// What a store may put between the names of a key.
const BETWEEN: [&str; 16] =
    ["", ":", "/", "\0", "|", "#", ".", "_", "-", " ", ",", "\u{1f}", "::", "\u{ff}", "}", "%"];

async fn no_run_and_stream_make_up_another(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let mut written = Vec::new();
    for between in BETWEEN {
        let name = |names: [&str; 2]| names.join(between);
        let (front, back, all) =
            (name(["r", "s"]), name(["s", "t"]), ["r", "s", "t"].join(between));
        for log in [
            run("r"),
            run(&front),
            run(&all),
            stream("r", &back),
            stream(&front, "t"),
            stream("r", "s"),
            token("r"),
            token(&front),
            token(&all),
        ] {
            if written.iter().any(|(known, _)| *known == log) {
                continue;
            }
            let body = format!("first of {log}");
            let first = match &log {
                LogId::Run(_) => {
                    let new = create_leased(1, FAR, 1);
                    append(0, &[&body], 1, new.by)
                }
                LogId::Stream(..) => append(0, &[&body], 1, owner(1)),
                LogId::Token(_) => append(0, &[&body], 1, By::Outsider),
            };
            // A run that was refused takes no chunk.
            let is_open = match &log {
                LogId::Stream(run, _) => {
                    written.iter().any(|(known, _)| *known == LogId::Run(run.clone()))
                }
                LogId::Run(_) | LogId::Token(_) => true,
            };
            if is_open && is_taken(&world, &log, &all, &first).await? {
                written.push((log, first.records));
            }
        }
    }
    for (log, wanted) in &written {
        log_is(Rule::I1, &other, log, wanted, "beside logs of names that join to the same").await?;
    }
    Ok(())
}

async fn a_deletion_hides_no_run_whose_name_begins_alike(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let mut kept = Vec::new();
    let created = create_leased(1, FAR, 1);
    for between in BETWEEN {
        let name = format!("run{between}1");
        if is_taken(&world, &run(&name), &name, &created).await? {
            let chunk = append(0, &["chunk"], 2, owner(1));
            put(Rule::I1, &world, &stream(&name, "stream"), &chunk).await?;
            kept.push((name, chunk.records));
        }
    }
    put(Rule::I1, &world, &run("run"), &created).await?;
    put(Rule::I1, &world, &stream("run", "1"), &append(0, &["x"], 2, owner(1))).await?;
    put(Rule::I1, &world, &run("run"), &append(1, &["end"], 3, close(1, Some(Due::Never)))).await?;
    let deleted = world.delete(&run("run"), pos(2)).await?;
    ensure_eq!(I1, deleted, Deleted::Done, "a deletion of run \"run\", closed at 2");
    let left = whole(&world, &run("run")).await?.records.len();
    ensure_eq!(I1, left, 0, "records of the deleted run");
    for (name, chunks) in &kept {
        let what = "after run \"run\" was deleted";
        log_is(Rule::I1, &world, &run(name), &created.records, what).await?;
        log_is(Rule::I1, &world, &stream(name, "stream"), chunks, what).await?;
    }
    Ok(())
}
