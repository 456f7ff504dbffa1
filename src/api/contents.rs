//! What of who is reached and what is said a caller is shown: one place for every edge.
//!
//! Whoever has the scope `contents` is shown it, all others its outlines. A one-time code is shown to nobody once its
//! workflow has ended: it is of no use any more but to whoever tries it elsewhere.

use std::collections::BTreeMap;

use dispatch_contract::{Content, ContentKind, Endpoint, Media, Options};
use serde_json::{Map, Value};

use crate::{
    access::{Caller, Scope},
    contents::{Contents, StepContents, Unopened},
    engine::Engine,
    pb::v1::ContentsState,
    store::Record,
};

/// What stands for what is masked.
const HIDDEN: char = '…';
/// An address of fewer characters shows none of them.
const ADDRESS_LEAST: usize = 7;

/// How a caller is shown what is personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Showing {
    /// As it is.
    Whole,
    /// In its outlines.
    Masked,
}

/// What a message says, as a caller is shown it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShownContent<'a> {
    /// As it is.
    Whole(&'a Content),
    /// Its outlines.
    Masked(ContentOutline),
}

/// What is told of content that is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentOutline {
    /// Its kind.
    pub(crate) kind: ContentKind,
    /// How many characters its text has.
    pub(crate) characters: u32,
}

impl Showing {
    /// To this caller.
    pub(crate) fn to(caller: &Caller) -> Showing {
        if caller.may(Scope::Contents) { Showing::Whole } else { Showing::Masked }
    }

    /// How much that is, in the API's words.
    pub(crate) fn state(self) -> ContentsState {
        match self {
            Showing::Whole => ContentsState::Shown,
            Showing::Masked => ContentsState::Masked,
        }
    }

    /// A person's address.
    pub(crate) fn address(self, address: &Endpoint) -> Endpoint {
        match (self, address) {
            (Showing::Whole, address) => address.clone(),
            (Showing::Masked, Endpoint::Number(number)) => Endpoint::Number(masked(number, 2, 3)),
            (Showing::Masked, Endpoint::Id(id)) => Endpoint::Id(masked(id, 1, 2)),
        }
    }

    /// What is said.
    pub(crate) fn content(self, content: &Content) -> ShownContent<'_> {
        match self {
            Showing::Whole => ShownContent::Whole(content),
            Showing::Masked => ShownContent::Masked(ContentOutline::of(content)),
        }
    }
}

/// So many characters of the beginning and of the end, and what is between is hidden.
fn masked(text: &str, first: usize, last: usize) -> String {
    let count = text.chars().count();
    if count < ADDRESS_LEAST {
        return HIDDEN.to_string();
    }
    let (begin, end) = (text.chars().take(first), text.chars().skip(count - last));
    begin.chain([HIDDEN]).chain(end).collect()
}

