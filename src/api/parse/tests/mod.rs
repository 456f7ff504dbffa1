//! The edge, tested against a table of fake channels: what they declare is what the real ones do,
//! so that these tests say what the edge does and not what a provider happens to support.

mod files;
mod good;
mod personal;
mod requests;
mod wrong;

use std::sync::Arc;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter, Content,
    ContentKind, Correlation, Endpoint, ErrorKind, Fault, Field, Limits, Message, OptionsForm,
    Retry, SendContext, Status, UnixMillis, Violation, check,
};

use super::{Rules, parse_spec, repeated};
use crate::{
    api::RequestViolation,
    contents::WorkflowRequest,
    pb::v1::{self, WorkflowSpec, address, message},
};

/// What specs ask for that nothing is wrong with: for tests of what renders it.
pub(crate) fn asked() -> [WorkflowRequest; 2] {
    [good(), good::rich()].map(|spec| parsed(&spec))
}

/// What a spec asks for that nothing is wrong with.
pub(crate) fn parsed(spec: &WorkflowSpec) -> WorkflowRequest {
    parse_spec(spec, &Fakes::new(), NOW).unwrap_or_else(|found| panic!("{found:?}"))
}

/// 2030-01-01T00:00:00Z.
pub(super) const NOW: UnixMillis = UnixMillis(1_893_456_000_000);
pub(super) const NOW_S: i64 = 1_893_456_000;
pub(super) const PAGE: &str = "107083064136738";

/// Five channels; SMS has a second, richer adapter for one sender only.
pub(super) struct Fakes(Vec<Arc<dyn ChannelAdapter>>);

struct Fake {
    name: &'static str,
    channel: Channel,
    capabilities: Capabilities,
}

impl Fakes {
    pub(super) fn new() -> Self {
        use AddressForm::{Alphanumeric, E164, Id, ShortCode};
        use ContentKind::{Audio, File, Image, Text, Video};
        let fakes = [
            (
                "fake-sms",
                Channel::SMS,
                &[Status::Delivered][..],
                &[Text][..],
                &[][..],
                1000,
                [&[E164, ShortCode, Alphanumeric][..], &[E164][..]],
            ),
            (
                "rich-sms",
                Channel::SMS,
                &[Status::Submitted, Status::Read],
                &[Text, Image],
                &[],
                2000,
                [&[E164], &[E164]],
            ),
            (
                "fake-mms",
                Channel::MMS,
                &[Status::Delivered],
                &[Image],
                &[Image],
                0,
                [&[E164, ShortCode], &[E164]],
            ),
            (
                "fake-messenger",
                Channel::MESSENGER,
                &[Status::Delivered, Status::Read],
                &[Text, Image, Audio, Video, File],
                &[],
                640,
                [&[Id], &[Id]],
            ),
            (
                "fake-whatsapp",
                Channel::WHATSAPP,
                &[Status::Delivered, Status::Read],
                &ContentKind::ALL,
                &[Image, File],
                4096,
                [&[E164], &[E164]],
            ),
            (
                "fake-viber",
                Channel::VIBER,
                &[Status::Delivered, Status::Read],
                &[Text, Image],
                &[],
                1000,
                [&[Id], &[E164]],
            ),
        ];
        let made =
            fakes.into_iter().map(|(name, channel, tells, content, captions, chars, forms)| {
                let capabilities = Capabilities {
                    condition_statuses: tells.to_vec(),
                    content: content.to_vec(),
                    captions: captions.to_vec(),
                    limits: Limits { text_chars: chars, caption_chars: 3000, url_bytes: 2000 },
                    from: forms[0].to_vec(),
                    to: forms[1].to_vec(),
                    idempotent_for: None,
                    correlation: Correlation::ProviderId,
                    recall: false,
                    parts: false,
                    watermarks: false,
                    ids_name_recipients: false,
                    options: options_of(&channel),
                };
                let fake: Arc<dyn ChannelAdapter> = Arc::new(Fake { name, channel, capabilities });
                fake
            });
        Fakes(made.collect())
    }
}

