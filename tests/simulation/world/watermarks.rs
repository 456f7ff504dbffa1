//! Providers that tell of conversations: how everything fared that was sent in one until a certain time, by a clock
//! of their own.

use dispatch::{
    contents::DayKeys,
    engine::{ConversationSend, ConversationWatermark, InboundReport},
};
use dispatch_contract::{ChannelSender, Endpoint, Report, Status, UnixMillis};

use super::*;
use crate::{
    judge::{Conversation, Entered, Told, Watermark},
    scenario::{ProviderClock, SENDER, person},
};

/// The longest that a provider tells of something sooner than it would of the message alone.
const SOON_MS: u64 = 800;
/// How far back a watermark reaches that comes late, or again.
const STALE_MS: u64 = 3_600_000;

impl World<'_> {
    /// Where the message of an accepted call stands.
    pub(super) fn entered(&self, call: usize) -> Option<Entered> {
        let Call { order, route, left_at, taken_at, .. } = &self.calls[call];
        let clock = self.route(*route).watermarks?;
        let id = WorkflowId(order.attempt.workflow);
        let more = u64::from(order.attempt.number) << 16 | u64::from(order.call);
        let mut dice = self.dice(30, id, more);
        // It looks at its clock while it makes the answer.
        let looked_at = dice.between((*taken_at).min(self.now), self.now);
        let shown = looked_at.saturating_add_signed(clock.ahead_ms);
        let provider_time = clock.is_told.then_some(shown / 1000 * 1000);
        let answered = self.service.as_ref()?.clock.moment().engine.0;
        let into = self.conversation(id, *route);
        Some(Entered { into, began: *left_at, answered, provider_time })
    }

    fn conversation(&self, id: WorkflowId, route: usize) -> Conversation {
        let spec = self.route(route);
        let to = person(self.names.get(&id).copied().unwrap_or(0));
        ((spec.provider, spec.account), spec.channel.clone(), to.value().to_owned())
    }

    /// A provider has something to tell of a message that it took just now: in so many milliseconds, of that one or
    /// of all of its conversation.
    pub(super) fn will_tell(&mut self, told: Told, after: u64, call: usize, part: u64) {
        let Call { order, route, .. } = &self.calls[call];
        let (id, number, mut route) =
            (WorkflowId(order.attempt.workflow), order.attempt.number, *route);
        let clock = self.route(route).watermarks;
        let mut dice = self.dice(29, id, u64::from(number) << 32 | part << 28 | after & 0xFFF_FFFF);
        let status = match told.report {
            Report::Reached(status @ (Status::Delivered | Status::Read)) => Some(status),
            Report::Reached(_) | Report::Failed(_) => None,
        };
        let Some((clock, status)) = clock.zip(status).filter(|_| dice.percent(90)) else {
            let report = Given::Receipt(told);
            return self.arrange(self.now + after, Happening::Tell { report, route });
        };
        let after = if dice.percent(35) { dice.below(SOON_MS) } else { after };
        let ProviderClock { ahead_ms, .. } = clock;
        let (taken_at, at) = (self.now, self.now + after);
        let until = match dice.below(10) {
            0..4 => taken_at,
            4..7 => at,
            7 | 8 => dice.between(taken_at, at),
            _ => taken_at - dice.span(1, STALE_MS),
        };
        let mut of = self.conversation(id, route);
        if dice.percent(5) {
            // Whoever else somebody wrote to under this account, or under another.
            if dice.percent(50) {
                route = dice.below(self.scenario.routes.len() as u64) as usize;
                of.0 = (self.route(route).provider, self.route(route).account);
            } else {
                of.2 = person(dice.below(100) as u32).value().to_owned();
            }
        }
        let until = until.saturating_add_signed(ahead_ms);
        let report = Given::Watermark(Watermark { of, status, until });
        if dice.percent(15) {
            let again = at + dice.span(1, STALE_MS);
            self.arrange(again, Happening::Tell { report: report.clone(), route });
        }
        self.arrange(at, Happening::Tell { report, route });
    }
}

/// The same as the writer takes it.
pub(super) fn conversation_send(entered: &Entered, days: &DayKeys) -> ConversationSend {
    let Entered { into, began, answered, provider_time } = entered;
    let (sender, recipient) = sides(into);
    let provider_time = provider_time.map(UnixMillis);
    let (began, answered) = (UnixMillis(*began), UnixMillis(*answered));
    let conversation = days.of_call(&sender, &recipient, began).expect("keys are at hand");
    ConversationSend { conversation, began, answered, provider_time }
}

pub(super) fn inbound(told: &Watermark, (days, now): (&DayKeys, UnixMillis)) -> InboundReport {
    let (sender, recipient) = sides(&told.of);
    let (status, until) = (told.status, UnixMillis(told.until));
    days.make_those_of_calls_out(now).expect("keys are at hand");
    let conversation = days.of_any(&sender, &recipient);
    InboundReport::Watermark(ConversationWatermark { conversation, status, until })
}

fn sides((_, channel, to): &Conversation) -> (ChannelSender, Endpoint) {
    let sender = ChannelSender { channel: channel.clone(), id: SENDER.to_owned() };
    (sender, Endpoint::Id(to.clone()))
}
