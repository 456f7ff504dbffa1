//! A running adapter, as the suite looks at it: an account that fits its form, and samples of what it declares.

use std::{collections::BTreeMap, sync::Arc};

use dispatch_contract::{
    Account, AddressForm, ChannelAdapter, Content, ContentKind, Endpoint, Media, Message,
    OptionRule, Options, Provider, Secret, SettingRule,
};
use dispatch_kit::conformance::{ConformanceSubject, RefusalSample, StubAnswer};
use serde_json::{Map, Value};

use super::GivenAccount;
use crate::{RemoteProvider, pb};

/// Stands for the played provider in a setting that is given.
const PROVIDER: &str = "{provider}";

/// A running adapter, as the suite's own parts look at it.
pub(super) struct LiveSubject<'a> {
    pub(super) provider: &'a RemoteProvider,
    pub(super) adapter: Arc<dyn ChannelAdapter>,
    pub(super) given: &'a GivenAccount,
}

impl ConformanceSubject for LiveSubject<'_> {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.adapter
    }

    fn provider(&self) -> &dyn Provider {
        self.provider
    }

    fn account(&self, address: &str) -> Account {
        let (mut settings, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for setting in self.provider.settings().0 {
            let value = match (setting.rule, setting.default) {
                (SettingRule::Url, _) => address.to_owned(),
                (_, Some(default)) => default.to_owned(),
                (SettingRule::OneOf(values), None) => {
                    values.first().copied().unwrap_or("x").to_owned()
                }
                (SettingRule::AtLeast(least), None) => least.to_string(),
                (SettingRule::Text | SettingRule::Custom { .. }, None) => {
                    format!("conformance-{}", setting.name)
                }
            };
            match setting.is_secret {
                true => drop(secrets.insert(setting.name.to_owned(), Secret::new(value))),
                false => drop(settings.insert(setting.name.to_owned(), value)),
            }
        }
        let is_url = |name: &str| {
            self.provider.settings().get(name).is_some_and(|it| matches!(it.rule, SettingRule::Url))
        };
        for (name, value) in &self.given.settings {
            // Where messages go to is never somebody real.
            if !is_url(name) {
                settings.insert(name.clone(), value.replace(PROVIDER, address));
            }
        }
        secrets.extend(self.given.secrets.clone());
        Account { name: "conformance".to_owned(), revision: 1, settings, secrets }
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        let can = self.adapter.capabilities();
        Some(Message {
            channel: self.adapter.channel().clone(),
            from: self.address(&can.from, |it| it.sender_forms.first())?,
            to: self.address(&can.to, |it| it.recipient_forms.first())?,
            content: content(kind, can.captions.contains(&kind)),
            options: self.options(),
        })
    }

    fn accepted(&self, _provider_id: &str) -> StubAnswer {
        StubAnswer::new(500, "")
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        Vec::new()
    }
}

impl LiveSubject<'_> {
    fn described(&self) -> Option<&pb::Channel> {
        let told = self.provider.told()?;
        told.channels.iter().find(|it| it.name == self.adapter.channel().as_str())
    }

    /// An address of the first form.
    fn address(
        &self,
        forms: &[AddressForm],
        first: fn(&pb::Channel) -> Option<&pb::AddressForm>,
    ) -> Option<Endpoint> {
        let (id, number) = (
            |text: &str| Endpoint::Id(text.to_owned()),
            |text: &str| Endpoint::Number(text.to_owned()),
        );
        Some(match forms.first()? {
            AddressForm::Id => id("1234567890"),
            AddressForm::E164 => number("447700900001"),
            AddressForm::ShortCode => number("12345"),
            AddressForm::Alphanumeric => number("Dispatch"),
            AddressForm::Email => id("ada@example.com"),
            AddressForm::Pattern(_) => match &first(self.described()?)?.form {
                Some(pb::address_form::Form::Pattern(pattern)) => {
                    let fill = pattern.allowed_chars.chars().next().unwrap_or('1');
                    let length = pattern.min_chars.max(1) as usize;
                    let more = length.saturating_sub(pattern.prefix.chars().count());
                    let text = format!("{}{}", pattern.prefix, String::from(fill).repeat(more));
                    if pattern.number { number(&text) } else { id(&text) }
                }
                Some(pb::address_form::Form::Common(_)) | None => return None,
            },
        })
    }

    /// The options that must be there.
    fn options(&self) -> Options {
        let form = self.adapter.capabilities().options.0;
        let required = form.iter().filter(|it| it.is_required && !it.path.contains('.'));
        let value = |rule: &OptionRule| match rule {
            OptionRule::Text(_) => Value::from("x"),
            OptionRule::OneOf(values) => Value::from(values.first().copied().unwrap_or_default()),
            OptionRule::Seconds(least, _) => Value::from(*least),
            OptionRule::Url(_) => Value::from("https://example.com/"),
            OptionRule::Object => Value::Object(Map::new()),
            OptionRule::Custom { admits, .. } if admits(&Value::from(true)) => Value::from(true),
            OptionRule::Custom { .. } => Value::from(1),
        };
        Options::document(required.map(|it| (it.path.to_owned(), value(&it.rule))).collect())
    }
}

fn content(kind: ContentKind, has_caption: bool) -> Content {
    let caption = has_caption.then(|| "Your table".to_owned());
    let media = |file: &str| Media { url: format!("https://example.com/{file}"), caption };
    match kind {
        ContentKind::Text => Content::Text("Your table is ready.".to_owned()),
        ContentKind::Image => Content::Image(media("a.png")),
        ContentKind::Audio => Content::Audio(media("a.mp3")),
        ContentKind::Video => Content::Video(media("a.mp4")),
        ContentKind::File => Content::File(media("a.pdf")),
        ContentKind::Location => Content::Location {
            latitude: "51.5".to_owned(),
            longitude: "-0.1".to_owned(),
            name: None,
            address: None,
        },
        ContentKind::Template => {
            Content::Template { name: "table".to_owned(), parameters: vec!["Ada".to_owned()] }
        }
        ContentKind::Code => Content::Code { code: "123456".to_owned(), text: None },
        ContentKind::Custom => Content::Custom("{\"a\":1}".to_owned()),
    }
}
