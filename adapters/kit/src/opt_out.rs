//! What a person's short message asks for, where the provider does not say it: `STOP` and `START`.

use dispatch_contract::Content;

/// The words by which people end messages, as operators and providers agree on them.
const STOP: &[&str] =
    &["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];
/// The words by which they begin them again. `YES` is none: it answers questions.
const START: &[&str] = &["START", "UNSTOP"];

/// Whether a message is nothing but one of the words: `Some(false)` ends messages, `Some(true)` begins them again.
pub fn is_lifted_by(text: &str) -> Option<bool> {
    let said = text.trim().trim_end_matches(['.', '!']);
    let is = |words: &[&str]| words.iter().any(|word| said.eq_ignore_ascii_case(word));
    match () {
        () if is(STOP) => Some(false),
        () if is(START) => Some(true),
        () => None,
    }
}

/// The same of what a person's message says first, be it written or tapped. What is said beside a file asks for nothing.
pub fn is_lifted_by_content(content: &[Content]) -> Option<bool> {
    match content.first()? {
        Content::Text(text) => is_lifted_by(text),
        Content::Image(_)
        | Content::Audio(_)
        | Content::Video(_)
        | Content::File(_)
        | Content::Location { .. }
        | Content::Template { .. }
        | Content::Code { .. }
        | Content::Custom(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bare_word_counts_however_it_is_written() {
        for text in ["STOP", "stop", " Stop.\n", "unsubscribe!", "OptOut", "QUIT"] {
            assert_eq!(is_lifted_by(text), Some(false), "{text}");
        }
        for text in ["START", "unstop", " start "] {
            assert_eq!(is_lifted_by(text), Some(true), "{text}");
        }
        for text in ["", "Yes", "stop it", "bus stop", "please STOP", "STOPP", "start?"] {
            assert_eq!(is_lifted_by(text), None, "{text}");
        }
    }
}
