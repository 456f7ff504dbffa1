//! Who is next where more is asked for than can be done at once.
//!
//! Promised, whatever one priority or one tenant asks for:
//!
//! - A higher priority goes first, up to a reserve: of those that wait, each lower priority gets one
//!   start_attempt in [`RESERVE`], so that none is starved for ever.
//! - Within a priority tenants take turns, in the order of their names; in each round a tenant is
//!   granted as many times as its weight says. Whoever comes anew waits for one round at most.
//! - Within a tenant's line the oldest is first.
//! - A start_attempt is had also by who has no use for it any more: whoever comes after it waits no longer for that,
//!   and its line waits for its next turn.
//! - The order follows from who waits and who was served last, not from the order of arrival: rebuilt
//!   from the same entries it is the same.
//!
//! An operation costs the logarithm of what waits, and nothing is kept of who does not wait.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use crate::machine::Priority;

/// Of this many grants in a row, each lower priority that waits gets one.
pub(super) const RESERVE: u64 = 10;

/// What waits of one tenant.
pub(super) trait Line: Default {
    /// What waits.
    type Item;
    fn add(&mut self, item: Self::Item);
    fn take_first(&mut self) -> Option<Self::Item>;
    fn len(&self) -> usize;
}

/// In the order of arrival.
impl<T> Line for VecDeque<T> {
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
impl<T: Ord> Line for BTreeSet<T> {
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

/// Lines that take turns.
#[derive(Debug)]
pub(super) struct Round<K, L> {
    lines: BTreeMap<K, Weighted<L>>,
    /// Whose turn it is, and how often still.
    processor: Option<(K, u32)>,
    len: usize,
    /// Of all lines together.
    weight: u64,
}

#[derive(Debug)]
struct Weighted<L> {
    weight: u32,
    line: L,
}

impl<K: Ord + Clone, L: Line> Round<K, L> {
    /// Adds an item to the end of the line of `key`, which is granted `weight` times in a round.
    pub(super) fn add(&mut self, key: &K, weight: u32, item: L::Item) {
        match self.lines.get_mut(key) {
            Some(weighted) => weighted.line.add(item),
            None => {
                let weight = weight.max(1);
                let mut line = L::default();
                line.add(item);
                self.lines.insert(key.clone(), Weighted { weight, line });
                self.weight += u64::from(weight);
            }
        }
        self.len += 1;
    }

