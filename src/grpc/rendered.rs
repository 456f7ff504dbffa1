//! The newest rows as streams tell them: read and rendered once, however many streams there are.
//!
//! Nothing here decides anything: what is not held is read again, and says the same.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::render;
use crate::{
    api::{
        Error, read_for_stream,
        token::{Position, Tokens},
    },
    engine::Engine,
    fair::DiskTurns,
    machine::{TimelineEvent, Workflow},
    pb::v1::Event,
    store::{Cursor, Row},
};

/// How many rows are held. A stream that is further behind reads for itself.
const ROWS: usize = 4096;

/// A row's events, and the labels that they are chosen by.
#[derive(Debug)]
pub(super) struct RenderedRow {
    pub(super) events: Vec<Event>,
    pub(super) labels: BTreeMap<String, String>,
}

/// The rows.
#[derive(Debug, Default)]
pub(super) struct RenderedRows(Mutex<HeldRows>);

#[derive(Debug, Default)]
struct HeldRows {
    rows: BTreeMap<Cursor, Cell>,
    /// How often something had been erased when they were read.
    erasures: u64,
}

type Cell = Arc<OnceCell<Option<Arc<RenderedRow>>>>;

impl RenderedRows {
    /// A row as it is told; `None` if its workflow is gone.
    pub(super) async fn row(
        &self,
        turns: &DiskTurns,
        engine: &Engine,
        tokens: &Tokens,
        row: &Arc<Row>,
    ) -> Result<Option<Arc<RenderedRow>>, Error> {
        let cell = self.cell(row.cursor, engine.erasure_times());
        let shown = cell.get_or_try_init(|| async {
            let (tenant, row, tokens) = (&row.tenant, Arc::clone(row), tokens.clone());
            read_for_stream(turns, engine, tenant, move |reader| {
                let Some(record) = reader.record(row.workflow)? else { return Ok(None) };
                let Some(workflow) = reader.workflow(row.workflow)? else { return Ok(None) };
                let events = events(&row, &workflow, &tokens, &row.tenant);
                Ok(Some(Arc::new(RenderedRow { events, labels: record.plan.labels.clone() })))
            })
            .await
        });
        shown.await.cloned()
    }

    fn cell(&self, cursor: Cursor, erasures: u64) -> Cell {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let HeldRows { rows, erasures: read_at } = &mut *held;
        if *read_at != erasures {
            // What was read before may tell of whom was erased since.
            rows.clear();
            *read_at = erasures;
        }
        let cell = Arc::clone(rows.entry(cursor).or_default());
        if rows.len() > ROWS {
            // The oldest: it may be the one asked for, which is then held by its readers alone.
            rows.pop_first();
        }
        cell
    }
}

/// The events of a row, each with the token that goes on behind it, for readers of the tenant `reader`.
///
/// `workflow` may be newer than the row: what is taken from it never changes.
pub(super) fn events(row: &Row, workflow: &Workflow, tokens: &Tokens, reader: &str) -> Vec<Event> {
    (1_u32..)
        .zip(row.numbered())
        .map(|(seen, (sequence, fact))| {
            let token = tokens.resume(reader, Position::within(row, seen));
            render::event(&TimelineEvent::of(workflow, sequence, row.at, fact), token)
        })
        .collect()
}