/// The real channels' options.
fn options_of(channel: &Channel) -> OptionsForm {
    let all = [
        (Channel::SMS, dispatch_sms::capabilities()),
        (Channel::MMS, dispatch_mms::capabilities()),
        (Channel::MESSENGER, dispatch_messenger::capabilities()),
        (Channel::WHATSAPP, dispatch_whatsapp::capabilities()),
        (Channel::VIBER, dispatch_viber::capabilities()),
        (Channel::RCS, dispatch_rcs::capabilities()),
    ];
    all.into_iter().find(|(of, _)| of == channel).map_or(OptionsForm::NONE, |(_, can)| can.options)
}

impl Rules for Fakes {
    fn channels(&self) -> Vec<Channel> {
        let mut channels: Vec<_> = self.0.iter().map(|fake| fake.channel().clone()).collect();
        channels.dedup();
        channels
    }

    fn serving(&self, channel: &Channel, sender: &Endpoint) -> Vec<Arc<dyn ChannelAdapter>> {
        let on_channel = self.0.iter().filter(|fake| fake.channel() == channel);
        on_channel
            .filter(|fake| match fake.name() {
                "rich-sms" => sender.value() == "447700900009",
                "fake-messenger" => sender.value() == PAGE,
                _ => true,
            })
            .cloned()
            .collect()
    }

    fn senders(&self, _: &Channel) -> Vec<String> {
        vec![PAGE.to_owned()]
    }
}

#[async_trait]
impl ChannelAdapter for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn provider(&self) -> &str {
        "fake"
    }

    fn channel(&self) -> &Channel {
        &self.channel
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// With a further rule, as real adapters have them.
    fn check(&self, message: &Message, _: UnixMillis) -> Vec<Violation> {
        let mut found = check(&self.capabilities, message);
        let options = message.options.to_document();
        if options.get("category").is_some_and(|it| it == "message_tag")
            && !options.contains_key("tag")
        {
            found.push(Violation::new(Field::Option("tag"), "message_tag needs a tag"));
        }
        found
    }

    async fn send(&self, _: &SendContext<'_>, _: &Message) -> Result<Accepted, AdapterError> {
        let kind = ErrorKind::ProviderFailure;
        Err(AdapterError::new(kind, Fault::Provider, Retry::Permanent, "only a fake"))
    }
}

/// Messenger, read within 600 s, else SMS.
pub(super) fn good() -> WorkflowSpec {
    WorkflowSpec {
        steps: vec![
            v1::Step {
                failover: Some(v1::Failover {
                    expiry_time: Some(seconds(600)),
                    condition_status: "read".to_owned(),
                }),
                ..step("messenger", id(PAGE), id("1234567890123456"), text("hello"))
            },
            step("sms", number("Dispatch"), number("447700900000"), text("hello")),
        ],
        ..WorkflowSpec::default()
    }
}

pub(super) fn step(
    channel: &str,
    from: address::Endpoint,
    to: address::Endpoint,
    content: message::Content,
) -> v1::Step {
    v1::Step {
        sender: Some(v1::Address { channel: String::new(), endpoint: Some(from) }),
        recipient: Some(v1::Address { channel: channel.to_owned(), endpoint: Some(to) }),
        message: Some(v1::Message { content: Some(content), ..v1::Message::default() }),
        failover: None,
    }
}

pub(super) fn id(id: &str) -> address::Endpoint {
    address::Endpoint::Id(id.to_owned())
}

pub(super) fn number(number: &str) -> address::Endpoint {
    address::Endpoint::Number(number.to_owned())
}

pub(super) fn text(text: &str) -> message::Content {
    message::Content::Text(text.to_owned())
}

pub(super) fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// A time so many seconds after [`NOW`].
pub(super) fn ahead(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: NOW_S + seconds, nanos: 0 }
}

/// A workflow of one step.
pub(super) fn only(step: v1::Step) -> WorkflowSpec {
    WorkflowSpec { steps: vec![step], ..WorkflowSpec::default() }
}

pub(super) fn told(violations: &[RequestViolation]) -> Vec<(String, String)> {
    violations.iter().map(|it| (it.field.to_string(), it.wanted.to_string())).collect()
}

/// The parsed content is what providers are given. When its request is repeated it is the same plan, whoever
/// could send it by then.
pub(super) fn content_of(spec: &WorkflowSpec) -> Content {
    let asked = parsed(spec);
    let request = v1::CreateWorkflowRequest { workflow: Some(spec.clone()), ..Default::default() };
    assert_eq!(repeated(&request), Some(asked.clone()));
    asked.contents.steps[0].content.clone()
}
