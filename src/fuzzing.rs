//! Doors for `tests/fuzz` and for nobody else: what fuzzing must reach and no caller may.
//!
//! Nothing is decided or checked here; the properties stand in `tests/fuzz/targets`, once, for
//! libFuzzer and for the replay in this crate's tests. There only where one of them is built: cargo-fuzz sets
//! `cfg(fuzzing)`.

use std::sync::Arc;

use axum::http::HeaderValue;
use dispatch_contract::UnixMillis;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    access::{DEFAULT_TENANT, TokenKey},
    api::{ShownContents, parse, token},
    contents::{self, ContentKeys, Family, MemoryKeys, SealError, WorkflowRequest},
    engine::RouteTable,
    grpc::render,
    machine::{Fact, TimelineEvent, Workflow, WorkflowId},
    pb::v1::{CreateWorkflowRequest, Event, ListWorkflowsRequest, WorkflowSpec},
    rest,
    store::{
        Cursor, EndedLocation, HeldReceipt, Incarnation, JournalEntry, Record, Row, StoreError,
        codec,
    },
};

#[cfg(test)]
#[path = "../tests/fuzz/replay.rs"]
#[expect(unreachable_pub, reason = "the targets are public where libFuzzer calls them")]
mod replay;

/// Whose tokens are read.
const TENANT: &str = "acme";

/// Which type a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// What stands at one cursor of the journal.
    Journal,
    /// Where the rows of an ended workflow stand.
    Ended,
    /// A transition.
    Transition,
    /// What was asked for.
    Record,
    /// A parked receipt.
    HeldReceipt,
    /// A position.
    Cursor,
}

/// A row read, and written again.
///
/// # Errors
/// If it is none.
pub fn row_again(kind: RowKind, row: &[u8]) -> Result<Vec<u8>, StoreError> {
    fn again<T: Serialize + DeserializeOwned>(row: &[u8]) -> Result<Vec<u8>, StoreError> {
        codec::encode(&codec::decode::<T>(row, || "a fuzzed row".to_owned())?)
    }
    match kind {
        RowKind::Journal => again::<JournalEntry>(row),
        RowKind::Ended => again::<EndedLocation>(row),
        RowKind::Transition => again::<Row>(row),
        RowKind::Record => again::<Record>(row),
        RowKind::HeldReceipt => again::<HeldReceipt>(row),
        RowKind::Cursor => again::<Cursor>(row),
    }
}

/// A chunk of the journal read, value by value, and written again.
///
/// # Errors
/// If it is none.
pub fn chunk_again(row: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut again = codec::BatchEncoder::default();
    let place = || "a fuzzed row".to_owned();
    for value in codec::BatchDecoder::of(row, place)?.iter(place) {
        let value = value?;
        again.add(value.number, &codec::bare(&value.decode::<JournalEntry>()?)?)?;
    }
    Ok(again.row())
}

/// `payload` as a row whose checksum fits.
pub fn sealed(payload: &[u8]) -> Vec<u8> {
    codec::framed(payload)
}

/// The transition in a row, if it holds one.
pub fn transition(row: &[u8]) -> Option<Row> {
    codec::decode(row, String::new).ok()
}

/// `value` as a row.
///
/// # Errors
/// If it cannot be written.
pub fn row(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    codec::encode(value)
}

/// The header of a file of keys, read and written again; `None` if there is none.
pub fn key_header_again(file: &[u8]) -> Option<Vec<u8>> {
    contents::header_again(file)
}

/// The header of a file of keys that these fields and this sealed secret make; its checksum fits.
pub fn key_header(fields: &[u8; 11], sealed: &[u8]) -> Vec<u8> {
    contents::header_of(fields, sealed)
}

/// A text sealed for a workflow, always under the same key.
///
/// # Errors
/// If it is too long.
pub fn seal(workflow: WorkflowId, text: &[u8]) -> Result<Box<[u8]>, SealError> {
    let (slot, key) =
        MemoryKeys::new([7; 32]).try_take(Family::Workflow).ok_or(SealError::Failed)?;
    contents::seal(&key, slot, workflow, text)
}

