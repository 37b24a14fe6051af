//! Listing: a consistent scan of the table, of which the head items of runs are taken.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use world_core::{Cursor, Error, ErrorKind, List, LogId, Result, RunPage};

use crate::{
    error::{Stage, nonsense},
    item::{self, Item, text},
    keys::{self, HEAD, PK},
    request::ask,
    store::{Store, keys_of},
};

/// The parts of a table, each about 1 MB, that one page looks at.
const PARTS_MAX: usize = 16;
/// What a cursor begins with; the length of the partition key that was last looked at follows, that key,
/// and the sort key.
const CURSOR: &str = "after ";

/// The attributes that a listing needs: all but the tail.
const SHOWN: [&str; 17] = [
    PK,
    item::STAMP,
    item::LIFE,
    item::POSITION,
    item::BASE,
    keys::QUEUE,
    keys::DUE,
    item::TICKET,
    item::ATTEMPT,
    item::LAST,
    item::CLOSED,
    item::WORKFLOW,
    item::CREATED,
    item::KEY,
    item::PARENT,
    item::TAGS,
    item::GONE,
];

impl Store {
    /// Lists a page of runs, in the order of a scan.
    pub(crate) async fn list(&self, list: &List) -> Result<RunPage> {
        let limit = usize::try_from(list.limit.get()).unwrap_or(usize::MAX);
        let mut from = list.after.as_ref().map(after).transpose()?;
        let names: HashMap<_, _> = SHOWN
            .iter()
            .zip(0..)
            .map(|(name, number)| (format!("#{number}"), (*name).to_owned()))
            .collect();
        let shown = names.keys().cloned().collect::<Vec<_>>().join(", ");
        let mut runs = Vec::new();
        for _ in 0..PARTS_MAX {
            let part = ask(Stage::Read, self.options.timeout, || {
                self.client
                    .scan()
                    .table_name(&self.table)
                    .consistent_read(true)
                    .filter_expression(
                        "sk = :head AND begins_with(pk, :runs) AND attribute_not_exists(gone)",
                    )
                    .expression_attribute_values(":head", text(HEAD))
                    .expression_attribute_values(":runs", text(keys::runs()))
                    .projection_expression(&shown)
                    .set_expression_attribute_names(Some(names.clone()))
                    .set_exclusive_start_key(
                        from.as_ref().map(|(partition, sort)| keys_of(partition, sort)),
                    )
                    .send()
            });
            let part = part.await?;
            let mut last = None;
            for found in part.items.unwrap_or_default() {
                let partition = string(&found, PK)?;
                let run = keys::run_of(&partition).ok_or_else(nonsense)?;
                let item = Item::stored(&LogId::Run(run.clone()), found)?;
                let meta = item.head.run.map(|state| state.meta(run, item.head.head));
                runs.extend(meta.filter(|meta| list.matches(meta)));
                last = Some((partition, HEAD.to_owned()));
                if runs.len() >= limit {
                    break;
                }
            }
            let end = part.last_evaluated_key.filter(|key| !key.is_empty());
            let end = end.map(|key| Ok::<_, Error>((string(&key, PK)?, string(&key, keys::SK)?)));
            if runs.len() >= limit {
                from = last;
                break;
            }
            from = end.transpose()?;
            if from.is_none() {
                break;
            }
        }
        let cursor = |(partition, sort): (String, String)| {
            Cursor::from_bytes(
                format!("{CURSOR}{} {partition}{sort}", partition.len()).into_bytes(),
            )
        };
        Ok(RunPage { runs, next: from.map(cursor) })
    }
}

/// The keys at which a listing goes on.
fn after(cursor: &Cursor) -> Result<(String, String)> {
    let keys = |text: &str| {
        let (length, keys) = text.strip_prefix(CURSOR)?.split_once(' ')?;
        let (partition, sort) = keys.split_at_checked(length.parse().ok()?)?;
        let is_whole = !partition.is_empty() && !sort.is_empty();
        is_whole.then(|| (partition.to_owned(), sort.to_owned()))
    };
    std::str::from_utf8(cursor.as_bytes()).ok().and_then(keys).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a cursor that is not of this World")
            .help("go on with the cursor of an earlier page, or list from the start")
    })
}

fn string(from: &item::Attributes, name: &str) -> Result<String> {
    match from.get(name) {
        Some(AttributeValue::S(text)) => Ok(text.clone()),
        _ => Err(nonsense()),
    }
}
