//! Listings that skip, repeat or show what is not asked for: rule R4.

use std::collections::BTreeMap;

use world_core::{Cursor, List, Phase, RunMeta, RunPage, Timestamp, head::Head};

use crate::{
    flaw::{Flaw, flaw},
    logs::Logs,
};

/// A page of these runs, by their number from the start.
fn by_offset(all: Vec<RunMeta>, list: &List) -> RunPage {
    let offset = list.after.as_ref().and_then(|cursor| cursor.as_bytes().try_into().ok());
    let offset = offset.map_or(0, u64::from_be_bytes) as usize;
    let matching: Vec<_> = all.into_iter().filter(|run| list.matches(run)).collect();
    let end = offset + list.limit.get() as usize;
    let runs: Vec<_> = matching.iter().skip(offset).take(end - offset).cloned().collect();
    let next = (end < matching.len()).then(|| Cursor::from_bytes((end as u64).to_be_bytes()));
    RunPage { runs, next }
}

/// A flaw that leaves a filter out.
macro_rules! without {
    ($name:literal, $what:literal, $filter:ident: $none:expr) => {
        flaw!(
            R4,
            $name,
            $what,
            list = |logs, list| { logs.list(&List { $filter: $none, ..list.clone() }) }
        )
    };
}

/// A flaw that shows something of a run that is not so.
macro_rules! shows {
    ($name:literal, $what:literal, $change:expr) => {
        flaw!(
            R4,
            $name,
            $what,
            list = |logs, list| {
                let change: fn(&mut Logs, &mut RunMeta) = $change;
                let mut page = logs.list(list)?;
                page.runs.iter_mut().for_each(|run| change(logs, run));
                Ok(page)
            }
        )
    };
}

pub(crate) fn flaws() -> Vec<Flaw> {
    [pages(), filters(), metas()].into_iter().flatten().collect()
}

fn pages() -> Vec<Flaw> {
    vec![
        flaw!(
            R4,
            "offset",
            "a cursor is a number of runs: a deletion makes the next page skip one",
            list = |logs, list| Ok(by_offset(logs.metas().into_values().collect(), list)),
        ),
        flaw!(
            R4,
            "newest_first_by_offset",
            "the newest run is first and a cursor is a number: a new run makes the next page repeat one",
            list = |logs, list| Ok(by_offset(logs.metas().into_values().rev().collect(), list)),
        ),
        flaw!(
            R4,
            "by_last_change",
            "runs are listed by their heads: one that grows is shown twice or not at all",
            list = |logs, list| {
                let mut all: Vec<_> = logs.metas().into_values().collect();
                all.sort_by_key(|run| (run.head, run.created, run.run.clone()));
                Ok(by_offset(all, list))
            },
        ),
        flaw!(
            R4,
            "cursor_of_created",
            "a cursor is a time: runs that were created in the same millisecond are skipped",
            list = |logs, list| {
                let after =
                    list.after.as_ref().and_then(|cursor| cursor.as_bytes().try_into().ok());
                let after = after.map(u64::from_be_bytes);
                let is_left = |run: &RunMeta| {
                    list.matches(run) && after.is_none_or(|after| run.created.as_millis() > after)
                };
                let left: Vec<_> = logs.metas().into_values().filter(is_left).collect();
                let runs: Vec<_> = left.iter().take(list.limit.get() as usize).cloned().collect();
                let next = runs.last().filter(|_| left.len() > runs.len());
                let next =
                    next.map(|run| Cursor::from_bytes(run.created.as_millis().to_be_bytes()));
                Ok(RunPage { runs, next })
            },
        ),
        flaw!(
            R4,
            "cursor_includes_its_run",
            "a page begins with the last run of the page before",
            list = |logs, list| {
                let mut page = logs.list(list)?;
                let last = list.after.as_ref().map(Cursor::as_bytes).unwrap_or_default();
                let last = logs
                    .metas()
                    .into_iter()
                    .find(|((_, id), _)| last.ends_with(id.as_str().as_bytes()));
                if let (Some((_, run)), true) = (last, list.after.is_some()) {
                    page.runs.insert(0, run);
                }
                Ok(page)
            },
        ),
        flaw!(
            R4,
            "ends_at_an_empty_page",
            "the filter comes after the limit, and a page with no match is the last one",
            list = |logs, list| {
                let all = List { after: list.after.clone(), ..List::all(list.limit) };
                let mut page = logs.list(&all)?;
                page.runs.retain(|run| list.matches(run));
                if page.runs.is_empty() {
                    page.next = None;
                }
                Ok(page)
            },
        ),
        flaw!(
            R4,
            "limit_of_31_bits",
            "a listing of more than 2^31 runs a page is empty",
            list = |logs, list| {
                let page = logs.list(list)?;
                let is_large = list.limit.get() > i32::MAX as u32;
                Ok(if is_large { RunPage { runs: Vec::new(), next: None } } else { page })
            },
        ),
        flaw!(
            R4,
            "lists_1000_runs",
            "a listing ends after 1000 runs",
            list = |logs, list| {
                let mut page = logs.list(list)?;
                let first: Vec<_> = logs.metas().into_keys().take(1000).map(|(_, id)| id).collect();
                page.runs.retain(|run| first.contains(&run.run));
                Ok(page)
            },
        ),
        flaw!(
            R4,
            "one_page_only",
            "a listing has one page",
            list = |logs, list| Ok(RunPage { next: None, ..logs.list(list)? }),
        ),
        flaw!(
            R4,
            "deleted_are_listed",
            "a deleted run stays in the listing",
            list = |logs, list| logs.list(list),
            delete = |logs, log, head| {
                let old = logs.head_mut(log).cloned();
                let deleted = logs.delete(log, head)?;
                if let (Some(Head { run: Some(run), .. }), Some(tombstone)) =
                    (old, logs.head_mut(log))
                    && tombstone.deleted
                {
                    tombstone.run = Some(run);
                }
                Ok(deleted)
            },
        ),
        flaw!(
            R4,
            "closed_are_left_out",
            "a closed run is not listed unless one asks for the closed ones",
            list = |logs, list| {
                let mut page = logs.list(list)?;
                page.runs.retain(|run| list.phase.is_some() || run.phase != Phase::Closed);
                Ok(page)
            },
        ),
    ]
}

