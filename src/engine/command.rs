//! What the engine is asked for, and what whoever asked is answered with.

use std::sync::Arc;

use dispatch_contract::{AttemptId, Receipt, Status, UnixMillis};
use uuid::Uuid;

use super::{EngineError, ReceiptScope, RouteTable};
use crate::{
    contents::{AnyConversation, CallConversation, ContentsKeeper, RequestDigest},
    machine::{Fact, RecallResult, SendResult, Workflow, WorkflowId},
    store::{ExistingRequest, Record},
};

/// Told once, after the batch is durable.
pub type Responder<T> = Box<dyn FnOnce(T) + Send>;

/// A command to the processor.
pub enum Command {
    /// A new workflow, already parsed and checked.
    Create {
        /// What is asked for.
        record: Box<Record>,
        /// Told how it went.
        reply: Responder<Result<Made, EngineError>>,
    },
    /// The caller does not want it any more.
    Cancel {
        /// Whose it is.
        tenant: Arc<str>,
        /// Which.
        id: WorkflowId,
        /// Told how it went.
        reply: Responder<Result<Canceled, EngineError>>,
    },
    /// What a provider told.
    Inbound {
        /// The provider.
        provider: Arc<str>,
        /// The account it concerns.
        account: Arc<str>,
        /// Whose messages alone it counts for; `None`: all that went out under the account.
        scope: Option<ReceiptScope>,
        /// What it told, in order.
        items: Vec<InboundReport>,
        /// Told once all of it is durable: of what says that a message was replied to, which attempt that is, with its
        /// place among the items, if it is one of ours and may be told of it so.
        reply: Responder<Result<Vec<(usize, AttemptId)>, EngineError>>,
    },
    /// A call came back. Exactly one for each [`SendOrder`](super::SendOrder).
    SendResult {
        /// The attempt.
        attempt: AttemptId,
        /// Which call of it.
        call: u16,
        /// The route it went by.
        route: Arc<str>,
        /// What it said.
        answer: SendResult,
        /// How long it took, in milliseconds.
        took_ms: u64,
        /// Where its message stands, if it was accepted and its provider tells by watermarks.
        conversation: Option<Box<ConversationSend>>,
    },
    /// A provider was asked for a message back. At most one for each
    /// [`RecallOrder`](super::RecallOrder).
    RecallResult {
        /// The attempt.
        attempt: AttemptId,
        /// What came of it.
        result: RecallResult,
    },
    /// What is personal of these workflows is about to be destroyed: those that are open are canceled, and all are marked,
    /// so that nothing is kept of them from then on.
    Erase {
        /// By which erasure.
        erasure: Uuid,
        /// Which; those that are not there any more are passed over.
        workflows: Vec<WorkflowId>,
        /// Told once all of it is durable.
        reply: Responder<Result<MarkedErased, EngineError>>,
    },
    /// The restore lock is to be released.
    Resume {
        /// What becomes of what is open.
        open: ResumePolicy,
        /// Told how many were open, or that there is no restore lock.
        reply: Responder<Result<usize, EngineError>>,
    },
    /// The configuration was read anew: other routes, or the same with other limits.
    Routes {
        /// All of them.
        table: RouteTable,
        /// Told once they are in force.
        reply: Responder<Arc<RouteTable>>,
    },
    /// Time may have moved.
    Tick,
    /// Start no further calls, and tell when none is out.
    Drain {
        /// Told when no call is out.
        reply: Responder<()>,
    },
    /// The writer stops after this batch.
    Stop,
}

/// What a provider told of messages of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboundReport {
    /// How an attempt fared.
    Receipt(Receipt),
    /// How everything fared that was sent in a conversation until a certain time.
    Watermark(ConversationWatermark),
}

/// A [`Watermark`](dispatch_contract::Watermark), without the person that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationWatermark {
    /// The conversation.
    pub conversation: AnyConversation,
    /// What everything reached.
    pub status: Status,
    /// That was sent at or before this, by the provider's clock.
    pub until: UnixMillis,
}

/// A call that put a message into a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationSend {
    /// The conversation.
    pub conversation: CallConversation,
    /// When the call began, in engine time.
    pub began: UnixMillis,
    /// When its answer came, in engine time.
    pub answered: UnixMillis,
    /// The provider's clock when it answered, to the second, where it says so.
    pub provider_time: Option<UnixMillis>,
}

/// What the writer makes of a create.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// A new workflow.
    New(Box<NewWorkflow>),
    /// Nothing: the `request_id` was used before. Whether for the same, only whoever has the contents' keys can tell.
    Existing(ExistingRequest),
}

/// A workflow that was created, or had been.
#[derive(Clone, Debug, PartialEq)]
pub struct Created {
    /// Its id.
    pub id: WorkflowId,
    /// What this request made; `None` if an earlier one with the same `request_id` did.
    pub new: Option<Box<NewWorkflow>>,
}

/// A workflow just after its creation, so that the answer needs no read.
#[derive(Clone, Debug, PartialEq)]
pub struct NewWorkflow {
    /// What was asked for.
    pub record: Arc<Record>,
    /// Where it is.
    pub state: Workflow,
    /// What happened to it.
    pub facts: Vec<Fact>,
}

impl Made {
    /// What whoever asked is answered, whose request has this digest: where the `request_id` was used before,
    /// whether it was for the same.
    ///
    /// # Errors
    /// [`EngineError::AlreadyExists`] if it was not; [`EngineError::Unavailable`] if its key cannot be read.
    pub fn answer(
        self,
        contents: &ContentsKeeper,
        digest: Option<&RequestDigest>,
    ) -> Result<Created, EngineError> {
        match self {
            Made::New(new) => Ok(Created { id: new.record.id, new: Some(new) }),
            Made::Existing(existing) => {
                let id = existing.id;
                let is_same = digest.map(|digest| contents.is_same(&existing, digest));
                match is_same.transpose() {
                    Ok(Some(true)) => Ok(Created { id, new: None }),
                    Ok(Some(false) | None) => Err(EngineError::AlreadyExists(id)),
                    Err(error) => {
                        tracing::error!(workflow = %id, %error, "a key could not be read");
                        Err(EngineError::Unavailable)
                    }
                }
            }
        }
    }
}

impl Created {
    /// Whether this request made it.
    pub fn is_new(&self) -> bool {
        self.new.is_some()
    }
}

/// A workflow that is canceled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canceled {
    /// Its id.
    pub id: WorkflowId,
    /// Attempts that had started: they may go out, and are never retried.
    pub started: Vec<AttemptId>,
}

/// Workflows that are marked as erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkedErased {
    /// How many of them were open, and are canceled.
    pub canceled: usize,
    /// Attempts whose messages may still arrive: calls that were out, and what a provider has of those that were canceled.
    pub may_arrive: Vec<AttemptId>,
}

/// What becomes of the workflows that are open when the restore lock is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumePolicy {
    /// They go on as after a restart: what was STARTED and not answered is unknown, what is due is
    /// done. Some of it may have been sent after the backup was taken.
    Continue,
    /// They are canceled: nothing of them is sent any more.
    Cancel,
}
