//! Cursors hold while everything changes between the pages.

use world_core::{By, Due, List, PhaseKind, Tag, World};

use crate::{
    case::{Case, case},
    claimer::{Claimer, commits},
    failure::{Verdict, ensure},
    kit::*,
    listing::Listing,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [R4] runs_deleted_behind_the_cursor_hide_no_other),
        case!(Contract [R4] the_run_at_the_cursor_may_be_deleted),
        case!(Contract [R4] runs_created_on_both_sides_of_the_cursor_repeat_none),
        case!(Contract [R4] runs_that_change_between_pages_are_listed_once),
        case!(Contract [R4] runs_that_stop_matching_hide_no_other),
    ]
}

/// Runs "run 00" and on, two by two of one time, leased by ticket 1; in small pages.
async fn leased_runs(world: &dyn World, runs: u64) -> Verdict<Vec<String>> {
    let mut names = Vec::new();
    for number in 0..runs {
        let name = format!("run {:02}", number * 7 % runs);
        commits(world, &run(&name), &create_leased(1, FAR, 100 + number / 2)).await?;
        names.push(name);
    }
    Ok(names)
}

async fn delete(world: &dyn World, name: &str) -> Verdict {
    commits(world, &run(name), &append(1, &["end"], 9, close(1, None))).await?;
    world.delete(&run(name), pos(2)).await?;
    Ok(())
}

/// Ends a case in which runs are not listed that were there and matched all the time.
fn all_seen(wanted: &[String], listing: &Listing<'_>, meanwhile: &str) -> Verdict {
    let missing: Vec<_> = wanted.iter().filter(|name| !listing.seen.contains(*name)).collect();
    let size = listing.list.limit;
    ensure!(R4, missing.is_empty(), "in pages of {size}, {missing:?} are not listed; {meanwhile}");
    Ok(())
}

async fn runs_deleted_behind_the_cursor_hide_no_other(subject: Subject) -> Verdict {
    for size in [1, 2, 3, 5] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        let names = leased_runs(&world, 12).await?;
        let mut listing = Listing::new(&world, List::all(count(size)));
        while let Some(page) = listing.page().await? {
            for meta in page {
                delete(&world, meta.run.as_str()).await?;
            }
        }
        all_seen(&names, &listing, "those of each page were deleted before the next")?;
    }
    Ok(())
}

async fn the_run_at_the_cursor_may_be_deleted(subject: Subject) -> Verdict {
    for is_last in [true, false] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        let names = leased_runs(&world, 9).await?;
        let mut listing = Listing::new(&world, List::all(count(2)));
        while let Some(page) = listing.page().await? {
            if let Some(meta) = if is_last { page.last() } else { page.first() } {
                delete(&world, meta.run.as_str()).await?;
            }
        }
        let which = if is_last { "last" } else { "first" };
        all_seen(
            &names,
            &listing,
            &format!("the {which} of each page was deleted before the next"),
        )?;
    }
    Ok(())
}

async fn runs_created_on_both_sides_of_the_cursor_repeat_none(subject: Subject) -> Verdict {
    for size in [1, 2, 3] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        let names = leased_runs(&world, 10).await?;
        // One that comes twice fails in the listing; new ones stop coming, so that it can end.
        let mut listing = Listing::new(&world, List::all(count(size)));
        while listing.page().await?.is_some() {
            if listing.pages > 12 {
                continue;
            }
            for (side, millis) in [("a", 1), ("run", 102), ("z", 999)] {
                let name = format!("{side} new {}", listing.pages);
                commits(&world, &run(&name), &create(Due::Never, millis)).await?;
            }
        }
        all_seen(&names, &listing, "others were created between pages")?;
    }
    Ok(())
}

async fn runs_that_change_between_pages_are_listed_once(subject: Subject) -> Verdict {
    for size in [1, 3] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        let mut names = leased_runs(&world, 8).await?;
        for number in 0..8 {
            let name = format!("other {number}");
            commits(&world, &run(&name), &create_in("other", Due::Now, number)).await?;
            names.push(name);
        }
        let claimer = Claimer::of(&world, &["other"]);
        let mut listing = Listing::new(&world, List::all(count(size)));
        while listing.page().await?.is_some() {
            let now = listing.pages as u64;
            claimer.claim(now, now + 2, 2).await?;
            // What was listed and what is to come: signalled, tagged, closed, given back.
            for number in [now % 8, (now + 5) % 8] {
                let log = run(&format!("run {number:02}"));
                let head = world.read(&log, pos(0), count(1)).await?.head.get();
                let tags = Some(vec![Tag::from_bytes([number as u8; 16])]);
                let by = match now % 4 {
                    0 => By::Outsider,
                    1 => By::Owner { ticket: ticket(1), close: false, rest: None, tags },
                    2 => close(1, None),
                    _ => rest(1, Due::At(at(now))),
                };
                // It may be closed or given back already, and is then as it is.
                world.append(&log, &append(head, &["more"], 1_000 + now, by)).await?;
            }
        }
        all_seen(&names, &listing, "runs changed between pages")?;
    }
    Ok(())
}

async fn runs_that_stop_matching_hide_no_other(subject: Subject) -> Verdict {
    for size in [1, 2, 3] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        let names = leased_runs(&world, 12).await?;
        let list = List { phase: Some(PhaseKind::Leased), ..List::all(count(size)) };
        let mut listing = Listing::new(&world, list);
        while let Some(page) = listing.page().await? {
            for meta in page {
                let parks = append(1, &[], 500, rest(1, Due::Never));
                commits(&world, &meta.run.into(), &parks).await?;
            }
        }
        all_seen(&names, &listing, "the leased runs of each page were given back before the next")?;
    }
    Ok(())
}
