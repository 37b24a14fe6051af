//! What a listing says of a run.

use world_core::{By, Due, KeyId, Kind, List, NewRun, Phase, RunMeta, Tag, WorkflowName, World};

use crate::{
    case::{Case, case},
    claimer::{Claimer, by, close_by, commits, rest_by, with_run},
    failure::{Failure, Verdict, ensure_eq},
    kit::*,
    listing::metas,
    rule::Rule::{A5, L2},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [R4] a_listing_says_what_the_creator_said),
        case!(Contract [R4] a_listing_says_how_far_a_run_is),
        case!(Contract [R4] tags_are_as_last_set),
    ]
}

/// The only run there is, as it is listed.
async fn only(world: &dyn World) -> Verdict<RunMeta> {
    let mut found = metas(world, &List::all(count(9))).await?;
    match (found.pop(), found.len()) {
        (Some(meta), 0) => Ok(meta),
        (meta, more) => {
            let runs = more + usize::from(meta.is_some());
            Err(Failure::broken(crate::Rule::R4, format!("{runs} runs are listed, where 1 is")))
        }
    }
}

fn name<T, E>(made: Result<T, E>) -> Verdict<T>
where
    Failure: From<E>,
{
    Ok(made?)
}

async fn a_listing_says_what_the_creator_said(subject: Subject) -> Verdict {
    for (parent, tags) in
        [(None, vec![]), (Some("parent"), vec![3, 1, 2]), (Some("p"), vec![0; 16])]
    {
        let tags: Vec<_> =
            (0..).zip(tags).map(|(n, tag)| Tag::from_bytes([tag + n * 16; 16])).collect();
        let new = NewRun {
            queue: queue("some queue"),
            workflow: name(WorkflowName::new("some workflow"))?,
            due: Due::At(at(500)),
            parent: parent.map(id),
            tags: tags.clone(),
            key: name(KeyId::new("some key"))?,
            lease: None,
        };
        let mut create = append(0, &["one", "two"], 77, By::Creator(new.clone()));
        for (kind, record) in [4, 40_000].into_iter().zip(&mut create.records) {
            record.kind = Kind(kind);
            record.at = at(5);
        }
        let subject = subject.elsewhere()?;
        let (world, _) = with_run(&subject, create).await?;
        let wanted = RunMeta {
            run: id("a"),
            workflow: new.workflow,
            queue: new.queue,
            parent: new.parent,
            tags,
            created: at(77),
            head: pos(2),
            last: Kind(40_000),
            key: new.key,
            phase: Phase::Waiting(at(500)),
        };
        ensure_eq!(R4, only(&world).await?, wanted, "what is listed of a new run");
    }
    Ok(())
}

async fn a_listing_says_how_far_a_run_is(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Never, 5)).await?;
    let first = only(&world).await?;
    let seen = |head: u64, kind: u16, phase: Phase| RunMeta {
        head: pos(head),
        last: Kind(kind),
        phase,
        ..first.clone()
    };
    let of_kind = |kind: u16, mut append: world_core::Append| {
        append.records.iter_mut().for_each(|record| record.kind = Kind(kind));
        append
    };
    let log = run("a");
    ensure_eq!(R4, first.phase, Phase::Parked, "the phase of a parked run");
    commits(&world, &log, &of_kind(2, append(1, &["signal"], 9, By::Outsider))).await?;
    ensure_eq!(R4, only(&world).await?, seen(2, 2, Phase::Ready), "a run that was woken");
    let lease = claimer.takes(L2, "a", (10, 100), "an outsider has woken it").await?;
    ensure_eq!(R4, only(&world).await?, seen(2, 2, Phase::Leased), "a run that was claimed");
    commits(&world, &log, &of_kind(3, append(2, &["step"], 11, by(lease.ticket)))).await?;
    ensure_eq!(R4, only(&world).await?, seen(3, 3, Phase::Leased), "a run after its owner's step");
    commits(&world, &stream("a", "s"), &of_kind(9, append(0, &["chunk"], 11, by(lease.ticket))))
        .await?;
    ensure_eq!(R4, only(&world).await?, seen(3, 3, Phase::Leased), "a run whose stream has grown");
    let naps = append(3, &[], 12, rest_by(lease.ticket, Due::At(at(200))));
    commits(&world, &log, &naps).await?;
    let waiting = Phase::Waiting(at(200));
    ensure_eq!(R4, only(&world).await?, seen(3, 3, waiting), "a run that rests until 200");
    let lease = claimer.takes(L2, "a", (200, 300), "it rests until 200").await?;
    Claimer::of(&world, &["other"]).claim(9_999, 9_999, 1).await?;
    let what = "a run whose lease ran out, and that nobody has claimed";
    ensure_eq!(R4, only(&world).await?, seen(3, 3, Phase::Leased), "{what}");
    commits(&world, &log, &append(3, &[], 12, rest_by(lease.ticket, Due::Now))).await?;
    ensure_eq!(R4, only(&world).await?, seen(3, 3, Phase::Ready), "a run that rests until now");
    let lease = claimer.takes(L2, "a", (300, 400), "it is ready").await?;
    commits(&world, &log, &of_kind(7, append(3, &["end"], 301, close_by(lease.ticket, None))))
        .await?;
    for due in [Due::Now, Due::At(at(500)), Due::Never] {
        let what = "a closed run, whoever has it and whenever it is due";
        ensure_eq!(R4, only(&world).await?, seen(4, 7, Phase::Closed), "{what}");
        let lease = claimer.takes(A5, "a", (400, 400), "it is closed and due").await?;
        commits(&world, &log, &append(4, &[], 401, rest_by(lease.ticket, due))).await?;
        ensure_eq!(R4, only(&world).await?, seen(4, 7, Phase::Closed), "{what}");
        if let Due::At(time) = due {
            let time = time.as_millis();
            claimer.takes(A5, "a", (time, 0), "it is closed and rested until 500").await?;
        }
    }
    Ok(())
}

async fn tags_are_as_last_set(subject: Subject) -> Verdict {
    let tag = |number| Tag::from_bytes([number; 16]);
    let new =
        NewRun { tags: vec![tag(1), tag(2)], lease: Some((ticket(1), FAR)), ..new_run(Due::Now) };
    let create = append(0, &["created"], 1, By::Creator(new));
    let (world, _) = with_run(&subject, create).await?;
    let mut head = 1;
    for (bodies, tags) in [
        (&["step"][..], Some(vec![tag(3)])),
        (&["step"], None),
        (&[], Some(vec![tag(2), tag(1), tag(4)])),
        (&[], Some(vec![])),
        (&["step"], Some((0..16).map(tag).collect())),
    ] {
        let before = only(&world).await?.tags;
        let by = By::Owner { ticket: ticket(1), close: false, rest: None, tags: tags.clone() };
        commits(&world, &run("a"), &append(head, bodies, 2, by)).await?;
        head += bodies.len() as u64;
        let meta = only(&world).await?;
        ensure_eq!(R4, meta.tags, tags.unwrap_or(before), "the tags after an append");
        ensure_eq!(R4, meta.head, pos(head), "the head after an append with tags");
    }
    Ok(())
}
