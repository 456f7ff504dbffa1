//! Which of a tenant's own words are personal, by the configuration: for callers whose API cannot say it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Which words of requests are personal without being said to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonalWords {
    /// Labels, by their keys.
    pub labels: BTreeSet<String>,
    /// Whether client references are.
    pub client_ref: bool,
}

/// Every tenant's.
#[derive(Clone, Debug, Default)]
pub struct PersonalWordsByTenant {
    usual: Arc<PersonalWords>,
    others: BTreeMap<String, Arc<PersonalWords>>,
}

impl PersonalWordsByTenant {
    /// `usual`, and those of a few, by name, instead.
    pub fn new(usual: PersonalWords, others: BTreeMap<String, PersonalWords>) -> Self {
        let others = others.into_iter().map(|(name, words)| (name, Arc::new(words))).collect();
        PersonalWordsByTenant { usual: Arc::new(usual), others }
    }

    /// A tenant's.
    pub(super) fn of(&self, tenant: &str) -> Arc<PersonalWords> {
        Arc::clone(self.others.get(tenant).unwrap_or(&self.usual))
    }
}
