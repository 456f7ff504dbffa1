//! What the network and too much work do to the service: nothing is lost, nothing comes twice, and
//! everything stays bounded.
//!
//! [`grpc`] breaks the network between clients and the service, [`http`] that between the service
//! and a provider, both ways; [`crowd`] fills its listeners. The overload suites drive the real program, in a
//! process of its own.
//!
//! A binary of its own beside `it`, because these run long and measure: they go one after the other.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod chance;
mod crowd;
mod grpc;
mod http;
#[expect(dead_code, reason = "shared with the other test binary, which uses all of it")]
#[path = "../it/no_recipient.rs"]
mod no_recipient;
mod overload;
mod proxy;
#[path = "../report/mod.rs"]
mod report;
#[path = "../shared/mod.rs"]
mod shared;
#[expect(dead_code, reason = "shared with the other test binary, which uses all of it")]
#[path = "../it/support.rs"]
mod support;

/// Held by each test: they measure, and one that storms would be in the others' figures.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
