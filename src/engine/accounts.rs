//! What accounts are called: a receipt counts for what was STARTED under the account that it came by,
//! also if that had another name then.

use std::{collections::HashMap, sync::Arc};

/// What an account is known by, as `provider/name`: accounts of two providers may share a name.
pub fn account_id(provider: &str, name: &str) -> Arc<str> {
    Arc::from(format!("{provider}/{name}"))
}

/// The accounts that had other names before.
#[derive(Clone, Debug, Default)]
pub struct FormerNames {
    present: HashMap<Arc<str>, Arc<str>>,
    former: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl FormerNames {
    /// Of pairs: what an account is known by now, and what it was known by before.
    pub fn new(renamed: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let mut names = FormerNames::default();
        for (now, before) in renamed {
            names.former.entry(Arc::clone(&now)).or_default().push(Arc::clone(&before));
            names.present.insert(before, now);
        }
        names
    }

    /// What the account of this name is known by now.
    pub fn present<'a>(&'a self, account: &'a Arc<str>) -> &'a Arc<str> {
        self.present.get(account).unwrap_or(account)
    }

    /// What an account was known by before.
    pub fn former(&self, account: &str) -> &[Arc<str>] {
        self.former.get(account).map_or(&[], Vec::as_slice)
    }
}
