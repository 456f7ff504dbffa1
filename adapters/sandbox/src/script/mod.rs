//! What happens to the messages of a recipient, written down in one line.
//!
//! `accept; deliver 1s; read 4s; twice` is a scene: what a send is answered, which receipts follow
//! and what is odd about them. Scenes separated by `|` serve successive sends, and the last one
//! repeats: `500 before acting | accept; deliver 1s`.
//!
//! | verb | meaning |
//! |---|---|
//! | `accept` | The send is accepted; so it is where no other answer is named. |
//! | `reject CODE` | The send is refused under this provider code, for good or for now as the provider means it; nothing is sent. |
//! | `throttle N [D]` | The first N sends are turned away, to be repeated after D if it is given; then the scene goes on. |
//! | `no-answer` | The message is sent, but the caller waits in vain for an answer. |
//! | `hang` | The message is not sent, and the caller waits in vain for an answer. |
//! | `500 after acting` | The message is sent, but the caller is answered 500. |
//! | `500 before acting` | The message is not sent, and the caller is answered 500. |
//! | `submitted D` | A receipt `submitted`, D after the send. |
//! | `deliver D` | A receipt `delivered`, D after the send. |
//! | `read D` | A receipt `read`, D after the send, on channels that report reading. |
//! | `reply D` | The person answers and quotes the message, D after the send, on channels whose provider tells what is quoted. |
//! | `undeliverable D [CODE]` | A receipt `undeliverable`, D after the send, with this provider code if one is given. |
//! | `rejected D [CODE]` | A receipt `rejected`, D after the send, with this provider code if one is given. |
//! | `never` | No receipts; where neither this nor a receipt is named, it is `deliver 1s; read 3s`. |
//! | `late D` | Every receipt comes D later than it says that things happened. |
//! | `jitter D` | Every receipt comes up to D later, by the provider's seed. |
//! | `twice` | Every receipt comes twice. |
//! | `out-of-order` | The receipts come at the times of the script, but the last one first. |
//! | `early` | The first receipt comes before the answer to the send. |
//! | `unsigned` | The receipts carry no signature; in process, where nothing is signed, they do not come. |
//! | `unsigned first` | The receipts carry no signature at first; where that is refused they come again 5 s later, signed. |
//!
//! Durations are whole numbers of `ms`, `s`, `m`, `h` or `d`, from `0s` to `90d`. Codes are whole
//! numbers from 1 to 9999; what they mean is the provider's business.
//!
//! A script knows nothing of channels, clocks or wires; [`SimulatedProvider`](crate::SimulatedProvider) plays it.

mod format;
mod parse;
mod table;

use std::time::Duration;

pub use parse::InvalidScript;
pub use table::{TABLE, Verb, table};

use serde::{Deserialize, Serialize};

/// What happens to the messages of a recipient; see the [module](self) for its text.
///
/// Parsed from that text (`FromStr`, serde) and written back as it (`Display`); the text written
/// names everything that was left to defaults, and parses to the same script. `Script::default()`
/// is `accept; deliver 1s; read 3s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Script {
    /// One for each successive send; the last one repeats. Never empty.
    scenes: Vec<Scene>,
}

/// What happens to one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    /// Turns the first sends away.
    pub(crate) throttle: Option<Throttle>,
    /// What the send is answered, and whether anything is sent.
    pub(crate) answer: ScriptedAnswer,
    /// What is reported afterwards, as it was written; empty for `never`.
    pub(crate) receipts: Vec<Cue>,
    /// What is odd about those receipts.
    pub(crate) oddities: Oddities,
}

/// Turns sends away before a scene goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throttle {
    /// How many.
    pub(crate) count: u32,
    /// When the caller is told to come back, if it is told.
    pub(crate) after: Option<Duration>,
}

/// What a send is answered, and whether the message goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptedAnswer {
    Accept,
    Reject(u16),
    SilentAfterActing,
    SilentBeforeActing,
    FailAfterActing,
    FailBeforeActing,
}

/// One receipt of a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cue {
    pub(crate) says: Says,
    /// Counted from the send.
    pub(crate) after: Duration,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Submitted,
    Delivered,
    Read,
    Replied,
    Undeliverable(Option<u16>),
    Rejected(Option<u16>),
}

/// What is odd about the receipts of a scene.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Oddities {
    pub(crate) late: Duration,
    pub(crate) jitter: Duration,
    pub(crate) twice: bool,
    pub(crate) out_of_order: bool,
    pub(crate) early: bool,
    pub(crate) signing: ReceiptSigning,
}

/// Whether a receipt carries a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReceiptSigning {
    #[default]
    Signed,
    /// Not at first, but when it is repeated.
    SignedWhenRepeated,
    Unsigned,
}

impl Script {
    /// The scene of the send that comes after `played` scenes.
    pub(crate) fn scene(&self, played: usize) -> &Scene {
        &self.scenes[played.min(self.scenes.len() - 1)]
    }

    /// How many scenes there are; at least one.
    pub(crate) fn len(&self) -> usize {
        self.scenes.len()
    }

    /// Whether it must be remembered how far the script has been played.
    pub(crate) fn has_memory(&self) -> bool {
        self.scenes.len() > 1 || self.scenes.iter().any(|scene| scene.throttle.is_some())
    }
}

impl Default for Script {
    fn default() -> Self {
        Script { scenes: vec![Scene::default()] }
    }
}

impl Default for Scene {
    fn default() -> Self {
        Scene {
            throttle: None,
            answer: ScriptedAnswer::Accept,
            receipts: vec![
                Cue { says: Says::Delivered, after: Duration::from_secs(1) },
                Cue { says: Says::Read, after: Duration::from_secs(3) },
            ],
            oddities: Oddities::default(),
        }
    }
}

impl ScriptedAnswer {
    /// Whether the message goes out.
    pub(crate) const fn acts(self) -> bool {
        match self {
            ScriptedAnswer::Accept
            | ScriptedAnswer::SilentAfterActing
            | ScriptedAnswer::FailAfterActing => true,
            ScriptedAnswer::Reject(_)
            | ScriptedAnswer::SilentBeforeActing
            | ScriptedAnswer::FailBeforeActing => false,
        }
    }
}

#[cfg(test)]
mod tests;
