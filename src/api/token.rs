//! Opaque tokens: where a stream goes on, where a list goes on.
//!
//! A resume token names the store's incarnation, and, sealed, for each journal a cursor and how many facts of
//! that row were already seen: a [vector](super::resume_vector). A page token is sealed as a whole. Both open for the tenant they were made for alone, and
//! a page token for the same list with the same filter: cursors would tell a tenant how much others do, and
//! what is sealed cannot be made up.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::{Message, Name};
use uuid::Uuid;

pub use super::resume_vector::Position;
use super::{Error, resume_vector::ResumeVector};
use crate::{access::TokenKey, machine::WorkflowId, store::Incarnation};

/// The longest token that is looked at, in characters: ours are shorter.
const TOKEN_MOST: usize = 512;
/// How many bytes longer something is once it is sealed.
const SEAL: usize = 16;
/// The first byte of a token: its kind and version.
const RESUME: u8 = 0x11;
const PAGE: u8 = 0x12;
const INBOUND: u8 = 0x13;

/// What is said of a page token that is not right.
pub(crate) const PAGE_WANTED: &str =
    "must be empty, or the next_page_token of an earlier answer to the same request";

/// Makes and reads the tokens of one life of a store.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    key: Arc<TokenKey>,
    incarnation: Incarnation,
    /// The stream that they go on with.
    stream: u8,
}

/// Whom tokens are sealed for who looks at one tenant's or, if there is none, at everybody's: that tenant,
/// or a name that none has.
pub(crate) fn audience(whose: &Option<Arc<str>>) -> &str {
    whose.as_deref().unwrap_or("*")
}

/// A list that is paged: whose, which, and what is asked of it.
pub(crate) struct List(Vec<u8>);

impl List {
    /// The list that a tenant asks for with `filter`: the request without its page size and token.
    pub(crate) fn of<R: Message + Name>(tenant: &str, filter: &R) -> List {
        List(
            [bound(PAGE, tenant), R::full_name().into_bytes(), vec![0], filter.encode_to_vec()]
                .concat(),
        )
    }
}

impl Tokens {
    pub(crate) fn new(key: Arc<TokenKey>, incarnation: Incarnation) -> Self {
        Tokens { key, incarnation, stream: RESUME }
    }

    /// The same for the stream of inbound messages: its tokens are none of the stream of statuses.
    pub(crate) fn of_inbound(self) -> Self {
        Tokens { stream: INBOUND, ..self }
    }

    /// The token that goes on at `position` of a tenant's stream.
    pub(crate) fn resume(&self, tenant: &str, position: Position) -> String {
        let vector = ResumeVector::of_one_journal(position);
        let sealed = self.key.seal(&self.stream_of(tenant), &vector.encode());
        URL_SAFE_NO_PAD
            .encode([&[self.stream], &self.incarnation.0.as_bytes()[..], &sealed].concat())
    }

    /// Where a tenant's stream goes on.
    pub(crate) fn position(&self, tenant: &str, token: &str) -> Result<Position, Error> {
        let wrong = || {
            Error::invalid(
                "resume_token",
                "must be a resume_token as an event or a bookmark carries it, of the same tenant",
            )
        };
        let bytes = read(token, self.stream).ok_or_else(wrong)?;
        let (life, sealed) = bytes.split_at_checked(16).ok_or_else(wrong)?;
        if life != self.incarnation.0.as_bytes() {
            // Of another store, whose key may be another; or of none.
            let is_one = sealed.len().checked_sub(SEAL).is_some_and(ResumeVector::is_length);
            return Err(if is_one { Error::TokenForeign } else { wrong() });
        }
        let vector = self.key.open(&self.stream_of(tenant), sealed).ok_or_else(wrong)?;
        // This node has one journal, and never sealed a position in several.
        let vector = ResumeVector::decode(&vector).ok_or_else(wrong)?;
        vector.in_one_journal().ok_or_else(wrong)
    }

