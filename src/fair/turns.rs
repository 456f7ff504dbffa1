//! What is short and worth waiting for: those who wait are served in rotation, one of each.
//!
//! Whoever asks a thousand times waits behind itself, and not before others. Nobody has more under way
//! than is left free, so that a newcomer rarely waits at all; what is free beyond that stays so.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Turns at something, in rotation between their holders.
#[derive(Debug)]
pub struct Turns {
    most: usize,
    state: Arc<Mutex<TurnsState>>,
}

#[derive(Debug, Default)]
struct TurnsState {
    /// How many are under way, and of whom.
    all: usize,
    under_way: HashMap<Arc<str>, usize>,
    /// Who waits, the next first; none of them without somebody waiting.
    rotation: VecDeque<(Arc<str>, VecDeque<oneshot::Sender<Turn>>)>,
}

/// A turn; over when this is dropped.
#[derive(Debug)]
#[must_use = "the turn is over when this is dropped"]
pub struct Turn {
    /// `None` once it is over.
    state: Option<Arc<Mutex<TurnsState>>>,
    most: usize,
    whose: Arc<str>,
}

impl Turns {
    /// `most` turns at once: at least two.
    pub fn new(most: usize) -> Turns {
        Turns { most: most.max(2), state: Arc::default() }
    }

    /// A turn for `whose`, when it is its.
    pub async fn take(&self, whose: &Arc<str>) -> Turn {
        let (give, given) = oneshot::channel();
        {
            let mut state = lock(&self.state);
            let same = state.rotation.iter_mut().find(|(who, _)| who == whose);
            match same {
                Some((_, waiting)) => waiting.push_back(give),
                None => state.rotation.push_back((Arc::clone(whose), VecDeque::from([give]))),
            }
        }
        give_out(&self.state, self.most);
        match given.await {
            Ok(turn) => turn,
            // Never: who waits is given a turn or is not there any more.
            Err(_) => Turn { state: None, most: self.most, whose: Arc::clone(whose) },
        }
    }
}

/// Gives turns to those who wait, as far as there are any.
fn give_out(shared: &Arc<Mutex<TurnsState>>, most: usize) {
    let mut state = lock(shared);
    while let Some((whose, give)) = state.next(most) {
        let turn = Turn { state: Some(Arc::clone(shared)), most, whose };
        state.begun(&turn.whose);
        if let Err(mut unwanted) = give.send(turn) {
            // It waits no longer. Not dropped as a turn: that would ask for the lock again.
            unwanted.state = None;
            state.over(&unwanted.whose);
        }
    }
}

impl TurnsState {
    /// Who is next, of those who may have one more under way.
    fn next(&mut self, most: usize) -> Option<(Arc<str>, oneshot::Sender<Turn>)> {
        let free = most - self.all;
        let has_room = |who: &Arc<str>| self.under_way.get(who).copied().unwrap_or(0) < free;
        let at = self.rotation.iter().position(|(who, _)| has_room(who))?;
        let (who, mut waiting) = self.rotation.remove(at)?;
        let give = waiting.pop_front();
        if !waiting.is_empty() {
            self.rotation.push_back((Arc::clone(&who), waiting));
        }
        Some((who, give?))
    }

    fn begun(&mut self, whose: &Arc<str>) {
        self.all += 1;
        *self.under_way.entry(Arc::clone(whose)).or_default() += 1;
    }

    fn over(&mut self, whose: &Arc<str>) {
        self.all -= 1;
        if let Some(count) = self.under_way.get_mut(whose) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(whose);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            lock(&state).over(&self.whose);
            give_out(&state, self.most);
        }
    }
}

fn lock(state: &Mutex<TurnsState>) -> MutexGuard<'_, TurnsState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_a_thousand_times_waits_behind_itself() {
        let turns = Arc::new(Turns::new(4));
        let (greedy, modest) = (Arc::from("greedy"), Arc::from("modest"));
        let held = [turns.take(&greedy).await, turns.take(&greedy).await];
        let mut many = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let (turns, greedy) = (Arc::clone(&turns), Arc::clone(&greedy));
            many.spawn(async move {
                let _turn = turns.take(&greedy).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            });
        }
        tokio::time::sleep(SOON).await;
        let first = timeout(SOON, turns.take(&modest)).await.expect("there is something left");
        let second = turns.take(&modest);
        let another = Arc::from("another");
        let third = turns.take(&another);
        // The next two are one of each, though the greedy ones were there before.
        drop(held);
        let (second, third) = (timeout(SOON, second).await, timeout(SOON, third).await);
        assert!(second.is_ok() || third.is_ok());
        drop((first, second, third));
        while many.join_next().await.is_some() {}
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_no_longer_takes_no_turn() {
        let turns = Turns::new(2);
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let held = turns.take(&a).await;
        assert!(timeout(SOON, turns.take(&a)).await.is_err());
        drop(held);
        let _held = timeout(SOON, turns.take(&b)).await.expect("nobody else waits");
        assert_eq!(lock(&turns.state).all, 1);
    }
}
