//! The adapters of a service.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::ChannelAdapter;

/// The adapters of a service, by name. A value that `main` builds and hands down; nothing global.
#[derive(Clone, Default)]
pub struct Registry {
    adapters: BTreeMap<String, Arc<dyn ChannelAdapter>>,
}

/// Two adapters of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateAdapter(pub String);

impl Registry {
    /// No adapters.
    pub fn new() -> Self {
        Registry::default()
    }

    /// Adds one.
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn add(&mut self, adapter: Arc<dyn ChannelAdapter>) -> Result<(), DuplicateAdapter> {
        let name = adapter.name().to_owned();
        if self.adapters.contains_key(&name) {
            return Err(DuplicateAdapter(name));
        }
        self.adapters.insert(name, adapter);
        Ok(())
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn ChannelAdapter>> {
        self.adapters.get(name)
    }

    /// The one that reads webhooks under this name: an adapter's own, or its provider's.
    pub fn webhook_reader(&self, name: &str) -> Option<&Arc<dyn ChannelAdapter>> {
        self.get(name).or_else(|| self.iter().find(|adapter| adapter.provider() == name))
    }

    /// All of them, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn ChannelAdapter>> {
        self.adapters.values()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.adapters.keys()).finish()
    }
}

impl fmt::Display for DuplicateAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are two adapters named {}; names must be unique", self.0)
    }
}

impl std::error::Error for DuplicateAdapter {}
