//! Random operations of many writers, compared with the contract.

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict},
    model::{Family, Troubles, any_history_of_many_writers, any_history_of_one_writer},
    subject::Subject,
};

/// Histories of each family, and the operations of each.
const OF_ONE_WRITER: u64 = 24;
const OPERATIONS: u64 = 64;
/// Histories of many writers, with and without troubles.
const OF_MANY_WRITERS: u64 = 40;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Model [A1, A2, A3, A5, A6, L3, R1, R2, R3] any_appends_of_one_writer_are_as_the_contract_says),
        case!(Model [L1, L2, L3, L4, L5, L6] any_leases_of_one_writer_are_as_the_contract_says),
        case!(Model [A5, D1, D2, T1] any_deletions_of_one_writer_are_as_the_contract_says),
        case!(Model [R4] any_listings_of_one_writer_are_as_the_contract_says),
        case!(Model [] any_history_of_one_writer_is_as_the_contract_says),
        case!(Model [] any_history_of_many_writers_is_linearizable),
        case!(Model [] any_history_of_many_writers_is_linearizable_when_answers_are_lost),
    ]
}

async fn any_appends_of_one_writer_are_as_the_contract_says(subject: Subject) -> Verdict {
    of_one_writer(&subject, Family::Appends).await
}

async fn any_leases_of_one_writer_are_as_the_contract_says(subject: Subject) -> Verdict {
    of_one_writer(&subject, Family::Leases).await
}

async fn any_deletions_of_one_writer_are_as_the_contract_says(subject: Subject) -> Verdict {
    of_one_writer(&subject, Family::Deletes).await
}

async fn any_listings_of_one_writer_are_as_the_contract_says(subject: Subject) -> Verdict {
    of_one_writer(&subject, Family::Lists).await
}

async fn any_history_of_one_writer_is_as_the_contract_says(subject: Subject) -> Verdict {
    of_one_writer(&subject, Family::Everything).await
}

async fn any_history_of_many_writers_is_linearizable(subject: Subject) -> Verdict {
    of_many_writers(&subject, Troubles::None).await
}

async fn any_history_of_many_writers_is_linearizable_when_answers_are_lost(
    subject: Subject,
) -> Verdict {
    of_many_writers(&subject, Troubles::Lost).await
}

async fn of_one_writer(subject: &Subject, family: Family) -> Verdict {
    for seed in subject.seeds(OF_ONE_WRITER) {
        let history = any_history_of_one_writer(subject, family, seed, OPERATIONS);
        history.await.map_err(|failure| failure.at_seed(seed))?;
    }
    Ok(())
}

async fn of_many_writers(subject: &Subject, troubles: Troubles) -> Verdict {
    let (mut histories, mut not_decided) = (0, 0);
    for seed in subject.seeds(OF_MANY_WRITERS) {
        let history = any_history_of_many_writers(subject, troubles, seed);
        let is_decided = history.await.map_err(|failure| failure.at_seed(seed))?;
        histories += 1;
        not_decided += u64::from(!is_decided);
    }
    if not_decided * 100 > histories {
        let what = format!("of {histories} histories {not_decided} could not be decided");
        return Err(Failure::not_proven(what));
    }
    Ok(())
}
