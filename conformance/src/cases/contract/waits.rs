//! The one call that lets time pass.

use std::time::Duration;

use world_core::{Due, Position, Wait};

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict},
    kit::*,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case!(Contract [] a_wait_ends_whatever_happens)]
}

/// A wait is a hint, so it may end early; that it ends is all that is asked of it. A World in
/// which it does not hangs here, and the watch over its calls says so.
async fn a_wait_ends_whatever_happens(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = run("run");
    world.append(&log, &create(Due::Now, 1)).await?;
    let waits = [
        (Vec::new(), Vec::new(), 5),
        (vec![queue("queue"), queue("empty")], Vec::new(), 5),
        (Vec::new(), vec![(log.clone(), pos(1)), (run("absent"), Position::START)], 5),
        (vec![queue("queue")], vec![(log, Position::START), (token("t"), pos(7))], 0),
    ];
    for (number, (queues, logs, millis)) in (1..).zip(waits) {
        let wait = Wait { queues, logs, at_most: Duration::from_millis(millis) };
        if let Err(error) = world.wait(&wait).await {
            return Err(Failure::from(error).while_doing(format_args!("wait {number}")));
        }
    }
    Ok(())
}
