//! What is said on a channel.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{Channel, Endpoint, Options};

/// One message to one recipient on one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The channel it goes out on.
    pub channel: Channel,
    /// The sender.
    pub from: Endpoint,
    /// The recipient.
    pub to: Endpoint,
    /// What it says.
    pub content: Content,
    /// What only its channel knows.
    pub options: Options,
}

/// What a message says. Personal data: `Debug` shows the kind only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// A picture.
    Image(Media),
    /// A sound.
    Audio(Media),
    /// A film.
    Video(Media),
    /// Any other file.
    File(Media),
    /// A place on the map.
    Location {
        /// Degrees north, as a decimal text: floats do not compare.
        latitude: String,
        /// Degrees east, as a decimal text.
        longitude: String,
        /// What the place is called.
        name: Option<String>,
        /// Where the place is.
        address: Option<String>,
    },
    /// A text approved by the provider beforehand, with its blanks filled in.
    Template {
        /// The provider's name for it.
        name: String,
        /// What fills the blanks, in order.
        parameters: Vec<String>,
    },
    /// A one-time code. Channels that have a form of their own for codes send it in that, the others as a
    /// sentence.
    Code {
        /// 4 to 15 letters and digits.
        code: String,
        /// The sentence, with [`Content::CODE_BLANK`] where the code stands. `None`: the code alone.
        text: Option<String>,
    },
    /// An object in the provider's own form, passed through: the text of one JSON object.
    Custom(String),
}

/// A file that the provider fetches from a public URL. `Debug` shows neither it nor the caption.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Where the provider finds it.
    pub url: String,
    /// A text shown with it, on channels that show one.
    pub caption: Option<String>,
}

/// The kind of a [`Content`], for declaring and checking support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ContentKind {
    /// [`Content::Text`]
    Text,
    /// [`Content::Image`]
    Image,
    /// [`Content::Audio`]
    Audio,
    /// [`Content::Video`]
    Video,
    /// [`Content::File`]
    File,
    /// [`Content::Location`]
    Location,
    /// [`Content::Template`]
    Template,
    /// [`Content::Code`]
    Code,
    /// [`Content::Custom`]
    Custom,
}

impl Content {
    /// Where a code stands in its sentence.
    pub const CODE_BLANK: &'static str = "{code}";

    /// Its kind.
    pub fn kind(&self) -> ContentKind {
        match self {
            Content::Text(_) => ContentKind::Text,
            Content::Image(_) => ContentKind::Image,
            Content::Audio(_) => ContentKind::Audio,
            Content::Video(_) => ContentKind::Video,
            Content::File(_) => ContentKind::File,
            Content::Location { .. } => ContentKind::Location,
            Content::Template { .. } => ContentKind::Template,
            Content::Code { .. } => ContentKind::Code,
            Content::Custom(_) => ContentKind::Custom,
        }
    }

    /// The file it refers to, if it is one of the kinds that refer to a file.
    pub fn media(&self) -> Option<&Media> {
        match self {
            Content::Image(media)
            | Content::Audio(media)
            | Content::Video(media)
            | Content::File(media) => Some(media),
            Content::Text(_)
            | Content::Location { .. }
            | Content::Template { .. }
            | Content::Code { .. }
            | Content::Custom(_) => None,
        }
    }

    /// What a channel that knows nothing but text says of it: a text, or the sentence of a code.
    pub fn spoken(&self) -> Option<Cow<'_, str>> {
        match self {
            Content::Text(text) => Some(Cow::Borrowed(text)),
            Content::Code { code, text: None } => Some(Cow::Borrowed(code)),
            Content::Code { code, text: Some(text) } => {
                Some(Cow::Owned(text.replace(Content::CODE_BLANK, code)))
            }
            Content::Image(_)
            | Content::Audio(_)
            | Content::Video(_)
            | Content::File(_)
            | Content::Location { .. }
            | Content::Template { .. }
            | Content::Custom(_) => None,
        }
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Media(…)")
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(…)", self.kind())
    }
}

impl ContentKind {
    /// Every kind, in the order they are shown.
    pub const ALL: [ContentKind; 9] = [
        ContentKind::Text,
        ContentKind::Image,
        ContentKind::Audio,
        ContentKind::Video,
        ContentKind::File,
        ContentKind::Location,
        ContentKind::Template,
        ContentKind::Code,
        ContentKind::Custom,
    ];

    /// The name as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ContentKind::Text => "text",
            ContentKind::Image => "image",
            ContentKind::Audio => "audio",
            ContentKind::Video => "video",
            ContentKind::File => "file",
            ContentKind::Location => "location",
            ContentKind::Template => "template",
            ContentKind::Code => "code",
            ContentKind::Custom => "custom",
        }
    }
}

impl fmt::Display for ContentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
