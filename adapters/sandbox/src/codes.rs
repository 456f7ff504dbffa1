//! What the provider's codes mean: the adapter's own table, so that a run against the sandbox decides as
//! one against the provider does.

use dispatch_kit::refusal::{CodeMeaning, REFUSED};
use dispatch_vonage::errors::{CodeSource, meaning};

/// What a code means in the answer to a send.
pub(crate) fn refusal(code: u16) -> CodeMeaning {
    meaning(&code.to_string(), CodeSource::SendResponse).unwrap_or(REFUSED)
}

/// What a code means in a receipt.
pub(crate) fn receipt_meaning(code: u16) -> CodeMeaning {
    meaning(&code.to_string(), CodeSource::Receipt).unwrap_or(REFUSED)
}

/// One sentence about a code in a receipt.
pub(crate) fn of_receipt(code: u16) -> &'static str {
    receipt_meaning(code).sentence
}
