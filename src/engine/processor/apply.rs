//! One workflow in a batch: it is loaded once, handed events, and what follows is done: a permit asked for,
//! a call ordered, a provider's id remembered.

use std::{collections::BTreeSet, sync::Arc};

use dispatch_contract::AttemptId;

use super::{BatchContext, LoadedWorkflow, admission::LoadAwareRouter, inbound::is_reply};
use crate::{
    engine::{
        Command, ConversationSend, Effects, InboundReport, RecallOrder, SendOrder, account_id,
        permits::PermitRequest, sender_account_id,
    },
    machine::{self, AttemptState, Event, Fact, Update, Workflow, WorkflowId},
    store::{self, Change, MessagePart, Question, ReceiptKey, StoreError},
};
/// Workflows.
impl BatchContext<'_> {
    pub(super) fn load(&mut self, id: WorkflowId) -> Result<Option<&LoadedWorkflow>, StoreError> {
        if !self.loaded.contains_key(&id) {
            let Some(state) = self.store.load(id)? else { return Ok(None) };
            self.put_loaded(state);
        }
        Ok(self.loaded.get(&id))
    }

    /// Loads at once what receipts of `commands` name: each by itself would be a question to the store where it has
    /// ended.
    pub(super) fn load_ahead(&mut self, commands: &[Command]) -> Result<(), StoreError> {
        let items = commands.iter().flat_map(|command| match command {
            Command::Inbound { items, .. } => items.as_slice(),
            _ => &[],
        });
        let attempts = items.filter_map(|item| match item {
            InboundReport::Receipt(receipt) => receipt.attempt,
            InboundReport::Watermark(_) => None,
        });
        let ids: BTreeSet<_> = attempts.map(|attempt| WorkflowId(attempt.workflow)).collect();
        let is_new = |id: &WorkflowId| !self.loaded.contains_key(id);
        let ids: Vec<_> = ids.into_iter().filter(is_new).collect();
        if ids.len() > 1 {
            for state in self.store.load_all(&ids)?.into_iter().flatten() {
                self.put_loaded(state);
            }
        }
        Ok(())
    }

    /// Has the store look up at once by what names creates and receipts will ask it.
    pub(super) fn read_ahead(
        &self,
        creates: &[Command],
        others: &[Command],
    ) -> Result<(), StoreError> {
        let requests = creates.iter().filter_map(|command| match command {
            Command::Create { record, .. } => {
                Some(Question::Request { tenant: &record.tenant, request_id: record.request_id()? })
            }
            _ => None,
        });
        let former_names = self.processor.routes.former_names();
        let messages = others.iter().filter_map(|command| match command {
            Command::Inbound { provider, account, items, .. } => Some((provider, account, items)),
            _ => None,
        });
        let messages = messages.flat_map(|(provider, account, items)| {
            let present = Arc::clone(former_names.present(&account_id(provider, account)));
            let former = former_names.former(&present).iter().cloned();
            let names: Vec<_> = std::iter::once(Arc::clone(&present)).chain(former).collect();
            let provider_ids = items.iter().filter_map(|item| match item {
                InboundReport::Receipt(receipt) => receipt.provider_id.as_deref(),
                InboundReport::Watermark(_) => None,
            });
            provider_ids.flat_map(move |provider_id| {
                let question = |account| Question::Message { account, provider_id };
                names.clone().into_iter().map(question).collect::<Vec<_>>()
            })
        });
        self.store.read_ahead(&mut requests.chain(messages))
    }

    fn put_loaded(&mut self, state: Workflow) {
        let id = state.id;
        let tenant = state.steps.first().map(|step| Arc::clone(&step.requirement.tenant));
        let loaded = LoadedWorkflow {
            expected: state.sequence,
            tenant: tenant.unwrap_or_else(|| Arc::from("")),
            state,
            record: None,
            is_new: false,
            facts: Vec::new(),
            messages: Vec::new(),
        };
        self.order.push(id);
        self.loaded.insert(id, loaded);
    }

    pub(super) fn event(&mut self, id: WorkflowId, event: Event) -> Result<(), StoreError> {
        if self.load(id)?.is_none() {
            return Ok(());
        }
        let Some(loaded) = self.loaded.get_mut(&id) else { return Ok(()) };
        if loaded.state.is_erased && matches!(event, Event::Update { .. }) {
            self.effects.after_erasure += 1;
        }
        let router = LoadAwareRouter {
            routes: &self.processor.routes,
            permits: &self.processor.permits,
            now: self.now.engine,
        };
        let facts = machine::handle(&mut loaded.state, self.now, event, &router);
        self.apply(id, facts)
    }

    /// Keeps the facts, and does what they and the new state ask for.
    pub(super) fn apply(&mut self, id: WorkflowId, facts: Vec<Fact>) -> Result<(), StoreError> {
        let mut early = Vec::new();
        let mut accepted = Vec::new();
        let Some(loaded) = self.loaded.get_mut(&id) else { return Ok(()) };
        for fact in &facts {
            match fact {
                Fact::AttemptAccepted { attempt, provider_ids, .. }
                | Fact::LateSendResult { attempt, provider_ids: Some(provider_ids), .. } => {
                    accepted.push((*attempt, provider_ids));
                }
                Fact::AttemptStarted { attempt, call, account } => {
                    self.processor
                        .expected_receipts
                        .started(self.processor.routes.former_names().present(account));
                    if let Some(sent) = loaded.state.attempt(*attempt) {
                        self.effects.sends.push(SendOrder {
                            attempt: AttemptId { workflow: id.0, number: *attempt },
                            call: *call,
                            step: sent.step,
                            useful_for_ms: loaded.state.useful_for_ms(sent.step, self.now),
                            route: Arc::clone(&sent.route),
                            record: loaded.record.clone(),
                        });
                    }
                }
                Fact::RecallStarted { attempt, .. } => {
                    let sent = loaded.state.attempt(*attempt);
                    if let Some((sent, account)) =
                        sent.and_then(|it| Some((it, it.account.clone()?)))
                    {
                        self.effects.recalls.push(RecallOrder {
                            attempt: AttemptId { workflow: id.0, number: *attempt },
                            step: sent.step,
                            route: Arc::clone(&sent.route),
                            account,
                        });
                    }
                }
                // The others ask for nothing outside.
                _ => {}
            }
        }
        for (attempt, provider_ids) in accepted {
            early.extend(self.provider_named(id, attempt, provider_ids));
        }
        if let Some(loaded) = self.loaded.get_mut(&id) {
            loaded.facts.extend(facts);
        }
        let up_since = self.processor.recovery.started_at();
        for (attempt, update) in early {
            self.event(id, Event::Update { attempt, update, up_since })?;
        }
        self.request_permit(id)
    }

    /// A provider told its ids of an attempt's message, one a part: receipts find it by them from now on.
    /// Returns what came before.
    fn provider_named(
        &mut self,
        id: WorkflowId,
        number: u16,
        provider_ids: &[String],
    ) -> Vec<(u16, Update)> {
        let mut early = Vec::new();
        let Some(loaded) = self.loaded.get_mut(&id) else { return early };
        let Some(sent) = loaded.state.attempt(number) else { return early };
        let Some(account) = &sent.account else { return early };
        let account = self.processor.routes.former_names().present(account);
        let held_receipts = &mut self.processor.held_receipts;
        let step = loaded.state.steps.get(usize::from(sent.step));
        let own = step
            .filter(|_| held_receipts.len() > 0)
            .map(|step| sender_account_id(account, &step.requirement));
        let first = u16::from(provider_ids.len() > 1);
        for (part, provider_id) in (first..).zip(provider_ids) {
            let part = MessagePart { attempt: number, part };
            let found = part.found(id);
            let matched = held_receipts.take(account, provider_id);
            let of_own = own.as_ref().map(|own| held_receipts.take(own, provider_id));
            for parked in matched.into_iter().chain(of_own.into_iter().flatten()) {
                self.effects.change_set.release_receipts.push(parked.key);
                let report = parked.report();
                let update = Update {
                    report,
                    provider_id: Some(parked.provider_id),
                    part: found.part.filter(|_| !is_reply(report)),
                    provider_time: parked.provider_time,
                    code: parked.code,
                    detail: parked.detail,
                    usage: parked.usage,
                };
                early.push((number, update));
            }
            let key = ReceiptKey::provider_id(account, provider_id);
            self.messages.insert(key, found);
            loaded.messages.push((key, part));
        }
        early
    }

    /// The call that just came back put a message into a conversation: watermarks find it from now on, and those
    /// that came before are told. `account` is the account's present name.
    pub(super) fn join_conversation(
        &mut self,
        attempt: AttemptId,
        account: &Arc<str>,
        sent: &ConversationSend,
    ) -> Result<(), StoreError> {
        let ConversationSend { conversation, began, .. } = *sent;
        let names = self.conversations_of(account, &conversation.remembered);
        let stored = store::conversation(account, &conversation.stored);
        let (id, number) = (WorkflowId(attempt.workflow), attempt.number);
        let Some(loaded) = self.loaded.get_mut(&id) else { return Ok(()) };
        let Some(sent) = loaded.state.attempt(number) else { return Ok(()) };
        if !sent.is_accepted() || loaded.facts.is_empty() || loaded.state.is_erased {
            return Ok(());
        }
        let Some(step) = loaded.state.steps.get(usize::from(sent.step)) else { return Ok(()) };
        let remembered = store::conversation(account, &conversation.remembered);
        let watermarks = &self.processor.watermarks;
        let mut covering: Vec<_> =
            names.iter().flat_map(|name| watermarks.covering(name, began)).collect();
        covering.retain(|it| it.scope.as_ref().is_none_or(|by| by.admits(&step.requirement)));
        self.processor.watermarks.joined(remembered, began);
        let key = ReceiptKey::Conversation(stored, began, id, number);
        loaded.messages.push((key, MessagePart { attempt: number, part: 0 }));
        self.conversations.entry(remembered).or_default().push((began, attempt));
        let up_since = self.processor.recovery.started_at();
        for reach in covering {
            self.event(id, Event::Update { attempt: number, update: reach.update(), up_since })?;
        }
        Ok(())
    }

    pub(super) fn request_permit(&mut self, id: WorkflowId) -> Result<(), StoreError> {
        let Some(loaded) = self.loaded.get(&id) else { return Ok(()) };
        let state = &loaded.state;
        let wanted = state.wants_permit().and_then(|number| Some((number, state.attempt(number)?)));
        let Some((number, attempt)) = wanted else {
            self.processor.permits.leave(id);
            return Ok(());
        };
        let route = Arc::clone(&attempt.route);
        let request = PermitRequest {
            tenant: Arc::clone(&loaded.tenant),
            priority: state.priority,
            // When it was planned or became due again, which was the last thing that happened to it: a
            // start after a crash puts it where it was.
            since: state.updated_at.engine,
        };
        if self.processor.permits.acquire_or_queue(&route, id, request, self.now.engine)
            && !self.start_attempt(id, number, &route)?
        {
            // Whoever queued while it was held, the workflow itself perhaps, is not told otherwise.
            self.dispatch_waiting(&route)?;
        }
        Ok(())
    }

    /// Starts an attempt under an acquired permit. Whether it started; if not, the permit is free again.
    pub(super) fn start_attempt(
        &mut self,
        id: WorkflowId,
        number: u16,
        route: &Arc<str>,
    ) -> Result<bool, StoreError> {
        self.event(id, Event::PermitGranted { attempt: number })?;
        let has_started = self
            .loaded
            .get(&id)
            .and_then(|loaded| loaded.state.attempt(number))
            .is_some_and(|attempt| attempt.state == AttemptState::Started);
        if !has_started {
            self.processor.permits.release(route);
        }
        Ok(has_started)
    }

    /// Gives free permits of a route to those who wait for one.
    pub(super) fn dispatch_waiting(&mut self, route: &Arc<str>) -> Result<(), StoreError> {
        while let Some(id) = self.processor.permits.next(route, self.now.engine) {
            let wanted = self.load(id)?.and_then(|loaded| {
                let number = loaded.state.wants_permit()?;
                let attempt = loaded.state.attempt(number)?;
                Some((number, Arc::clone(&attempt.route)))
            });
            match wanted {
                Some((number, wanted)) if wanted == *route => {
                    self.start_attempt(id, number, route)?;
                }
                Some(_) => {
                    // It moved to another route while it waited here.
                    self.processor.permits.release(route);
                    self.request_permit(id)?;
                }
                None => self.processor.permits.release(route),
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Effects {
        for id in std::mem::take(&mut self.order) {
            let Some(loaded) = self.loaded.remove(&id) else { continue };
            self.processor.recovery.track_deferred(&loaded.state, self.now);
            let names = self.processor.routes.former_names();
            self.processor.expected_receipts.track(&loaded.state, |account| names.present(account));
            if loaded.facts.is_empty() {
                continue;
            }
            self.effects.broken.extend(machine::check(&loaded.state));
            self.effects.change_set.changes.push(Change {
                record: loaded.record.filter(|_| loaded.is_new),
                tenant: loaded.tenant,
                at: self.now,
                expected: loaded.expected,
                facts: loaded.facts,
                state: loaded.state,
                messages: loaded.messages,
            });
        }
        self.effects.queues = self.processor.permits.changed_depths();
        if self.processor.is_draining && self.processor.permits.in_use() == 0 {
            for reply in self.processor.draining.drain(..) {
                self.effects.acks.push(Box::new(move || reply(())));
            }
        }
        self.effects
    }
}
