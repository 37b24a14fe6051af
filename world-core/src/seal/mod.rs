//! The only door between what the engine says (in clear) and what a World keeps (sealed).

mod plain;

pub use plain::Plain;