    /// The token of the page behind `place`.
    pub(crate) fn page(&self, list: &List, place: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&[PAGE], &self.key.seal(&list.0, place)[..]].concat())
    }

    /// The place that a page token names: nowhere, if it is empty. The error is [`PAGE_WANTED`].
    pub(crate) fn place(&self, list: &List, token: &str) -> Result<Option<Vec<u8>>, &'static str> {
        if token.is_empty() {
            return Ok(None);
        }
        let place = read(token, PAGE).and_then(|sealed| self.key.open(&list.0, &sealed));
        place.map(Some).ok_or(PAGE_WANTED)
    }

    fn stream_of(&self, tenant: &str) -> Vec<u8> {
        [&bound(self.stream, tenant)[..], self.incarnation.0.as_bytes()].concat()
    }
}

/// The place behind a workflow, in a list of them.
pub(crate) fn behind_workflow(last: WorkflowId) -> Vec<u8> {
    last.as_bytes().to_vec()
}

/// The workflow that a place is behind.
pub(crate) fn workflow_of(place: &[u8]) -> Option<WorkflowId> {
    Uuid::from_slice(place).ok().map(WorkflowId)
}

/// What a token is bound to: no tenant's name is the beginning of another's.
fn bound(kind: u8, tenant: &str) -> Vec<u8> {
    [&[kind], &(tenant.len() as u32).to_be_bytes()[..], tenant.as_bytes()].concat()
}

/// What is behind the first byte of a token of that kind.
fn read(token: &str, kind: u8) -> Option<Vec<u8>> {
    if token.len() > TOKEN_MOST {
        return None;
    }
    let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    (bytes.first() == Some(&kind)).then(|| bytes.split_off(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pb::v1::{ListCallbacksRequest, ListWorkflowsRequest},
        store::Cursor,
    };

    fn tokens(incarnation: u128) -> Tokens {
        let key = Arc::new(TokenKey::new(&[7; 32]).unwrap());
        Tokens::new(key, Incarnation(Uuid::from_u128(incarnation)))
    }

    #[test]
    fn a_token_comes_back_and_a_mistyped_one_is_refused() {
        let tokens = tokens(1);
        let position = Position { cursor: Cursor(77), seen: 2 };
        let token = tokens.resume("acme", position);
        assert_eq!(tokens.position("acme", &token).ok(), Some(position));
        for at in 0..token.len() {
            let mut typo = token.clone().into_bytes();
            typo[at] = if typo[at] == b'A' { b'B' } else { b'A' };
            let typo = String::from_utf8(typo).unwrap();
            assert!(tokens.position("acme", &typo).is_err(), "byte {at}");
        }
        let list = List::of("acme", &ListWorkflowsRequest::default());
        assert!(tokens.place(&list, &token).is_err(), "a resume token is no page token");
    }

    #[test]
    fn a_token_of_another_store_is_foreign_and_one_of_another_tenant_is_none() {
        let token = tokens(1).resume("acme", Position::behind(Cursor(1)));
        assert!(matches!(tokens(2).position("acme", &token), Err(Error::TokenForeign)));
        assert!(matches!(tokens(1).position("beta", &token), Err(Error::Invalid(_))));
    }

    #[test]
    fn a_page_token_goes_on_in_its_own_list_alone_and_names_nothing() {
        let tokens = tokens(1);
        let plain = ListWorkflowsRequest::default();
        let filtered = ListWorkflowsRequest { client_ref: "x".to_owned(), ..plain.clone() };
        let list = List::of("acme", &plain);
        let id = WorkflowId(Uuid::from_u128(0x0198_1234_5678_7000_8000_0000_dead_beef));
        let token = tokens.page(&list, &behind_workflow(id));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(!bytes.windows(4).any(|part| id.as_bytes().windows(4).any(|of| of == part)));
        let place = tokens.place(&list, &token).unwrap().unwrap();
        assert_eq!(workflow_of(&place), Some(id));
        let others = [
            List::of("beta", &plain),
            List::of("acme", &filtered),
            List::of("acme", &ListCallbacksRequest::default()),
        ];
        for other in others {
            assert_eq!(tokens.place(&other, &token), Err(PAGE_WANTED));
        }
        // As tokens were before they were sealed: a kind, the id, a checksum.
        let mut forged = [&[2], &id.as_bytes()[..]].concat();
        forged.extend(crc32fast::hash(&forged).to_be_bytes());
        assert!(tokens.place(&list, &URL_SAFE_NO_PAD.encode(forged)).is_err());
    }
}
