//! Who wants no messages: what of it was acknowledged, and what is therefore sent or not.

use std::collections::HashMap;

use dispatch::{
    engine::SendOrder,
    machine::{SendResult, WorkflowId},
};
use dispatch_contract::ErrorKind;

use super::{Fine, Judge, OPTED_OUT, want};
use crate::scenario::{SENDER, Wish, Wisher, person};

/// What was said last of a person's messages, by whom it is heard.
pub(super) type Words = HashMap<(Wisher, String), Word>;

/// Whether it is on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Listed,
    Lifted,
    /// It was said, and nobody was told that it is kept.
    Unsure,
}

impl Judge {
    /// Somebody said who wants messages, and was not answered yet.
    pub fn wished(&mut self, wish: &Wish) {
        self.put(wish, Word::Unsure);
    }

    /// That it is kept was acknowledged. What was said where nobody sends was never kept, and is not known here.
    pub fn wish_answered(&mut self, wish: &Wish) {
        let is_known = keys(wish).iter().any(|key| self.words.get(key) == Some(&Word::Unsure));
        if is_known {
            self.put(wish, if wish.is_lifted { Word::Lifted } else { Word::Listed });
        }
    }

    fn put(&mut self, wish: &Wish, word: Word) {
        self.words.extend(keys(wish).into_iter().map(|key| (key, word)));
    }

    /// A provider refused a message because its recipient wants none, and that is kept.
    pub fn refused_for_it(&mut self, order: &SendOrder, route: usize) {
        if let Some((_, heard)) = self.about(order, route) {
            self.words.insert(heard, Word::Listed);
        }
    }

    /// A call leaves.
    pub fn leaves(&self, order: &SendOrder, route: usize) -> Fine {
        let id = WorkflowId(order.attempt.workflow);
        self.is_there_to_leave(id)?;
        let listed = self.words_about(order, route).find(|(_, word)| *word == Word::Listed);
        want(listed.is_none(), OPTED_OUT, id, || {
            format!("call {} of attempt {} leaves: {listed:?}", order.call, order.attempt.number)
        })
    }

    /// A call does not leave, and is answered in its provider's stead.
    pub fn held_back(&self, order: &SendOrder, route: usize, answer: &SendResult) -> Fine {
        let id = WorkflowId(order.attempt.workflow);
        if self.is_destroyed(id) {
            return Ok(());
        }
        let is_for_it =
            matches!(answer, SendResult::Rejected(of) if of.kind == ErrorKind::OptedOut);
        let was_said = self.words_about(order, route).any(|(_, word)| word != Word::Lifted);
        want(is_for_it && was_said, OPTED_OUT, id, || {
            format!("call {} of attempt {}: {answer:?}", order.call, order.attempt.number)
        })
    }

    fn words_about(
        &self,
        order: &SendOrder,
        route: usize,
    ) -> impl Iterator<Item = ((Wisher, String), Word)> {
        let keys =
            self.about(order, route).map(|(callers, heard)| callers.into_iter().chain([heard]));
        let known = |key| self.words.get(&key).map(|word| (key, *word));
        keys.into_iter().flatten().filter_map(known).collect::<Vec<_>>().into_iter()
    }

    /// Under what a call's message stands on the list: by its tenant, and by its sender there.
    fn about(&self, order: &SendOrder, route: usize) -> Option<(Vec<Key>, Key)> {
        let case = self.cases.get(&WorkflowId(order.attempt.workflow))?;
        let channel = &case.record.plan.steps.get(usize::from(order.step))?.channel;
        let contents = self.contents.open(&case.record).ok()?;
        let to = contents.recipient(order.step)?.value().to_owned();
        let by_tenant = [None, Some(SENDER.to_owned())].map(|sender| {
            let (tenant, channel) = (case.record.tenant.clone(), channel.clone());
            (Wisher::Caller { tenant, channel, sender }, to.clone())
        });
        let spec = &self.routes[route];
        let scope = (spec.provider, spec.account);
        let heard = Wisher::Person { scope, channel: channel.clone() };
        Some((by_tenant.into(), (heard, to)))
    }
}

type Key = (Wisher, String);

/// What a wish is about. A caller that lifts without naming a sender lifts all that it said.
fn keys(wish: &Wish) -> Vec<Key> {
    let to = person(wish.person).value().to_owned();
    let mut keys = vec![(wish.of.clone(), to.clone())];
    if let (true, Wisher::Caller { tenant, channel, sender: None }) = (wish.is_lifted, &wish.of) {
        let sender = Some(SENDER.to_owned());
        let (tenant, channel) = (tenant.clone(), channel.clone());
        keys.push((Wisher::Caller { tenant, channel, sender }, to));
    }
    keys
}
