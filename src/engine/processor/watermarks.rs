//! Watermarks: how everything fared that was sent in a conversation until a certain time.
//!
//! What was accepted is found in the store, by conversation and time. A watermark may come before the answer
//! of the very call that it covers, so it is remembered for as long as a call of its account can be out. In
//! memory alone: what a death loses of that is a read that was told while the message's own call was out.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use dispatch_contract::{Status, UnixMillis};

use crate::{
    contents::LONGEST_CALL,
    engine::{ConversationSend, FormerNames, ReceiptScope},
    machine::{Moment, Update},
    store::NameHash,
};

/// For how long one is remembered, in milliseconds: a call that it is about may be out for as long.
const RECENT_MS: u64 = LONGEST_CALL.as_millis() as u64;
/// How many are remembered.
const MAX_RECENT: usize = 10_000;
/// How many messages one covers: the newest of the conversation. Who leaves as many unread in the time of
/// retention is not waited for.
pub(super) const MAX_COVERED: usize = 50;

/// What a watermark says, in engine time.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// What everything reached.
    pub(super) status: Status,
    /// That was sent at or before this.
    pub(super) until: UnixMillis,
    /// The same, by the provider's clock.
    pub(super) provider_time: UnixMillis,
    /// Whose messages alone it counts for.
    pub(super) scope: Option<ReceiptScope>,
}

impl Reach {
    /// What it says of one message.
    pub(super) fn update(&self) -> Update {
        Update::plain(self.status, Some(self.provider_time))
    }
}

/// Those that came lately, and how providers' clocks stand.
#[derive(Debug, Default)]
pub(super) struct Watermarks {
    recent: HashMap<NameHash, Vec<Reach>>,
    /// When each came, oldest first.
    order: VecDeque<(UnixMillis, NameHash)>,
    /// Until when each status was told of a conversation to all that was sent in it: there is no need to look
    /// there again.
    told: HashMap<(NameHash, Status), UnixMillis>,
    /// By how many milliseconds an account's provider is ahead of engine time.
    ahead_ms: HashMap<Arc<str>, i64>,
}

