//! What is wrong with a request: fields by typed paths, and what would be right as phrases.
//!
//! Nothing here is a text before an edge writes it. So an edge with other words (the old APIs over HTTP) maps
//! segments and phrases to its own, and patches no sentence; and a request with nothing wrong formats nothing.

use std::{borrow::Cow, fmt};

use dispatch_contract::{Channel, Field};

/// One field that is wrong, and what would be right. It repeats no number, no address and no message's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestViolation {
    /// The field.
    pub(crate) field: FieldPath,
    /// What would be right.
    pub(crate) wanted: Wanted,
}

impl RequestViolation {
    pub(crate) fn new(field: impl Into<FieldPath>, wanted: impl Into<Wanted>) -> Self {
        RequestViolation { field: field.into(), wanted: wanted.into() }
    }
}

/// A part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathSegment {
    /// A field, by its name in the API.
    Key(&'static str),
    /// An item of a list, counted from 0.
    Index(usize),
}

/// The path of a field in a request of the API, as in `steps[1].recipient.channel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldPath(Vec<PathSegment>);

impl FieldPath {
    /// Its parts, outermost first.
    pub(crate) fn segments(&self) -> &[PathSegment] {
        &self.0
    }

    fn push_dotted(&mut self, keys: &'static str) {
        self.0.extend(keys.split('.').map(PathSegment::Key));
    }
}

/// Keys with dots between them.
impl From<&'static str> for FieldPath {
    fn from(keys: &'static str) -> Self {
        let mut path = FieldPath(Vec::new());
        path.push_dotted(keys);
        path
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&path_behind("", &self.0))
    }
}

/// A path whose first part, `head`, has a name of its own; an empty one is none.
pub(crate) fn path_behind(head: &str, segments: &[PathSegment]) -> String {
    let mut path = head.to_owned();
    for segment in segments {
        match segment {
            PathSegment::Key(key) if path.is_empty() => path.push_str(key),
            PathSegment::Key(key) => path.extend([".", key]),
            PathSegment::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// A field while a request is read: where the reader stands, on its stack. It becomes a [`FieldPath`] where
/// something is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldAt<'a> {
    within: Option<&'a FieldAt<'a>>,
    segment: PathSegment,
}

impl FieldAt<'_> {
    /// A field of the request itself.
    pub(crate) const fn of(key: &'static str) -> FieldAt<'static> {
        FieldAt { within: None, segment: PathSegment::Key(key) }
    }

    /// A field of this one.
    pub(crate) fn key(&self, key: &'static str) -> FieldAt<'_> {
        FieldAt { within: Some(self), segment: PathSegment::Key(key) }
    }

    /// An item of this one, counted from 0.
    pub(crate) fn index(&self, index: usize) -> FieldAt<'_> {
        FieldAt { within: Some(self), segment: PathSegment::Index(index) }
    }

    /// What an adapter calls a field of the step on `channel` that stands here.
    pub(crate) fn field(&self, channel: &Channel, field: Field) -> FieldPath {
        let mut path = FieldPath::from(*self);
        match field {
            Field::From => path.push_dotted("sender"),
            Field::To => path.push_dotted("recipient"),
            Field::Content => path.push_dotted("message"),
            Field::Within(keys) => {
                path.push_dotted("message");
                path.push_dotted(keys);
            }
            Field::Option(keys) => {
                let own = own_options(channel);
                path.push_dotted("message");
                path.push_dotted(own.unwrap_or("options"));
                match keys {
                    "" => {}
                    // A duration of the API has no unit in its name.
                    _ if own.is_some() => {
                        path.push_dotted(keys.strip_suffix("_s").unwrap_or(keys));
                    }
                    _ => path.push_dotted(keys),
                }
            }
            Field::Parameter(index) => {
                path.push_dotted("message.template.parameters");
                path.0.push(PathSegment::Index(index));
            }
        }
        path
    }
}

/// The field of the API that has a channel's options in a message of its own; the others' are in `options`.
pub(crate) fn own_options(channel: &Channel) -> Option<&'static str> {
    let own = [
        (Channel::SMS, "sms"),
        (Channel::MMS, "mms"),
        (Channel::MESSENGER, "messenger"),
        (Channel::WHATSAPP, "whatsapp"),
        (Channel::VIBER, "viber_service_msg"),
        (Channel::RCS, "rcs"),
    ];
    own.into_iter().find(|(known, _)| known == channel).map(|(_, key)| key)
}

impl From<FieldAt<'_>> for FieldPath {
    fn from(field: FieldAt<'_>) -> Self {
        let outwards = std::iter::successors(Some(&field), |field| field.within);
        let mut segments: Vec<_> = outwards.map(|field| field.segment).collect();
        segments.reverse();
        FieldPath(segments)
    }
}

