//! How large the tables of a processor are, for whoever looks for what grows without end.

use super::Processor;

impl Processor {
    /// How many entries each table has.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
        [
            ("needs", self.needs.count()),
            ("overdue", self.overdue.len()),
            ("behind_grace", self.behind.len()),
            ("owed", self.owed.len()),
            ("unrouted", self.unrouted.len()),
            ("waiting_for_places", self.permits.waiting()),
            ("parked_receipts", self.held_receipts.len()),
            ("parked_messages", self.held_receipts.messages()),
            ("uncertain_workflows", self.awaited.len()),
        ]
        .into_iter()
    }
}
