//! What goes into a store and comes out of it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use dispatch_contract::{AttemptId, UnixMillis, Usage};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Reader;
use crate::machine::{
    DeadlineKind, Fact, Moment, Plan, PolicySnapshot, ProgressState, Workflow, WorkflowId,
};

/// A position in the journal. Row 1 is the first; 0 is before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Cursor(pub u64);

/// One life of a store: a new folder, or a restored one, is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation(pub Uuid);

/// How a store is called, and how it was called before: who keeps something beside it knows it by that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreLives {
    /// The life it has now.
    pub incarnation: Incarnation,
    /// Those that it goes on from: that of the backup it was restored from, and those that ended with a loss.
    pub former: Vec<Incarnation>,
    /// Its newest row.
    pub newest: Cursor,
}

impl StoreLives {
    /// Of a store, as it is now.
    pub fn of(reader: &dyn Reader) -> StoreLives {
        StoreLives {
            incarnation: reader.incarnation(),
            former: reader.former_incarnations(),
            newest: reader.newest(),
        }
    }
}

/// Where a key is: which segment's file, and which slot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeySlot(pub u64);

/// What was asked for. Written once, at creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The workflow's name.
    pub id: WorkflowId,
    /// Whose it is.
    pub tenant: Arc<str>,
    /// When it was created.
    pub created_at: Moment,
    /// What was asked for.
    pub plan: Plan,
    /// The configured durations it lives by.
    pub policy: PolicySnapshot,
    /// By what a repeat of the request is known, if the caller named one.
    pub request: Option<RequestKey>,
    /// Who asked, and who is told what becomes of it.
    pub requester: Requester,
    /// Who is reached, what is said, and where callbacks go.
    pub contents: SealedContents,
}

/// What is personal of a workflow, as bytes that the store cannot read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedContents {
    /// Where the key is.
    pub slot: KeySlot,
    /// The version, and what stands under it.
    #[serde(with = "sealed_bytes")]
    pub bytes: Box<[u8]>,
}

/// By what a repeat of a request is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    /// The caller's `request_id`.
    pub id: String,
    /// Tells whether another request asks for the same.
    pub fingerprint: Fingerprint,
}

/// Tells whether two requests ask for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

/// What a `request_id` was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingRequest {
    /// The workflow that was made.
    pub id: WorkflowId,
    /// Where the key of its contents is, under which the fingerprint was made.
    pub slot: KeySlot,
    /// Tells whether a request asks for the same.
    pub fingerprint: Fingerprint,
}

/// Who asked for a workflow, in whose words, and who is told what becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// The application whose callbacks tell what becomes of it, and sign that; `None` tells nobody.
    pub application: Option<Uuid>,
    /// The words it was asked in, which callbacks answer in.
    pub dialect: ApiDialect,
}

/// The words a request came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiDialect {
    /// Our own gRPC API.
    #[default]
    Grpc,
    /// `POST /v0.1/dispatch` of the old Dispatch API.
    DispatchV01,
    /// `POST /beta/workflows`, its predecessor.
    WorkflowsBeta,
    /// `POST /v1/messages`, in the shape of the Messages API.
    MessagesV1,
    /// `POST /v0.1/messages`, and `POST /v1/messages` whose caller wants to be told as there.
    MessagesV01,
}

/// One transition of one workflow, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its place in the journal.
    pub cursor: Cursor,
    /// Whose it is.
    pub tenant: Arc<str>,
    /// The workflow.
    pub workflow: WorkflowId,
    /// When.
    pub at: Moment,
    /// The sequence number of the first fact, counted from 1 within the workflow.
    pub sequence: u32,
    /// What is so from now on; never empty.
    pub facts: Vec<Fact>,
}

/// What one transition changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The workflow's record, if it is new.
    pub record: Option<Arc<Record>>,
    /// Whose it is.
    pub tenant: Arc<str>,
    /// When.
    pub at: Moment,
    /// How many facts there were before.
    pub expected: u32,
    /// What is so from now on; never empty.
    pub facts: Vec<Fact>,
    /// The state with them applied.
    pub state: Workflow,
    /// By what receipts of this workflow will be looked up.
    pub messages: Vec<(ReceiptKey, MessagePart)>,
}

