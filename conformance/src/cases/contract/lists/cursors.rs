//! Cursors are opaque, are kept as long as one likes, and may be anybody's.

use world_core::{Cursor, Due, ErrorKind, List, World};

use crate::{
    case::{Case, case},
    claimer::commits,
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    listing::Listing,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [R4] a_cursor_goes_on_from_its_place_each_time),
        case!(Contract [R4] a_cursor_goes_on_through_another_handle),
        case!(Contract [R4] a_cursor_that_is_none_is_refused_or_fits),
    ]
}

async fn some_runs(world: &dyn World) -> Verdict<Vec<String>> {
    let names: Vec<_> = (0..7).map(|number| format!("run {number}")).collect();
    for (number, name) in (0..).zip(&names) {
        commits(world, &run(name), &create(Due::Never, number / 3)).await?;
    }
    Ok(names)
}

async fn a_cursor_goes_on_from_its_place_each_time(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let wanted = some_runs(&world).await?;
    let mut listing = Listing::new(&world, List::all(count(2)));
    while listing.page().await?.is_some() {
        if listing.ended {
            break;
        }
        // From here the rest is listed, in pages of another size, without moving this cursor.
        for size in [1, 5] {
            let list = List { limit: count(size), ..listing.list.clone() };
            let mut rest = Listing::new(&world, list);
            while rest.page().await?.is_some() {}
            let both = listing.seen.intersection(&rest.seen).count();
            ensure!(R4, both == 0, "{both} runs before a cursor are listed after it again");
            let all: Vec<_> = listing.seen.union(&rest.seen).cloned().collect();
            ensure_eq!(R4, all, wanted, "the runs before a cursor and those after it");
        }
    }
    ensure_eq!(R4, listing.names().await?, wanted, "the whole listing");
    Ok(())
}

async fn a_cursor_goes_on_through_another_handle(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let wanted = some_runs(&world).await?;
    let other = subject.open().await?;
    let mut listing = Listing::new(&world, List::all(count(1)));
    let mut turn = 0;
    while listing.page().await?.is_some() {
        turn += 1;
        // Its bytes are all there is of it: they may come back from a client.
        let bytes = listing.list.after.as_ref().map(|cursor| cursor.as_bytes().to_vec());
        listing.list.after = bytes.map(Cursor::from_bytes);
        listing.world = if turn % 2 == 0 { &world } else { &other };
    }
    ensure_eq!(R4, listing.names().await?, wanted, "a listing through two handles in turn");
    Ok(())
}

async fn a_cursor_that_is_none_is_refused_or_fits(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    some_runs(&world).await?;
    let mut cursors = vec![
        Vec::new(),
        b"0".to_vec(),
        b"run 3".to_vec(),
        vec![0; 9],
        vec![0xFF; 9],
        vec![0xFF; 17],
        vec![1, 0x80, 0, 0, 0, 0, 0, 0, 0],
        vec![7; 4_096],
        "👩‍🚀".into(),
    ];
    // A true one, cut, lengthened and with each of its first bytes turned.
    let first = world.list(&List::all(count(2))).await?.next;
    let first = first.map(|cursor| cursor.as_bytes().to_vec()).unwrap_or_default();
    cursors.push(first.iter().copied().take(first.len() / 2).collect());
    cursors.push(first.iter().copied().chain([0]).collect());
    for place in 0..first.len().min(24) {
        let turned = |(index, byte): (usize, &u8)| if index == place { byte ^ 0x80 } else { *byte };
        cursors.push(first.iter().enumerate().map(turned).collect());
    }
    for bytes in cursors {
        let after = Some(Cursor::from_bytes(bytes.clone()));
        match world.list(&List { after, ..List::all(count(2)) }).await {
            Ok(page) => {
                let listed = page.runs.len();
                ensure!(R4, listed <= 2, "after a strange cursor, a page of 2 has {listed} runs");
            }
            Err(error) => ensure_eq!(
                R4,
                error.kind(),
                ErrorKind::Invalid,
                "the error for a cursor that is none, {bytes:?} ({error})"
            ),
        }
    }
    Ok(())
}
