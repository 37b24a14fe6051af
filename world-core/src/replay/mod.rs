//! The replay core: one result visible at a time, in log order, polled to quiescence before the
//! next. No I/O, no clock, no runtime.

mod key;

pub use key::Key;
pub(crate) use key::Namer;
