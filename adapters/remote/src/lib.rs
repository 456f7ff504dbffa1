//! Adapters in programs of their own, in any language.
//!
//! Such a program serves `dispatch.adapter.v1` (`proto/dispatch/adapter/v1/adapter.proto`, which says what every
//! call means); this crate dials it, and is a [`Provider`](dispatch_contract::Provider) like any other. It
//! promises that
//!
//! - whatever comes from there is bounded and checked, and what is not understood is refused with its name;
//! - what certainly did not leave is made again, and what may have left counts as unknown;
//! - an adapter that does not answer costs the start nothing: what it told of itself last is kept in the data
//!   folder, and until it has ever told, what needs it is refused with a sentence that says so.
//!
//! It deliberately starts no processes: who runs the adapter, and begins it again, is the operator's.

mod adapter;
mod call;
mod checked;
mod description;
mod follow;
mod line_limit;
mod listen;
pub mod pb;
mod prove;
mod provider;
mod read;
mod remote;
mod target;
mod write;

pub use prove::{GivenAccount, ProvenAdapter, prove};
pub use provider::{ConfiguredUse, RemoteHandle, RemoteProvider};
pub use target::DialTarget;

/// The highest minor of the protocol that is spoken here.
pub const MINOR: u32 = 0;
