//! Checks a message against declared capabilities.

use std::fmt;

use crate::{
    AddressForm, Capabilities, Content, Endpoint, Limits, Message, UrlRules, check_url,
    has_control, is_blank, is_printable,
};

/// What is said of a text that holds a NUL, an escape or the like.
const CONTROL: &str = "must hold no control characters but line breaks and tabs";

/// One thing that is wrong with a message, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub field: Field,
    /// What would be right. No personal data.
    pub problem: String,
}

/// A place in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The sender.
    From,
    /// The recipient.
    To,
    /// The content as a whole: its kind.
    Content,
    /// A place within the content, as a path: `text`, `image.url`, `template.name`.
    Within(&'static str),
    /// A parameter of a template, by its index.
    Parameter(usize),
    /// A place in the options, as a path: `ttl_s`, `action.url`; empty for the whole document.
    Option(&'static str),
}

impl Violation {
    /// Says that `field` is wrong, and what would be right.
    pub fn new(field: Field, problem: impl Into<String>) -> Self {
        Violation { field, problem: problem.into() }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::From => f.write_str("sender"),
            Field::To => f.write_str("recipient"),
            Field::Content => f.write_str("message"),
            Field::Within(path) => write!(f, "message.{path}"),
            Field::Option("") => f.write_str("message.options"),
            Field::Option(path) => write!(f, "message.options.{path}"),
            Field::Parameter(index) => write!(f, "message.template.parameters[{index}]"),
        }
    }
}

/// Everything in `message` that `capabilities` do not allow.
pub fn check(capabilities: &Capabilities, message: &Message) -> Vec<Violation> {
    let mut found = Vec::new();
    address(Field::From, &message.from, &capabilities.from, &mut found);
    address(Field::To, &message.to, &capabilities.to, &mut found);
    content(capabilities, &message.content, &mut found);
    found.extend(capabilities.options.problems(&message.options));
    found
}

fn address(field: Field, endpoint: &Endpoint, forms: &[AddressForm], found: &mut Vec<Violation>) {
    if !forms.iter().any(|form| form.admits(endpoint)) {
        let wanted: Vec<_> = forms.iter().map(|form| form.describe()).collect();
        found.push(Violation::new(field, format!("must be {}", wanted.join(" or "))));
    }
}

fn content(capabilities: &Capabilities, content: &Content, found: &mut Vec<Violation>) {
    let kind = content.kind();
    if !capabilities.sends(kind) {
        let kinds: Vec<_> = capabilities.content.iter().map(|kind| kind.as_str()).collect();
        found.push(Violation::new(
            Field::Content,
            format!("this channel cannot send {kind}; it sends {}", kinds.join(", ")),
        ));
        return;
    }
    let limits = capabilities.limits;
    match content {
        Content::Text(text) => {
            length(
                Field::Within("text"),
                text.chars().count(),
                limits.text_chars,
                "characters",
                found,
            );
            readable(Field::Within("text"), text, found);
        }
        Content::Image(media)
        | Content::Audio(media)
        | Content::Video(media)
        | Content::File(media) => {
            let (url, caption) = match content {
                Content::Image(_) => ("image.url", "image.caption"),
                Content::Audio(_) => ("audio.url", "audio.caption"),
                Content::Video(_) => ("video.url", "video.caption"),
                _ => ("file.url", "file.caption"),
            };
            length(Field::Within(url), media.url.len(), limits.url_bytes, "bytes", found);
            if let Err(wrong) = check_url(&media.url, UrlRules::PUBLIC) {
                found.push(Violation::new(Field::Within(url), wrong.to_string()));
            }
            if let Some(text) = &media.caption {
                if capabilities.captions.contains(&kind) {
                    length(
                        Field::Within(caption),
                        text.chars().count(),
                        limits.caption_chars,
                        "characters",
                        found,
                    );
                    readable(Field::Within(caption), text, found);
                } else {
                    found.push(Violation::new(
                        Field::Within(caption),
                        format!("this channel shows no caption with {kind}; leave it out"),
                    ));
                }
            }
        }
        Content::Location { latitude, longitude, name, address } => {
            for (field, text) in [("location.name", name), ("location.address", address)] {
                if let Some(text) = text {
                    readable(Field::Within(field), text, found);
                }
            }
            degrees(Field::Within("location.latitude"), latitude, 90.0, found);
            degrees(Field::Within("location.longitude"), longitude, 180.0, found);
        }
        Content::Template { name, parameters } => {
            let field = Field::Within("template.name");
            length(field, name.chars().count(), 512, "characters", found);
            if !is_printable(name) {
                let wanted = "must hold printable characters only, and no blank at its ends";
                found.push(Violation::new(field, wanted));
            }
            for (index, text) in parameters.iter().enumerate() {
                if has_control(text) {
                    found.push(Violation::new(Field::Parameter(index), CONTROL));
                }
            }
        }
        Content::Code { code, text } => code_of(code, text.as_deref(), limits, found),
        // Its form is the provider's; that it is a JSON object is seen to where it is parsed.
        Content::Custom(_) => {}
    }
}

fn code_of(code: &str, text: Option<&str>, limits: Limits, found: &mut Vec<Violation>) {
    let is_code = (4..=15).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_code {
        let wanted = "must have 4 to 15 characters, each an ASCII letter or digit";
        found.push(Violation::new(Field::Within("code.code"), wanted));
    }
    let Some(text) = text else { return };
    let field = Field::Within("code.text");
    if text.matches(Content::CODE_BLANK).count() != 1 {
        let wanted = format!("must hold {} once, where the code stands", Content::CODE_BLANK);
        found.push(Violation::new(field, wanted));
    }
    let filled = (text.chars().count() + code.len()).saturating_sub(Content::CODE_BLANK.len());
    length(field, filled, limits.text_chars, "characters with the code in it", found);
    readable(field, text, found);
}

fn length(field: Field, actual: usize, most: u32, unit: &str, found: &mut Vec<Violation>) {
    if actual == 0 || actual > most as usize {
        found
            .push(Violation::new(field, format!("must have 1 to {most} {unit}, and has {actual}")));
    }
}

/// Notes a text that a person could not read: a blank one, or one that breaks what shows it.
fn readable(field: Field, text: &str, found: &mut Vec<Violation>) {
    // An empty one has the wrong length already.
    if !text.is_empty() && is_blank(text) {
        found.push(Violation::new(field, "must hold something to read, and is blank"));
    }
    if has_control(text) {
        found.push(Violation::new(field, CONTROL));
    }
}

fn degrees(field: Field, text: &str, most: f64, found: &mut Vec<Violation>) {
    let fits = text.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= most);
    if !fits {
        found.push(Violation::new(field, format!("must be a number from -{most} to {most}")));
    }
}
