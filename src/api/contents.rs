//! What of a workflow's contents is shown: one place for every edge.

use crate::{
    contents::{Contents, Unopened},
    engine::Engine,
    pb::v1::ContentsState,
    store::Record,
};

/// What is shown of what is personal of a workflow.
#[derive(Debug)]
pub(crate) enum ShownContents {
    /// All of it.
    Shown(Contents),
    /// Nothing: its key was destroyed.
    Dropped,
    /// Nothing: its key is lost, or it is damaged.
    Unreadable,
}

impl ShownContents {
    /// What is shown of the workflow of `record`. Where it cannot be read the log says why.
    pub(crate) fn of(engine: &Engine, record: &Record) -> ShownContents {
        match engine.opened(record) {
            Ok(contents) => ShownContents::Shown(contents),
            Err(Unopened::Gone) => ShownContents::Dropped,
            Err(Unopened::Unreadable(_)) => ShownContents::Unreadable,
        }
    }

    /// How much that is, in the API's words.
    pub(crate) fn state(&self) -> ContentsState {
        match self {
            ShownContents::Shown(_) => ContentsState::Shown,
            ShownContents::Dropped => ContentsState::Dropped,
            ShownContents::Unreadable => ContentsState::Unreadable,
        }
    }

    /// The contents, as far as they are shown.
    pub(crate) fn contents(&self) -> Option<&Contents> {
        match self {
            ShownContents::Shown(contents) => Some(contents),
            ShownContents::Dropped | ShownContents::Unreadable => None,
        }
    }
}
