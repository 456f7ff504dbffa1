//! What an adapter is asked, in the protocol's words.

use std::time::Duration;

use dispatch_contract::{
    Account, Content, Endpoint, Media, Message, Options, SendContext, UnixMillis, WebhookRequest,
};
use prost_types::{Struct, Timestamp, Value, value::Kind};
use serde_json::{Map, Value as Json};

use crate::pb::{self, content, endpoint};

pub(crate) fn send(context: &SendContext<'_>, message: &Message) -> pb::SendRequest {
    pb::SendRequest {
        attempt_id: context.attempt.to_string(),
        account: Some(account(context.account)),
        channel: message.channel.to_string(),
        sender: Some(endpoint(&message.from)),
        recipient: Some(endpoint(&message.to)),
        content: Some(content(&message.content)),
        options: options(&message.options),
        callback_url: context.callback_url.unwrap_or_default().to_owned(),
        useful_for: context.useful_for.and_then(|time| time.try_into().ok()),
        time: Some(time(context.now)),
    }
}

pub(crate) fn recall(
    context: &SendContext<'_>,
    channel: &str,
    provider_id: &str,
) -> pb::RecallRequest {
    pb::RecallRequest {
        attempt_id: context.attempt.to_string(),
        account: Some(account(context.account)),
        channel: channel.to_owned(),
        provider_message_id: provider_id.to_owned(),
        time: Some(time(context.now)),
    }
}

pub(crate) fn webhook(
    request: &WebhookRequest<'_>,
    of: &Account,
    now: UnixMillis,
) -> pb::ReadWebhookRequest {
    let header =
        |(name, value): &(String, Vec<u8>)| pb::Header { name: name.clone(), value: value.clone() };
    pb::ReadWebhookRequest {
        account: Some(account(of)),
        method: request.method.to_owned(),
        url: request.url.to_owned(),
        headers: request.headers.iter().map(header).collect(),
        body: request.body.to_vec(),
        time: Some(time(now)),
    }
}

pub(crate) fn account(account: &Account) -> pb::Account {
    let secret = |name: &String| Some((name.clone(), account.secret(name)?.to_owned()));
    pb::Account {
        name: account.name.clone(),
        revision: account.revision,
        settings: account.settings.clone(),
        secrets: account.secrets.keys().filter_map(secret).collect(),
    }
}

fn endpoint(endpoint: &Endpoint) -> pb::Endpoint {
    let endpoint = match endpoint {
        Endpoint::Id(id) => endpoint::Endpoint::Id(id.clone()),
        Endpoint::Number(number) => endpoint::Endpoint::Number(number.clone()),
    };
    pb::Endpoint { endpoint: Some(endpoint) }
}

fn content(said: &Content) -> pb::Content {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let media = |media: &Media| pb::Media { url: media.url.clone(), caption: text(&media.caption) };
    let content = match said {
        Content::Text(text) => content::Content::Text(text.clone()),
        Content::Image(it) => content::Content::Image(media(it)),
        Content::Audio(it) => content::Content::Audio(media(it)),
        Content::Video(it) => content::Content::Video(media(it)),
        Content::File(it) => content::Content::File(media(it)),
        Content::Location { latitude, longitude, name, address } => {
            content::Content::Location(pb::Location {
                latitude: latitude.clone(),
                longitude: longitude.clone(),
                name: text(name),
                address: text(address),
            })
        }
        Content::Template { name, parameters } => content::Content::Template(pb::Template {
            name: name.clone(),
            parameters: parameters.clone(),
        }),
        Content::Code { code, .. } => {
            let spoken = said.spoken().unwrap_or_default().into_owned();
            content::Content::Code(pb::Code { code: code.clone(), spoken })
        }
        Content::Custom(json) => content::Content::CustomJson(json.clone()),
    };
    pb::Content { content: Some(content) }
}

fn options(options: &Options) -> Option<Struct> {
    (!options.is_none()).then(|| object(options.to_document()))
}

fn object(document: Map<String, Json>) -> Struct {
    Struct { fields: document.into_iter().map(|(key, it)| (key, value(it))).collect() }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(truth),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.into_iter().map(value).collect(),
        }),
        Json::Object(document) => Kind::StructValue(object(document)),
    };
    Value { kind: Some(kind) }
}

fn time(at: UnixMillis) -> Timestamp {
    let since = Duration::from_millis(at.0);
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}
