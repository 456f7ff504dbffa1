//! What only a message's channel knows: an open document, and the form in which its channel declares it.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Field, UrlRules, Violation, check_url, has_control, is_blank};

/// How many bytes a document of options may have, as JSON.
const MOST_BYTES: usize = 16 * 1024;

/// The options of one message: a JSON object as the caller gave it, before any default, or none.
///
/// The store and the engine carry it and look at nothing in it; the crate of the message's channel declares
/// it ([`OptionsForm`]) and reads it into a type of its own. So a channel with options of its own changes no
/// format. A name in it keeps its meaning for good: messages are kept for longer than a version of a crate.
///
/// Equal documents have equal texts, and an empty one is none. `Debug` shows no value.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options(Option<Box<str>>);

/// The options that a channel knows: every field there is, in the order in which people read them.
#[derive(Clone, Copy, Debug)]
pub struct OptionsForm(pub &'static [OptionField]);

/// One field of the form.
#[derive(Clone, Copy, Debug)]
pub struct OptionField {
    /// Where it stands in the document: `ttl_s`, or `action.url` within the object `action`.
    pub path: &'static str,
    /// What it is for: half a sentence, without its name and without a full stop.
    pub sentence: &'static str,
    /// What may stand there.
    pub rule: OptionRule,
    /// Whether it must be there, where the object that it stands in is.
    pub is_required: bool,
}

/// What may stand in an option.
#[derive(Clone, Copy, Debug)]
pub enum OptionRule {
    /// A text of at most so many characters, with something to read and no control characters.
    Text(u32),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// So many whole seconds, both ends included.
    Seconds(u32, u32),
    /// A public http or https URL of at most so many bytes.
    Url(u32),
    /// An object, of which each field is one of the form's own.
    Object,
    /// What a check of the channel's own admits.
    Custom {
        /// What must stand there, as the end of a sentence: "must be …".
        wanted: &'static str,
        /// Whether a value will do.
        admits: fn(&Value) -> bool,
    },
}

impl Options {
    /// None.
    pub const NONE: Options = Options(None);

    /// This document. Keys are written in order.
    pub fn document(document: Map<String, Value>) -> Options {
        if document.is_empty() {
            return Options::NONE;
        }
        Options(Some(Value::Object(document).to_string().into()))
    }

    /// What a channel's own type of options says: a struct that leaves out what is not given. A value that is
    /// written as anything but an object says nothing.
    pub fn of(typed: &impl Serialize) -> Options {
        match serde_json::to_value(typed) {
            Ok(Value::Object(document)) => Options::document(document),
            Ok(_) | Err(_) => Options::NONE,
        }
    }

    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The document; an empty one if there is none.
    pub fn to_document(&self) -> Map<String, Value> {
        let parsed = self.0.as_deref().and_then(|text| serde_json::from_str(text).ok());
        parsed.unwrap_or_default()
    }

    /// The document as a channel's own type, with its defaults; those alone if there is no document. `None`
    /// if it is no document of that channel's, which [`OptionsForm::problems`] tells in words.
    pub fn read<T: DeserializeOwned + Default>(&self) -> Option<T> {
        self.0.as_deref().map_or_else(|| Some(T::default()), |text| serde_json::from_str(text).ok())
    }
}

impl OptionField {
    /// An option that may be left out.
    pub const fn new(path: &'static str, sentence: &'static str, rule: OptionRule) -> OptionField {
        OptionField { path, sentence, rule, is_required: false }
    }

    /// The same, and it must be there.
    #[must_use]
    pub const fn required(self) -> OptionField {
        OptionField { is_required: true, ..self }
    }
}

impl OptionsForm {
    /// No options at all.
    pub const NONE: OptionsForm = OptionsForm(&[]);

    /// The field at that path.
    pub fn get(&self, path: &str) -> Option<&'static OptionField> {
        self.0.iter().find(|field| field.path == path)
    }

    /// Everything in a document that does not fit: each problem names the field, says what would be right and
    /// shows no value.
    pub fn problems(&self, options: &Options) -> Vec<Violation> {
        let Some(text) = options.0.as_deref() else { return Vec::new() };
        if text.len() > MOST_BYTES {
            let problem = format!("must have at most {MOST_BYTES} bytes as JSON");
            return vec![Violation::new(Field::Option(""), problem)];
        }
        let mut found = Vec::new();
        self.object("", &options.to_document(), &mut found);
        found
    }

    /// Looks at an object, of which the fields stand at `within`, with its dot.
    fn object(&self, within: &str, object: &Map<String, Value>, found: &mut Vec<Violation>) {
        for (key, value) in object {
            let Some(field) = self.get(&format!("{within}{key}")) else {
                found.push(self.unknown(within, key));
                continue;
            };
            match (field.rule, value) {
                (OptionRule::Object, Value::Object(inner)) => {
                    self.object(&format!("{}.", field.path), inner, found);
                }
                (rule, value) if rule.admits(value) => {}
                (rule, value) => {
                    found.push(Violation::new(Field::Option(field.path), rule.problem(value)));
                }
            }
        }
        for field in self.beside(within).filter(|field| field.is_required) {
            if !object.contains_key(&field.path[within.len()..]) {
                let problem = format!("must be given: {}", field.sentence);
                found.push(Violation::new(Field::Option(field.path), problem));
            }
        }
    }

    /// The fields of the object at `within`, without those of the objects in it.
    fn beside(&self, within: &str) -> impl Iterator<Item = &'static OptionField> {
        self.0.iter().filter(move |field| {
            field.path.strip_prefix(within).is_some_and(|name| !name.contains('.'))
        })
    }

    fn unknown(&self, within: &str, key: &str) -> Violation {
        let place = within.trim_end_matches('.');
        let field = Field::Option(self.get(place).map_or("", |field| field.path));
        let known: Vec<_> = self.beside(within).map(|field| &field.path[within.len()..]).collect();
        // A name is the caller's own text: as much of it as tells which.
        let key: String = key.chars().filter(|c| !c.is_control()).take(40).collect();
        Violation::new(
            field,
            match known.as_slice() {
                [] => format!("there is no option {key}, nor any other on this channel"),
                _ => format!("there is no option {key}; there are {}", known.join(", ")),
            },
        )
    }
}