/// What is kept at once or not at all.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    /// Transitions, in order. A workflow may have several.
    pub changes: Vec<Change>,
    /// Receipts that wait for their attempt.
    pub hold_receipts: Vec<HeldReceipt>,
    /// Keys of held receipts that wait no longer.
    pub release_receipts: Vec<u64>,
    /// Removes the [`RestoreLock`].
    pub lift_restore_lock: bool,
    /// For how long overdue waits for receipts have been held since a life last did so to the end, in
    /// milliseconds; `None` if that is as it was.
    pub grace_given_ms: Option<u64>,
}

/// How the clocks stood: what engine time goes on from in the next life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockNote {
    /// Which boot of the machine it was; `None` where that cannot be told.
    pub boot: Option<Uuid>,
    /// For how long the machine had run since then, its sleep included, in milliseconds.
    pub since_boot_ms: u64,
    /// When it was noted.
    pub at: Moment,
}

/// A receipt that came before the answer that would have told whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldReceipt {
    /// Its key; grows.
    pub key: u64,
    /// The account it came by, as `provider/name`.
    pub account: Arc<str>,
    /// The provider's id of the message.
    pub provider_id: String,
    /// When it came, in engine time.
    pub at: UnixMillis,
    /// What it says.
    pub report: HeldReport,
    /// The provider's own time.
    pub provider_time: Option<UnixMillis>,
    /// The provider's code, with a failure.
    pub code: Option<String>,
    /// One sentence, with a failure.
    pub detail: Option<String>,
    /// What the provider charges.
    pub usage: Option<Usage>,
}

/// [`dispatch_contract::Report`], storable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldReport {
    /// The message reached this status.
    Reached(dispatch_contract::Status),
    /// The message will advance no further.
    Failed(dispatch_contract::Failure),
}

/// An open workflow and its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueWorkflow {
    /// When, on the clock of what it is due for.
    pub at: UnixMillis,
    /// Which.
    pub id: WorkflowId,
    /// What for.
    pub kind: DeadlineKind,
}

/// Which workflows to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whose; anybody's if there is none.
    pub tenant: Option<Arc<str>>,
    /// In one of these states; any if empty. The names are those of the wire.
    pub states: Vec<&'static str>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// With this reference.
    pub client_ref: Option<String>,
}

/// Some of the workflows that match.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What was asked for and where it is, newest first.
    pub workflows: Vec<(Arc<Record>, Workflow)>,
    /// Where to go on; `None` at the end.
    pub next: Option<WorkflowId>,
}

/// All that is kept of one workflow: what a backup is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What was asked for.
    pub record: Record,
    /// The whole timeline, in order.
    pub rows: Vec<Row>,
    /// By what receipts find its attempts.
    pub messages: Vec<(ReceiptKey, MessagePart)>,
}

/// How many workflows one list call reads, and how many it passes over for that without reading them: those of other
/// tenants, in other states, and most with other labels.
pub(crate) const LIST_SCAN: usize = 2000;
pub(crate) const LIST_PASS: usize = 20_000;

/// What is read at once weighs little more than this, however few rows that are: a workflow may weigh 256 KiB.
/// No answer to a caller is larger than a usual client takes, which is 4 MiB.
pub(crate) const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// The same for what is written at once.
pub(crate) const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A hash of names that have any length and may be personal.
pub type NameHash = [u8; 16];

/// By what a receipt finds the message that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReceiptKey {
    /// The account, and the provider's id of the message or of a part of it.
    ProviderId(NameHash),
    /// The conversation it stands in, and when the call began by which it was accepted, in engine time: for
    /// watermarks. The attempt tells apart what began at once.
    Conversation(NameHash, UnixMillis, WorkflowId, u16),
}

/// The message that a receipt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundMessage {
    /// Whose it is.
    pub attempt: AttemptId,
    /// The part of it, counted from 1; `None`: the whole.
    pub part: Option<u16>,
}

