//! Sending a request, and again while that can help.
//!
//! The SDK's own retries are off: it would hide whether an earlier try may have happened. A write
//! that is sent again finds its own stamp, or is refused by what it has itself changed; who asks
//! settles that by what is there.

use std::{error::Error as StdError, future::Future, time::Duration};

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        batch_write_item::BatchWriteItemError, create_table::CreateTableError,
        describe_table::DescribeTableError, describe_time_to_live::DescribeTimeToLiveError,
        get_item::GetItemError, put_item::PutItemError, query::QueryError, scan::ScanError,
        transact_write_items::TransactWriteItemsError, update_item::UpdateItemError,
        update_time_to_live::UpdateTimeToLiveError,
    },
};
use tokio::time::{Instant, sleep, timeout_at};
use world_core::Result;

use crate::{
    error::{Stage, explain, in_the_way, nonsense, too_late, verdict},
    item::Attributes,
};

/// The first pause before another try, and the longest; each is drawn from its second half.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The parts of the whole time that one try may take.
const TRIES: u32 = 3;

/// What has come of a request.
#[derive(Debug)]
pub(crate) enum Sent<T> {
    Done(T),
    /// What it was to replace is not what is there; with the item if the service has said it.
    Unmet(Option<Attributes>),
}

/// An operation's error, as far as it concerns conditions.
pub(crate) trait Refused {
    /// Whether a condition was not met, with the item that is there.
    fn unmet(&self) -> Option<Option<Attributes>> {
        None
    }

    /// Whether something else was in the way, for now.
    fn is_passing(&self) -> bool {
        false
    }
}

macro_rules! unconditional {
    ($($error:ty),*) => { $(impl Refused for $error {})* };
}
unconditional!(
    GetItemError,
    QueryError,
    ScanError,
    BatchWriteItemError,
    CreateTableError,
    DescribeTableError,
    DescribeTimeToLiveError,
    UpdateTimeToLiveError
);

impl Refused for PutItemError {
    fn unmet(&self) -> Option<Option<Attributes>> {
        let Self::ConditionalCheckFailedException(refusal) = self else { return None };
        Some(refusal.item.clone())
    }
}

impl Refused for UpdateItemError {
    fn unmet(&self) -> Option<Option<Attributes>> {
        let Self::ConditionalCheckFailedException(refusal) = self else { return None };
        Some(refusal.item.clone())
    }
}

impl Refused for TransactWriteItemsError {
    fn unmet(&self) -> Option<Option<Attributes>> {
        // Which of its items it was does not matter: all are read again.
        self.reasons().any(|code| code == "ConditionalCheckFailed").then_some(None)
    }

    fn is_passing(&self) -> bool {
        const PASSING: [&str; 3] =
            ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
        self.reasons().any(|code| PASSING.contains(&code))
    }
}

/// The reasons why a transaction was cancelled.
trait Reasons {
    fn reasons(&self) -> impl Iterator<Item = &str>;
}

impl Reasons for TransactWriteItemsError {
    fn reasons(&self) -> impl Iterator<Item = &str> {
        let reasons = match self {
            Self::TransactionCanceledException(cancelled) => cancelled.cancellation_reasons(),
            _ => &[],
        };
        reasons.iter().filter_map(|reason| reason.code())
    }
}

/// Sends a request until it is answered, refused for good, or has taken this long.
pub(crate) async fn send<T, E, F>(
    stage: Stage,
    within: Duration,
    call: impl Fn() -> F,
) -> Result<Sent<T>>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: Refused + ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let deadline = Instant::now() + within;
    let (mut is_unsure, mut pause, mut failed) = (false, FIRST_PAUSE, None);
    loop {
        let until = deadline.min(Instant::now() + within / TRIES);
        let error = match timeout_at(until, call()).await {
            Ok(Ok(done)) => return Ok(Sent::Done(done)),
            Ok(Err(error)) => error,
            Err(_) if until < deadline => {
                is_unsure = true;
                continue;
            }
            // What failed before says more than that the last try took too long.
            Err(_) => {
                return Err(match failed {
                    None => too_late(stage),
                    Some((_, true)) => in_the_way(stage, true),
                    Some((error, false)) => explain(stage, true, error),
                });
            }
        };
        let refusal = error.as_service_error();
        if let Some(item) = refusal.and_then(Refused::unmet) {
            return Ok(Sent::Unmet(item));
        }
        let is_passing = refusal.is_some_and(Refused::is_passing);
        let verdict = verdict(&error);
        is_unsure |= verdict.may_have_happened;
        let drawn = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        let is_last = Instant::now() + drawn >= deadline;
        if is_last && is_passing {
            return Err(in_the_way(stage, is_unsure));
        }
        if is_last || !(verdict.is_passing || is_passing) {
            return Err(explain(stage, is_unsure, error));
        }
        failed = Some((error, is_passing));
        sleep(drawn).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The same for a request without a condition.
pub(crate) async fn ask<T, E, F>(stage: Stage, within: Duration, call: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: Refused + ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match send(stage, within, call).await? {
        Sent::Done(done) => Ok(done),
        Sent::Unmet(_) => Err(nonsense()),
    }
}
