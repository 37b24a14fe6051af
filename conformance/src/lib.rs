//! Proves that a World keeps its contract.

pub mod corpus;
