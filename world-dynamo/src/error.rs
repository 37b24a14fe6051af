//! What the service says, as this project's errors: what was wrong, whether it happened, what to do.

use std::{borrow::Cow, error::Error as StdError};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};
use world_core::{Error, ErrorKind, LogId, Position};

/// What was under way, which decides whether it may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A request that changes nothing.
    Read,
    /// A request that changes something.
    Write,
}

/// What to make of a request that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether it may have happened all the same.
    pub(crate) may_have_happened: bool,
    /// Whether it is worth another try.
    pub(crate) is_passing: bool,
}

const REFUSED: Verdict = Verdict { may_have_happened: false, is_passing: false };
const BUSY: Verdict = Verdict { may_have_happened: false, is_passing: true };
const LOST: Verdict = Verdict { may_have_happened: true, is_passing: true };

/// What the service says when it has not done it, and may do it soon.
const PASSING: [&str; 6] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// What to make of an error of the SDK's.
pub(crate) fn verdict<E>(error: &SdkError<E, HttpResponse>) -> Verdict
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => REFUSED,
        SdkError::DispatchFailure(failure) if failure.is_user() => REFUSED,
        _ if has_source::<CredentialsError>(error) => BUSY, // before it was signed and sent
        SdkError::ServiceError(refusal) => {
            let code = refusal.err().code().unwrap_or_default();
            if PASSING.contains(&code) {
                BUSY
            } else if refusal.raw().status().is_server_error() || is_unreadable(refusal.raw()) {
                LOST
            } else {
                REFUSED
            }
        }
        _ => LOST,
    }
}

/// Whether it is no refusal at all: the service has done it, and its answer cannot be read.
fn is_unreadable(answer: &HttpResponse) -> bool {
    answer.status().is_success()
}

/// What the service's refusals mean, by their code.
const REFUSALS: [(&str, ErrorKind, &str, &str); 15] = {
    use ErrorKind::{Invalid, NotFound, TooLarge, Unavailable, Unsuitable};
    const KEY: &str = "look at the credentials that the environment gives";
    const SLOW: &str =
        "raise what the table may do a second (on demand it rises by itself), or do less at once";
    const THROTTLED: &str = "the table or its index is throttled";
    [
        (
            "ResourceNotFoundException",
            NotFound,
            "there is no such table in this region",
            "look at its name and the region, or make it: DynamoWorld::create_table",
        ),
        (
            "AccessDeniedException",
            Unsuitable,
            "these credentials may not do what a World does",
            "allow the actions that docs/layouts/dynamo.md lists, on the table and its index",
        ),
        (
            "UnrecognizedClientException",
            Invalid,
            "the service does not know these credentials",
            KEY,
        ),
        ("InvalidClientTokenId", Invalid, "the service does not know these credentials", KEY),
        ("MissingAuthenticationTokenException", Invalid, "the service wants credentials", KEY),
        ("IncompleteSignatureException", Invalid, "the service wants other credentials", KEY),
        ("ExpiredTokenException", Unavailable, "the credentials have expired", "renew them"),
        (
            "InvalidSignatureException",
            Invalid,
            "the service refuses the signature: the secret key is wrong, or this machine's clock",
            "look at the clock (it may be off by 5 minutes at most), then at the secret key",
        ),
        ("RequestExpired", Unavailable, "this machine's clock is wrong", "set the clock"),
        ("ProvisionedThroughputExceededException", Unavailable, THROTTLED, SLOW),
        ("ThrottlingException", Unavailable, THROTTLED, SLOW),
        ("RequestLimitExceeded", Unavailable, "the account is throttled", SLOW),
        (
            "TransactionConflictException",
            Unavailable,
            "others write the same item all the time",
            "try again",
        ),
        (
            "ItemCollectionSizeLimitExceededException",
            TooLarge,
            "the run's items are more than 10 GB",
            "make the table without a local secondary index",
        ),
        (
            "ResourceInUseException",
            Unavailable,
            "the table is being made, changed or removed",
            "wait until it is ACTIVE",
        ),
    ]
};

/// What an error of the SDK's means; `is_unsure` if it, or an earlier try, may have happened.
pub(crate) fn explain<E>(stage: Stage, is_unsure: bool, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let said = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
    let refusal = REFUSALS.iter().find(|(known, ..)| *known == code);
    let (kind, what, help) = match refusal {
        Some((_, _, what, _)) if code == "InvalidSignatureException" && is_of_time(said) => {
            (ErrorKind::Unavailable, *what, "set this machine's clock")
        }
        Some((_, kind, what, help)) => (*kind, *what, *help),
        None => other(&error),
    };
    // Whatever is refused now, it may have happened before.
    let is_unsure = is_unsure && stage == Stage::Write;
    let kind = if is_unsure { ErrorKind::Unknown } else { kind };
    Error::new(kind, what).help(help).source(source(error))
}

