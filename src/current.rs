//! A value that a reload of the configuration replaces while others read it.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// What is in force now. Whoever took it keeps what it took: a call that is under way ends as it began.
pub struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    /// In force from now on.
    pub fn new(value: T) -> Current<T> {
        Current(RwLock::new(Arc::new(value)))
    }

    /// What is in force.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in its place.
    pub fn set(&self, value: impl Into<Arc<T>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value.into();
    }
}

impl<T> From<Arc<T>> for Current<T> {
    fn from(value: Arc<T>) -> Self {
        Current(RwLock::new(value))
    }
}

impl<T> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
