//! Rules A1 to A6.

use world_core::WorldExt;

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case!(Contract [A2] a_stale_head_conflicts_and_nothing_changes)]
}

async fn a_stale_head_conflicts_and_nothing_changes(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = run("run");
    let answer = world.append(&log, &create_leased(1, FAR, 1)).await?;
    ensure_eq!(A2, answer, committed(1), "the creation");
    for stated in [0, 2, 3, u64::MAX - 8] {
        let answer = world.append(&log, &append(stated, &["late"], 2, owner(1))).await?;
        ensure_eq!(A2, answer, conflict(1), "an append at {stated}, where the head is 1");
    }
    let page = world.read_all(&log).await?;
    ensure!(A2, page.records.len() == 1, "there are {} records, where 1 is", page.records.len());
    Ok(())
}