/// A part of an attempt's message, or the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessagePart {
    /// The attempt's number.
    pub attempt: u16,
    /// Which part, counted from 1; 0: it went out whole.
    pub part: u16,
}

/// A store that was restored from a backup has a restore lock: nothing is sent until somebody says what is to
/// become of what was open when the backup was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreLock {
    /// The newest engine time in the backup: what happened later is not known here.
    pub known_until: UnixMillis,
    /// The life of the store that the backup was taken of.
    pub taken_of: Incarnation,
}

/// Whether a workflow has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkflowEnd {
    /// It has not, or a call of it is still out.
    Open,
    /// It has.
    Ended {
        /// When, in engine time.
        at: UnixMillis,
        /// Of whose it is.
        tenant: TenantTag,
    },
    /// There is none of that id, or retention forgot it.
    Unknown,
}

/// Four bytes that stand for a tenant's name. Two tenants may share them: where that matters, the record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantTag(u32);

impl TenantTag {
    /// Of a tenant's name.
    pub fn of(tenant: &str) -> TenantTag {
        TenantTag(crc32fast::hash(tenant.as_bytes()))
    }
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Journal rows dropped.
    pub rows: usize,
    /// Workflows forgotten.
    pub forgotten: Vec<WorkflowId>,
    /// Old open workflows whose timeline was compacted into one entry at the journal's right end.
    pub compacted: usize,
    /// The budget is used up, and there may be more to do.
    pub has_more: bool,
}

/// Why a store could not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The disk or the operating system failed.
    Io(String),
    /// The database failed, refused something, or is another process's now.
    Database(String),
    /// Something kept cannot be read: where, and why.
    Corrupt {
        /// The key, readable.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process has it open.
    InUse(String),
    /// A folder that this version cannot or must not open, and what to do.
    Refused(String),
    /// A change was decided on a state that is not the present one.
    Conflict(WorkflowId),
    /// Rows that were asked for are gone; the oldest kept is behind this cursor.
    Trimmed(Cursor),
}

impl Record {
    /// The caller's idempotency key.
    pub fn request_id(&self) -> Option<&str> {
        self.request.as_ref().map(|request| request.id.as_str())
    }

    /// What a repeat of the request meets; `None` if it cannot be repeated.
    pub fn existing_request(&self) -> Option<ExistingRequest> {
        let fingerprint = self.request.as_ref()?.fingerprint;
        Some(ExistingRequest { id: self.id, slot: self.contents.slot, fingerprint })
    }
}

impl fmt::Debug for SealedContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedContents({:?}, {} bytes)", self.slot, self.bytes.len())
    }
}

impl KeySlot {
    /// How many bits of it say which slot in the segment.
    const INDEX_BITS: u32 = 14;

    /// The slot of this index, below 16,384, in a segment.
    pub fn new(segment: u32, index: u16) -> KeySlot {
        KeySlot(u64::from(segment) << KeySlot::INDEX_BITS | u64::from(index))
    }

    /// The number of its segment.
    pub fn segment(self) -> u32 {
        (self.0 >> KeySlot::INDEX_BITS) as u32
    }

    /// Which of its segment's 16,384 slots it is.
    pub fn index(self) -> u16 {
        (self.0 & ((1 << KeySlot::INDEX_BITS) - 1)) as u16
    }
}

impl Requester {
    /// Whether somebody may be told what becomes of the workflow.
    pub fn is_notified(&self) -> bool {
        self.application.is_some()
    }
}

impl ChangeSet {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.hold_receipts.is_empty()
            && self.release_receipts.is_empty()
            && !self.lift_restore_lock
            && self.grace_given_ms.is_none()
    }
}

impl Filter {
    /// Whether what was asked for, and where it is, match.
    pub fn admits(&self, record: &Record, workflow: &Workflow) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| record.tenant == *tenant)
            && (self.states.is_empty()
                || self.states.contains(&ProgressState::from(workflow.phase).as_str()))
            && self.labels.iter().all(|(key, value)| record.plan.labels.get(key) == Some(value))
            && (self.client_ref.is_none() || record.plan.client_ref == self.client_ref)
    }
}

