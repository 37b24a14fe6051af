//! What requests cost: counted by the server, and asked of it with each request.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut,
        },
    },
    error::BoxError,
    operation::{
        batch_write_item::{BatchWriteItemInput, BatchWriteItemOutput},
        get_item::{GetItemInput, GetItemOutput},
        put_item::{PutItemInput, PutItemOutput},
        query::{QueryInput, QueryOutput},
        scan::{ScanInput, ScanOutput},
        transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput},
        update_item::{UpdateItemInput, UpdateItemOutput},
    },
    types::{ConsumedCapacity, ReturnConsumedCapacity::Indexes},
};

/// What was requested, and the capacity units that the server says it took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metered {
    /// Requests that were answered, by operation.
    pub requests: BTreeMap<&'static str, u64>,
    /// Read units.
    pub read: f64,
    /// Write units, those of indexes too.
    pub write: f64,
    /// Of those, the write units of indexes.
    pub index: f64,
}

impl Metered {
    /// All requests that were answered.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// Counts what the requests of a client cost; give a clone to its configuration as an interceptor.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Metered>>);

impl Meter {
    /// What was counted since the last time.
    #[must_use]
    pub fn take(&self) -> Metered {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count<'a>(
        &self,
        operation: &'static str,
        is_write: bool,
        taken: impl IntoIterator<Item = &'a ConsumedCapacity>,
    ) {
        let mut metered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *metered.requests.entry(operation).or_default() += 1;
        for taken in taken {
            let units = taken.capacity_units().unwrap_or_default();
            if is_write {
                metered.write += units;
                let indexes = taken.global_secondary_indexes().into_iter().flatten();
                metered.index += indexes.filter_map(|(_, one)| one.capacity_units()).sum::<f64>();
            } else {
                metered.read += units;
            }
        }
    }
}

macro_rules! operations {
    ($($name:literal $is_write:literal $input:ty => $output:ty),* $(,)?) => {
        impl Intercept for Meter {
            fn name(&self) -> &'static str {
                "Meter"
            }

            fn modify_before_serialization(
                &self,
                context: &mut BeforeSerializationInterceptorContextMut<'_>,
                _: &RuntimeComponents,
                _: &mut ConfigBag,
            ) -> Result<(), BoxError> {
                $(if let Some(input) = context.input_mut().downcast_mut::<$input>() {
                    input.return_consumed_capacity = Some(Indexes);
                })*
                Ok(())
            }

            fn read_after_deserialization(
                &self,
                context: &AfterDeserializationInterceptorContextRef<'_>,
                _: &RuntimeComponents,
                _: &mut ConfigBag,
            ) -> Result<(), BoxError> {
                let Ok(output) = context.output_or_error() else { return Ok(()) };
                $(if let Some(output) = output.downcast_ref::<$output>() {
                    self.count($name, $is_write, output.consumed_capacity());
                })*
                Ok(())
            }
        }
    };
}

operations! {
    "BatchWriteItem" true BatchWriteItemInput => BatchWriteItemOutput,
    "GetItem" false GetItemInput => GetItemOutput,
    "PutItem" true PutItemInput => PutItemOutput,
    "Query" false QueryInput => QueryOutput,
    "Scan" false ScanInput => ScanOutput,
    "TransactWriteItems" true TransactWriteItemsInput => TransactWriteItemsOutput,
    "UpdateItem" true UpdateItemInput => UpdateItemOutput,
}
