//! Filters, each alone and together.

use world_core::{By, Due, Kind, List, NewRun, PhaseKind, RunMeta, Tag, WorkflowName, World};

use crate::{
    case::{Case, case},
    claimer::commits,
    failure::{Verdict, ensure_eq},
    kit::*,
    listing::{listed, metas},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [R4] each_filter_alone_lists_what_matches),
        case!(Contract [R4] filters_together_list_what_matches_all),
        case!(Contract [R4] each_phase_is_listed_as_it_is),
        case!(Contract [R4] the_span_of_creation_is_half_open),
        case!(Contract [R4] a_run_has_to_carry_all_of_the_tags),
        case!(Contract [R4] names_in_filters_are_compared_whole),
    ]
}

fn tag(number: u8) -> Tag {
    Tag::from_bytes([number; 16])
}

/// Thirty runs that differ in everything that a filter looks at.
async fn many(world: &dyn World) -> Verdict {
    for number in 0..30_u8 {
        let new = NewRun {
            queue: queue(["red", "green"][usize::from(number % 2)]),
            workflow: WorkflowName::new(["one", "two", "three"][usize::from(number % 3)])?,
            tags: vec![tag(number % 3), tag(100 + number % 5)],
            lease: (number % 5 == 4).then(|| (ticket(1), FAR)),
            ..new_run(match number % 5 {
                0 => Due::Now,
                1 => Due::At(at(900)),
                _ => Due::Never,
            })
        };
        let mut create = append(0, &["created"], u64::from(number / 3), By::Creator(new));
        create.records.iter_mut().for_each(|record| record.kind = Kind(u16::from(number % 4)));
        commits(world, &run(&format!("{number:02}")), &create).await?;
    }
    for number in [4, 14, 24] {
        let mut end = append(1, &["end"], 9, close(1, None));
        end.records.iter_mut().for_each(|record| record.kind = Kind(7));
        commits(world, &run(&format!("{number:02}")), &end).await?;
    }
    Ok(())
}

/// Whether a listing shows what of `all` matches, in small pages and in large ones.
async fn shows(world: &dyn World, all: &[RunMeta], list: List) -> Verdict {
    let wanted: Vec<_> = all.iter().filter(|meta| list.matches(meta)).collect();
    let wanted: Vec<_> = wanted.iter().map(|meta| meta.run.as_str()).collect();
    for size in [3, 100] {
        let list = List { limit: count(size), ..list.clone() };
        ensure_eq!(R4, listed(world, &list).await?, wanted, "what {list:?} lists");
    }
    Ok(())
}

async fn each_filter_alone_lists_what_matches(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    many(&world).await?;
    let every = List::all(count(100));
    let all = metas(&world, &every).await?;
    ensure_eq!(R4, all.len(), 30, "how many runs are listed without a filter");
    for name in ["red", "green", "none"] {
        shows(&world, &all, List { queue: Some(queue(name)), ..every.clone() }).await?;
    }
    for name in ["one", "two", "three", "four"] {
        let workflow = Some(WorkflowName::new(name)?);
        shows(&world, &all, List { workflow, ..every.clone() }).await?;
    }
    for kind in [0, 1, 2, 3, 4, 7, u16::MAX] {
        shows(&world, &all, List { last: Some(Kind(kind)), ..every.clone() }).await?;
    }
    for number in [0, 1, 2, 3, 100, 104, 105] {
        shows(&world, &all, List { tags: vec![tag(number)], ..every.clone() }).await?;
    }
    for span in [0..1, 3..5, 9..10, 10..99] {
        let created = Some(at(span.start)..at(span.end));
        shows(&world, &all, List { created, ..every.clone() }).await?;
    }
    Ok(())
}

async fn filters_together_list_what_matches_all(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    many(&world).await?;
    let every = List::all(count(100));
    let all = metas(&world, &every).await?;
    let full = List {
        queue: Some(queue("red")),
        workflow: Some(WorkflowName::new("one")?),
        phase: Some(PhaseKind::Closed),
        last: Some(Kind(7)),
        tags: vec![tag(0), tag(104)],
        created: Some(at(8)..at(9)),
        ..every.clone()
    };
    let names = listed(&world, &full).await?;
    ensure_eq!(R4, names, ["24"], "a listing with every filter");
    // Each filter in or out, all 64 ways, and some that nothing matches.
    for chosen in 0..64_u8 {
        let list = List {
            queue: full.queue.clone().filter(|_| chosen & 1 > 0),
            workflow: full.workflow.clone().filter(|_| chosen & 2 > 0),
            phase: full.phase.filter(|_| chosen & 4 > 0),
            last: full.last.filter(|_| chosen & 8 > 0),
            tags: if chosen & 16 > 0 { full.tags.clone() } else { Vec::new() },
            created: full.created.clone().filter(|_| chosen & 32 > 0),
            ..every.clone()
        };
        shows(&world, &all, list.clone()).await?;
    }
    let list = List { queue: Some(queue("green")), phase: Some(PhaseKind::Closed), ..every };
    shows(&world, &all, list).await
}