impl Row {
    /// Each fact with its sequence number.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Fact)> {
        (self.sequence..).zip(&self.facts)
    }
}

impl Entry {
    /// The workflow as it was when `newest` was the journal's newest row.
    pub(super) fn cut(&mut self, newest: Cursor) {
        self.rows.retain(|row| row.cursor <= newest);
        let rows = &self.rows;
        self.messages.retain(|(_, part)| names(rows, part.attempt));
    }

    /// Whether its timeline tells of a provider's id for this attempt.
    pub(super) fn names(&self, number: u16) -> bool {
        names(&self.rows, number)
    }
}

fn names(rows: &[Row], number: u16) -> bool {
    rows.iter().flat_map(|row| &row.facts).any(|fact| match fact {
        Fact::AttemptAccepted { attempt, .. }
        | Fact::LateSendResult { attempt, provider_ids: Some(_), .. } => *attempt == number,
        _ => false,
    })
}

impl HeldReceipt {
    /// The receipt as it came.
    pub fn report(&self) -> dispatch_contract::Report {
        match self.report {
            HeldReport::Reached(status) => dispatch_contract::Report::Reached(status),
            HeldReport::Failed(failure) => dispatch_contract::Report::Failed(failure),
        }
    }
}

impl From<dispatch_contract::Report> for HeldReport {
    fn from(report: dispatch_contract::Report) -> Self {
        match report {
            dispatch_contract::Report::Reached(status) => HeldReport::Reached(status),
            dispatch_contract::Report::Failed(failure) => HeldReport::Failed(failure),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io(problem) => write!(f, "the store's disk failed: {problem}"),
            StoreError::Database(problem) => f.write_str(problem),
            StoreError::Corrupt { place, problem } => {
                write!(f, "the store is corrupt at {place}: {problem}")
            }
            StoreError::InUse(folder) => {
                write!(
                    f,
                    "the data folder {folder} is in use by another process; stop that one first"
                )
            }
            StoreError::Refused(why) => f.write_str(why),
            StoreError::Conflict(id) => {
                write!(f, "workflow {id} was changed by somebody else meanwhile")
            }
            StoreError::Trimmed(oldest) => {
                write!(f, "the journal before position {} is past retention", oldest.0)
            }
        }
    }
}

impl std::error::Error for StoreError {}

impl ReceiptKey {
    /// Of what an account calls so.
    pub fn provider_id(account: &str, provider_id: &str) -> Self {
        ReceiptKey::ProviderId(id_hash(account, provider_id))
    }
}

impl MessagePart {
    /// The message, or the part of it, that an index row of `workflow` leads to.
    pub(crate) fn found(self, workflow: WorkflowId) -> FoundMessage {
        let attempt = AttemptId { workflow: workflow.0, number: self.attempt };
        FoundMessage { attempt, part: (self.part > 0).then_some(self.part) }
    }
}

/// A conversation as an account has it, of a keyed hash of it.
pub(crate) fn conversation(account: &str, keyed: &NameHash) -> NameHash {
    short_hash(&[account.as_bytes(), keyed])
}

/// Callers' and providers' ids have any length and may be personal: a hash has neither trait.
pub(crate) fn id_hash(scope: &str, id: &str) -> NameHash {
    short_hash(&[scope.as_bytes(), id.as_bytes()])
}

fn short_hash(names: &[&[u8]]) -> NameHash {
    let mut hash = Sha256::new();
    for name in names {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
    }
    let mut short = NameHash::default();
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// Bytes as bytes: serde would take them one by one.
mod sealed_bytes {
    use std::fmt;

    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Box<[u8]>, D::Error> {
        from.deserialize_bytes(Bytes)
    }

    struct Bytes;

    impl de::Visitor<'_> for Bytes {
        type Value = Box<[u8]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Box<[u8]>, E> {
            Ok(bytes.into())
        }
    }
}
