//! How large the tables of a turn are, for whoever looks for what grows without end.

use super::Turn;

impl Turn {
    /// How many entries each table has.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
        [
            ("needs", self.needs.count()),
            ("overdue", self.overdue.len()),
            ("behind_grace", self.behind.len()),
            ("owed", self.owed.len()),
            ("unrouted", self.unrouted.len()),
            ("waiting_for_places", self.slots.waiting()),
            ("parked_receipts", self.parking.len()),
            ("parked_messages", self.parking.messages()),
            ("uncertain_workflows", self.awaited.len()),
        ]
        .into_iter()
    }
}
