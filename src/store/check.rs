//! Whether what is kept is sound: every row decodes, every index leads where it should, every
//! invariant of the machine held after every transition.

use std::{fmt, path::Path};

use super::{BackupFile, Entry, MessagePart, RequirementInterner, StoreError};
use crate::machine::{self, Fact};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: a key, a workflow, a file's part.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a check looked at, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// How many workflows.
    pub workflows: u64,
    /// How many of them are still open.
    pub open: u64,
    /// How many transitions.
    pub rows: u64,
    /// How many files of keys there are beside them.
    pub key_files: u64,
    /// Whether all of it could be read: a backup that was cut off is not whole.
    pub is_whole: bool,
    /// What is wrong; the first hundred.
    pub findings: Vec<Finding>,
    /// How many further findings there were.
    pub further: u64,
}

/// How many findings are named.
const FINDINGS_MOST: usize = 100;

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Notes what is wrong somewhere, or that there is more than is named.
    pub fn found(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        if self.findings.len() < FINDINGS_MOST {
            self.findings.push(Finding { place: place.into(), problem: problem.into() });
        } else {
            self.further += 1;
        }
    }

    pub(super) fn failed(&mut self, error: StoreError) {
        match error {
            StoreError::Corrupt { place, problem } => self.found(place, problem),
            other => self.found("the store", other.to_string()),
        }
    }

    /// One workflow with all that is kept of it.
    pub(super) fn entry(&mut self, entry: &Entry) {
        let Entry { record, rows, messages } = entry;
        let place = format!("workflow {}", record.id);
        self.workflows += 1;
        self.rows += rows.len() as u64;
        if !record.id.has_slot_of(&record.tenant, record.request_id()) {
            self.found(&place, "its id is not of the partition of its request_id");
        }
        let Some(first) = rows.first() else {
            return self.found(&place, "it has a record and no timeline");
        };
        if first.facts.first() != Some(&Fact::Created) {
            self.found(&place, "its timeline does not begin with its creation");
        }
        let mut workflow = RequirementInterner::default().workflow(record);
        let mut before = None;
        for row in rows {
            let place = format!("{place}, event {}", row.sequence);
            if row.sequence != workflow.sequence + 1 {
                let wanted = workflow.sequence + 1;
                self.found(&place, format!("a gap: event {wanted} should stand here"));
            }
            if row.workflow != record.id || row.tenant != record.tenant {
                self.found(&place, "the row belongs to another workflow or tenant");
            }
            if row.facts.is_empty() {
                self.found(&place, "a transition without facts");
            }
            if before.is_some_and(|(cursor, at)| cursor >= row.cursor || at > row.at.engine) {
                self.found(&place, "it stands before what happened earlier");
            }
            before = Some((row.cursor, row.at.engine));
            for fact in &row.facts {
                workflow.apply(row.at, fact);
            }
            for broken in machine::check(&workflow) {
                self.found(&place, format!("invariant {}: {}", broken.id, broken.rule));
            }
        }
        if !workflow.has_ended() {
            self.open += 1;
        }
        for (_, MessagePart { attempt, .. }) in messages {
            if !entry.names(*attempt) {
                let problem =
                    format!("receipts are led to attempt {attempt}, which was not accepted");
                self.found(&place, problem);
            }
        }
    }
}

/// Checks a backup.
pub fn check_backup(path: &Path) -> CheckReport {
    let mut checked = CheckReport::default();
    let mut file = match BackupFile::open(path) {
        Ok(file) => file,
        Err(error) => {
            checked.failed(error);
            return checked;
        }
    };
    while let Some(entry) = file.next() {
        file.take_settings();
        match entry {
            Ok(entry) => checked.entry(&entry),
            Err(error) => {
                // What follows a broken frame cannot be told from noise.
                checked.failed(error);
                break;
            }
        }
    }
    checked.key_files = file.key_files();
    checked.is_whole = file.summary().is_some();
    checked
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dispatch_contract::UnixMillis;
    use uuid::Uuid;

    use super::*;
    use crate::{
        machine::{Moment, WorkflowId},
        shared::plans,
        store::{Cursor, Record, Row},
    };

    fn entry(id: WorkflowId, request_id: Option<&str>) -> Entry {
        let plan = plans::plan(Vec::new());
        let (tenant, at) = (Arc::from("acme"), Moment::both(UnixMillis(1000)));
        let request = plans::request(plan, "x");
        let record = plans::sealed(&plans::KEEPER, id, at, request, request_id);
        let record = Record { tenant: Arc::clone(&tenant), ..record };
        let facts = vec![Fact::Created];
        let row = Row { cursor: Cursor(1), tenant, workflow: id, at, sequence: 1, facts };
        Entry { record, rows: vec![row], messages: Vec::new() }
    }

    #[test]
    fn an_id_in_another_partition_than_its_request_id_is_found() {
        let looks = |id, request_id| {
            let mut checked = CheckReport::default();
            checked.entry(&entry(id, request_id));
            checked.findings
        };
        let id = WorkflowId::new(Uuid::from_u128(1 << 64), "acme", Some("order-1"));
        let found = |id: WorkflowId| {
            let problem = "its id is not of the partition of its request_id".to_owned();
            vec![Finding { place: format!("workflow {id}"), problem }]
        };
        assert_eq!(looks(id, Some("order-1")), []);
        assert_eq!(looks(id, Some("order-2")), found(id));
        assert_eq!(looks(id, None), [], "without a request_id it may be in any");
        // The same partition, and not the same slot: once there are more partitions, it would be lost.
        let neighbour = WorkflowId(Uuid::from_u128(id.0.as_u128() ^ 1));
        assert_eq!(neighbour.partition(), id.partition());
        assert_eq!(looks(neighbour, Some("order-1")), found(neighbour));
    }
}