/// What [`seal`] sealed.
///
/// # Errors
/// If it is not that.
pub fn unseal(workflow: WorkflowId, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (slot, key) =
        MemoryKeys::new([7; 32]).try_take(Family::Workflow).ok_or(SealError::Failed)?;
    contents::open(&key, slot, workflow, sealed)
}

/// What sealed bytes hold, as if these had been sealed.
///
/// # Errors
/// If they hold nothing that is ever sealed.
pub fn unpacked(packed: &[u8]) -> Result<Vec<u8>, SealError> {
    contents::unpacked(packed)
}

/// A fact as the event that a stream would carry.
pub fn event(workflow: &Workflow, row: &Row, fact: &Fact) -> Event {
    render::event(&TimelineEvent::of(workflow, row.sequence, row.at, fact), String::new())
}

/// A resume token read, and written again; `None` if it is none of this store's.
pub fn resume_token_again(token: &str, incarnation: Uuid) -> Option<String> {
    let tokens = tokens(incarnation)?;
    Some(tokens.resume(TENANT, tokens.position(TENANT, token).ok()?))
}

/// The resume token of a place in the journal.
pub fn resume_token(cursor: u64, seen: u32, incarnation: Uuid) -> String {
    let position = token::Position { cursor: Cursor(cursor), seen };
    tokens(incarnation).map(|tokens| tokens.resume(TENANT, position)).unwrap_or_default()
}

/// A page token read, and written again; `None` if it is none.
pub fn page_token_again(token: &str) -> Option<String> {
    let tokens = tokens(Uuid::nil())?;
    let list = token::List::of(TENANT, &ListWorkflowsRequest::default());
    match tokens.place(&list, token) {
        Ok(Some(place)) => {
            let last = token::workflow_of(&place)?;
            Some(tokens.page(&list, &token::behind_workflow(last)))
        }
        Ok(None) => Some(String::new()),
        Err(_) => None,
    }
}

/// The page token behind a workflow.
pub fn page_token(last: Uuid) -> String {
    let list = token::List::of(TENANT, &ListWorkflowsRequest::default());
    tokens(Uuid::nil()).map(|tokens| tokens.page(&list, last.as_bytes())).unwrap_or_default()
}

/// With a key that is always the same, so that a file of the corpus means the same in each run.
fn tokens(incarnation: Uuid) -> Option<token::Tokens> {
    let key = TokenKey::new(&[7; 32])?;
    Some(token::Tokens::new(Arc::new(key), Incarnation(incarnation)))
}

/// What a request asks for.
///
/// # Errors
/// Everything that is wrong with it: field and description.
pub fn plan(
    request: &CreateWorkflowRequest,
    routes: &RouteTable,
    now: UnixMillis,
) -> Result<WorkflowRequest, Vec<(String, String)>> {
    let rules = parse::TenantRoutes::only(routes, DEFAULT_TENANT);
    parse::create_request(request, &rules, now).map_err(|violations| {
        violations
            .into_iter()
            .map(|found| (found.field.to_string(), found.wanted.to_string()))
            .collect()
    })
}

/// A request as the spec that asks for it.
pub fn spec(asked: &WorkflowRequest) -> WorkflowSpec {
    render::spec(&asked.plan, &ShownContents::Shown(asked.contents.clone()))
}

/// What the body of an old API's request asks for, and the warnings it gets.
///
/// # Errors
/// The answer's body.
pub fn facade(
    is_v1: bool,
    body: &[u8],
    routes: &RouteTable,
    now: UnixMillis,
) -> Result<(WorkflowRequest, Vec<String>), String> {
    let told = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let rules = parse::TenantRoutes::only(routes, DEFAULT_TENANT);
    let judged = rest::asked_for(is_v1, body, &rules, now);
    judged
        .map(|(asked, headers)| (asked, headers.values().map(told).collect()))
        .map_err(|problem| serde_json::to_string(&*problem).unwrap_or_default())
}
