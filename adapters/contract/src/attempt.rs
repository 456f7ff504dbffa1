//! The name of one call to a provider.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

use uuid::Uuid;

/// Names an attempt everywhere: in the journal, at the provider (as client reference, callback
/// query or opaque data, wherever there is room), and in its receipts.
///
/// It embeds the workflow's id, so that a receipt that echoes it needs no index to be matched. Its
/// text is 32 hex digits, a dot and the attempt's number: at most 38 characters, because the
/// Messages API v0.1 takes a `client_ref` of at most 40.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The workflow it belongs to.
    pub workflow: Uuid,
    /// Counted from 1 within the workflow.
    pub number: u16,
}

/// A text that is no [`AttemptId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAttemptId;

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.workflow.simple(), self.number)
    }
}

impl FromStr for AttemptId {
    type Err = InvalidAttemptId;

    fn from_str(text: &str) -> Result<Self, InvalidAttemptId> {
        let (workflow, number) = text.split_once('.').ok_or(InvalidAttemptId)?;
        let canonical = workflow.len() == 32
            && number.bytes().all(|b| b.is_ascii_digit())
            && !number.starts_with('0');
        if !canonical {
            return Err(InvalidAttemptId);
        }
        Ok(AttemptId {
            workflow: Uuid::try_parse(workflow).map_err(|_| InvalidAttemptId)?,
            number: number.parse().map_err(|_| InvalidAttemptId)?,
        })
    }
}

impl fmt::Display for InvalidAttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attempt id is 32 hex digits, a dot and a number from 1 to 65535")
    }
}

impl std::error::Error for InvalidAttemptId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_and_fits_a_client_ref() {
        let id = AttemptId { workflow: Uuid::max(), number: u16::MAX };
        assert!(id.to_string().len() <= 40);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_stranger_s_reference_is_not_taken_for_ours() {
        for text in [
            "",
            "order-17",
            "0.1",
            "00000000000000000000000000000000.",
            "00000000000000000000000000000000.0",
        ] {
            assert_eq!(text.parse::<AttemptId>(), Err(InvalidAttemptId), "{text}");
        }
    }
}
