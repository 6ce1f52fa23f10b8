//! (in progress)
pub mod fetch;
pub mod job;
pub mod search;
