//! What is wrong with a description: everything that comes from an adapter is held against this before any of it
//! is used.

use std::collections::BTreeSet;

use dispatch_contract::Channel;

use crate::{
    MINOR,
    pb::{self, address_form, option, setting},
};

const MOST_SETTINGS: usize = 64;
const MOST_CHANNELS: usize = 32;
const MOST_FORMS: usize = 16;
const MOST_OPTIONS: usize = 64;
const MOST_CHOICES: usize = 64;
const MOST_PATTERN_CHARS: u32 = 254;
const SENTENCE_CHARS: usize = 300;
const WANTED_CHARS: usize = 200;
const CHOICE_CHARS: usize = 100;
const PATH_CHARS: usize = 100;

/// The first thing in a description that cannot be used, named, and what would be right.
///
/// # Errors
/// With that.
pub(crate) fn check(told: &pb::DescribeResponse, name: &str) -> Result<(), String> {
    if told.provider != name {
        let other = shown(&told.provider);
        return Err(format!("it says that it is provider {other}, and is configured as {name}"));
    }
    let minor = if told.minor > MINOR {
        format!(" (it speaks minor {} of the protocol, and this service {MINOR})", told.minor)
    } else {
        String::new()
    };
    described(told).map_err(|problem| format!("{problem}{minor}"))
}

fn described(told: &pb::DescribeResponse) -> Result<(), String> {
    at_most("settings", told.settings.len(), MOST_SETTINGS)?;
    let mut seen = BTreeSet::new();
    for setting in &told.settings {
        let named = format!("setting {}", shown(&setting.name));
        check_setting(setting).map_err(|problem| format!("{named}: {problem}"))?;
        once(&mut seen, &setting.name, "setting")?;
    }
    if told.channels.is_empty() {
        return Err("it declares no channel".to_owned());
    }
    at_most("channels", told.channels.len(), MOST_CHANNELS)?;
    let mut seen = BTreeSet::new();
    for channel in &told.channels {
        let named = format!("channel {}", shown(&channel.name));
        check_channel(channel).map_err(|problem| format!("{named}: {problem}"))?;
        once(&mut seen, &channel.name, "channel")?;
    }
    Ok(())
}

fn check_setting(setting: &pb::Setting) -> Result<(), String> {
    let is_name = (1..=64).contains(&setting.name.len()) && setting.name.bytes().all(is_of_a_name);
    if !is_name {
        return Err("a setting's name has 1 to 64 characters of a-z, 0-9 and _".to_owned());
    }
    sentence("description", &setting.description, SENTENCE_CHARS)?;
    at_most("characters in default_value", setting.default_value.chars().count(), SENTENCE_CHARS)?;
    match &setting.rule {
        Some(setting::Rule::OneOf(choice)) => choices(choice),
        Some(setting::Rule::AtLeast(_) | setting::Rule::Url(true)) | None => Ok(()),
        Some(setting::Rule::Url(false)) => Err("rule url must be true".to_owned()),
    }
}

fn check_channel(channel: &pb::Channel) -> Result<(), String> {
    channel.name.parse::<Channel>().map_err(|error| error.to_string())?;
    let known = |field: &str, value: i32, is_known: bool| match is_known {
        true => Ok(()),
        false => Err(format!("{field} {value} is not known here")),
    };
    for &value in &channel.condition_statuses {
        let status = pb::Status::try_from(value);
        let is_known = status.is_ok_and(|it| it != pb::Status::Unspecified);
        known("condition status", value, is_known)?;
    }
    if !channel.condition_statuses.is_sorted_by(|lower, higher| lower < higher) {
        return Err("condition_statuses must rise, each status once".to_owned());
    }
    let mut kinds = BTreeSet::new();
    for &value in channel.content_kinds.iter().chain(&channel.caption_kinds) {
        let kind = pb::ContentKind::try_from(value);
        let is_known = kind.is_ok_and(|it| it != pb::ContentKind::Unspecified);
        known("content kind", value, is_known)?;
    }
    if channel.content_kinds.is_empty() {
        return Err("it declares no kind of content".to_owned());
    }
    if !channel.content_kinds.iter().all(|kind| kinds.insert(*kind)) {
        return Err("a kind of content is declared twice".to_owned());
    }
    if !channel.caption_kinds.iter().all(|kind| kinds.contains(kind)) {
        return Err("captions are declared for a kind of content that is not".to_owned());
    }
    let says_text = [pb::ContentKind::Text, pb::ContentKind::Code]
        .iter()
        .any(|kind| kinds.contains(&i32::from(*kind)));
    if says_text && channel.max_text_chars == 0 {
        return Err("max_text_chars must be given: it sends texts".to_owned());
    }
    if !channel.caption_kinds.is_empty() && channel.max_caption_chars == 0 {
        return Err("max_caption_chars must be given: it shows captions".to_owned());
    }
    forms("sender_forms", &channel.sender_forms)?;
    forms("recipient_forms", &channel.recipient_forms)?;
    if let Some(time) = &channel.idempotent_for
        && (time.seconds < 0 || time.nanos < 0)
    {
        return Err("idempotent_for must not be negative".to_owned());
    }
    at_most("options", channel.options.len(), MOST_OPTIONS)?;
    let mut seen = BTreeSet::new();
    for option in &channel.options {
        let named = format!("option {}", shown(&option.path));
        check_option(option, &seen).map_err(|problem| format!("{named}: {problem}"))?;
        once(&mut seen, &option.path, "option")?;
    }
    Ok(())
}

