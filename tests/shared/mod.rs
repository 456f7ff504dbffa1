//! What several suites build alike, in one place: requests, plans, a small engine, a wait.
//!
//! Each suite, and the crate's own tests, includes this folder by its path and uses a part of it. What only one
//! of them builds stays with it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each suite that shares this folder uses a part of it"
)]

pub mod engines;
pub mod plans;
pub mod postgres;
pub mod requests;
pub mod waits;
