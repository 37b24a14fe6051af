//! Crowds of creators of one run.

use std::sync::Arc;

use world_core::{By, Due, List, NewRun, WorldExt};

use super::{handles, sent, together};
use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    listing::metas,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case!(Contention [A2] of_a_crowd_of_creators_one_makes_the_run)]
}

async fn of_a_crowd_of_creators_one_makes_the_run(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 6).await?;
    for round in 0..12 {
        let name = format!("run {round}");
        let creators = worlds.iter().enumerate().map(|(number, world)| {
            let (world, log) = (Arc::clone(world), run(&name));
            async move {
                let queue = queue(&format!("{number}"));
                let lease = (number % 2 == 0).then(|| (ticket(number as u8), FAR));
                let new = NewRun { queue, lease, ..new_run(Due::Now) };
                let body = format!("{number}");
                let create = append(0, &[&body], 1, By::Creator(new));
                Ok((number, sent(&*world, &log, &create).await?))
            }
        });
        let answers = together(creators).await?;
        let winners: Vec<_> =
            answers.iter().filter(|(_, answer)| *answer == committed(1)).collect();
        ensure_eq!(A2, winners.len(), 1, "how many of 6 creators made one run: {answers:?}");
        let told = answers.iter().filter(|(_, answer)| *answer == conflict(1)).count();
        ensure_eq!(A2, told, 5, "how many of 6 creators were told of a conflict: {answers:?}");
        let winner = winners.first().map(|(number, _)| format!("{number}")).unwrap_or_default();
        let page = worlds[1].read_all(&run(&name)).await?;
        let bodies: Vec<_> = page.records.iter().map(|r| r.body.as_bytes().to_vec()).collect();
        ensure_eq!(A2, bodies, [winner.as_bytes()], "what the log of a new run holds");
        let listed = metas(&*worlds[0], &List::all(count(64))).await?;
        let queues: Vec<_> = listed
            .iter()
            .filter(|meta| meta.run == id(&name))
            .map(|meta| meta.queue.as_str())
            .collect();
        ensure_eq!(A4, queues, [winner.as_str()], "the queue of the run as it is listed");
    }
    Ok(())
}
