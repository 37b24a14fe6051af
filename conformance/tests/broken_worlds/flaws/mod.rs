//! The broken Worlds, by theme.

mod again;
mod appends;
mod at_the_head;
mod attacked;
mod bodies;
mod deletes;
mod due;
mod durable;
mod excepted;
mod killed;
mod leases;
mod limits;
mod lists;
mod logs_of;
mod names;
mod open;
mod order;
mod patience;
mod reads;
mod same;
mod signals;
mod staged;
mod tickets;

use crate::flaw::Flaw;

/// All of them, in the order of the rules.
pub(crate) fn flaws() -> Vec<Flaw> {
    let themes = [
        appends::flaws(),
        staged::flaws(),
        at_the_head::flaws(),
        open::flaws(),
        again::flaws(),
        same::flaws(),
        reads::flaws(),
        lists::flaws(),
        leases::flaws(),
        order::flaws(),
        due::flaws(),
        tickets::flaws(),
        signals::flaws(),
        logs_of::flaws(),
        deletes::flaws(),
        limits::flaws(),
        bodies::flaws(),
        names::flaws(),
        durable::flaws(),
        killed::flaws(),
        attacked::flaws(),
        patience::flaws(),
        excepted::flaws(),
    ];
    let mut flaws: Vec<_> = themes.into_iter().flatten().collect();
    flaws.sort_by_key(|flaw| flaw.rule);
    flaws
}
