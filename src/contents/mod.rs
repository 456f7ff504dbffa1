//! What is personal of a workflow: who is reached, what is said, and where callbacks go.
//!
//! The machine decides by a [`Plan`](crate::machine::Plan), which is kept in clear; what is personal stands
//! beside it as [`Contents`], and the store keeps that as bytes it cannot read
//! ([`SealedContents`](crate::store::SealedContents)). Only a [`ContentsKeeper`] makes the one of the other, so
//! whoever needs what is personal can be found by who opens it. Why:
//! [docs/decisions/personal-data.md](../../docs/decisions/personal-data.md).

#[allow(clippy::module_inception, reason = "the room is called after what it is about")]
mod contents;
mod keeper;
mod request;
pub mod scrub;

pub use contents::{Contents, StepContents};
pub use keeper::{ContentsKeeper, Unopened};
pub use request::{RequestDigest, WorkflowRequest};
