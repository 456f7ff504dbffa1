//! What the service wrote itself and reads again: tokens, and the store's rows.

use std::sync::Arc;

use dispatch::{
    fuzzing::{self, RowKind},
    machine::{self, Moment, PolicySnapshot, RouteRequirement, Workflow},
};
use uuid::Uuid;

use super::workflow::sample;

const INCARNATION: Uuid = Uuid::from_u128(0x0198_c0ff_ee00_7000_8000_0000_0000_beef);

/// A resume token or a page token, as text; or the parts that one is made of.
pub fn token(data: &[u8]) {
    if let Some((parts, _)) = data.split_first_chunk::<12>() {
        let cursor = u64::from_be_bytes(std::array::from_fn(|at| parts[at]));
        let seen = u32::from_be_bytes(std::array::from_fn(|at| parts[at + 8]));
        let token = fuzzing::resume_token(cursor, seen, INCARNATION);
        assert_eq!(fuzzing::resume_token_again(&token, INCARNATION), Some(token.clone()));
        assert_eq!(fuzzing::resume_token_again(&token, Uuid::nil()), None, "another store's");
        assert_eq!(fuzzing::page_token_again(&token), None, "another kind's");
    }
    if let Some((id, _)) = data.split_first_chunk::<16>() {
        let token = fuzzing::page_token(Uuid::from_bytes(*id));
        assert_eq!(fuzzing::page_token_again(&token), Some(token.clone()));
        assert_eq!(fuzzing::resume_token_again(&token, INCARNATION), None, "another kind's");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    // There is one spelling of a token, so that equal places have equal tokens.
    if let Some(again) = fuzzing::resume_token_again(text, INCARNATION) {
        assert_eq!(again, text);
    }
    if let Some(again) = fuzzing::page_token_again(text) {
        assert_eq!(again, text);
    }
}

/// A row: the first byte says of which kind, and whether the rest is a whole row or the payload of
/// one whose checksum fits.
pub fn row(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let kinds = [
        RowKind::Journal,
        RowKind::Ended,
        RowKind::Transition,
        RowKind::Record,
        RowKind::HeldReceipt,
        RowKind::Cursor,
    ];
    let which = kinds[usize::from(kind & 0x7f) % kinds.len()];
    let is_whole = kind & 0x80 != 0;
    let bytes = if is_whole { rest.to_vec() } else { fuzzing::sealed(rest) };
    match fuzzing::row_again(which, &bytes) {
        Ok(again) => {
            assert_eq!(fuzzing::row_again(which, &again).as_ref(), Ok(&again), "an equal value");
            assert!(again.len() <= bytes.len(), "what is written is the shortest form");
        }
        Err(error) => assert!(error.to_string().contains("a fuzzed row"), "{error}"),
    }
    if which == RowKind::Journal
        && let Ok(again) = fuzzing::chunk_again(&bytes)
    {
        assert_eq!(fuzzing::chunk_again(&again), Ok(again), "an equal chunk");
    }
    if which == RowKind::Transition
        && let Some(row) = fuzzing::transition(&bytes)
    {
        let again = fuzzing::row(&row).expect("what was read can be written");
        assert_eq!(fuzzing::transition(&again).as_ref(), Some(&row));
        any_facts_apply(&row);
    }
}

/// A journal that another version wrote must still open: facts that fit nothing change nothing that
/// would stop a reader.
fn any_facts_apply(row: &dispatch::store::Row) {
    let plan = sample();
    let tenant: Arc<str> = Arc::from("default");
    let needs =
        (0..plan.steps.len()).filter_map(|at| plan.route_requirement(&tenant, at)).map(Arc::new);
    let needs: Vec<Arc<RouteRequirement>> = needs.collect();
    let start = || {
        let policy = PolicySnapshot::default();
        Workflow::new(row.workflow, Moment::default(), &plan, needs.clone(), policy)
    };
    let (mut workflow, mut twin) = (start(), start());
    for fact in &row.facts {
        workflow.apply(row.at, fact);
        twin.apply(row.at, fact);
        let _ = (workflow.deadlines(), workflow.wants_permit(), workflow.unanswered());
        let _ = machine::check(&workflow);
        assert!(!machine::describe(fact).is_empty());
        let event = fuzzing::event(&workflow, row, fact);
        assert_eq!(event.workflow_id, row.workflow.to_string());
    }
    assert_eq!(workflow, twin, "applying is a function");
}
