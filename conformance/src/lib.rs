//! Proves that a World keeps its contract.

pub mod audit;
pub mod corpus;
pub mod simulation;