async fn each_phase_is_listed_as_it_is(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    many(&world).await?;
    let every = List::all(count(100));
    for (phase, wanted) in [
        (PhaseKind::Ready, vec![0, 5, 10, 15, 20, 25]),
        (PhaseKind::Waiting, vec![1, 6, 11, 16, 21, 26]),
        (PhaseKind::Parked, vec![2, 3, 7, 8, 12, 13, 17, 18, 22, 23, 27, 28]),
        (PhaseKind::Leased, vec![9, 19, 29]),
        (PhaseKind::Closed, vec![4, 14, 24]),
    ] {
        let wanted: Vec<_> = wanted.iter().map(|number| format!("{number:02}")).collect();
        for size in [2, 100] {
            let list = List { phase: Some(phase), limit: count(size), ..every.clone() };
            let names = listed(&world, &list).await?;
            ensure_eq!(R4, names, wanted, "the runs in phase {phase:?}, in pages of {size}");
        }
    }
    Ok(())
}

async fn the_span_of_creation_is_half_open(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (name, millis) in [("a", 0), ("b", 5), ("c", 6), ("d", 7), ("e", FAR.as_millis())] {
        commits(&world, &run(name), &create(Due::Never, millis)).await?;
    }
    let far = FAR.as_millis();
    for (span, wanted) in [
        (0..0, &[][..]),
        (0..1, &["a"]),
        (5..7, &["b", "c"]),
        (6..6, &[]),
        (0..far, &["a", "b", "c", "d"]),
        (7..far, &["d"]),
        (far..far, &[]),
        (8..far, &[]),
    ] {
        let created = Some(at(span.start)..at(span.end));
        let names = listed(&world, &List { created, ..List::all(count(2)) }).await?;
        ensure_eq!(R4, names, wanted, "the runs created in {span:?}");
    }
    // A span that ends before it begins has nothing in it.
    let list = List { created: Some(at(7)..at(5)), ..List::all(count(2)) };
    ensure_eq!(R4, listed(&world, &list).await?, [""; 0], "the runs created in 7..5");
    Ok(())
}

async fn a_run_has_to_carry_all_of_the_tags(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let mut almost = [1; 16];
    almost[15] = 2;
    let almost = Tag::from_bytes(almost);
    for (name, tags) in [
        ("none", vec![]),
        ("one", vec![tag(1)]),
        ("both", vec![tag(1), tag(2)]),
        ("other order", vec![tag(2), tag(1)]),
        ("repeated", vec![tag(1), tag(1)]),
        ("almost", vec![almost]),
        ("sixteen", (1..=16).map(tag).collect()),
    ] {
        let new = NewRun { tags, ..new_run(Due::Never) };
        commits(&world, &run(name), &append(0, &["created"], 1, By::Creator(new))).await?;
    }
    let with_two = &["both", "other order", "sixteen"];
    for (tags, wanted) in [
        (vec![tag(1)], &["both", "one", "other order", "repeated", "sixteen"][..]),
        (vec![tag(1), tag(2)], with_two),
        (vec![tag(2), tag(1)], with_two),
        (vec![tag(2), tag(2), tag(1)], with_two),
        (vec![almost], &["almost"]),
        (vec![tag(1), almost], &[]),
        ((1..=16).map(tag).collect(), &["sixteen"]),
        (vec![tag(1), tag(99)], &[]),
        (vec![tag(0)], &[]),
    ] {
        let list = List { tags: tags.clone(), ..List::all(count(2)) };
        ensure_eq!(R4, listed(&world, &list).await?, wanted, "the runs with {tags:?}");
    }
    Ok(())
}

async fn names_in_filters_are_compared_whole(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let names = ["name", "Name", "name ", "nam", "name%", "n_me", "námé", "*"];
    for name in names {
        let new = NewRun {
            queue: queue(name),
            workflow: WorkflowName::new(name)?,
            ..new_run(Due::Never)
        };
        commits(&world, &run(name), &append(0, &["created"], 1, By::Creator(new))).await?;
    }
    for name in names {
        let list = List { queue: Some(queue(name)), ..List::all(count(9)) };
        ensure_eq!(I1, listed(&world, &list).await?, [name], "the runs of queue {name:?}");
        let list = List { workflow: Some(WorkflowName::new(name)?), ..List::all(count(9)) };
        ensure_eq!(I1, listed(&world, &list).await?, [name], "the runs of workflow {name:?}");
    }
    Ok(())
}