impl Watermarks {
    /// Accounts have other names from now on. What is remembered is looked for under both.
    pub(super) fn rename(&mut self, names: &FormerNames) {
        for (account, ahead_ms) in std::mem::take(&mut self.ahead_ms) {
            self.ahead_ms.insert(Arc::clone(names.present(&account)), ahead_ms);
        }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Compares an account's clock with ours, by an answer of its provider.
    ///
    /// That one was made while the call was out, and says the time to the second. Where both clocks may have
    /// shown the same then, they are taken to go alike; else its is taken to be as far ahead as it may be, so
    /// that a watermark rather covers too little.
    pub(super) fn compare_clocks(
        &mut self,
        now: Moment,
        account: &Arc<str>,
        sent: &ConversationSend,
    ) {
        let Some(told) = sent.provider_time else { return };
        let distance = |to: u64, from: u64| to.wrapping_sub(from) as i64;
        let least = distance(told.0, now.wall_at(sent.answered).0);
        let most = distance(told.0.saturating_add(999), now.wall_at(sent.began).0);
        let off_ms = if least <= 0 && most >= 0 { 0 } else { most };
        self.ahead_ms.insert(Arc::clone(account), now.skew_ms().saturating_add(off_ms));
    }

    /// When an account's clock showed `told`, in engine time.
    pub(super) fn engine_at(&self, now: Moment, account: &str, told: UnixMillis) -> UnixMillis {
        let ahead_ms = self.ahead_ms.get(account).copied().unwrap_or(now.skew_ms());
        UnixMillis(told.0.saturating_add_signed(ahead_ms.wrapping_neg()))
    }

    /// Until when a status was told to all of a conversation, as far as that is still known; from now on it was
    /// until `until` at least.
    pub(super) fn told(
        &mut self,
        conversation: NameHash,
        status: Status,
        until: UnixMillis,
    ) -> UnixMillis {
        // What is forgotten is only looked for once more.
        if self.told.len() >= MAX_RECENT {
            self.told.clear();
        }
        let told = self.told.entry((conversation, status)).or_default();
        let before = *told;
        *told = before.max(until);
        before
    }

    /// A message came into a conversation whose call began then: what is told next reaches back to it, though all
    /// until then was told before, to those that were there.
    pub(super) fn joined(&mut self, conversation: NameHash, began: UnixMillis) {
        let before = UnixMillis(began.0.saturating_sub(1));
        for status in Status::ALL {
            if let Some(told) = self.told.get_mut(&(conversation, status)) {
                *told = before.min(*told);
            }
        }
    }

    /// Remembers one.
    pub(super) fn remember(&mut self, now: UnixMillis, conversation: NameHash, reach: Reach) {
        self.forget_old(now);
        if self.order.len() >= MAX_RECENT {
            self.forget_oldest();
        }
        self.recent.entry(conversation).or_default().push(reach);
        self.order.push_back((now, conversation));
    }

    /// Those of a conversation that cover what was sent at `began`.
    pub(super) fn covering(&self, conversation: &NameHash, began: UnixMillis) -> Vec<Reach> {
        let recent = self.recent.get(conversation).map(Vec::as_slice).unwrap_or_default();
        recent.iter().filter(|reach| reach.until >= began).cloned().collect()
    }

    fn forget_old(&mut self, now: UnixMillis) {
        while self.order.front().is_some_and(|(at, _)| at.0.saturating_add(RECENT_MS) < now.0) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, conversation)) = self.order.pop_front() else { return };
        if let Some(recent) = self.recent.get_mut(&conversation) {
            // They stand in the order in which they came.
            recent.remove(0);
            if recent.is_empty() {
                self.recent.remove(&conversation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::CallConversation;

    fn sent(began: u64, answered: u64, provider_time: u64) -> ConversationSend {
        ConversationSend {
            conversation: CallConversation { remembered: [1; 16], stored: [2; 16] },
            began: UnixMillis(began),
            answered: UnixMillis(answered),
            provider_time: Some(UnixMillis(provider_time)),
        }
    }

    fn read(until: u64) -> Reach {
        let (status, scope) = (Status::Read, None);
        Reach { status, until: UnixMillis(until), provider_time: UnixMillis(until), scope }
    }

    #[test]
    fn clocks_that_may_agree_are_taken_to() {
        let account = Arc::from("meta/main");
        // The wall clock is a minute ahead of engine time.
        let now = Moment::skewed(UnixMillis(100_500), 60_000);
        let mut watermarks = Watermarks::default();
        let told = UnixMillis(10_000_000);
        let alike = 10_000_000 - 60_000;
        assert_eq!(watermarks.engine_at(now, "meta/main", told), UnixMillis(alike));
        for (provider_time, engine) in [
            // Between 160.1 s and 160.4 s the second was this one.
            (160_000, alike),
            // An hour ahead: perhaps that second was almost over when the call had just begun.
            (3_760_000, alike - 3_600_899),
            // Behind by ten seconds: it was 150.999 s at most when the call began.
            (150_000, alike + 9_101),
        ] {
            watermarks.compare_clocks(now, &account, &sent(100_100, 100_400, provider_time));
            let is = watermarks.engine_at(now, "meta/main", told);
            assert_eq!(is, UnixMillis(engine), "{provider_time}");
        }
    }

    #[test]
    fn what_came_lately_is_remembered_and_no_longer() {
        let mut watermarks = Watermarks::default();
        let [one, other] = [[1; 16], [2; 16]];
        watermarks.remember(UnixMillis(0), one, read(50));
        watermarks.remember(UnixMillis(1), one, read(70));
        watermarks.remember(UnixMillis(2), other, read(90));
        assert_eq!(watermarks.covering(&one, UnixMillis(60)).len(), 1);
        assert_eq!(watermarks.covering(&one, UnixMillis(50)).len(), 2);
        assert!(watermarks.covering(&one, UnixMillis(71)).is_empty());
        watermarks.remember(UnixMillis(RECENT_MS + 2), other, read(95));
        assert!(watermarks.covering(&one, UnixMillis(0)).is_empty());
        assert_eq!((watermarks.len(), watermarks.recent.len()), (2, 1));
        for at in 0..2 * MAX_RECENT as u64 {
            watermarks.remember(UnixMillis(RECENT_MS + 3), one, read(at));
        }
        assert_eq!(watermarks.len(), MAX_RECENT);
    }

    #[test]
    fn what_was_told_once_is_not_looked_for_again() {
        let mut watermarks = Watermarks::default();
        let [one, other] = [[1; 16], [2; 16]];
        for (conversation, status, until, before) in [
            (one, Status::Read, 50, 0),
            (one, Status::Read, 70, 50),
            (one, Status::Read, 60, 70),
            (one, Status::Read, 70, 70),
            (one, Status::Delivered, 90, 0),
            (other, Status::Read, 90, 0),
        ] {
            let is = watermarks.told(conversation, status, UnixMillis(until));
            assert_eq!(is, UnixMillis(before), "{conversation:?} {status} {until}");
        }
    }
}