/// The service's words about a signature of another time, as its documentation has them.
fn is_of_time(said: &str) -> bool {
    said.contains("Signature expired") || said.contains("Signature not yet current")
}

fn other<E>(error: &SdkError<E, HttpResponse>) -> (ErrorKind, &'static str, &'static str)
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    use ErrorKind::{Invalid, Unavailable};
    if has_source::<CredentialsError>(error) {
        return NO_CREDENTIALS;
    }
    match error {
        SdkError::ConstructionFailure(_) => {
            (Invalid, "the request cannot be made", "look at region and endpoint")
        }
        SdkError::ServiceError(refusal) if refusal.raw().status().is_server_error() => {
            (Unavailable, "the service could not do it", "try again")
        }
        SdkError::ServiceError(refusal) if is_unreadable(refusal.raw()) => (
            Unavailable,
            "the answer cannot be read",
            "look at the endpoint: something else may answer there",
        ),
        SdkError::ServiceError(refusal)
            if PASSING.contains(&refusal.err().code().unwrap_or_default()) =>
        {
            (Unavailable, "the service puts it off", "try again, and do less at once")
        }
        SdkError::ServiceError(_) => (
            Invalid,
            "the service refuses the request",
            "look at what it says; an item may have been edited by hand",
        ),
        SdkError::DispatchFailure(_) => (
            Unavailable,
            "the service cannot be reached, or the connection broke",
            "look at the endpoint, the region and the network",
        ),
        SdkError::TimeoutError(_) => (
            Unavailable,
            "the answer came too late",
            "try again; if answers are slow, raise timeout_ms",
        ),
        _ => (Unavailable, "the answer was cut short, or cannot be read", "try again"),
    }
}

pub(crate) const NO_CREDENTIALS: (ErrorKind, &str, &str) = (
    ErrorKind::Invalid,
    "there are no credentials",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (any will do for a local server), AWS_PROFILE, \
     or run where a role gives them",
);

/// An error's words without what they hold of items: a refused condition has the item in it.
fn source<E>(error: SdkError<E, HttpResponse>) -> Box<dyn StdError + Send + Sync>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if let Some(refusal) = error.as_service_error() {
        let code = refusal.code().unwrap_or("an error without a code");
        return format!("{code}: {}", refusal.message().unwrap_or_default()).into();
    }
    DisplayErrorContext(error).to_string().into()
}

fn has_source<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<T>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// A transaction that others' writes, or too many of them, have kept from being made all the time.
pub(crate) fn in_the_way(stage: Stage, is_unsure: bool) -> Error {
    let is_unsure = is_unsure && stage == Stage::Write;
    let kind = if is_unsure { ErrorKind::Unknown } else { ErrorKind::Unavailable };
    Error::new(kind, "others write the same items all the time, or the table is throttled")
        .help("try again; do less at once, or raise what the table may do a second")
}

/// A request that took too long, with all its tries.
pub(crate) fn too_late(stage: Stage) -> Error {
    let kind = match stage {
        Stage::Read => ErrorKind::Unavailable,
        Stage::Write => ErrorKind::Unknown,
    };
    Error::new(kind, "the answer came too late")
        .help("send the same bytes again; if answers are slow, raise timeout_ms")
}

/// An error that came after something was sent that may have happened.
pub(crate) fn after_write(error: Error) -> Error {
    if error.kind() != ErrorKind::Unavailable {
        return error;
    }
    Error::new(ErrorKind::Unknown, "it may have happened, and what there is now is not known")
        .help("send the same bytes again")
        .source(error)
}

/// Something stored that this crate cannot have written.
pub(crate) fn corrupt(
    log: &LogId,
    position: Option<Position>,
    what: impl Into<Cow<'static, str>>,
) -> Error {
    let error = Error::new(ErrorKind::Corrupt, what).log(log.clone()).help(
        "an item may have been edited by hand, or a newer program may have written it; restore it \
         from a copy",
    );
    match position {
        Some(position) => error.position(position),
        None => error,
    }
}

/// An item that others change each time before it can be written.
pub(crate) fn busy(log: &LogId) -> Error {
    Error::new(ErrorKind::Unavailable, "others write the same item all the time")
        .log(log.clone())
        .help("try again")
}

/// An answer that the service never gives.
pub(crate) fn nonsense() -> Error {
    Error::new(ErrorKind::Unsupported, "the service answers what DynamoDB does not say")
        .help("look at the endpoint: something else may answer there")
}
