//! What an adapter can do.

use std::time::Duration;

use crate::{AddressForm, ContentKind, OptionsForm, Status};

/// Everything that an adapter declares about itself. Nothing about support lives anywhere else:
/// workflows are checked against this struct, and the conformance suite proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The statuses a failover rule may wait for, lowest first. A status stands here only if the
    /// provider really reports it for this channel.
    pub condition_statuses: Vec<Status>,
    /// The kinds of content it can send.
    pub content: Vec<ContentKind>,
    /// The kinds of content that may carry a caption.
    pub captions: Vec<ContentKind>,
    /// How long things may be.
    pub limits: Limits,
    /// The forms a recipient's address may have; one of them must fit.
    pub to: Vec<AddressForm>,
    /// The forms a sender's address may have; one of them must fit.
    pub from: Vec<AddressForm>,
    /// For how long after a first call a repeated call under the same [`AttemptId`] is certain not
    /// to send a second message. `None`: the provider does not know our id.
    ///
    /// [`AttemptId`]: crate::AttemptId
    pub idempotent_for: Option<Duration>,
    /// How its receipts are matched with attempts.
    pub correlation: Correlation,
    /// The options that only this channel knows.
    pub options: OptionsForm,
    /// Whether an accepted message can be taken back.
    pub recall: bool,
    /// Whether one message may be accepted under several ids, one a part, each with receipts of its own.
    pub parts: bool,
    /// Whether some of its receipts are [watermarks](crate::Watermark).
    pub watermarks: bool,
    /// Whether the provider's ids of messages tell who a message is for, as those of WhatsApp hold the number. Then none of
    /// the provider's ids is kept or shown as it is, but something that stands for it; unless one of its channels recalls,
    /// which needs the id itself.
    pub ids_name_recipients: bool,
}

/// How long things may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Text, in Unicode characters.
    pub text_chars: u32,
    /// Caption, in Unicode characters.
    pub caption_chars: u32,
    /// URL of a file, in bytes.
    pub url_bytes: u32,
}

/// How a receipt is matched with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Correlation {
    /// By our [`AttemptId`](crate::AttemptId), which the provider repeats: a receipt is matched even if the
    /// call's response never came.
    AttemptId,
    /// Only by the provider's message id: an attempt whose response never came cannot be matched.
    ProviderId,
}

impl Capabilities {
    /// Whether a failover rule may wait for `status`.
    pub fn tells(&self, status: Status) -> bool {
        self.condition_statuses.contains(&status)
    }

    /// Whether content of this kind can be sent.
    pub fn sends(&self, kind: ContentKind) -> bool {
        self.content.contains(&kind)
    }
}
