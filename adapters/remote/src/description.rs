//! What an adapter told of itself, as the contract has it.
//!
//! Forms and names are static there. What is told is therefore kept for good; that is done once for an adapter,
//! when it is described for the first time in the life of a service.

use std::time::Duration;

use dispatch_contract::{
    AddressForm, AddressPattern, Capabilities, Channel, ContentKind, Correlation, Endpoint, Limits,
    OptionField, OptionRule, OptionsForm, Setting, SettingRule, SettingsForm, Status, is_printable,
};

use crate::pb::{self, address_form, option, setting};

/// The longest URL where nothing is said.
const URL_BYTES: u32 = 2_000;
/// The longest address of a pattern, in bytes: four of them a character.
const PATTERN_BYTES: usize = 4 * 254;

/// What an adapter told of itself.
pub(crate) struct AdapterDescription {
    /// As it came.
    pub(crate) told: pb::DescribeResponse,
    pub(crate) settings: SettingsForm,
    pub(crate) channels: Vec<ChannelDescription>,
}

/// One channel of it.
pub(crate) struct ChannelDescription {
    pub(crate) channel: Channel,
    pub(crate) capabilities: Capabilities,
    senders: Vec<pb::AddressPattern>,
    recipients: Vec<pb::AddressPattern>,
}

impl AdapterDescription {
    /// Of what was found right.
    pub(crate) fn of(told: &pb::DescribeResponse) -> AdapterDescription {
        let settings: Vec<_> = told.settings.iter().map(setting).collect();
        AdapterDescription {
            told: told.clone(),
            settings: SettingsForm(settings.leak()),
            channels: told.channels.iter().filter_map(ChannelDescription::of).collect(),
        }
    }

    pub(crate) fn channel(&self, channel: &Channel) -> Option<&ChannelDescription> {
        self.channels.iter().find(|described| described.channel == *channel)
    }
}

impl ChannelDescription {
    fn of(told: &pb::Channel) -> Option<ChannelDescription> {
        let channel = told.name.parse().ok()?;
        let capabilities = Capabilities {
            condition_statuses: told.condition_statuses().filter_map(status).collect(),
            content: told.content_kinds().filter_map(content_kind).collect(),
            captions: told.caption_kinds().filter_map(content_kind).collect(),
            limits: Limits {
                text_chars: told.max_text_chars,
                caption_chars: told.max_caption_chars,
                url_bytes: if told.max_url_bytes == 0 { URL_BYTES } else { told.max_url_bytes },
            },
            to: told.recipient_forms.iter().filter_map(form).collect(),
            from: told.sender_forms.iter().filter_map(form).collect(),
            idempotent_for: told.idempotent_for.and_then(|time| Duration::try_from(time).ok()),
            correlation: match told.correlates_by_attempt_id {
                true => Correlation::AttemptId,
                false => Correlation::ProviderId,
            },
            options: OptionsForm(
                told.options.iter().filter_map(option_field).collect::<Vec<_>>().leak(),
            ),
            recall: told.recalls,
            parts: told.sends_in_parts,
            watermarks: told.tells_by_watermarks,
            ids_name_recipients: told.ids_name_recipients,
        };
        let patterns = |forms: &[pb::AddressForm]| -> Vec<_> {
            let pattern = |form: &pb::AddressForm| match &form.form {
                Some(address_form::Form::Pattern(pattern)) => Some(pattern.clone()),
                Some(address_form::Form::Common(_)) | None => None,
            };
            forms.iter().filter_map(pattern).collect()
        };
        let (senders, recipients) = (patterns(&told.sender_forms), patterns(&told.recipient_forms));
        Some(ChannelDescription { channel, capabilities, senders, recipients })
    }

    /// What a sender must be, where it has none of the forms.
    pub(crate) fn wrong_sender(&self, sender: &Endpoint) -> Option<String> {
        wrong(sender, &self.capabilities.from, &self.senders)
    }

    /// What a recipient must be, where it has none of the forms.
    pub(crate) fn wrong_recipient(&self, recipient: &Endpoint) -> Option<String> {
        wrong(recipient, &self.capabilities.to, &self.recipients)
    }
}

/// A form of a channel's own admits here what its kind of address is; what it looks like is told by the pattern.
fn wrong(
    endpoint: &Endpoint,
    forms: &[AddressForm],
    patterns: &[pb::AddressPattern],
) -> Option<String> {
    let is_common = |form: &&AddressForm| !matches!(form, AddressForm::Pattern(_));
    let fits = forms.iter().filter(is_common).any(|form| form.admits(endpoint))
        || patterns.iter().any(|pattern| has_pattern(endpoint, pattern));
    let wanted = || forms.iter().map(|form| form.describe()).collect::<Vec<_>>().join(" or ");
    (!fits).then(|| format!("must be {}", wanted()))
}

