//! Whether a credential works, asked without sending anything.

use std::fmt;

/// What a provider says of an account's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is taken.
    Works,
    /// It is not taken. What was answered, as half a sentence that shows nothing of the credential.
    Refused(String),
    /// Nothing is known of it: the provider was not reached, or has no call that would tell. Why, as half a
    /// sentence.
    CannotBeAsked(String),
}

/// `works`, `refused: …`, `cannot be asked: …`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Probe::Works => f.write_str("works"),
            Probe::Refused(why) => write!(f, "refused: {why}"),
            Probe::CannotBeAsked(why) => write!(f, "cannot be asked: {why}"),
        }
    }
}