/// Two forms are the same where they name the same fields.
impl PartialEq for OptionsForm {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|field| field.path).eq(other.0.iter().map(|field| field.path))
    }
}

impl Eq for OptionsForm {}

impl OptionRule {
    /// Whether this may stand there. Of an object's fields nothing is said.
    pub fn admits(&self, value: &Value) -> bool {
        let text = |fits: &dyn Fn(&str) -> bool| value.as_str().is_some_and(fits);
        match self {
            OptionRule::Text(most) => text(&|text| {
                text.chars().count() <= *most as usize && !is_blank(text) && !has_control(text)
            }),
            OptionRule::OneOf(values) => text(&|text| values.contains(&text)),
            OptionRule::Seconds(least, most) => value
                .as_u64()
                .is_some_and(|seconds| (u64::from(*least)..=u64::from(*most)).contains(&seconds)),
            OptionRule::Url(most) => text(&|text| check_url(text, Self::url(*most)).is_ok()),
            OptionRule::Object => value.is_object(),
            OptionRule::Custom { admits, .. } => admits(value),
        }
    }

    /// What is wrong with a value that it does not admit.
    fn problem(&self, value: &Value) -> String {
        match (self, value.as_str()) {
            (OptionRule::Url(most), Some(text)) => match check_url(text, Self::url(*most)) {
                Err(wrong) => wrong.to_string(),
                Ok(_) => format!("must be {self}"),
            },
            _ => format!("must be {self}"),
        }
    }

    fn url(most: u32) -> UrlRules {
        UrlRules { most_bytes: most as usize, ..UrlRules::PUBLIC }
    }
}