impl ContentOutline {
    fn of(content: &Content) -> ContentOutline {
        let own = |text: &Option<String>| text.as_deref().map_or(0, characters);
        let count = match content {
            Content::Text(text) | Content::Custom(text) => characters(text),
            Content::Image(media)
            | Content::Audio(media)
            | Content::Video(media)
            | Content::File(media) => own(&media.caption),
            Content::Location { name, address, .. } => own(name) + own(address),
            Content::Template { parameters, .. } => {
                parameters.iter().map(|text| characters(text)).sum()
            }
            Content::Code { text, .. } => own(text),
        };
        let characters = u32::try_from(count).unwrap_or(u32::MAX);
        ContentOutline { kind: content.kind(), characters }
    }
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

/// What is shown of what is personal of a workflow.
#[derive(Debug)]
pub(crate) enum ShownContents {
    /// All of it, but for codes that are of no use any more.
    Shown(Contents),
    /// Its outlines.
    Masked(MaskedContents),
    /// Nothing: its key was destroyed.
    Dropped,
    /// Nothing: its key is lost, or it is damaged.
    Unreadable,
}

/// The outlines of what is personal: nothing else is left in it.
#[derive(Debug)]
pub(crate) struct MaskedContents {
    steps: Vec<(Endpoint, ContentOutline)>,
    /// The keys of labels that are personal.
    labels: Vec<String>,
    /// Whether the caller's own reference is personal.
    has_client_ref: bool,
}

/// What is shown of a step's contents.
#[derive(Debug)]
pub(crate) enum ShownStep<'a> {
    /// All of it.
    Whole(&'a StepContents),
    /// Its recipient, masked, and the outlines of what it says.
    Masked(&'a Endpoint, ContentOutline),
}

impl ShownContents {
    /// What `caller` is shown of the workflow of `record`. Where it cannot be read the log says why.
    pub(crate) fn of(
        engine: &Engine,
        caller: &Caller,
        record: &Record,
        has_ended: bool,
    ) -> ShownContents {
        match engine.opened(record) {
            Ok(contents) => ShownContents::to(caller, contents, has_ended),
            Err(Unopened::Gone) => ShownContents::Dropped,
            Err(Unopened::Unreadable(_)) => ShownContents::Unreadable,
        }
    }

    /// What `caller` is shown of contents that are at hand.
    pub(crate) fn to(caller: &Caller, contents: Contents, has_ended: bool) -> ShownContents {
        match Showing::to(caller) {
            Showing::Masked => ShownContents::Masked(MaskedContents::of(&contents)),
            Showing::Whole if has_ended => ShownContents::Shown(without_codes(contents)),
            Showing::Whole => ShownContents::Shown(contents),
        }
    }

    /// How much that is, in the API's words.
    pub(crate) fn state(&self) -> ContentsState {
        match self {
            ShownContents::Shown(_) => ContentsState::Shown,
            ShownContents::Masked(_) => ContentsState::Masked,
            ShownContents::Dropped => ContentsState::Dropped,
            ShownContents::Unreadable => ContentsState::Unreadable,
        }
    }

    /// The keys of the caller's labels that are personal, as far as they can be read.
    pub(crate) fn personal_labels(&self) -> Vec<String> {
        match self {
            ShownContents::Shown(contents) => contents.labels.keys().cloned().collect(),
            ShownContents::Masked(masked) => masked.labels.clone(),
            ShownContents::Dropped | ShownContents::Unreadable => Vec::new(),
        }
    }

    /// Whether the caller's own reference is personal, as far as that can be read.
    pub(crate) fn is_client_ref_personal(&self) -> bool {
        match self {
            ShownContents::Shown(contents) => contents.client_ref.is_some(),
            ShownContents::Masked(masked) => masked.has_client_ref,
            ShownContents::Dropped | ShownContents::Unreadable => false,
        }
    }

    /// The caller's own words that are personal, where they are shown.
    pub(crate) fn words(&self) -> Option<(&BTreeMap<String, String>, Option<&str>)> {
        match self {
            ShownContents::Shown(Contents { labels, client_ref, .. }) => {
                Some((labels, client_ref.as_deref()))
            }
            ShownContents::Masked(_) | ShownContents::Dropped | ShownContents::Unreadable => None,
        }
    }

    /// What is shown of the step at `index`; `None` if nothing is.
    pub(crate) fn step(&self, index: usize) -> Option<ShownStep<'_>> {
        match self {
            ShownContents::Shown(contents) => contents.steps.get(index).map(ShownStep::Whole),
            ShownContents::Masked(masked) => {
                let (recipient, said) = masked.steps.get(index)?;
                Some(ShownStep::Masked(recipient, *said))
            }
            ShownContents::Dropped | ShownContents::Unreadable => None,
        }
    }
}

impl MaskedContents {
    fn of(contents: &Contents) -> MaskedContents {
        let outline = |step: &StepContents| {
            (Showing::Masked.address(&step.recipient), ContentOutline::of(&step.content))
        };
        MaskedContents {
            steps: contents.steps.iter().map(outline).collect(),
            labels: contents.labels.keys().cloned().collect(),
            has_client_ref: contents.client_ref.is_some(),
        }
    }
}

/// Without its one-time codes: where one stood, in whichever message, its blank stands.
fn without_codes(mut contents: Contents) -> Contents {
    let codes = OneTimeCodes::of(&contents);
    if codes.0.is_empty() {
        return contents;
    }
    for StepContents { recipient: _, content, options } in &mut contents.steps {
        codes.blank_in_content(content);
        let mut document = options.to_document();
        codes.blank_in_object(&mut document);
        *options = Options::document(document);
    }
    contents.labels.values_mut().for_each(|text| codes.blank_in(text));
    contents.client_ref.iter_mut().for_each(|text| codes.blank_in(text));
    contents
}

/// The one-time codes of a workflow, the longest first: one may stand in another.
struct OneTimeCodes(Vec<String>);

impl OneTimeCodes {
    fn of(contents: &Contents) -> OneTimeCodes {
        let code = |step: &StepContents| match &step.content {
            Content::Code { code, .. } => Some(code.clone()),
            Content::Text(_)
            | Content::Image(_)
            | Content::Audio(_)
            | Content::Video(_)
            | Content::File(_)
            | Content::Location { .. }
            | Content::Template { .. }
            | Content::Custom(_) => None,
        };
        let mut codes: Vec<_> = contents.steps.iter().filter_map(code).collect();
        codes.sort_by_key(|code| std::cmp::Reverse(code.len()));
        codes.dedup();
        OneTimeCodes(codes)
    }

    fn blank_in(&self, text: &mut String) {
        for code in &self.0 {
            if text.contains(code.as_str()) {
                *text = text.replace(code.as_str(), Content::CODE_BLANK);
            }
        }
    }

    fn blank_in_content(&self, content: &mut Content) {
        match content {
            Content::Text(text) => self.blank_in(text),
            Content::Image(media)
            | Content::Audio(media)
            | Content::Video(media)
            | Content::File(media) => {
                let Media { url, caption } = media;
                self.blank_in(url);
                caption.iter_mut().for_each(|text| self.blank_in(text));
            }
            Content::Location { name, address, .. } => {
                [name, address].into_iter().flatten().for_each(|text| self.blank_in(text));
            }
            Content::Template { parameters, .. } => {
                parameters.iter_mut().for_each(|text| self.blank_in(text));
            }
            Content::Code { code, text } => {
                code.clear();
                let sentence = text.get_or_insert_with(|| Content::CODE_BLANK.to_owned());
                self.blank_in(sentence);
            }
            Content::Custom(object) => {
                let mut value = serde_json::from_str(object).unwrap_or_default();
                self.blank_in_value(&mut value);
                *object = value.to_string();
            }
        }
    }

    fn blank_in_object(&self, object: &mut Map<String, Value>) {
        object.values_mut().for_each(|value| self.blank_in_value(value));
    }

    fn blank_in_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.blank_in(text),
            Value::Array(values) => values.iter_mut().for_each(|it| self.blank_in_value(it)),
            Value::Object(object) => self.blank_in_object(object),
            // A number may be the code; a span of time that reads alike is no loss.
            Value::Number(number) if self.0.contains(&number.to_string()) => {
                *value = Content::CODE_BLANK.into();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
