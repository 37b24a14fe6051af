//! A listing, page by page, that checks what every listing must keep.

use std::collections::BTreeSet;

use world_core::{List, RunMeta, World};

use crate::failure::{Verdict, ensure};

/// The most pages of a listing: a page may be empty though more follow, but it has to end.
const PAGES_MAX: usize = 4 * 1024;

/// A listing under way.
pub(crate) struct Listing<'a> {
    pub(crate) world: &'a dyn World,
    pub(crate) list: List,
    pub(crate) pages: usize,
    pub(crate) seen: BTreeSet<String>,
    pub(crate) ended: bool,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(world: &'a dyn World, list: List) -> Self {
        Self { world, list, pages: 0, seen: BTreeSet::new(), ended: false }
    }

    /// The next page; `None` after the last. No run is listed twice, nor one that does not match.
    pub(crate) async fn page(&mut self) -> Verdict<Option<Vec<RunMeta>>> {
        if self.ended {
            return Ok(None);
        }
        self.pages += 1;
        ensure!(R4, self.pages <= PAGES_MAX, "a listing has more than {PAGES_MAX} pages");
        let page = self.world.list(&self.list).await?;
        let (limit, listed) = (self.list.limit.get() as usize, page.runs.len());
        ensure!(R4, listed <= limit, "a page of at most {limit} runs has {listed}");
        for meta in &page.runs {
            let name = meta.run.as_str();
            ensure!(R4, self.seen.insert(name.to_owned()), "run {name} is listed twice");
            ensure!(R4, self.list.matches(meta), "{meta:?} does not match {:?}", self.list);
        }
        self.ended = page.next.is_none();
        self.list.after = page.next;
        Ok(Some(page.runs))
    }

    /// The names of the runs of every page that follows, sorted, with those that have come.
    pub(crate) async fn names(mut self) -> Verdict<Vec<String>> {
        while self.page().await?.is_some() {}
        Ok(self.seen.into_iter().collect())
    }
}

/// The names of what a listing shows, sorted.
pub(crate) async fn listed(world: &dyn World, list: &List) -> Verdict<Vec<String>> {
    Listing::new(world, list.clone()).names().await
}

/// Every run that is listed, in the order of the names.
pub(crate) async fn metas(world: &dyn World, list: &List) -> Verdict<Vec<RunMeta>> {
    let mut listing = Listing::new(world, list.clone());
    let mut metas = Vec::new();
    while let Some(page) = listing.page().await? {
        metas.extend(page);
    }
    metas.sort_by(|one, other| one.run.cmp(&other.run));
    Ok(metas)
}