/// What must stand there, as the end of a sentence: "must be …".
impl fmt::Display for OptionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionRule::Text(most) => write!(
                f,
                "a text of 1 to {most} characters, with something to read and no control characters"
            ),
            OptionRule::OneOf(values) => f.write_str(&values.join(" or ")),
            OptionRule::Seconds(least, most) => write!(f, "whole seconds, {least} to {most}"),
            OptionRule::Url(most) => {
                write!(f, "a public http or https URL of at most {most} bytes, without user")
            }
            OptionRule::Object => f.write_str("an object"),
            OptionRule::Custom { wanted, .. } => f.write_str(wanted),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.to_document().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FORM: OptionsForm = OptionsForm(&[
        OptionField::new("subject", "what stands above it", OptionRule::Text(5)).required(),
        OptionField::new("ttl_s", "how long it lives", OptionRule::Seconds(30, 60)),
        OptionField::new("kind", "what it is for", OptionRule::OneOf(&["news", "bill"])),
        OptionField::new("action", "a button", OptionRule::Object),
        OptionField::new("action.url", "the page", OptionRule::Url(100)).required(),
        OptionField::new("action.text", "what stands on it", OptionRule::Text(5)),
    ]);

    fn options(document: Value) -> Options {
        let Value::Object(document) = document else { panic!("{document}") };
        Options::document(document)
    }

    #[test]
    fn a_document_that_fits_has_no_problem_and_none_has_none() {
        let action = json!({ "url": "https://example.com/", "text": "Open" });
        let whole =
            json!({ "subject": "ж".repeat(5), "ttl_s": 30, "kind": "bill", "action": action });
        for document in [whole, json!({ "subject": "s" })] {
            assert_eq!(FORM.problems(&options(document)), []);
        }
        assert_eq!(FORM.problems(&Options::NONE), []);
        assert!(options(json!({})).is_none());
    }

    #[test]
    fn a_problem_names_the_field_and_what_would_be_right_and_shows_no_value() {
        for (document, path, part) in [
            (json!({ "subject": "s3cret" }), "subject", "of 1 to 5 characters"),
            (json!({ "subject": " " }), "subject", "with something to read"),
            (json!({ "subject": 7 }), "subject", "must be a text"),
            (json!({ "subject": null }), "subject", "must be a text"),
            (json!({ "ttl_s": 30 }), "subject", "must be given: what stands above it"),
            (json!({ "subject": "s", "ttl_s": 61 }), "ttl_s", "must be whole seconds, 30 to 60"),
            (json!({ "subject": "s", "ttl_s": 30.5 }), "ttl_s", "must be whole seconds, 30 to 60"),
            (
                json!({ "subject": "s", "ttl_s": "s3cret" }),
                "ttl_s",
                "must be whole seconds, 30 to 60",
            ),
            (json!({ "subject": "s", "kind": "s3cret" }), "kind", "must be news or bill"),
            (json!({ "subject": "s", "action": "s3cret" }), "action", "must be an object"),
            (json!({ "subject": "s", "action": {} }), "action.url", "must be given: the page"),
            (json!({ "subject": "s", "action": { "url": "ftp://s3cret" } }), "action.url", "http"),
            (
                json!({ "subject": "s", "action": { "url": "https://a.example", "color": "s3cret" } }),
                "action",
                "there is no option color; there are url, text",
            ),
            (
                json!({ "subject": "s", "subjct": "s3cret" }),
                "",
                "there is no option subjct; there are subject, ttl_s, kind, action",
            ),
        ] {
            let found = FORM.problems(&options(document.clone()));
            let [one] = found.as_slice() else { panic!("{document}: {found:?}") };
            assert_eq!(one.field, Field::Option(path), "{document}");
            assert!(one.problem.contains(part), "{one:?} should contain {part:?}");
            assert!(!one.problem.contains("s3cret"), "{one:?} shows a value");
        }
        let found = OptionsForm::NONE.problems(&options(json!({ "a": 1 })));
        assert_eq!(found[0].problem, "there is no option a, nor any other on this channel");
    }

    #[test]
    fn equal_documents_are_equal_and_none_shows_what_it_says() {
        let [one, other] = [r#"{"b":1,"a":"x"}"#, r#"{ "a": "x", "b": 1 }"#]
            .map(|text| options(serde_json::from_str(text).unwrap_or_default()));
        assert_eq!(one, other);
        assert_eq!(format!("{one:?}"), r#"{"a", "b"}"#);
    }
}
