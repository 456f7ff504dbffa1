//! A good workflow, and the parts that a case puts into it.

use super::*;

pub(super) const PERSON: &str = "1000000000000001";
pub(super) const NUMBER: &str = "447700900001";
/// Where the test clock stands at first.
pub(super) const NOW_S: i64 = 1_800_000_000;
pub(super) const DAY_S: i64 = 86_400;
/// A well-formed id that no workflow has.
pub(super) const NOBODY: &str = "0190a1b2-c3d4-7e5f-8a6b-0123456789ab";

/// What no error text may repeat: the numbers, ids and texts of the requests below. Whatever a
/// caller writes freely there holds one of them.
pub(super) const PERSONAL: &[&str] = &["7700900", "10000000000000", "Your table", "private"];

/// A workflow that nothing is wrong with.
pub(super) fn good() -> WorkflowSpec {
    let mut spec = messenger_sms(PERSON, NUMBER, "600s");
    from(&mut spec, 0).channel.clear();
    spec
}

pub(super) fn rule(spec: &mut WorkflowSpec) -> &mut v1::Failover {
    spec.steps[0].failover.as_mut().unwrap()
}

pub(super) fn to(spec: &mut WorkflowSpec, step: usize) -> &mut v1::Address {
    spec.steps[step].recipient.as_mut().unwrap()
}

pub(super) fn from(spec: &mut WorkflowSpec, step: usize) -> &mut v1::Address {
    spec.steps[step].sender.as_mut().unwrap()
}

pub(super) fn message(spec: &mut WorkflowSpec, step: usize) -> &mut v1::Message {
    spec.steps[step].message.as_mut().unwrap()
}

pub(super) fn say(spec: &mut WorkflowSpec, step: usize, content: Content) {
    message(spec, step).content = Some(content);
}

/// The last step on WhatsApp.
pub(super) fn whatsapp(spec: &mut WorkflowSpec, content: Content) {
    from(spec, 1).channel.clear();
    from(spec, 1).endpoint = number("447700900002");
    to(spec, 1).channel = "whatsapp".to_owned();
    say(spec, 1, content);
}

/// The last step on Viber.
pub(super) fn viber(spec: &mut WorkflowSpec, options: v1::ViberServiceMsgOptions) {
    from(spec, 1).channel.clear();
    from(spec, 1).endpoint = id("16273");
    to(spec, 1).channel = "viber_service_msg".to_owned();
    message(spec, 1).viber_service_msg = Some(options);
}

/// The last step on RCS.
pub(super) fn rcs(spec: &mut WorkflowSpec, sender: &str, options: v1::RcsOptions) {
    from(spec, 1).channel.clear();
    from(spec, 1).endpoint = id(sender);
    to(spec, 1).channel = "rcs".to_owned();
    message(spec, 1).rcs = Some(options);
}

/// Messenger's options on the first step.
pub(super) fn category(spec: &mut WorkflowSpec, category: i32, tag: &str) {
    let tag = tag.to_owned();
    message(spec, 0).messenger = Some(v1::MessengerOptions { category, tag });
}

pub(super) fn id(id: &str) -> Option<address::Endpoint> {
    Some(address::Endpoint::Id(id.to_owned()))
}

pub(super) fn number(number: &str) -> Option<address::Endpoint> {
    Some(address::Endpoint::Number(number.to_owned()))
}

pub(super) fn text(text: impl Into<String>) -> Content {
    Content::Text(text.into())
}

pub(super) fn image(url: &str, caption: &str) -> Content {
    Content::Image(v1::Image { url: url.to_owned(), caption: caption.to_owned() })
}

pub(super) fn place(latitude: f64, longitude: f64) -> Content {
    Content::Location(v1::Location { latitude, longitude, ..Default::default() })
}

pub(super) fn template(name: &str) -> Content {
    Content::Template(v1::Template { name: name.to_owned(), parameters: Vec::new() })
}

pub(super) fn ttl(seconds: i64, nanos: i32) -> v1::ViberServiceMsgOptions {
    v1::ViberServiceMsgOptions { ttl: span(seconds, nanos), ..Default::default() }
}

pub(super) fn button(url: &str, text: &str) -> v1::ViberServiceMsgOptions {
    let action = Some(v1::ViberAction { url: url.to_owned(), text: text.to_owned() });
    v1::ViberServiceMsgOptions { action, ..Default::default() }
}

pub(super) fn locale(spec: &mut WorkflowSpec, locale: &str) {
    let locale = locale.to_owned();
    message(spec, 1).whatsapp =
        Some(v1::WhatsAppOptions { locale, ..v1::WhatsAppOptions::default() });
}

pub(super) fn span(seconds: i64, nanos: i32) -> Option<Duration> {
    Some(Duration { seconds, nanos })
}

pub(super) fn ahead(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: NOW_S + seconds, nanos: 0 })
}

/// So many steps on Messenger, each with this expiry, before the last.
pub(super) fn repeat(spec: &mut WorkflowSpec, times: usize, expiry: Option<Duration>) {
    rule(spec).expiry_time = expiry;
    let (first, last) = (spec.steps[0].clone(), spec.steps[1].clone());
    spec.steps = vec![first; times];
    spec.steps.push(last);
}
