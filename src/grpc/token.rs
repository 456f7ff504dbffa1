//! Opaque tokens: where a stream goes on, where a list goes on.
//!
//! A resume token names the store's incarnation, a journal cursor, and how many facts of that row
//! were already seen. It carries a checksum, so that a mistyped one is refused and not guessed at.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::errors::Error;
use crate::{
    callbacks::CallbackId,
    machine::WorkflowId,
    store::{Cursor, Incarnation},
};

/// A place in the journal: behind the first `seen` facts of the row at `cursor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) cursor: Cursor,
    pub(crate) seen: u32,
}

const RESUME: u8 = 1;
const PAGE: u8 = 2;
const CALLBACK_PAGE: u8 = 3;

impl Position {
    /// Behind everything up to `cursor`.
    pub(crate) fn behind(cursor: Cursor) -> Position {
        Position { cursor, seen: u32::MAX }
    }

    pub(crate) fn to_token(self, incarnation: Incarnation) -> String {
        let mut bytes = vec![RESUME];
        bytes.extend(incarnation.0.as_bytes());
        bytes.extend(self.cursor.0.to_be_bytes());
        bytes.extend(self.seen.to_be_bytes());
        sealed(bytes)
    }

    pub(crate) fn from_token(token: &str, incarnation: Incarnation) -> Result<Position, Error> {
        let wrong = || {
            Error::invalid(
                "resume_token",
                "must be a resume_token as an event or a bookmark carries it",
            )
        };
        let bytes = opened(token, RESUME).ok_or_else(wrong)?;
        let (of, rest) = bytes.split_at_checked(16).ok_or_else(wrong)?;
        let (cursor, seen) = rest.split_at_checked(8).ok_or_else(wrong)?;
        let cursor = cursor.try_into().map(u64::from_be_bytes).map_err(|_| wrong())?;
        let seen = seen.try_into().map(u32::from_be_bytes).map_err(|_| wrong())?;
        if of != incarnation.0.as_bytes() {
            return Err(Error::TokenForeign);
        }
        Ok(Position { cursor: Cursor(cursor), seen })
    }
}

/// The token of the page behind `last`.
pub(crate) fn page_token(last: WorkflowId) -> String {
    let mut bytes = vec![PAGE];
    bytes.extend(last.as_bytes());
    sealed(bytes)
}

/// The workflow that a page token names.
pub(crate) fn page(token: &str) -> Result<Option<WorkflowId>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Error::invalid("page_token", "must be empty, or the next_page_token of an earlier answer")
    };
    let bytes = opened(token, PAGE).ok_or_else(wrong)?;
    Ok(Some(WorkflowId(Uuid::from_slice(&bytes).map_err(|_| wrong())?)))
}

/// The token of the page behind `last`.
pub(crate) fn callback_page_token(last: CallbackId) -> String {
    let mut bytes = vec![CALLBACK_PAGE];
    bytes.extend(last.workflow.as_bytes());
    bytes.extend(last.sequence.to_be_bytes());
    sealed(bytes)
}

/// The callback that a page token names.
pub(crate) fn callback_page(token: &str) -> Result<Option<CallbackId>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Error::invalid("page_token", "must be empty, or the next_page_token of an earlier answer")
    };
    let bytes = opened(token, CALLBACK_PAGE).ok_or_else(wrong)?;
    let (workflow, sequence) = bytes.split_at_checked(16).ok_or_else(wrong)?;
    let workflow = WorkflowId(Uuid::from_slice(workflow).map_err(|_| wrong())?);
    let sequence = sequence.try_into().map(u32::from_be_bytes).map_err(|_| wrong())?;
    Ok(Some(CallbackId { workflow, sequence }))
}

fn sealed(mut bytes: Vec<u8>) -> String {
    let sum = crc32fast::hash(&bytes);
    bytes.extend(sum.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn opened(token: &str, kind: u8) -> Option<Vec<u8>> {
    // Ours are shorter than this, and what is longer is not worth decoding.
    if token.len() > 100 {
        return None;
    }
    let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let sum = bytes.split_off(bytes.len().checked_sub(4)?);
    if crc32fast::hash(&bytes).to_be_bytes() != *sum || bytes.first() != Some(&kind) {
        return None;
    }
    bytes.remove(0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_and_a_mistyped_one_is_refused() {
        let incarnation = Incarnation(Uuid::now_v7());
        let position = Position { cursor: Cursor(77), seen: 2 };
        let token = position.to_token(incarnation);
        assert_eq!(Position::from_token(&token, incarnation).ok(), Some(position));
        for at in 0..token.len() {
            let mut typo = token.clone().into_bytes();
            typo[at] = if typo[at] == b'A' { b'B' } else { b'A' };
            let typo = String::from_utf8(typo).unwrap();
            assert!(Position::from_token(&typo, incarnation).is_err(), "byte {at}");
        }
        assert!(page(&token).is_err(), "a resume token is no page token");
    }

    #[test]
    fn a_token_of_another_store_is_foreign() {
        let token = Position::behind(Cursor(1)).to_token(Incarnation(Uuid::now_v7()));
        let refused = Position::from_token(&token, Incarnation(Uuid::now_v7()));
        assert!(matches!(refused, Err(Error::TokenForeign)));
    }
}
