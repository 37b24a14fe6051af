//! Histories of one writer: each answer is what the contract says, or the history fails at once.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use world_core::{Claim, ErrorKind, LogId, RunId, Ticket, Timestamp, World};

use crate::{
    failure::{Failure, Verdict},
    kit::{at, count},
    rule::Rule,
    subject::Subject,
};

use super::{
    blame::{always_wrong, broken_rule},
    draw::{self, Family, intents},
    intent::{Intent, What},
    known::Known,
    op::{Answer, Op},
    perform::perform,
    random::Random,
    shrink::shortest,
    spec::State,
};

/// Handles on the site, which the writer takes as drawn.
const HANDLES: u64 = 2;

/// Claims at the end of a history, until every due run is given: a World may have many shards.
const CLAIMS_MAX: u64 = 256;

/// A history that the contract does not allow.
#[derive(Clone, Debug)]
pub(crate) struct Deviation {
    /// The rule that is broken.
    pub(crate) rule: Rule,
    /// What is wrong with the last operation.
    pub(crate) what: String,
    /// Every operation with its answer, a line each.
    pub(crate) lines: Vec<String>,
    /// How many intents it took.
    pub(crate) intents: usize,
    /// The intents as they were done, which do the same whatever was done before.
    pub(crate) exactly: Vec<Intent>,
}

/// Makes a history of this many operations, drawn from a seed, at a site of its own.
///
/// # Errors
/// The first answer that the contract does not allow, in the shortest history that still has one.
pub(crate) async fn any_history_of_one_writer(
    subject: &Subject,
    family: Family,
    seed: u64,
    operations: u64,
) -> Verdict {
    let mut random = Random::new(seed);
    let mut all = intents(&mut random, family, 1..operations + 1, HANDLES);
    all.extend(draw::looks(operations + 1..));
    let Some(deviation) = deviation(subject, &all).await? else { return Ok(()) };
    let drawn = deviation.intents;
    let shortest = shortest(subject, &all, deviation).await;
    Err(shortest.failure(drawn))
}

impl Deviation {
    fn failure(&self, drawn: usize) -> Failure {
        let mut what =
            format!("{}\n  the history, of {drawn} drawn operations what is needed:", self.what);
        for (number, line) in (1..).zip(&self.lines) {
            let _ = write!(what, "\n  {number:>3}. {line}");
        }
        Failure::broken(self.rule, what)
    }
}

/// Does what is intended at a new site, and gives what the contract does not allow.
///
/// # Errors
/// A site that cannot be, or a call that fails as no call may.
pub(crate) async fn deviation(subject: &Subject, intents: &[Intent]) -> Verdict<Option<Deviation>> {
    let subject = subject.elsewhere()?;
    let mut writer = Writer::new(&subject).await?;
    for (done, intent) in (1..).zip(intents) {
        if let Some((rule, what)) = writer.follows(&subject, intent).await? {
            return Ok(Some(writer.deviation(rule, what, done)));
        }
    }
    let found = writer.claims_all_that_is_due(0, at(1000), &[]).await?;
    Ok(found.map(|(rule, what)| writer.deviation(rule, what, intents.len())))
}

/// The rule that is broken, and what was seen; `None` when all is well.
type Wrong = Option<(Rule, String)>;

struct Writer {
    handles: Vec<Arc<dyn World>>,
    state: State,
    known: Known,
    lines: Vec<String>,
    exactly: Vec<Intent>,
    /// Of each run and token, the last operation that could change it.
    last: BTreeMap<LogId, (Op, Answer)>,
}

impl Writer {
    async fn new(subject: &Subject) -> Verdict<Self> {
        let mut handles = Vec::new();
        for _ in 0..HANDLES {
            handles.push(subject.open().await?);
        }
        Ok(Self {
            handles,
            state: State::default(),
            known: Known::default(),
            lines: Vec::new(),
            exactly: Vec::new(),
            last: BTreeMap::new(),
        })
    }

    fn deviation(self, rule: Rule, what: String, intents: usize) -> Deviation {
        Deviation { rule, what, lines: self.lines, intents, exactly: self.exactly }
    }

    async fn follows(&mut self, subject: &Subject, intent: &Intent) -> Verdict<Wrong> {
        match (&intent.what, intent.op(&self.known)) {
            (What::ClaimAll { now, except }, _) => {
                self.exactly.push(intent.clone());
                self.claims_all_that_is_due(intent.number, *now, except).await
            }
            (What::Reopen, _) => {
                self.exactly.push(intent.clone());
                self.lines.push("open the site again".to_owned());
                if let Some(handle) = self.handles.get_mut(intent.handle) {
                    *handle = subject.open().await?;
                }
                Ok(None)
            }
            (_, Some(op)) => {
                let what = What::Exactly(Box::new(op.clone()));
                self.exactly.push(Intent { what, ..intent.clone() });
                self.does(&op, intent.handle).await
            }
            (_, None) => Ok(None),
        }
    }

