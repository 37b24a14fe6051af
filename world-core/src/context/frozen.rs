//! Types whose values nothing can change through a shared reference.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroI32, NonZeroI64, NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::ids::{RunId, Timestamp};

/// Marks a type without interior mutability at any depth, so that one decoded value may serve
/// every replay: see [`Step::shared`](crate::Step::shared).
///
/// Implement it with [`frozen!`](crate::frozen), which looks at every field.
pub trait Frozen {}

/// Marks a type as [`Frozen`] if all its fields are; naming them all is part of the check.
///
/// ```
/// pub struct Rates { base: u64, names: Vec<String> }
/// world_core::frozen!(Rates { base, names });
///
/// pub struct Cents(u64);
/// world_core::frozen!(Cents(cents));
///
/// pub enum Plan { Free, Paid(Cents), Team { seats: u32 } }
/// world_core::frozen!(enum Plan { Free, Paid(cents), Team { seats } });
/// ```
///
/// A field that can change does not compile:
///
/// ```compile_fail,E0277
/// pub struct Rates { base: u64, seen: std::sync::Mutex<u64> }
/// world_core::frozen!(Rates { base, seen });
/// ```
///
/// Nor does one that is forgotten:
///
/// ```compile_fail
/// pub struct Rates { base: u64, more: u64 }
/// world_core::frozen!(Rates { base });
/// ```
#[macro_export]
macro_rules! frozen {
    (enum $type:ident { $($variant:ident $(($($item:ident),* $(,)?))? $({ $($field:ident),* $(,)? })?),* $(,)? }) => {
        impl $crate::Frozen for $type {}
        const _: fn(&$type) = |value| {
            #[allow(dead_code)]
            fn is_frozen<T: $crate::Frozen + ?Sized>(_: &T) {}
            match value {
                $($type::$variant $(($($item),*))? $({ $($field),* })? => {
                    $($(is_frozen($item);)*)?
                    $($(is_frozen($field);)*)?
                })*
            }
        };
    };
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::Frozen for $type {}
        const _: fn(&$type) = |value| {
            #[allow(dead_code)]
            fn is_frozen<T: $crate::Frozen + ?Sized>(_: &T) {}
            let $type { $($field),* } = value;
            $(is_frozen($field);)*
        };
    };
    ($type:ident ( $($field:ident),* $(,)? )) => {
        impl $crate::Frozen for $type {}
        const _: fn(&$type) = |value| {
            #[allow(dead_code)]
            fn is_frozen<T: $crate::Frozen + ?Sized>(_: &T) {}
            let $type($($field),*) = value;
            $(is_frozen($field);)*
        };
    };
}

macro_rules! all {
    ($($type:ty),* $(,)?) => {$(impl Frozen for $type {})*};
}

all!(
    (),
    bool,
    char,
    str,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    f32,
    f64,
    String,
    PathBuf,
    Duration,
    SystemTime,
    IpAddr,
    Ipv4Addr,
    Ipv6Addr,
    SocketAddr,
    NonZeroU8,
    NonZeroU16,
    NonZeroU32,
    NonZeroU64,
    NonZeroUsize,
    NonZeroI32,
    NonZeroI64,
    RunId,
    Timestamp,
    uuid::Uuid,
);

impl<T: Frozen> Frozen for [T] {}
impl<T: Frozen, const N: usize> Frozen for [T; N] {}
impl<T: Frozen> Frozen for Vec<T> {}
impl<T: Frozen> Frozen for VecDeque<T> {}
impl<T: Frozen> Frozen for Option<T> {}
impl<T: Frozen + ?Sized> Frozen for Box<T> {}
impl<T: Frozen + ?Sized> Frozen for Arc<T> {}
impl<T: Frozen + ?Sized> Frozen for Rc<T> {}
impl<T: Frozen, E: Frozen> Frozen for Result<T, E> {}
impl<K: Frozen, V: Frozen> Frozen for BTreeMap<K, V> {}
impl<K: Frozen, V: Frozen, S> Frozen for HashMap<K, V, S> {}
impl<T: Frozen> Frozen for BTreeSet<T> {}
impl<T: Frozen, S> Frozen for HashSet<T, S> {}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(impl<$($name: Frozen),*> Frozen for ($($name,)*) {})*};
}

tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }
