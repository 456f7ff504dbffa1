//! One step: addresses, message and rule, held against the adapters that would send it.

use std::{sync::Arc, time::Duration};

use super::{FieldAt, FieldPath, Found, Rules, Wanted, address, content, options, time};
use crate::{
    api::violation::{Phrase, RequestViolation},
    contents::{StepContents, WorkflowRequest},
    machine::{FailoverCondition, StepPlan},
    pb::v1::{Failover, Step},
};
use dispatch_contract::{Channel, ChannelAdapter, Endpoint, Message, Options, Status, UnixMillis};

const EXPIRY_LEAST: Duration = Duration::from_secs(1);
const EXPIRY_MOST: Duration = Duration::from_secs(30 * 86_400);
/// How many configured senders an error names.
const SENDERS_TOLD: usize = 5;

/// A step; `None` if something is wrong with it, and noted.
pub(super) fn step(
    given: &Step,
    at: FieldAt<'_>,
    is_last: bool,
    rules: &dyn Rules,
    now: UnixMillis,
    found: &mut Found,
) -> Option<(StepPlan, StepContents)> {
    let (sender, recipient) = (given.sender.as_ref(), given.recipient.as_ref());
    let to = address::endpoint(recipient, at.key("recipient"), "who is reached", found);
    let from = address::endpoint(sender, at.key("sender"), "who sends", found);
    let channel = address::channel(recipient, sender, at, rules, found);
    let message = given.message.as_ref();
    let content = content::content(message, at.key("message"), found);
    let options = match (message, &channel) {
        (Some(message), Some(channel)) => {
            options::options(message, channel, at.key("message"), found)
        }
        _ => Options::NONE,
    };

    let serving = match (&channel, &from) {
        (Some(channel), Some(from)) if rules.judge() => {
            serving(channel, from, at.key("sender"), rules, found)
        }
        _ => None,
    };
    let rule = failover(given.failover.as_ref(), at, is_last, serving.as_deref(), found);
    let message = Message { channel: channel?, from: from?, to: to?, content: content?, options };
    let condition =
        given.failover.as_ref().and_then(|failover| failover.condition_status.parse().ok());
    if rules.judge() {
        held_against(&serving?, &message, condition, at, now, found);
    }
    Some(StepContents::of(message, rule?))
}

/// What is not wrong with a request, and better changed: each with its path, as what is wrong has it.
pub(crate) fn warnings(
    asked: &WorkflowRequest,
    rules: &dyn Rules,
    now: UnixMillis,
) -> Vec<RequestViolation> {
    let mut found = Found::default();
    let steps = FieldAt::of("steps");
    for (index, (step, contents)) in asked.steps().enumerate() {
        // They are the channel's: whoever sends on it says the same.
        let serving = rules.serving(&step.channel, &step.sender);
        let Some(adapter) = serving.first() else { continue };
        for warning in adapter.warnings(&contents.clone().into_message(step), now) {
            let field = steps.index(index).field(&step.channel, warning.field);
            found.note(field, warning.problem);
        }
    }
    found.0
}

/// The adapters that would send for this sender.
fn serving(
    channel: &Channel,
    from: &Endpoint,
    at: FieldAt<'_>,
    rules: &dyn Rules,
    found: &mut Found,
) -> Option<Vec<Arc<dyn ChannelAdapter>>> {
    let serving = rules.serving(channel, from);
    if !serving.is_empty() {
        return Some(serving);
    }
    // Not a word of routes that are others'.
    let senders = rules.senders(channel);
    let mut wanted = vec![Phrase::text("must be a sender with a route of this tenant")];
    if !senders.is_empty() {
        let more = senders.len().saturating_sub(SENDERS_TOLD);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let told = senders[..senders.len().min(SENDERS_TOLD)].join(", ");
        wanted.push(Phrase::text(": those on "));
        wanted.push(Phrase::Channel(channel.clone()));
        wanted.push(Phrase::text(format!(" are {told}{more}")));
    }
    wanted.push(Phrase::text("; a route in the service's configuration adds another"));
    found.note(at, Wanted::of(wanted));
    None
}

/// The step's rule: `Some(None)` is a last step without one, `None` is a wrong one.
fn failover(
    given: Option<&Failover>,
    at: FieldAt<'_>,
    is_last: bool,
    serving: Option<&[Arc<dyn ChannelAdapter>]>,
    found: &mut Found,
) -> Option<Option<FailoverCondition>> {
    let field = at.key("failover");
    let Some(given) = given else {
        if is_last {
            return Some(None);
        }
        found.note(
            field,
            "must be given on every step but the last: a condition_status, and an expiry_time of \
             1 s to 30 days",
        );
        return None;
    };
    let condition =
        condition(&given.condition_status, field.key("condition_status"), serving, found);
    let expiry_ms = match &given.expiry_time {
        None => None,
        Some(time) => {
            let field = field.key("expiry_time");
            Some(time::span(time, EXPIRY_LEAST, EXPIRY_MOST, field, found)?)
        }
    };
    Some(Some(FailoverCondition { condition: condition?, expiry_ms }))
}

fn condition(
    given: &str,
    at: FieldAt<'_>,
    serving: Option<&[Arc<dyn ChannelAdapter>]>,
    found: &mut Found,
) -> Option<Status> {
    let parsed = given.parse().ok();
    let is_told = |status: Status| {
        serving.is_none_or(|adapters| adapters.iter().any(|it| it.capabilities().tells(status)))
    };
    if let Some(status) = parsed.filter(|status| is_told(*status)) {
        return Some(status);
    }
    let wanted = match serving {
        Some(adapters) => Wanted::of(one_of(adapters)),
        // Without a channel nobody knows more; a step before it is accepted has reached nothing.
        None => "must be submitted, delivered, read or replied, as the channel tells".into(),
    };
    found.note(at, wanted);
    None
}

/// What the adapters can tell, for an error text.
fn one_of(adapters: &[Arc<dyn ChannelAdapter>]) -> Vec<Phrase> {
    let told = Status::ALL
        .into_iter()
        .filter(|status| adapters.iter().any(|it| it.capabilities().tells(*status)))
        .map(Status::as_str)
        .collect::<Vec<_>>();
    let channel = adapters.first().map(|adapter| Phrase::Channel(adapter.channel().clone()));
    let (before, after) = match told.as_slice() {
        [] => (String::new(), " tells no status to wait for; leave failover out"),
        [only] => (format!("must be {only}, the one status that "), " tells"),
        several => (format!("must be one of {}, which ", several.join(", ")), " tells"),
    };
    [Phrase::text(before)].into_iter().chain(channel).chain([Phrase::text(after)]).collect()
}

/// Notes what no adapter could do. One that sends the content and tells the condition must find
/// nothing wrong with the message; where there is none, what the nearest of them lacks is told.
fn held_against(
    serving: &[Arc<dyn ChannelAdapter>],
    message: &Message,
    condition: Option<Status>,
    at: FieldAt<'_>,
    now: UnixMillis,
    found: &mut Found,
) {
    let kind = message.content.kind();
    let tells = |adapter: &dyn ChannelAdapter| {
        condition.is_none_or(|status| adapter.capabilities().tells(status))
    };
    let sending: Vec<_> =
        serving.iter().filter(|adapter| adapter.capabilities().sends(kind)).cloned().collect();
    let fit: Vec<_> = sending.iter().filter(|adapter| tells(&***adapter)).cloned().collect();
    if fit.is_empty() && !sending.is_empty() {
        let field = FieldPath::from(at.key("failover").key("condition_status"));
        if !found.has(&field) {
            let mut wanted = one_of(&sending);
            wanted.push(Phrase::text(format!(", for {kind}")));
            found.note(field, Wanted::of(wanted));
        }
    }
    let judges = [fit, sending, serving.to_vec()].into_iter().find(|judges| !judges.is_empty());
    let verdicts = judges.into_iter().flatten().map(|adapter| adapter.check(message, now));
    let Some(best) = verdicts.min_by_key(Vec::len) else { return };
    for violation in best {
        let field = at.field(&message.channel, violation.field);
        // The first thing that is wrong with a field explains the others.
        if !found.has(&field) {
            found.note(field, violation.problem);
        }
    }
}
