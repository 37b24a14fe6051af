//! Pages: together they have every run once, whatever their size.

use world_core::{By, Deleted, Due, List, World};

use crate::{
    case::{Case, case},
    claimer::commits,
    failure::{Verdict, ensure_eq},
    kit::*,
    listing::listed,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [R4] an_empty_world_lists_nothing),
        case!(Contract [R4] pages_of_any_size_have_every_run_once),
        case!(Contract [R4] runs_created_at_one_time_are_each_listed),
        case!(Contract [R4] only_runs_are_listed_and_no_deleted_ones),
        case!(Contract [R4] a_run_is_listed_at_once_through_any_handle),
    ]
}

async fn an_empty_world_lists_nothing(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let names = listed(&world, &List::all(count(5))).await?;
    ensure_eq!(R4, names, [""; 0], "what an empty World lists");
    Ok(())
}

async fn pages_of_any_size_have_every_run_once(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let mut wanted = Vec::new();
    for number in 0..14_u64 {
        let name = format!("run {:02}", number * 5 % 14);
        // Neither in the order of their names nor in that of their times.
        commits(&world, &run(&name), &create(Due::Never, number * 3 % 5)).await?;
        wanted.push(name);
        wanted.sort();
        let sizes: &[u32] = if number == 13 { &[1, 2, 7, 13, 14, 15, u32::MAX] } else { &[4] };
        for size in sizes {
            let names = listed(&world, &List::all(count(*size))).await?;
            ensure_eq!(R4, names, wanted, "a listing in pages of {size}");
        }
    }
    Ok(())
}

async fn runs_created_at_one_time_are_each_listed(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    // A cursor that is a time alone skips or repeats the others of that time.
    let wanted = ["a", "b", "c", "d", "e", "f"];
    for name in ["d", "a", "f", "b", "e", "c"] {
        commits(&world, &run(name), &create(Due::Never, 7)).await?;
    }
    for size in [1, 2, 4] {
        let names = listed(&world, &List::all(count(size))).await?;
        ensure_eq!(R4, names, wanted, "runs created at one time, in pages of {size}");
        let list = List { created: Some(at(7)..at(8)), ..List::all(count(size)) };
        let names = listed(&world, &list).await?;
        ensure_eq!(R4, names, wanted, "the runs created at that time, in pages of {size}");
    }
    Ok(())
}

async fn only_runs_are_listed_and_no_deleted_ones(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for name in ["a", "b", "c"] {
        commits(&world, &run(name), &create_leased(1, FAR, 1)).await?;
        commits(&world, &stream(name, "stream"), &append(0, &["chunk"], 1, owner(1))).await?;
        commits(&world, &token(name), &append(0, &["claimed"], 1, By::Outsider)).await?;
    }
    for (name, wanted) in [("b", &["a", "c"][..]), ("a", &["c"]), ("c", &[])] {
        commits(&world, &run(name), &append(1, &["end"], 2, close(1, None))).await?;
        let deleted = world.delete(&run(name), pos(2)).await?;
        ensure_eq!(D1, deleted, Deleted::Done, "the deletion of closed run {name}");
        let names = listed(&world, &List::all(count(2))).await?;
        ensure_eq!(R4, names, wanted, "what is listed after run {name} was deleted");
    }
    Ok(())
}

async fn a_run_is_listed_at_once_through_any_handle(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (number, name) in (1..).zip(["b", "a", "c"]) {
        commits(&world, &run(name), &create(Due::Never, 1)).await?;
        for handle in [&world, &other] {
            let names = listed(handle, &List::all(count(9))).await?;
            ensure_eq!(
                R4,
                names.len(),
                number,
                "how many runs are listed after {name} was created"
            );
        }
    }
    Ok(())
}
