//! A run's program together with its log: opened, replayed, kept up to date.

use std::sync::Arc;

use tracing::Span;

use super::engine::Inner;
use crate::{
    error::{Error, ErrorKind, Result},
    event::{Event, Logged},
    ids::{LogId, Position, RunId},
    observe::{self, Scope},
    record::Record,
    replay::{Blocked, Hydration, Program},
    seal::LogSeal,
};

/// How many deliveries are made before other tasks get a turn.
const DELIVERIES_A_TURN: u64 = 256;

/// A run's program and where it stands in its log.
#[derive(Debug)]
pub(super) struct Session {
    run: RunId,
    /// How often the engine had been told of a store that lost something when this began.
    generation: u64,
    seal: LogSeal,
    hydration: Arc<Hydration>,
    /// The program; none before the first event and after it was blocked.
    program: Option<Program>,
    position: Position,
    /// The sealed log, where the program is executed anew for every turn.
    records: Option<Vec<Record>>,
    /// Read, and not delivered yet.
    backlog: Vec<Record>,
    /// Committed by this engine's client, and not delivered yet.
    created: Option<(Arc<Logged>, Record)>,
    scope: Scope,
}

/// Why a session cannot go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// The code cannot go on with this log.
    Blocked(Blocked),
    /// The store or the seal says no.
    Error(Error),
}

impl From<Blocked> for Halt {
    fn from(blocked: Blocked) -> Self {
        Self::Blocked(blocked)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Corrupt | ErrorKind::Unsupported => {
                Self::Blocked(Blocked::Unreadable { why: error.to_string() })
            }
            _ => Self::Error(error),
        }
    }
}

impl Session {
    pub(super) fn new(run: RunId, seal: LogSeal, engine: &Inner, backlog: Vec<Record>) -> Self {
        Self {
            run,
            generation: engine.hub.generation(),
            seal,
            hydration: Arc::new(engine.hydration()),
            program: None,
            position: Position::START,
            records: engine.replays_every_turn().then(Vec::new),
            backlog,
            created: None,
            scope: Scope::new(),
        }
    }

    /// Takes the first event from its creator, who has just committed it.
    pub(super) fn created_here(&mut self, created: Arc<Logged>, record: Record) {
        self.hydration.keep(&created);
        self.created = Some((created, record));
    }

    /// The spans and the silence around the program.
    pub(super) fn scope(&mut self) -> &mut Scope {
        &mut self.scope
    }

    /// Begins a drive of the run in its span.
    pub(super) fn begin_drive(&mut self, engine: &Inner, span: &Span) {
        self.scope.begin_drive(span);
        if let Some(program) = &self.program {
            engine.hub.shows(&self.run, program.shared());
        }
    }

    /// Delivers what was read when the session was opened, of a log with this head.
    pub(super) async fn receive_backlog(
        &mut self,
        engine: &Inner,
        head: Position,
    ) -> Result<(), Halt> {
        if let Some((created, record)) = self.created.take() {
            self.deliver(engine, &created, Some(&record)).await?;
        }
        let backlog = std::mem::take(&mut self.backlog);
        self.receive(engine, backlog, head).await
    }

    pub(super) fn run(&self) -> &RunId {
        &self.run
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn seal(&self) -> &LogSeal {
        &self.seal
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// What was read when the session was opened, until it is delivered.
    pub(super) fn backlog(&self) -> &[Record] {
        &self.backlog
    }

    /// The program, once the first event was delivered.
    pub(super) fn program(&mut self) -> Result<&mut Program, Halt> {
        self.program.as_mut().ok_or_else(|| {
            Halt::Blocked(Blocked::Unreadable { why: "the log has no first event".to_owned() })
        })
    }

    /// Takes records from the store, of a log that ends at `head`: opens and delivers them in order.
    pub(super) async fn receive(
        &mut self,
        engine: &Inner,
        records: Vec<Record>,
        head: Position,
    ) -> Result<(), Halt> {
        self.scope.was_read(&records, head);
        for record in records {
            let logged = self.hydration.open(record.position, || self.seal.open(&record))?;
            self.deliver(engine, &logged, Some(&record)).await?;
        }
        Ok(())
    }

    /// Delivers one event that stands in the log.
    pub(super) async fn deliver(
        &mut self,
        engine: &Inner,
        logged: &Arc<Logged>,
        record: Option<&Record>,
    ) -> Result<(), Halt> {
        if let Some(records) = &mut self.records {
            records.extend(record.cloned());
        }
        let is_replay = self.scope.is_replayed(logged.position);
        match &mut self.program {
            Some(program) => {
                let _scope = self.scope.enter(is_replay);
                program.deliver(logged)?;
            }
            None => self.begin(engine, logged, is_replay)?,
        }
        self.position = logged.position;
        self.report();
        if self.position.get().is_multiple_of(DELIVERIES_A_TURN) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Keeps what was just committed, so that it need not be opened again.
    pub(super) fn keep(&self, logged: &Arc<Logged>) {
        self.hydration.keep(logged);
    }

    /// Executes the program anew, if that is what every turn does and no body runs.
    pub(super) async fn turn(&mut self, engine: &Inner) -> Result<(), Halt> {
        let Some(records) = self.records.take() else { return Ok(()) };
        let busy = self
            .program
            .as_ref()
            .is_none_or(|program| program.is_busy() || program.output().is_some());
        if busy {
            self.records = Some(records);
            return Ok(());
        }
        self.program = None;
        self.scope.replays_to(self.position);
        for record in &records {
            let logged = self.hydration.open(record.position, || self.seal.open(record))?;
            self.deliver(engine, &logged, None).await?;
        }
        self.records = Some(records);
        Ok(())
    }

    fn begin(
        &mut self,
        engine: &Inner,
        created: &Arc<Logged>,
        is_replay: bool,
    ) -> Result<(), Halt> {
        let Event::RunCreated { workflow, version, .. } = &created.event else {
            let why = format!("it begins with {}", created.event.kind());
            return Err(Blocked::Unreadable { why }.into());
        };
        let registered = engine.code_for(workflow, *version)?;
        self.scope.set_workflow(workflow);
        if !is_replay {
            observe::started(&self.run, workflow, *version);
        }
        let _scope = self.scope.enter(is_replay);
        let hydration = engine.replays_every_turn().then(|| Arc::clone(&self.hydration));
        let program =
            Program::start(self.run.clone(), created, hydration, None, |shared, input| {
                registered.make(shared, input)
            })?;
        engine.hub.shows(&self.run, program.shared());
        self.program = Some(program);
        Ok(())
    }

    fn report(&mut self) {
        let Some(program) = &mut self.program else { return };
        for warning in program.take_warnings() {
            tracing::warn!(run = %self.run, %warning, "the workflow's code may have changed");
        }
    }

    /// The log.
    pub(super) fn log(&self) -> LogId {
        LogId::Run(self.run.clone())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        tracing::trace!(run = %self.run, position = %self.position, "a program leaves memory");
    }
}
