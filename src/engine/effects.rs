//! What follows from a batch of commands, and happens only once its change set is durable.

use std::{collections::BTreeMap, sync::Arc};

use dispatch_contract::AttemptId;

use crate::{
    machine,
    store::{ChangeSet, Record},
};

/// What follows from a batch of commands.
#[derive(Default)]
pub struct Effects {
    /// To be made durable first.
    pub change_set: ChangeSet,
    /// Answers to callers.
    pub acks: Vec<Box<dyn FnOnce() + Send>>,
    /// Calls to providers.
    pub sends: Vec<SendOrder>,
    /// Messages to be asked back.
    pub recalls: Vec<RecallOrder>,
    /// Receipts that belong to nothing here; other systems may share the account.
    pub unmatched: usize,
    /// Receipts of workflows that were erased.
    pub after_erasure: usize,
    /// Receipts of attempts that were not STARTED under the account that told.
    pub foreign: Option<ForeignReceipts>,
    /// Invariants found broken.
    pub broken: Vec<machine::BrokenInvariant>,
    /// How many creates were refused, by the route that could not have started them in time.
    pub refused: BTreeMap<Arc<str>, u64>,
    /// How many wait for a permit, by route and [priority](machine::Priority::ALL), where that changed.
    pub queues: Vec<(Arc<str>, [usize; machine::Priority::ALL.len()])>,
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct SendOrder {
    /// The attempt.
    pub attempt: AttemptId,
    /// Which call of it.
    pub call: u16,
    /// The step whose message it is.
    pub step: u8,
    /// For how many milliseconds the message is of use; see
    /// [`Workflow::useful_for_ms`](crate::machine::Workflow::useful_for_ms).
    pub useful_for_ms: Option<u64>,
    /// The route it goes by.
    pub route: Arc<str>,
    /// What was asked for, if it is at hand.
    pub record: Option<Arc<Record>>,
}

/// A message to be asked back.
#[derive(Clone, Debug)]
pub struct RecallOrder {
    /// The attempt whose message it is.
    pub attempt: AttemptId,
    /// The step whose message it is.
    pub step: u8,
    /// The route it went by.
    pub route: Arc<str>,
    /// The account that it went out under, as `provider/name`: nobody else can take it back.
    pub account: Arc<str>,
}

/// Receipts that name an attempt of ours, and came by another account than it was STARTED under: they
/// change nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignReceipts {
    /// How many there were in this batch.
    pub count: usize,
    /// The account that told, of the first of them, as `provider/name`.
    pub reported_by: Arc<str>,
    /// The account that its attempt was STARTED under.
    pub started_under: Arc<str>,
}
