//! The engine: the only place where effects happen.
//!
//! It takes commands in batches, runs the machine, commits the whole batch durably once, and only
//! then lets the effects happen: answers to callers, calls to providers, news to subscribers. While
//! the disk works, the next batch gathers.
//!
//! ```text
//! edges ──▶ Inbox (lanes) ──▶ Processor (pure) ──▶ Store::commit ──▶ acks, Feed, Dispatcher
//!             ▲                                                         │
//!             └───────────────── answers of providers ◀─────────────────┘
//! ```
//!
//! [`Processor`] is a plain synchronous struct, and so is the [`Writer`] around it, with its clock, its store
//! and whoever makes its calls given to it: a simulator steps both, and the writer's thread and tokio are
//! a thin shell. Sends run outside, bounded per route. Reads and streams go through the store's reader,
//! never through the inbox.

mod accounts;
mod clock;
mod command;
mod dispatch;
mod effects;
mod erasure;
mod error;
mod event_log;
mod fair;
mod feed;
mod handle;
mod inbound;
mod inbound_messages;
mod inbox;
mod opt_outs;
mod options;
mod permits;
mod processor;
mod receipt_monitor;
mod routes;
mod senders;
mod sink;
mod space;
mod writer;

use accounts::sender_account_id;
pub use accounts::{FormerNames, ReceiptScope, account_id};
pub use clock::{EngineClock, MachineClocks, Readings, SystemClock, TestClock, Timekeeper, Wake};
pub use command::{
    Canceled, Command, ConversationSend, ConversationWatermark, Created, InboundReport, Made,
    MarkedErased, NewWorkflow, Responder, ResumePolicy,
};
pub use dispatch::{CallExecutor, LastCheck, ReadyCall, answer_of};
pub use effects::{Effects, ForeignReceipts, RecallOrder, SendOrder};
pub use erasure::{
    ErasedContents, ErasedSome, ErasureError, ErasureSubject, FoundContents, MOST_ERASED_AT_ONCE,
    MOST_MAY_ARRIVE,
};
pub use error::EngineError;
pub use feed::{Feed, OnCommit};
pub use handle::{BesideJournal, Engine, EngineParts};
pub use inbound_messages::{
    HeardMessage, InboundMessages, InboundOptions, InboundPage, KeptNumbers, MessagesOfPerson,
    QuotedMessage, ReceivedMessage, inbound_keys,
};
pub use inbox::{Inbox, LaneLimits, NotTaken};
pub use opt_outs::{
    Addressed, ListedOptOut, NewOptOut, OptOutFilter, OptOutPage, OptOutRow, OptOutSource, OptOuts,
    opt_out_keys,
};
pub use options::EngineOptions;
pub use permits::RouteQueue;
pub use processor::{Grace, Processor};
pub use routes::{Route, RouteTable, RouteTenants, SenderMatch};
pub use senders::Senders;
pub(crate) use sink::EngineSink;
pub use space::SpaceLimits;
pub use writer::Writer;
