//! What was acknowledged is there after a reopening and a kill.

mod appends;
mod flows;
mod lane;
mod left;
mod lives;
mod look;
mod reopening;

use futures::future::BoxFuture;

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict},
    part::{Player, Stage},
    subject::Subject,
};

use {
    appends::{many_runs_keep_what_was_acknowledged, one_run_keeps_what_was_acknowledged},
    flows::a_step_that_was_taken_never_begins_again,
    left::what_was_left_is_as_it_was_left,
    lives::claims_and_deletions_are_kept,
    reopening::everything_is_there_after_a_reopening,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Durability [R1, L1, L5, D2] everything_is_there_after_a_reopening),
        case!(Durability [A1, A3, R1] one_run_keeps_what_was_acknowledged),
        case!(Durability [A1, A4, R1] many_runs_keep_what_was_acknowledged),
        case!(Durability [A1, A4, R1, L1, L2, L3, L4, L5, D2] what_was_left_is_as_it_was_left),
        case!(Durability [A4, L1, L5, D2] claims_and_deletions_are_kept),
        case!(Durability [A1, R1] a_step_that_was_taken_never_begins_again),
    ]
}

type Part = fn(Stage) -> BoxFuture<'static, Verdict>;

/// What a second process does, by its name.
pub(super) fn part(name: &str) -> Option<Part> {
    let part: Part = match name {
        appends::PART => |stage| Box::pin(appends::play(stage)),
        left::PART => |stage| Box::pin(left::play(stage)),
        lives::PART => |stage| Box::pin(lives::play(stage)),
        flows::PART => |stage| Box::pin(flows::play(stage)),
        _ => return None,
    };
    Some(part)
}

/// Ends a case that proves nothing of a World that forgets with its process.
async fn durable(subject: &Subject) -> Verdict {
    if subject.open().await?.info().durable {
        return Ok(());
    }
    Err(Failure::not_proven("WorldInfo::durable is false: it forgets with its process"))
}

/// Lets a second process go on until it has told so many lines, and kills it; gives all its lines.
async fn killed_after(mut player: Player, lines: u64) -> Verdict<Vec<String>> {
    let mut told = Vec::new();
    while (told.len() as u64) < lines {
        told.push(player.line().await?);
        if told.last().is_some_and(|line| line == DONE) {
            break;
        }
    }
    told.extend(player.kill().await?);
    Ok(told)
}

/// What a second process tells when it has nothing left to do.
const DONE: &str = "done";

/// A number drawn from others.
pub(in crate::cases) const fn draw(seed: u64, from: u64) -> u64 {
    let z = (seed ^ from.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
