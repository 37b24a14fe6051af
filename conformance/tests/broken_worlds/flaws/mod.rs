//! The broken Worlds, by theme.

mod again;
mod appends;
mod deletes;
mod due;
mod durable;
mod leases;
mod limits;
mod lists;
mod logs_of;
mod names;
mod open;
mod reads;

use crate::flaw::Flaw;

/// All of them, in the order of the rules.
pub(crate) fn flaws() -> Vec<Flaw> {
    let themes = [
        appends::flaws(),
        open::flaws(),
        again::flaws(),
        reads::flaws(),
        lists::flaws(),
        leases::flaws(),
        due::flaws(),
        logs_of::flaws(),
        deletes::flaws(),
        limits::flaws(),
        names::flaws(),
        durable::flaws(),
    ];
    let mut flaws: Vec<_> = themes.into_iter().flatten().collect();
    flaws.sort_by_key(|flaw| flaw.rule);
    flaws
}
