//! The World under test, as a case gets it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use world_core::World;

use crate::{
    factory::Factory,
    failure::{Failure, Verdict},
    part::{Parts, Player},
    settings::Settings,
    site::Site,
    watch::{Watch, Watched},
};

/// The World under test at a site of the case's own, with what the case is to use of the suite.
#[derive(Clone, Debug)]
pub struct Subject {
    factory: Factory,
    settings: Arc<Settings>,
    site: Site,
    watch: Arc<Watch>,
    tally: Arc<Tally>,
}

/// What a case has tried, for the report.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) seeds: AtomicU64,
    pub(crate) faults: AtomicU64,
}

impl Subject {
    pub(crate) fn new(
        factory: Factory,
        settings: Arc<Settings>,
        watch: Arc<Watch>,
        tally: Arc<Tally>,
    ) -> Verdict<Self> {
        let site = new_site()?;
        Ok(Self { factory, settings, site, watch, tally })
    }

    /// A new handle on the World at this site: every call of it is watched, so that a failure
    /// shows the last ones and a hang says where.
    ///
    /// # Errors
    /// [`Cause::Failed`](crate::Cause::Failed) when the factory fails.
    pub async fn open(&self) -> Verdict<Arc<dyn World>> {
        let opening = self.factory.open(self.site.clone());
        let summary = |opened: &Result<_, String>| match opened {
            Ok(_) => "opened".to_owned(),
            Err(error) => error.clone(),
        };
        let (what, longer) = ("the factory".to_owned(), Duration::ZERO);
        let world = self.watch.watched(what, longer, opening, summary).await;
        let world = world
            .map_err(|error| Failure::failed(format!("the factory gave no World: {error}")))?;
        let (watch, _site) = (Arc::clone(&self.watch), self.site.clone());
        Ok(Arc::new(Watched { world, watch, _site }))
    }

    /// The same World at a site that shares nothing with this one.
    ///
    /// # Errors
    /// [`Cause::Failed`](crate::Cause::Failed) when there can be no directory.
    pub fn elsewhere(&self) -> Verdict<Self> {
        Ok(Self { site: new_site()?, ..self.clone() })
    }

    /// The site.
    #[must_use]
    pub const fn site(&self) -> &Site {
        &self.site
    }

    /// How the suite is run.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The seeds of a case that is to try so many: as many times as
    /// [`effort`](Settings::effort) says, from [`seed`](Settings::seed) on.
    #[must_use]
    pub fn seeds(&self, count: u64) -> Range<u64> {
        let first = self.settings.seed;
        let count = count.saturating_mul(self.settings.effort);
        self.tally.seeds.fetch_add(count, Relaxed);
        first..first.saturating_add(count)
    }

    /// Tells the report of faults that were injected.
    pub fn injected(&self, faults: u64) {
        self.tally.faults.fetch_add(faults, Relaxed);
    }

    /// All bytes that the store holds of this site.
    ///
    /// # Errors
    /// [`Cause::NotProven`](crate::Cause::NotProven) when there is nothing to look at.
    pub async fn dump(&self) -> Verdict<Vec<u8>> {
        let dumping = self.factory.dump(self.site.clone());
        let summary = |dump: &Verdict<Vec<u8>>| match dump {
            Ok(bytes) => format!("{} bytes", bytes.len()),
            Err(failure) => failure.to_string(),
        };
        self.watch.watched("the dump".to_owned(), Duration::ZERO, dumping, summary).await
    }

    /// Starts this program again, as a second process that plays a part at this site.
    ///
    /// # Errors
    /// [`Cause::NotProven`](crate::Cause::NotProven) when the suite was not told how to.
    pub(crate) fn play(&self, part: &'static str, arguments: &[u64]) -> Verdict<Player> {
        let parts = self.factory.parts().ok_or_else(Parts::missing)?;
        parts.play(part, &self.site, arguments, Arc::clone(&self.watch))
    }
}

fn new_site() -> Verdict<Site> {
    Site::fresh().map_err(|error| Failure::failed(format!("no directory for a site: {error}")))
}