impl From<&FieldAt<'_>> for FieldPath {
    fn from(field: &FieldAt<'_>) -> Self {
        FieldPath::from(*field)
    }
}

/// What would be right: a sentence without its subject, which is the field. Where it names another field or a
/// channel, an edge with other names for them writes its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted(Vec<Phrase>);

/// A part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phrase {
    /// Words.
    Text(Cow<'static, str>),
    /// Another field of the same object.
    Field(FieldPath),
    /// A channel's name.
    Channel(Channel),
}

impl Wanted {
    /// A sentence of these parts.
    pub(crate) fn of(phrases: impl IntoIterator<Item = Phrase>) -> Self {
        Wanted(phrases.into_iter().collect())
    }

    /// The sentence, with what is a field or a channel written by `name`; where that has no word of its own
    /// the API's name stands.
    pub(crate) fn written(&self, name: impl Fn(&Phrase) -> Option<&'static str>) -> String {
        let mut text = String::new();
        for phrase in &self.0 {
            match (phrase, name(phrase)) {
                (Phrase::Text(words), _) => text.push_str(words),
                (Phrase::Field(_) | Phrase::Channel(_), Some(own)) => text.push_str(own),
                (Phrase::Field(path), None) => text.push_str(&path.to_string()),
                (Phrase::Channel(channel), None) => text.push_str(channel.as_str()),
            }
        }
        text
    }
}

impl Phrase {
    /// Words.
    pub(crate) fn text(words: impl Into<Cow<'static, str>>) -> Self {
        Phrase::Text(words.into())
    }
}

impl From<&'static str> for Wanted {
    fn from(words: &'static str) -> Self {
        Wanted(vec![Phrase::text(words)])
    }
}

impl From<String> for Wanted {
    fn from(words: String) -> Self {
        Wanted(vec![Phrase::text(words)])
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(|_| None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_the_api_writes_it() {
        let steps = FieldAt::of("steps");
        let step = steps.index(1);
        assert_eq!(
            FieldPath::from(step.key("sender").key("channel")).to_string(),
            "steps[1].sender.channel"
        );
        let fields = [
            (Field::From, "steps[1].sender"),
            (Field::Within("image.url"), "steps[1].message.image.url"),
            (Field::Parameter(2), "steps[1].message.template.parameters[2]"),
            (Field::Option("ttl_s"), "steps[1].message.viber_service_msg.ttl"),
            (Field::Option(""), "steps[1].message.viber_service_msg"),
        ];
        for (field, written) in fields {
            assert_eq!(step.field(&Channel::VIBER, field).to_string(), written);
        }
        assert_eq!(FieldPath::from("application.name").segments().len(), 2);
    }

    #[test]
    fn an_edge_writes_its_own_names_into_a_sentence() {
        let wanted = Wanted::of([
            Phrase::text("must be the same as "),
            Phrase::Field("recipient.channel".into()),
            Phrase::text(", as "),
            Phrase::Channel(Channel::VIBER),
        ]);
        assert_eq!(
            wanted.to_string(),
            "must be the same as recipient.channel, as viber_service_msg"
        );
        let own = wanted.written(|phrase| match phrase {
            Phrase::Field(_) => Some("to.type"),
            Phrase::Text(_) | Phrase::Channel(_) => None,
        });
        assert_eq!(own, "must be the same as to.type, as viber_service_msg");
    }
}
