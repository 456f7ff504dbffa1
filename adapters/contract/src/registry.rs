//! The providers of a service.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use crate::{Channel, ChannelAdapter, ExternalFields, Provider};

/// The providers of a service and their adapters, by name. A value that `main` builds and hands down;
/// nothing global.
#[derive(Clone, Default)]
pub struct Registry {
    providers: BTreeMap<String, Arc<dyn Provider>>,
    adapters: BTreeMap<String, Arc<dyn ChannelAdapter>>,
    /// The adapter of each channel that was added first.
    first: BTreeMap<Channel, Arc<dyn ChannelAdapter>>,
}

/// A provider that cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationError {
    /// Its name cannot stand in a URL.
    Name(String),
    /// There is one of that name.
    DuplicateProvider(String),
    /// There is an adapter of that name.
    DuplicateAdapter(String),
    /// One of its adapters says that it is another's.
    Foreign {
        /// The adapter.
        adapter: String,
        /// Whose it says it is.
        of: String,
        /// Who brings it.
        provider: String,
    },
    /// What a sender brings is to stand in a secret that the provider's form does not have.
    ExternalField {
        /// The provider.
        provider: String,
        /// The secret.
        field: &'static str,
    },
}

impl Registry {
    /// No providers.
    pub fn new() -> Self {
        Registry::default()
    }

    /// Adds one, with its adapters.
    ///
    /// # Errors
    /// If its name or one of its adapters' is taken or wrong. Nothing is added then.
    pub fn add(&mut self, provider: impl Provider + 'static) -> Result<(), RegistrationError> {
        let name = provider.name().to_owned();
        if !is_name(&name) {
            return Err(RegistrationError::Name(name));
        }
        if self.providers.contains_key(&name) {
            return Err(RegistrationError::DuplicateProvider(name));
        }
        let (mut adapters, mut first) = (self.adapters.clone(), self.first.clone());
        for adapter in provider.channels() {
            let (of, adapter_name) = (adapter.provider().to_owned(), adapter.name().to_owned());
            if of != name {
                let (adapter, provider) = (adapter_name, name);
                return Err(RegistrationError::Foreign { adapter, of, provider });
            }
            if let Some(fields) = provider.external_fields(adapter.channel())
                && !provider.settings().get(fields.access_token).is_some_and(|it| it.is_secret)
            {
                let field = fields.access_token;
                return Err(RegistrationError::ExternalField { provider: name, field });
            }
            first.entry(adapter.channel().clone()).or_insert_with(|| Arc::clone(&adapter));
            if adapters.insert(adapter_name.clone(), adapter).is_some() {
                return Err(RegistrationError::DuplicateAdapter(adapter_name));
            }
        }
        (self.adapters, self.first) = (adapters, first);
        self.providers.insert(name, Arc::new(provider));
        Ok(())
    }

    /// The provider of that name.
    pub fn provider(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.get(name)
    }

    /// All providers, ordered by name.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.providers.values()
    }

    /// The adapter of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn ChannelAdapter>> {
        self.adapters.get(name)
    }

    /// The provider that reads webhooks under this name: its own, or one of its adapters'.
    pub fn webhook_reader(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.provider(name).or_else(|| self.provider(self.get(name)?.provider()))
    }

    /// Where a sender's own account goes in one of the provider behind `adapter`, if that takes any.
    pub fn external_fields(&self, adapter: &dyn ChannelAdapter) -> Option<ExternalFields> {
        self.provider(adapter.provider())?.external_fields(adapter.channel())
    }

    /// The channels on which some provider takes senders' own accounts.
    pub fn external_channels(&self) -> BTreeSet<Channel> {
        let takes = |it: &&Arc<dyn ChannelAdapter>| self.external_fields(&***it).is_some();
        self.iter().filter(takes).map(|adapter| adapter.channel().clone()).collect()
    }

    /// The adapter of each channel that was added first, ordered by channel: the one that stands for the channel
    /// where any will do.
    pub fn first_of_each_channel(&self) -> impl Iterator<Item = &Arc<dyn ChannelAdapter>> {
        self.first.values()
    }

    /// All adapters, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn ChannelAdapter>> {
        self.adapters.values()
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=32).contains(&name.len()) && name.bytes().all(is_part)
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.adapters.keys()).finish()
    }
}

impl fmt::Display for RegistrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistrationError::Name(name) => write!(
                f,
                "a provider's name has 1 to 32 characters of a-z, 0-9, - and _, and {name:?} has not"
            ),
            RegistrationError::DuplicateProvider(name) => {
                write!(f, "there are two providers named {name}; names must be unique")
            }
            RegistrationError::DuplicateAdapter(name) => {
                write!(f, "there are two adapters named {name}; names must be unique")
            }
            RegistrationError::Foreign { adapter, of, provider } => write!(
                f,
                "provider {provider} brings adapter {adapter}, which says that it is one of {of}"
            ),
            RegistrationError::ExternalField { provider, field } => write!(
                f,
                "provider {provider} takes senders' own accounts in secret {field}, which its settings form \
                 has not"
            ),
        }
    }
}

impl std::error::Error for RegistrationError {}