fn has_pattern(endpoint: &Endpoint, pattern: &pb::AddressPattern) -> bool {
    let is_number = matches!(endpoint, Endpoint::Number(_));
    let Some(rest) = endpoint.value().strip_prefix(&pattern.prefix) else { return false };
    let chars = endpoint.value().chars().count();
    let is_allowed = |c| pattern.allowed_chars.is_empty() || pattern.allowed_chars.contains(c);
    is_number == pattern.number
        && (pattern.min_chars as usize..=pattern.max_chars as usize).contains(&chars)
        && rest.chars().all(is_allowed)
        && is_printable(endpoint.value())
}

/// A text that is there as long as the program is.
fn kept(text: &str) -> &'static str {
    text.to_owned().leak()
}

fn kept_choice(choice: &pb::Choice) -> &'static [&'static str] {
    choice.values.iter().map(|value| kept(value)).collect::<Vec<_>>().leak()
}

fn setting(told: &pb::Setting) -> Setting {
    Setting {
        name: kept(&told.name),
        sentence: kept(&told.description),
        is_secret: told.secret,
        is_required: told.required,
        default: (!told.default_value.is_empty()).then(|| kept(&told.default_value)),
        rule: match &told.rule {
            Some(setting::Rule::OneOf(choice)) => SettingRule::OneOf(kept_choice(choice)),
            Some(setting::Rule::AtLeast(least)) => SettingRule::AtLeast(*least),
            Some(setting::Rule::Url(_)) => SettingRule::Url,
            None => SettingRule::Text,
        },
    }
}

fn option_field(told: &pb::Option) -> Option<OptionField> {
    let rule = match told.rule.as_ref()? {
        option::Rule::TextChars(most) => OptionRule::Text(*most),
        option::Rule::OneOf(choice) => OptionRule::OneOf(kept_choice(choice)),
        option::Rule::Seconds(range) => OptionRule::Seconds(range.least, range.most),
        option::Rule::UrlBytes(most) => OptionRule::Url(*most),
        option::Rule::Object(_) => OptionRule::Object,
        option::Rule::Boolean(_) => {
            OptionRule::Custom { wanted: "true or false", admits: |value| value.is_boolean() }
        }
        option::Rule::Integer(_) => {
            OptionRule::Custom { wanted: "a whole number", admits: |value| value.is_i64() }
        }
    };
    let is_required = told.required;
    Some(OptionField {
        path: kept(&told.path),
        sentence: kept(&told.description),
        rule,
        is_required,
    })
}

fn form(told: &pb::AddressForm) -> Option<AddressForm> {
    Some(match told.form.as_ref()? {
        address_form::Form::Common(value) => match pb::CommonForm::try_from(*value).ok()? {
            pb::CommonForm::Unspecified => return None,
            pb::CommonForm::Id => AddressForm::Id,
            pb::CommonForm::E164 => AddressForm::E164,
            pb::CommonForm::ShortCode => AddressForm::ShortCode,
            pb::CommonForm::Alphanumeric => AddressForm::Alphanumeric,
            pb::CommonForm::Email => AddressForm::Email,
        },
        address_form::Form::Pattern(pattern) => {
            let admits: fn(&Endpoint) -> bool = match pattern.number {
                true => |it| matches!(it, Endpoint::Number(text) if is_bounded_text(text)),
                false => |it| matches!(it, Endpoint::Id(text) if is_bounded_text(text)),
            };
            let (name, wanted) = (kept(&pattern.name), kept(&pattern.wanted));
            AddressForm::Pattern(Box::leak(Box::new(AddressPattern { name, wanted, admits })))
        }
    })
}

fn is_bounded_text(text: &str) -> bool {
    (1..=PATTERN_BYTES).contains(&text.len()) && is_printable(text)
}

/// A status by its name here. `None`: not said, or not known.
pub(crate) fn status(told: pb::Status) -> Option<Status> {
    match told {
        pb::Status::Unspecified => None,
        pb::Status::Submitted => Some(Status::Submitted),
        pb::Status::Delivered => Some(Status::Delivered),
        pb::Status::Read => Some(Status::Read),
        pb::Status::Replied => Some(Status::Replied),
    }
}

fn content_kind(told: pb::ContentKind) -> Option<ContentKind> {
    match told {
        pb::ContentKind::Unspecified => None,
        pb::ContentKind::Text => Some(ContentKind::Text),
        pb::ContentKind::Image => Some(ContentKind::Image),
        pb::ContentKind::Audio => Some(ContentKind::Audio),
        pb::ContentKind::Video => Some(ContentKind::Video),
        pb::ContentKind::File => Some(ContentKind::File),
        pb::ContentKind::Location => Some(ContentKind::Location),
        pb::ContentKind::Template => Some(ContentKind::Template),
        pb::ContentKind::Code => Some(ContentKind::Code),
        pb::ContentKind::Custom => Some(ContentKind::Custom),
    }
}