fn filters() -> Vec<Flaw> {
    vec![
        without!("any_queue", "the filter by queue is ignored", queue: None),
        without!("any_workflow", "the filter by workflow is ignored", workflow: None),
        without!("any_phase", "the filter by phase is ignored", phase: None),
        without!("any_last", "the filter by the last record's kind is ignored", last: None),
        without!("any_tags", "the filter by tags is ignored", tags: Vec::new()),
        without!("any_created", "the filter by creation time is ignored", created: None),
        flaw!(
            R4,
            "one_of_the_tags",
            "a run with one of the tags matches, not only one with all",
            list = |logs, list| {
                let mut page = logs.list(&List { tags: Vec::new(), ..list.clone() })?;
                let has_one = |run: &RunMeta| list.tags.iter().any(|tag| run.tags.contains(tag));
                page.runs.retain(|run| list.tags.is_empty() || has_one(run));
                Ok(page)
            },
        ),
        flaw!(
            R4,
            "first_tag_only",
            "only the first tag is looked for",
            list = |logs, list| {
                let tags = list.tags.first().copied().into_iter().collect();
                logs.list(&List { tags, ..list.clone() })
            },
        ),
        flaw!(
            R4,
            "span_includes_its_end",
            "the span of creation times includes its end",
            list = |logs, list| {
                let span = list.created.clone();
                let created =
                    span.map(|span| span.start..Timestamp::from_millis(span.end.as_millis() + 1));
                logs.list(&List { created, ..list.clone() })
            },
        ),
        flaw!(
            R4,
            "span_without_its_start",
            "the span of creation times leaves out its start",
            list = |logs, list| {
                let span = list.created.clone();
                let created =
                    span.map(|span| Timestamp::from_millis(span.start.as_millis() + 1)..span.end);
                logs.list(&List { created, ..list.clone() })
            },
        ),
        flaw!(
            R4,
            "tags_of_the_creator",
            "the filter looks at the tags of the creation, not at those of now",
            append = |logs, log, append| {
                if let world_core::By::Creator(new) = &append.by {
                    for (index, tag) in new.tags.iter().enumerate() {
                        let key = format!("{log:?} {index} {tag:?}");
                        logs.notes.numbers.insert(key, 1);
                    }
                }
                logs.append(log, append)
            },
            list = |logs, list| {
                let mut page = logs.list(&List { tags: Vec::new(), ..list.clone() })?;
                let notes: &BTreeMap<String, u64> = &logs.notes.numbers;
                page.runs.retain(|run| {
                    let log = world_core::LogId::Run(run.run.clone());
                    list.tags.iter().all(|tag| {
                        notes.keys().any(|key| {
                            key.starts_with(&format!("{log:?} "))
                                && key.ends_with(&format!(" {tag:?}"))
                        })
                    })
                });
                Ok(page)
            },
        ),
    ]
}

fn metas() -> Vec<Flaw> {
    vec![
        shows!("parent_lost", "a run's parent is not kept", |_, run| run.parent = None),
        shows!("tags_lost", "a run's tags are not kept", |_, run| run.tags.clear()),
        shows!("tags_sixteenth_lost", "of 16 tags 15 are kept", |_, run| run.tags.truncate(15)),
        shows!("workflow_is_the_queue", "a run's workflow is shown as its queue", |_, run| {
            if let Ok(name) = world_core::WorkflowName::new(run.queue.as_str()) {
                run.workflow = name;
            }
        }),
        shows!("key_lost", "every run shows the same key", |_, run| {
            if let Ok(key) = world_core::KeyId::new("key") {
                run.key = key;
            }
        }),
        shows!("head_of_the_creation", "a listing shows the head of the creation", |_, run| {
            run.head = world_core::Position::new(1);
        }),
        shows!(
            "last_of_the_creation",
            "a listing shows the kind of the first record",
            |logs, run| {
                let first = logs.records_of(&world_core::LogId::Run(run.run.clone()));
                run.last = first.first().map_or(run.last, |record| record.kind);
            }
        ),
        shows!(
            "created_now",
            "a listing shows the time of the last change as that of the creation",
            |logs, run| {
                let last = logs.records_of(&world_core::LogId::Run(run.run.clone()));
                run.created = last.last().map_or(run.created, |record| record.at);
            }
        ),
        shows!(
            "closed_looks_parked",
            "a closed run that is parked is shown as parked",
            |_, run| {
                if run.phase == Phase::Closed {
                    run.phase = Phase::Parked;
                }
            }
        ),
        shows!("waiting_until_0", "a waiting run's time is not shown", |_, run| {
            if let Phase::Waiting(_) = run.phase {
                run.phase = Phase::Waiting(Timestamp::ZERO);
            }
        }),
    ]
}
