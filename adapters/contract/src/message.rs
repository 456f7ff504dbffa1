//! What is said on a channel.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Channel, Endpoint};

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
    /// What only some channels know.
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
    /// [`Content::Custom`]
    Custom,
}

/// Per-channel options. Each is `None` unless the caller gave it; options of a channel other than
/// the message's own are refused at create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// For `sms`.
    pub sms: Option<SmsOptions>,
    /// For `mms`.
    pub mms: Option<MmsOptions>,
    /// For `messenger`.
    pub messenger: Option<MessengerOptions>,
    /// For `whatsapp`.
    pub whatsapp: Option<WhatsAppOptions>,
    /// For `viber_service_msg`.
    pub viber: Option<ViberOptions>,
}

/// Options of an SMS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmsOptions {
    /// How the text is encoded.
    pub encoding: SmsEncoding,
    /// How long the carriers try to deliver it, in seconds: 1 to 604,800.
    pub ttl_s: Option<u32>,
}

/// Options of an MMS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MmsOptions {
    /// How long the carriers try to deliver it, in seconds: 300 to 259,200.
    pub ttl_s: Option<u32>,
}

/// How the text of an SMS is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SmsEncoding {
    /// The provider looks at the text.
    #[default]
    Auto,
    /// GSM 7-bit.
    Text,
    /// UCS-2.
    Unicode,
}

/// Options of a Messenger message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessengerOptions {
    /// Why it may be sent.
    pub category: MessengerCategory,
    /// The message tag; given exactly when the category is [`MessengerCategory::MessageTag`].
    pub tag: Option<String>,
}

/// Why a Messenger message may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessengerCategory {
    /// An answer within 24 h of the person's own message.
    Response,
    /// An update within the same window.
    Update,
    /// Outside the window, under a tag.
    MessageTag,
}

/// Options of a WhatsApp message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatsAppOptions {
    /// How the template's language is chosen.
    pub policy: WhatsAppPolicy,
    /// The template's language, as BCP 47 (`en-GB`); needed by templates.
    pub locale: Option<String>,
}

/// How a template's language is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhatsAppPolicy {
    /// Exactly the locale asked for. The other policy, `fallback`, was retired in January 2020.
    #[default]
    Deterministic,
}

/// Options of a Viber Business Message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViberOptions {
    /// What it is for.
    pub category: ViberCategory,
    /// How long Viber tries to deliver it, in seconds: 30 to 259,200.
    pub ttl_s: Option<u32>,
    /// A button under the message.
    pub action: Option<Action>,
}

/// What a Viber Business Message is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViberCategory {
    /// About something the person did; the first message to a person must be one.
    #[default]
    Transaction,
    /// An offer.
    Promotion,
}

/// A button that opens a page. `Debug` shows neither page nor text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The page.
    pub url: String,
    /// What stands on the button.
    pub text: String,
}

impl Options {
    /// The time to live that the caller asked for, in seconds, on whichever channel.
    pub fn ttl_s(&self) -> Option<u32> {
        let sms = self.sms.as_ref().and_then(|options| options.ttl_s);
        let mms = self.mms.as_ref().and_then(|options| options.ttl_s);
        let viber = self.viber.as_ref().and_then(|options| options.ttl_s);
        sms.or(mms).or(viber)
    }
}

impl Content {
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
            | Content::Custom(_) => None,
        }
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Media(…)")
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Action(…)")
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(…)", self.kind())
    }
}

impl ContentKind {
    /// Every kind, in the order they are shown.
    pub const ALL: [ContentKind; 8] = [
        ContentKind::Text,
        ContentKind::Image,
        ContentKind::Audio,
        ContentKind::Video,
        ContentKind::File,
        ContentKind::Location,
        ContentKind::Template,
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
            ContentKind::Custom => "custom",
        }
    }
}

impl fmt::Display for ContentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