    /// Takes the next.
    pub(super) fn take(&mut self) -> Option<L::Item> {
        let is_still = |(key, left): &(K, u32)| *left > 0 && self.lines.contains_key(key);
        if !self.processor.as_ref().is_some_and(is_still) {
            self.processor = self.after_the_last();
        }
        let (key, left) = self.processor.as_mut()?;
        *left -= 1;
        let weighted = self.lines.get_mut(key)?;
        let item = weighted.line.take_first();
        if weighted.line.len() == 0 {
            self.weight -= u64::from(weighted.weight);
            self.lines.remove(key);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    /// The line behind the one that was served last, with all of its grants of a round.
    fn after_the_last(&self) -> Option<(K, u32)> {
        let last = self.processor.as_ref().map(|(key, _)| key);
        let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.lines.range((behind, Bound::Unbounded));
        let next = behind.next().or_else(|| self.lines.first_key_value());
        next.map(|(key, weighted)| (key.clone(), weighted.weight))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many wait in the line of `key`.
    pub(super) fn len_of(&self, key: &K) -> usize {
        self.lines.get(key).map_or(0, |weighted| weighted.line.len())
    }

    /// How many of those that wait are granted before a newcomer of `key` would be, at most.
    fn ahead_of(&self, key: &K, weight: u32) -> u64 {
        let known = self.lines.get(key);
        let (weight, own) =
            known.map_or((weight.max(1), 0), |line| (line.weight, line.line.len() as u64));
        let others = self.len as u64 - own;
        let weight_of_others = self.weight - known.map_or(0, |line| u64::from(line.weight));
        let rounds = own / u64::from(weight) + 1;
        own + others.min(rounds.saturating_mul(weight_of_others))
    }
}

impl<K: Ord, T: Ord> Round<K, BTreeSet<T>> {
    /// Takes an item out of its line. Whether it was there.
    fn remove(&mut self, key: &K, item: &T) -> bool {
        let Some(weighted) = self.lines.get_mut(key) else { return false };
        let was_there = weighted.line.remove(item);
        if weighted.line.is_empty() {
            self.weight -= u64::from(weighted.weight);
            self.lines.remove(key);
        }
        self.len -= usize::from(was_there);
        was_there
    }
}

impl<K, L> Default for Round<K, L> {
    fn default() -> Self {
        Round { lines: BTreeMap::new(), processor: None, len: 0, weight: 0 }
    }
}

/// Rounds by priority.
#[derive(Debug)]
pub(super) struct Ranked<K, L> {
    /// By [`Priority::rank`].
    rounds: [Round<K, L>; Priority::ALL.len()],
    /// How many grants in a row went to higher priorities while it waited.
    passed_over: [u64; Priority::ALL.len()],
}

impl<K: Ord + Clone, L: Line> Ranked<K, L> {
    /// Adds an item to the end of the line of `key`, which is granted `weight` times in a round.
    pub(super) fn add(&mut self, priority: Priority, key: &K, weight: u32, item: L::Item) {
        let rank = priority.rank();
        if self.rounds[rank].len() == 0 {
            self.passed_over[rank] = 0;
        }
        self.rounds[rank].add(key, weight, item);
    }

    /// Takes the next.
    pub(super) fn take(&mut self) -> Option<L::Item> {
        let is_there = |rank: &usize| self.rounds[*rank].len() > 0;
        let is_owed = |rank: &usize| is_there(rank) && self.passed_over[*rank] + 1 >= RESERVE;
        let mut ranks = 0..self.rounds.len();
        let rank = ranks.clone().rfind(is_owed).or_else(|| ranks.find(is_there))?;
        self.passed_over[rank] = 0;
        for lower in rank + 1..self.rounds.len() {
            self.passed_over[lower] += 1;
        }
        self.rounds[rank].take()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.rounds.iter().map(Round::len).sum()
    }

    /// How many wait of each priority, the highest first.
    pub(super) fn depths(&self) -> [usize; Priority::ALL.len()] {
        std::array::from_fn(|rank| self.rounds[rank].len())
    }

    /// How many wait of one priority in the line of `key`.
    pub(super) fn len_of(&self, priority: Priority, key: &K) -> usize {
        self.rounds[priority.rank()].len_of(key)
    }

    /// How many of those that wait are granted before a newcomer would be, at most: those of higher
    /// priorities, up to the newcomer's reserve; of its own priority, its line and the turns of the
    /// others meanwhile; and what is reserved for lower ones.
    pub(super) fn ahead_of(&self, priority: Priority, key: &K, weight: u32) -> u64 {
        let rank = priority.rank();
        let of = |ranks: std::ops::Range<usize>| {
            self.rounds[ranks].iter().map(|round| round.len() as u64)
        };
        let own = self.rounds[rank].ahead_of(key, weight);
        let higher: u64 = of(0..rank).sum();
        let higher = higher.min((own + 1).saturating_mul(RESERVE - 1));
        // One more than that, because a lower one may be owed its start_attempt already.
        let reserved = (own + higher) / (RESERVE - 1) + 1;
        let lower: u64 = of(rank + 1..self.rounds.len()).map(|waiting| waiting.min(reserved)).sum();
        own + higher + lower
    }
}

impl<K: Ord, T: Ord> Ranked<K, BTreeSet<T>> {
    /// Takes an item out of its line. Whether it was there.
    pub(super) fn remove(&mut self, priority: Priority, key: &K, item: &T) -> bool {
        self.rounds[priority.rank()].remove(key, item)
    }
}

impl<K, L> Default for Ranked<K, L> {
    fn default() -> Self {
        Ranked { rounds: Default::default(), passed_over: Default::default() }
    }
}

#[cfg(test)]
mod tests;
