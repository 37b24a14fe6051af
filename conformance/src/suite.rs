//! The suite of one World: every case, for tests that `cargo test` and nextest know how to run.

mod program;

use std::{error::Error as StdError, ffi::OsString, future::Future, path::PathBuf, sync::Arc};

use world_core::World;

use crate::{
    case::Case,
    cases,
    factory::Factory,
    part::{self, Parts},
    report::{Entry, Report},
    run::run,
    settings::Settings,
    site::Site,
};

/// Every case of the suite, for one World.
#[derive(Clone, Debug)]
pub struct Suite {
    name: String,
    factory: Factory,
    reports: Option<PathBuf>,
}

impl Suite {
    /// The suite of the World that a factory opens at a site: the same site is the same data.
    pub fn new<F, Fut, W, E>(name: impl Into<String>, open: F) -> Self
    where
        F: Fn(Site) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<W, E>> + Send + 'static,
        W: World,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self { name: name.into(), factory: Factory::new(open), reports: None }
    }

    /// Gives the suite all bytes that the store holds of a site, so that it can look for payloads
    /// in them. Without it, it looks into the files of [`Site::dir`].
    #[must_use]
    pub fn dump<F, Fut, E>(mut self, dump: F) -> Self
    where
        F: Fn(Site) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.factory = self.factory.dumped_by(dump);
        self
    }

    /// Checks what the World needs, a server for instance, once a process, before the first case.
    ///
    /// An error fails every case, and says what to do: "start redis-server, or set REDIS_URL".
    /// Only `CONFORMANCE_IGNORE_MISSING=1` makes ignored cases of failed ones; then nothing is
    /// proven, and the report says so. The check may start a server: see
    /// [`server::shared`](crate::server::shared).
    #[must_use]
    pub fn needs<F, E>(mut self, check: F) -> Self
    where
        F: Fn() -> Result<(), E> + Send + Sync + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.factory = self.factory.needing(check);
        self
    }

    /// Where [`main`](Self::main) keeps the reports of the latest runs; the directory of temporary
    /// files by default.
    #[must_use]
    pub fn reports(mut self, dir: Option<impl Into<PathBuf>>) -> Self {
        self.reports = dir.map(Into::into);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the cases that pass a filter, one after the other, and prints nothing.
    pub fn run(&self, settings: Settings, filter: impl Fn(&Case) -> bool) -> Report {
        let settings = Arc::new(settings);
        let mut report = Report::default();
        for case in cases().into_iter().filter(filter).map(Arc::new) {
            let outcome = run(&case, &self.factory, &settings);
            report.entries.push(Entry::new(&case, outcome));
        }
        report
    }

    /// Lets another harness than [`main`](Self::main) prove what needs a second process: one that
    /// is killed.
    ///
    /// The second process is this program, started with `arguments`, with which it must come here
    /// again, to a suite of the same name. There it plays its part, and this gives its exit code;
    /// everywhere else it gives the suite.
    ///
    /// ```no_run
    /// # use {conformance::{Settings, Suite}, world_core::MemoryWorld};
    /// # async fn open(_: conformance::Site) -> world_core::Result<MemoryWorld> { Ok(MemoryWorld::new()) }
    /// # fn proves() {
    /// // In a #[test] that is named `my_world_keeps_its_contract`:
    /// let again = ["my_world_keeps_its_contract", "--exact", "--nocapture"];
    /// let suite = match Suite::new("my world", open).part(again) {
    ///     Ok(suite) => suite,
    ///     Err(played) => std::process::exit(played),
    /// };
    /// let report = suite.run(Settings::default(), |_| true);
    /// assert_eq!(report.failed().count(), 0, "{report}");
    /// # }
    /// ```
    ///
    /// # Errors
    /// The exit code of this process, which has played its part.
    pub fn part<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, i32> {
        if let Some(played) = part::play(&self.name, &self.factory) {
            return Err(played);
        }
        let arguments = arguments.into_iter().map(Into::into).collect();
        self.factory = self.factory.played_by(Parts::new(&self.name, arguments));
        Ok(self)
    }
}
