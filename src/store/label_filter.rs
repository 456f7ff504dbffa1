//! Which labels a workflow may have: enough to pass over most of those that a list does not ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Record;

/// A Bloom filter of a workflow's labels and its reference, two of 32 bits for each: it never says "no" of one that it
/// has, and of one that it has not it says "perhaps" seldom. What it admits is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LabelFilter(u32);

impl LabelFilter {
    /// Of what a workflow has.
    pub(super) fn of(record: &Record) -> LabelFilter {
        LabelFilter::new(&record.plan.labels, record.plan.client_ref.as_deref())
    }

    /// Of these labels and this reference.
    pub(super) fn new(labels: &BTreeMap<String, String>, client_ref: Option<&str>) -> LabelFilter {
        let labels = labels.iter().map(|(key, value)| bits(key, value));
        // No label has an empty name.
        let client_ref = client_ref.map(|client_ref| bits("", client_ref));
        LabelFilter(labels.chain(client_ref).fold(0, |all, bits| all | bits))
    }

    /// Whether a workflow of this filter may have all that is wanted.
    pub(super) fn may_have(self, wanted: LabelFilter) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

fn bits(key: &str, value: &str) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    for word in [key, value] {
        hash.update(&(word.len() as u64).to_le_bytes());
        hash.update(word.as_bytes());
    }
    let hash = hash.finalize();
    1 << (hash & 31) | 1 << (hash >> 5 & 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_it_has_is_never_denied_and_what_it_has_not_seldom_admitted() {
        let mut admitted = 0;
        for number in 0..1000 {
            let (order, customer) = (format!("o-{number}"), format!("c-{number}"));
            let has = labels(&[("order", &order), ("customer", &customer)]);
            let filter = LabelFilter::new(&has, Some(&order));
            for (key, value) in &has {
                assert!(filter.may_have(LabelFilter::new(&labels(&[(key, value)]), None)));
            }
            assert!(filter.may_have(LabelFilter::new(&has, Some(&order))));
            assert!(filter.may_have(LabelFilter::default()), "who asks for nothing gets all");
            let other = labels(&[("order", &customer)]);
            admitted += usize::from(filter.may_have(LabelFilter::new(&other, None)));
        }
        assert!(admitted < 100, "{admitted} of 1000 that have it not");
    }
}
