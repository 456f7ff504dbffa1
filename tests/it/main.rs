//! The integration tests: one binary, so that everything is linked once.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]

mod bad_requests;
mod cli;
mod crash;
mod docs;
mod grpcurl;
mod layout;
mod service;
mod store;
mod support;
mod turn;
mod webhooks;