fn forms(field: &str, forms: &[pb::AddressForm]) -> Result<(), String> {
    if forms.is_empty() {
        return Err(format!("{field} must have one at least"));
    }
    at_most(field, forms.len(), MOST_FORMS)?;
    for form in forms {
        match &form.form {
            Some(address_form::Form::Common(value)) => match pb::CommonForm::try_from(*value) {
                Ok(pb::CommonForm::Unspecified) | Err(_) => {
                    return Err(format!("{field}: form {value} is not known here"));
                }
                Ok(_) => {}
            },
            Some(address_form::Form::Pattern(pattern)) => {
                let named = format!("{field}: pattern {}", shown(&pattern.name));
                check_pattern(pattern).map_err(|problem| format!("{named}: {problem}"))?;
            }
            None => return Err(format!("{field}: a form of a kind that is not known here")),
        }
    }
    Ok(())
}

fn check_pattern(pattern: &pb::AddressPattern) -> Result<(), String> {
    const TAKEN: [&str; 5] = ["id", "e164", "short_code", "alphanumeric", "email"];
    let name = &pattern.name;
    let is_name = (1..=32).contains(&name.len()) && name.bytes().all(is_of_a_name);
    if !is_name || TAKEN.contains(&name.as_str()) {
        return Err(
            "its name has 1 to 32 characters of a-z, 0-9 and _, and is no common form's".to_owned()
        );
    }
    sentence("wanted", &pattern.wanted, WANTED_CHARS)?;
    at_most("characters in allowed_chars", pattern.allowed_chars.chars().count(), 256)?;
    let (least, most) = (pattern.min_chars, pattern.max_chars);
    if !(1..=MOST_PATTERN_CHARS).contains(&most) || least > most {
        return Err(format!(
            "max_chars must be 1 to {MOST_PATTERN_CHARS}, and min_chars no more than that"
        ));
    }
    Ok(())
}

fn check_option(option: &pb::Option, before: &BTreeSet<String>) -> Result<(), String> {
    let is_path = (1..=PATH_CHARS).contains(&option.path.len())
        && option.path.split('.').all(|part| !part.is_empty() && part.bytes().all(is_of_a_name));
    if !is_path {
        return Err(format!(
            "a path has 1 to {PATH_CHARS} characters of a-z, 0-9 and _, with a dot between an object and \
             its field"
        ));
    }
    if let Some((object, _)) = option.path.rsplit_once('.')
        && !before.contains(object)
    {
        return Err(format!("the object {object} must be declared before it"));
    }
    sentence("description", &option.description, SENTENCE_CHARS)?;
    match &option.rule {
        None => Err("its rule is of a kind that is not known here".to_owned()),
        Some(option::Rule::OneOf(choice)) => choices(choice),
        Some(option::Rule::Seconds(range)) if range.least > range.most => {
            Err("seconds: the least is more than the most".to_owned())
        }
        Some(
            option::Rule::Object(false)
            | option::Rule::Boolean(false)
            | option::Rule::Integer(false),
        ) => Err("its rule must be true".to_owned()),
        Some(_) => Ok(()),
    }
}

fn choices(choice: &pb::Choice) -> Result<(), String> {
    if choice.values.is_empty() {
        return Err("one_of must have one value at least".to_owned());
    }
    at_most("values in one_of", choice.values.len(), MOST_CHOICES)?;
    choice.values.iter().try_for_each(|value| sentence("a value of one_of", value, CHOICE_CHARS))
}

fn sentence(field: &str, text: &str, most: usize) -> Result<(), String> {
    let chars = text.chars().count();
    match (1..=most).contains(&chars) && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!("{field} must have 1 to {most} characters, none a control character")),
    }
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count <= most {
        Ok(())
    } else {
        Err(format!("{what} must be at most {most}, and are {count}"))
    }
}

fn once(seen: &mut BTreeSet<String>, name: &str, what: &str) -> Result<(), String> {
    match seen.insert(name.to_owned()) {
        true => Ok(()),
        false => Err(format!("{what} {name} is declared twice")),
    }
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

/// As much of a foreign name as tells which.
pub(crate) fn shown(name: &str) -> String {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    if shown.is_empty() { "without a name".to_owned() } else { shown }
}
