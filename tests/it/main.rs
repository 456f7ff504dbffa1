//! The integration tests: one binary, so that everything is linked once.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]

mod backup;
mod bad_requests;
mod bench;
mod callbacks;
mod cli;
mod corpus;
mod docs;
mod golden;
mod grpcurl;
mod layout;
#[path = "../report/mod.rs"]
mod report;
mod service;
mod store;
mod support;
mod turn;
mod webhooks;
