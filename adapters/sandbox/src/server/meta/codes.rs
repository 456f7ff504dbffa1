//! Meta's code for what a script says in Vonage's: the one that means the same.

use dispatch_contract::ErrorKind;
use dispatch_meta::errors::GraphCode;

use crate::codes::refusal;

/// What Graph says where Vonage says `code`. A code of Graph's own may stand in a script, too.
pub(super) fn graph(code: u16) -> u32 {
    let own = u32::from(code);
    // Vonage's have four digits.
    if own < 1_000 && (GraphCode { code: own, subcode: None }).meaning().is_some() {
        return own;
    }
    match refusal(code).kind {
        ErrorKind::Throttled => 130_429,
        ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::ProviderFailure => 131_000,
        ErrorKind::Unauthorized => 190,
        ErrorKind::InsufficientFunds => 131_042,
        ErrorKind::Forbidden => 131_031,
        ErrorKind::InvalidRequest => 131_009,
        ErrorKind::ContentRejected => 132_000,
        ErrorKind::InvalidRecipient | ErrorKind::Unreached => 131_026,
        // Meta says it of advertisements alone.
        ErrorKind::OptedOut => 131_050,
        ErrorKind::OutsideWindow => 131_047,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_s_code_is_meta_s_of_the_same_meaning() {
        for (script, graph_code) in [(1340, 131_047), (1240, 131_050), (1300, 131_026), (551, 551)]
        {
            assert_eq!(graph(script), graph_code);
        }
        for script in [1000, 1010, 1070, 1080, 1330, 1340] {
            let meaning = GraphCode { code: graph(script), subcode: None }.meaning();
            assert_eq!(meaning.expect("known").kind, refusal(script).kind, "{script}");
        }
    }
}
