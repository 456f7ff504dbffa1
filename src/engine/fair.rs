//! Who is next where more is asked for than can be done at once.
//!
//! Promised, whatever one priority or one tenant asks for:
//!
//! - A higher priority goes first, up to a reserve: of [`RESERVE`] grants in a row to a lower priority that
//!   waits and those above it, one is its own, so that none is starved for ever.
//! - Within a priority tenants take turns, in the order of their names; in each round a tenant is
//!   granted as many times as its weight says. Whoever comes anew waits for one round at most.
//! - Within a tenant's waitlist the oldest is first.
//! - A grant counts also for who has no use for it any more: whoever comes after it waits no longer for that,
//!   and its waitlist waits for its next turn.
//! - The order follows from who waits and who was served last, not from the order of arrival: rebuilt
//!   from the same entries it is the same.
//!
//! An operation costs the logarithm of what waits, and nothing is kept of who does not wait.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use crate::machine::Priority;

/// Of this many grants in a row to a priority that waits and those above it, it gets one.
pub(super) const RESERVE: u64 = 10;

/// What waits of one tenant.
pub(super) trait Waitlist: Default {
    /// What waits.
    type Item;
    fn add(&mut self, item: Self::Item);
    fn take_first(&mut self) -> Option<Self::Item>;
    fn len(&self) -> usize;
}

/// In the order of arrival.
impl<T> Waitlist for VecDeque<T> {
    type Item = T;

    fn add(&mut self, item: T) {
        self.push_back(item);
    }

    fn take_first(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn len(&self) -> usize {
        VecDeque::len(self)
    }
}

/// In the order of the items.
impl<T: Ord> Waitlist for BTreeSet<T> {
    type Item = T;

    fn add(&mut self, item: T) {
        self.insert(item);
    }

    fn take_first(&mut self) -> Option<T> {
        self.pop_first()
    }

    fn len(&self) -> usize {
        BTreeSet::len(self)
    }
}

/// Waitlists that are served in turn.
#[derive(Debug)]
pub(super) struct RoundRobin<K, L> {
    waitlists: BTreeMap<K, WeightedWaitlist<L>>,
    /// Whose turn it is, and how often still.
    current: Option<(K, u32)>,
    len: usize,
    /// Of all lines together.
    weight: u64,
}

#[derive(Debug)]
struct WeightedWaitlist<L> {
    weight: u32,
    waitlist: L,
}

impl<K: Ord + Clone, L: Waitlist> RoundRobin<K, L> {
    /// Adds an item to the end of the waitlist of `key`, which is granted `weight` times in a round.
    pub(super) fn add(&mut self, key: &K, weight: u32, item: L::Item) {
        match self.waitlists.get_mut(key) {
            Some(weighted) => weighted.waitlist.add(item),
            None => {
                let weight = weight.max(1);
                let mut waitlist = L::default();
                waitlist.add(item);
                self.waitlists.insert(key.clone(), WeightedWaitlist { weight, waitlist });
                self.weight += u64::from(weight);
            }
        }
        self.len += 1;
    }

