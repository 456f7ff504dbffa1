//! What is refused when it is too much: nobody holds more than is left free.
//!
//! With that one rule whoever is alone may have half of it, two a third each, and there is always
//! something left for the next. No list of who may come is needed, and none of who holds nothing.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is shared among holders of kind `K`. Cheap to clone.
#[derive(Debug)]
pub struct Shares<K: Clone + Eq + Hash>(Arc<SharesInner<K>>);

#[derive(Debug)]
struct SharesInner<K> {
    most: usize,
    held: Mutex<SharesState<K>>,
}

#[derive(Debug)]
struct SharesState<K> {
    all: usize,
    by_holder: HashMap<K, usize>,
}

/// A share; given back when this is dropped.
#[derive(Debug)]
#[must_use = "it is given back when this is dropped"]
pub struct Share<K: Clone + Eq + Hash> {
    shares: Shares<K>,
    holder: K,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// `most` to share out: at least two, so that there is something to give.
    pub fn new(most: usize) -> Self {
        let held = Mutex::new(SharesState { all: 0, by_holder: HashMap::new() });
        Shares(Arc::new(SharesInner { most: most.max(2), held }))
    }

    /// One more for `holder`, who may have at most `own` in any case; `None` if that is too much.
    pub fn take(&self, holder: &K, own: usize) -> Option<Share<K>> {
        let mut held = self.held();
        let holds = held.by_holder.get(holder).copied().unwrap_or_default();
        if holds >= own || holds >= self.0.most - held.all {
            return None;
        }
        held.all += 1;
        match held.by_holder.get_mut(holder) {
            Some(count) => *count += 1,
            None => {
                held.by_holder.insert(holder.clone(), 1);
            }
        }
        Some(Share { shares: self.clone(), holder: holder.clone() })
    }

    fn held(&self) -> MutexGuard<'_, SharesState<K>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Shares(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        held.all -= 1;
        if let Some(count) = held.by_holder.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                held.by_holder.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes until it is refused.
    fn all(shares: &Shares<&'static str>, holder: &'static str) -> Vec<Share<&'static str>> {
        std::iter::from_fn(|| shares.take(&holder, usize::MAX)).collect()
    }

    #[test]
    fn nobody_holds_more_than_is_left_free() {
        let shares = Shares::new(24);
        let first = all(&shares, "greedy");
        assert_eq!(first.len(), 12);
        let second = all(&shares, "greedy too");
        assert_eq!(second.len(), 6);
        assert!(shares.take(&"modest", usize::MAX).is_some(), "there is something for the next");
        drop(first);
        assert_eq!(all(&shares, "another").len(), 9);
    }

    #[test]
    fn a_holder_s_own_bound_holds_whatever_is_free() {
        let shares = Shares::new(1000);
        let held = [shares.take(&"a", 2), shares.take(&"a", 2), shares.take(&"a", 2)];
        assert_eq!(held.map(|share| share.is_some()), [true, true, false]);
        assert!(shares.take(&"a", 2).is_some(), "given back");
    }
}
