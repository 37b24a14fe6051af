//! A handle that nothing breaks, to see how things stand.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use world_core::{
    Client, Clock, Engine, Kind, List, LogId, Phase, PhaseKind, Record, Result, RunError, RunId,
    RunMeta, VirtualClock, WorkflowName, World, WorldExt, event::Logged,
};

use super::{Flow, public_test_key};
use crate::{
    failure::{Failure, Verdict},
    subject::Subject,
};

/// How far the clock goes on to see whether a lease that nobody uses has run out.
const LEASE_TICK: Duration = Duration::from_secs(2);

/// The most pages of a listing.
const PAGES_MAX: u32 = 1_000;

/// A handle that nothing breaks, and a client on it.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) world: Arc<dyn World>,
    client: Client,
}

/// Where a run stands between the turns of its workers.
#[derive(Debug)]
pub(crate) enum Standing {
    Ended,
    /// It has come to rest, and is to be asked to end.
    ToBeCancelled,
    Open,
}

impl Look {
    /// At the World under test.
    pub(crate) async fn at(subject: &Subject) -> Verdict<Self> {
        Self::on(subject.open().await?)
    }

    /// At a World.
    pub(crate) fn on(world: Arc<dyn World>) -> Verdict<Self> {
        let engine = Engine::builder(Arc::clone(&world)).key(public_test_key()?).build()?;
        Ok(Self { world, client: engine.client() })
    }

    /// The records of a run.
    pub(crate) async fn records(&self, run: &RunId) -> Result<Vec<Record>> {
        Ok(self.world.read_all(&LogId::Run(run.clone())).await?.records)
    }

    /// The log of a run, opened.
    pub(crate) async fn log(&self, flow: &Flow) -> Result<Vec<Logged>> {
        self.client.run(flow.sample.workflow(), flow.run.as_str())?.log().await
    }

    /// How a run has ended.
    pub(crate) async fn outcome(&self, flow: &Flow) -> Result<String, RunError> {
        self.client.run(flow.sample.workflow(), flow.run.as_str())?.output().await
    }

    /// Where a run stands.
    pub(crate) async fn standing(&self, flow: &Flow) -> Verdict<Standing> {
        let run = &flow.run;
        let kinds: Vec<_> = self.records(run).await?.iter().map(|record| record.kind).collect();
        match kinds.last() {
            None => Err(Failure::failed(format!("{run} was started, and has no log"))),
            Some(&Kind::RUN_BLOCKED) => {
                Err(Failure::failed(format!("{run} is blocked: its code does not fit its log")))
            }
            Some(last) if last.is_end() => Ok(Standing::Ended),
            Some(_) if flow.sample.cancel && !kinds.contains(&Kind::CANCEL_REQUESTED) => {
                let resting = self.runs(flow, Some(PhaseKind::Waiting)).await?;
                let rests = resting.iter().any(|meta| meta.run == *run);
                Ok(if rests { Standing::ToBeCancelled } else { Standing::Open })
            }
            Some(_) => Ok(Standing::Open),
        }
    }

    /// Moves a clock to the next due time, or a little on if a lease has to run out:
    /// of any run of this flow's workflow.
    pub(crate) async fn pass_time(&self, clock: &VirtualClock, flow: &Flow) -> Verdict {
        // One listing: between two of them another worker may move a run on.
        let runs = self.runs(flow, None).await?;
        let is_in = |phase| runs.iter().any(|meta| meta.phase == phase);
        let times = runs.iter().filter_map(|meta| match meta.phase {
            Phase::Waiting(time) => Some(time),
            _ => None,
        });
        if let Some(next) = times.min() {
            clock.set(next);
        } else if is_in(Phase::Leased) {
            clock.set(clock.now().plus(LEASE_TICK));
        } else if is_in(Phase::Parked) && !is_in(Phase::Ready) {
            let what = format!("{} waits, and nothing will wake it", flow.run);
            return Err(Failure::failed(what));
        }
        Ok(()) // a claim may give fewer than are due, and another worker may end them
    }

    /// The runs of a flow's workflow, of all or of those in a phase.
    async fn runs(&self, flow: &Flow, phase: Option<PhaseKind>) -> Verdict<Vec<RunMeta>> {
        let limit = NonZeroU32::MIN.saturating_add(255);
        let workflow = Some(WorkflowName::new(flow.sample.name)?);
        let mut list = List { workflow, phase, ..List::all(limit) };
        let mut runs = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.world.list(&list).await?;
            runs.extend(page.runs);
            list.after = page.next;
            if list.after.is_none() {
                return Ok(runs);
            }
        }
        Err(Failure::failed(format!("a listing has not ended after {PAGES_MAX} pages")))
    }
}