    /// Takes the next.
    pub(super) fn take(&mut self) -> Option<L::Item> {
        let is_still = |(key, left): &(K, u32)| *left > 0 && self.waitlists.contains_key(key);
        if !self.current.as_ref().is_some_and(is_still) {
            self.current = self.after_the_last();
        }
        let (key, left) = self.current.as_mut()?;
        *left -= 1;
        let weighted = self.waitlists.get_mut(key)?;
        let item = weighted.waitlist.take_first();
        if weighted.waitlist.len() == 0 {
            self.weight -= u64::from(weighted.weight);
            self.waitlists.remove(key);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    /// The waitlist behind the one that was served last, with all of its grants of a round.
    fn after_the_last(&self) -> Option<(K, u32)> {
        let last = self.current.as_ref().map(|(key, _)| key);
        let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.waitlists.range((behind, Bound::Unbounded));
        let next = behind.next().or_else(|| self.waitlists.first_key_value());
        next.map(|(key, weighted)| (key.clone(), weighted.weight))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many wait in the waitlist of `key`.
    pub(super) fn len_of(&self, key: &K) -> usize {
        self.waitlists.get(key).map_or(0, |weighted| weighted.waitlist.len())
    }

    /// How many of those that wait are granted before a newcomer of `key` would be, at most.
    fn ahead_of(&self, key: &K, weight: u32) -> u64 {
        let known = self.waitlists.get(key);
        let (weight, own) = known.map_or((weight.max(1), 0), |waitlist| {
            (waitlist.weight, waitlist.waitlist.len() as u64)
        });
        let others = self.len as u64 - own;
        let weight_of_others = self.weight - known.map_or(0, |waitlist| u64::from(waitlist.weight));
        let by_priority = own / u64::from(weight) + 1;
        own + others.min(by_priority.saturating_mul(weight_of_others))
    }
}

impl<K: Ord, T: Ord> RoundRobin<K, BTreeSet<T>> {
    /// Takes an item out of its waitlist. Whether it was there.
    fn remove(&mut self, key: &K, item: &T) -> bool {
        let Some(weighted) = self.waitlists.get_mut(key) else { return false };
        let was_there = weighted.waitlist.remove(item);
        if weighted.waitlist.is_empty() {
            self.weight -= u64::from(weighted.weight);
            self.waitlists.remove(key);
        }
        self.len -= usize::from(was_there);
        was_there
    }
}

impl<K, L> Default for RoundRobin<K, L> {
    fn default() -> Self {
        RoundRobin { waitlists: BTreeMap::new(), current: None, len: 0, weight: 0 }
    }
}

/// Waitlists by priority, and within each by tenant.
#[derive(Debug)]
pub(super) struct FairQueue<K, L> {
    /// By [`Priority::rank`].
    by_priority: [RoundRobin<K, L>; Priority::ALL.len()],
    /// How many grants in a row went to higher priorities while it waited.
    passed_over: [u64; Priority::ALL.len()],
}

impl<K: Ord + Clone, L: Waitlist> FairQueue<K, L> {
    /// Adds an item to the end of the waitlist of `key`, which is granted `weight` times in a round.
    pub(super) fn add(&mut self, priority: Priority, key: &K, weight: u32, item: L::Item) {
        let rank = priority.rank();
        if self.by_priority[rank].len() == 0 {
            self.passed_over[rank] = 0;
        }
        self.by_priority[rank].add(key, weight, item);
    }

    /// Takes the next.
    pub(super) fn take(&mut self) -> Option<L::Item> {
        let is_there = |rank: &usize| self.by_priority[*rank].len() > 0;
        let is_owed = |rank: &usize| is_there(rank) && self.passed_over[*rank] + 1 >= RESERVE;
        let mut ranks = 0..self.by_priority.len();
        let rank = ranks.clone().rfind(is_owed).or_else(|| ranks.find(is_there))?;
        self.passed_over[rank] = 0;
        for lower in rank + 1..self.by_priority.len() {
            self.passed_over[lower] += 1;
        }
        self.by_priority[rank].take()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.by_priority.iter().map(RoundRobin::len).sum()
    }

    /// How many wait of each priority, the highest first.
    pub(super) fn depths(&self) -> [usize; Priority::ALL.len()] {
        std::array::from_fn(|rank| self.by_priority[rank].len())
    }

    /// How many wait of one priority in the waitlist of `key`.
    pub(super) fn len_of(&self, priority: Priority, key: &K) -> usize {
        self.by_priority[priority.rank()].len_of(key)
    }

    /// How many of those that wait are granted before a newcomer would be, at most: those of higher
    /// priorities, up to the newcomer's reserve; of its own priority, its waitlist and the turns of the
    /// others meanwhile; and what is reserved for lower ones.
    pub(super) fn ahead_of(&self, priority: Priority, key: &K, weight: u32) -> u64 {
        let rank = priority.rank();
        let of = |ranks: std::ops::Range<usize>| {
            self.by_priority[ranks].iter().map(|of_priority| of_priority.len() as u64)
        };
        let own = self.by_priority[rank].ahead_of(key, weight);
        let higher: u64 = of(0..rank).sum();
        let higher = higher.min((own + 1).saturating_mul(RESERVE - 1));
        let mut ahead = own + higher;
        for waiting in of(rank + 1..self.by_priority.len()) {
            // One more than the reserve, because it may be owed its grant already; and whoever goes before it
            // goes before the priorities below it too.
            ahead += waiting.min(ahead / (RESERVE - 1) + 1);
        }
        ahead
    }
}

impl<K: Ord, T: Ord> FairQueue<K, BTreeSet<T>> {
    /// Takes an item out of its waitlist. Whether it was there.
    pub(super) fn remove(&mut self, priority: Priority, key: &K, item: &T) -> bool {
        self.by_priority[priority.rank()].remove(key, item)
    }
}

impl<K, L> Default for FairQueue<K, L> {
    fn default() -> Self {
        FairQueue { by_priority: Default::default(), passed_over: Default::default() }
    }
}

#[cfg(test)]
mod tests;
