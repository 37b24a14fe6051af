//! What the factory has promised, before any rule.

use world_core::Due;

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict},
    kit::*,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case!(Contract [] the_factory_gives_each_site_data_of_its_own)]
}

async fn the_factory_gives_each_site_data_of_its_own(subject: Subject) -> Verdict {
    let elsewhere = subject.elsewhere()?;
    let (world, other) = (subject.open().await?, elsewhere.open().await?);
    let log = run("the factory's");
    world.append(&log, &create(Due::Never, 1)).await?;
    let wrong = |what| Err(Failure::failed(format!("{what}; all other cases rest on this")));
    if other.read(&log, pos(0), count(1)).await?.head != pos(0) {
        return wrong(
            "the factory gave one site's data for another: use site.dir() or site.name()",
        );
    }
    if subject.open().await?.read(&log, pos(0), count(1)).await?.head != pos(1) {
        return wrong(
            "the factory gave other data for the same site: what is at a site has to stay",
        );
    }
    Ok(())
}
