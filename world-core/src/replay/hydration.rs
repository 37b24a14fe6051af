//! The hydration cache: what has been opened once in a session is not opened again.
//!
//! It is never shared between runs. The engine works without it, with the same result: a hit
//! stands in exactly the place in the delivery order where opening and decoding would.

use std::{
    any::{Any, TypeId},
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    error::Result,
    event::{Event, Logged},
    ids::Position,
    lock::lock,
};

/// The longest string that is kept decoded, in bytes.
pub const STRING_BYTES_MAX: usize = 4 << 10;

/// The opened events and decoded primitives of one run, in one session.
#[derive(Debug)]
pub struct Hydration {
    opened_bytes_max: usize,
    state: Mutex<State>,
    counters: Arc<HydrationCounters>,
}

#[derive(Debug, Default)]
struct State {
    opened: HashMap<Position, Arc<Logged>>,
    order: VecDeque<Position>,
    bytes: usize,
    decoded: HashMap<(Position, TypeId), Decoded>,
}

impl State {
    /// The most values that are kept decoded.
    const DECODED_MAX: usize = 1 << 16;

    fn keep_decoded(&mut self, at: (Position, TypeId), value: Decoded) {
        if self.decoded.len() < Self::DECODED_MAX {
            self.decoded.insert(at, value);
        }
    }
}

type Decoded = Arc<dyn Any + Send + Sync>;

/// Counts how often the caches of an engine answered.
#[derive(Debug, Default)]
pub struct HydrationCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    opened: AtomicU64,
}

impl HydrationCounters {
    /// How often they have answered so far.
    #[must_use]
    pub fn counts(&self) -> HydrationCounts {
        HydrationCounts {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            opened: self.opened.load(Relaxed),
        }
    }
}

/// How often a cache answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HydrationCounts {
    /// Results handed out decoded.
    pub hits: u64,
    /// Results decoded afresh.
    pub misses: u64,
    /// Records opened (decrypted).
    pub opened: u64,
}

impl Hydration {
    /// A cache that keeps at most this many bytes of opened payloads; 0 keeps none.
    #[must_use]
    pub fn new(opened_bytes_max: usize) -> Self {
        Self::counted(opened_bytes_max, Arc::default())
    }

    /// The same, counting where others count too.
    #[must_use]
    pub fn counted(opened_bytes_max: usize, counters: Arc<HydrationCounters>) -> Self {
        Self { opened_bytes_max, state: Mutex::default(), counters }
    }

    /// How often it has answered so far.
    #[must_use]
    pub fn counts(&self) -> HydrationCounts {
        self.counters.counts()
    }

    /// The event at a position, opened now or earlier.
    ///
    /// # Errors
    /// Those of `open`, which are never kept.
    pub fn open(
        &self,
        position: Position,
        open: impl FnOnce() -> Result<Logged>,
    ) -> Result<Arc<Logged>> {
        if let Some(logged) = lock(&self.state).opened.get(&position) {
            return Ok(Arc::clone(logged));
        }
        let logged = Arc::new(open()?);
        self.counters.opened.fetch_add(1, Relaxed);
        self.keep(&logged);
        Ok(logged)
    }

    /// Keeps an event whose bytes this session has just committed.
    pub fn keep(&self, logged: &Arc<Logged>) {
        let bytes = payload_len(&logged.event);
        if bytes > self.opened_bytes_max {
            return;
        }
        let mut state = lock(&self.state);
        if state.opened.insert(logged.position, Arc::clone(logged)).is_none() {
            state.order.push_back(logged.position);
            state.bytes += bytes;
        }
        while state.bytes > self.opened_bytes_max {
            let Some(oldest) = state.order.pop_front() else { break };
            if let Some(dropped) = state.opened.remove(&oldest) {
                state.bytes -= payload_len(&dropped.event);
            }
        }
    }

