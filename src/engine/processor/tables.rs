//! How large the tables of a processor are, for whoever looks for what grows without end.

use super::Processor;

impl Processor {
    /// How many entries each table has.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
        [
            ("requirements", self.requirements.count()),
            ("reroute_queue", self.reroute_queue.len()),
            ("waiting_for_permits", self.permits.waiting()),
            ("held_receipts", self.held_receipts.len()),
            ("held_messages", self.held_receipts.messages()),
            ("uncertain_workflows", self.expected_receipts.len()),
            ("recent_watermarks", self.watermarks.len()),
        ]
        .into_iter()
        .chain(self.recovery.tables())
    }
}