    /// Makes an operation, and follows it in the model.
    async fn does(&mut self, op: &Op, handle: usize) -> Verdict<Wrong> {
        let Some(world) = self.handles.get(handle).or(self.handles.first()) else {
            return Ok(None);
        };
        let answer = match perform(&**world, op).await {
            Ok(answer) => answer,
            Err(Failure { cause: crate::Cause::Broken(rule), what, .. }) => {
                self.lines.push(op.to_string());
                return Ok(Some((rule, what)));
            }
            Err(failure) => return Err(failure),
        };
        self.lines.push(format!("{op} -> {answer}"));
        match answer {
            Answer::Unknown => {
                return Err(Failure::failed(format!("{op}: it says that its outcome is unknown")));
            }
            Answer::Refused(kind) if !matches!(kind, ErrorKind::Invalid | ErrorKind::TooLarge) => {
                return Err(Failure::failed(format!("{op}: it fails: {kind}")));
            }
            _ => {}
        }
        self.known.learn(op, &answer);
        if let Some(wrong) = always_wrong(op, &answer) {
            return Ok(Some(wrong));
        }
        let runs = draw::runs().collect();
        for (op, answer) in op.parts(&answer, &runs) {
            let Some(object) = op.object() else { continue };
            match self.state.step(&op, &answer) {
                Some(after) => self.state = after,
                None => {
                    let before = self.last.get(&object).map(|(op, answer)| (op, answer));
                    let rule = broken_rule(&self.state, &op, &answer, before);
                    return Ok(Some((rule, not_allowed(&self.state, &op, &answer))));
                }
            }
            if op.changes() {
                self.last.insert(object, (op, answer));
            }
        }
        Ok(None)
    }

    /// Every run that is due in the model and not passed over is given (rules L2, L6), in as many
    /// claims as it takes.
    async fn claims_all_that_is_due(
        &mut self,
        number: u64,
        now: Timestamp,
        except: &[RunId],
    ) -> Verdict<Wrong> {
        let ticket = |nth: u64| (u128::from(nth) << 64) + u128::from(number);
        let claim = |nth: u64, except: &[RunId]| Claim {
            queues: draw::queues(),
            ticket: Ticket::from_bytes(ticket(nth).to_be_bytes()),
            now,
            until: at(now.as_millis() + 1),
            limit: count(2),
            except: except.to_vec(),
        };
        for nth in 1..=CLAIMS_MAX {
            let claim = claim(nth, except);
            if self.state.due(&claim).next().is_none() {
                return Ok(None);
            }
            let asked = self.lines.len();
            if let Some(found) = self.does(&Op::Claim(claim), 0).await? {
                return Ok(Some(found));
            }
            if nth > 4 {
                self.lines.truncate(asked); // they are all alike
            }
        }
        let left = claim(CLAIMS_MAX, except);
        let due: Vec<_> = self.state.due(&left).map(ToString::to_string).collect();
        let (runs, now) = (due.join(" and "), now.as_millis());
        let what = format!("run {runs} is due at {now}, and {CLAIMS_MAX} claims have not given it");
        if due.is_empty() {
            return Ok(None);
        }
        if !except.is_empty() {
            // Whether it is what was excepted that kept them from being given.
            let handle = self.handles.first().map(Arc::clone);
            let plain = claim(CLAIMS_MAX + 1, &[]);
            let given = match handle {
                Some(world) => world.claim(&plain).await.unwrap_or_default(),
                None => Vec::new(),
            };
            if given.iter().any(|lease| due.contains(&lease.run.to_string())) {
                return Ok(Some((Rule::L6, what)));
            }
        }
        Ok(Some((Rule::L2, what)))
    }
}

/// What was seen, and what the contract allows instead.
pub(crate) fn not_allowed(state: &State, op: &Op, seen: &Answer) -> String {
    let wanted = state.wanted(op).answer;
    let or_less = match op {
        Op::Read(..) => ", or the beginning of it with the same head",
        Op::Take(..) if wanted != Answer::Taken(None) => ", or no lease",
        _ => "",
    };
    format!(
        "{op}\n  was answered: {seen}\n  the contract allows: {wanted}{or_less}{}",
        beside(&wanted, seen)
    )
}

/// For answers that read alike but are not: where they differ.
fn beside(wanted: &Answer, seen: &Answer) -> String {
    match (wanted, seen) {
        (Answer::Page(wanted), Answer::Page(seen)) => {
            let differs = wanted.records.iter().zip(&seen.records).find(|(a, b)| a != b);
            differs.map_or_else(String::new, |(wanted, seen)| {
                format!("\n  the record at {} is {seen:?}, not {wanted:?}", seen.position)
            })
        }
        (Answer::Seen(Some(wanted)), Answer::Seen(Some(seen))) => {
            format!("\n  in full: {seen:?}\n  not: {wanted:?}")
        }
        _ => String::new(),
    }
}