    /// A result, decoded now or earlier. Only values that cannot change are kept decoded:
    /// primitives and strings up to [`STRING_BYTES_MAX`].
    pub(crate) fn hydrate<T: 'static, E>(
        &self,
        position: Position,
        decode: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if !is_primitive::<T>() || self.opened_bytes_max == 0 {
            self.counters.misses.fetch_add(1, Relaxed);
            return decode();
        }
        let at = (position, TypeId::of::<T>());
        let kept = lock(&self.state).decoded.get(&at).cloned();
        if let Some(value) = kept.and_then(|kept| copy_out::<T>(kept.as_ref())) {
            self.counters.hits.fetch_add(1, Relaxed);
            return Ok(value);
        }
        let value = decode()?;
        self.counters.misses.fetch_add(1, Relaxed);
        if let Some(copy) = copy_in(&value) {
            lock(&self.state).keep_decoded(at, copy);
        }
        Ok(value)
    }

    /// A frozen result, decoded now or earlier.
    pub(crate) fn hydrate_shared<T: Send + Sync + 'static, E>(
        &self,
        position: Position,
        decode: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        let at = (position, TypeId::of::<Arc<T>>());
        let kept = lock(&self.state).decoded.get(&at).cloned();
        if let Some(value) = kept.and_then(|kept| kept.downcast::<T>().ok()) {
            self.counters.hits.fetch_add(1, Relaxed);
            return Ok(value);
        }
        let value = decode()?;
        self.counters.misses.fetch_add(1, Relaxed);
        if self.opened_bytes_max > 0 {
            lock(&self.state).keep_decoded(at, Arc::clone(&value) as Decoded);
        }
        Ok(value)
    }
}

fn payload_len(event: &Event) -> usize {
    /// What an event without a payload is counted as, in bytes.
    const BARE: usize = 64;
    BARE + match event {
        Event::RunCreated { input: payload, .. }
        | Event::StepCompleted { result: payload, .. }
        | Event::RunCompleted { output: payload } => payload.as_bytes().len(),
        _ => 0,
    }
}

macro_rules! primitives {
    ($($type:ty),* $(,)?) => {
        fn is_primitive<T: 'static>() -> bool {
            let id = TypeId::of::<T>();
            false $(|| id == TypeId::of::<$type>() || id == TypeId::of::<Option<$type>>())*
                || id == TypeId::of::<String>() || id == TypeId::of::<Option<String>>()
        }

        fn copy_in<T: 'static>(value: &T) -> Option<Decoded> {
            let value: &dyn Any = value;
            let short = |text: &String| text.len() <= STRING_BYTES_MAX;
            $(
                if let Some(value) = value.downcast_ref::<$type>() {
                    return Some(Arc::new(value.clone()));
                }
                if let Some(value) = value.downcast_ref::<Option<$type>>() {
                    return Some(Arc::new(value.clone()));
                }
            )*
            if let Some(value) = value.downcast_ref::<String>() {
                return short(value).then(|| Arc::new(value.clone()) as Decoded);
            }
            let value = value.downcast_ref::<Option<String>>()?;
            value.as_ref().is_none_or(short).then(|| Arc::new(value.clone()) as Decoded)
        }

        fn copy_out<T: 'static>(kept: &(dyn Any + Send + Sync)) -> Option<T> {
            let mut out: Option<T> = None;
            let slot: &mut dyn Any = &mut out;
            $(
                if let Some(slot) = slot.downcast_mut::<Option<$type>>() {
                    *slot = kept.downcast_ref::<$type>().cloned();
                    return out;
                }
                if let Some(slot) = slot.downcast_mut::<Option<Option<$type>>>() {
                    *slot = kept.downcast_ref::<Option<$type>>().cloned();
                    return out;
                }
            )*
            if let Some(slot) = slot.downcast_mut::<Option<String>>() {
                *slot = kept.downcast_ref::<String>().cloned();
            } else if let Some(slot) = slot.downcast_mut::<Option<Option<String>>>() {
                *slot = kept.downcast_ref::<Option<String>>().cloned();
            }
            out
        }
    };
}

primitives!(
    (),
    bool,
    char,
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
);
