//! The simulated provider from the outside: as an adapter, and as a server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod clock;
mod conformance;
mod http;
mod in_process;
