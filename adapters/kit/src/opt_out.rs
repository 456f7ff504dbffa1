//! What a person's short message asks for, where the provider does not say it: `STOP` and `START`.

use dispatch_contract::Content;

/// The words by which people end messages, as operators and providers agree on them.
const STOP: &[&str] =
    &["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];
/// Those of them that are on no button which means something else: "Cancel" cancels a booking, and "End" a call.
const STOP_TAPPED: &[&str] = &["STOP", "STOPALL", "UNSUBSCRIBE", "OPTOUT"];
/// The words by which they begin them again. `YES` is none: it answers questions.
const START: &[&str] = &["START", "UNSTOP"];

/// How a person came to say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// They chose the words.
    Written,
    /// Whoever made the button, or the line of a list, chose them.
    Tapped,
}

/// Whether a message is nothing but one of the words: `Some(false)` ends messages, `Some(true)` begins them again.
pub fn is_lifted_by(text: &str, how: Said) -> Option<bool> {
    let stop = match how {
        Said::Written => STOP,
        Said::Tapped => STOP_TAPPED,
    };
    let said = text.trim().trim_end_matches(['.', '!']);
    let is = |words: &[&str]| words.iter().any(|word| said.eq_ignore_ascii_case(word));
    match () {
        () if is(stop) => Some(false),
        () if is(START) => Some(true),
        () => None,
    }
}

/// The same of what a person's message says first, whatever stands behind it. What is said beneath a file asks for
/// nothing.
pub fn is_lifted_by_content(content: &[Content], how: Said) -> Option<bool> {
    match content.first()? {
        Content::Text(text) => is_lifted_by(text, how),
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
            assert_eq!(is_lifted_by(text, Said::Written), Some(false), "{text}");
        }
        for text in ["START", "unstop", " start "] {
            assert_eq!(is_lifted_by(text, Said::Written), Some(true), "{text}");
        }
        for text in ["", "Yes", "stop it", "bus stop", "please STOP", "STOPP", "start?"] {
            assert_eq!(is_lifted_by(text, Said::Written), None, "{text}");
        }
    }

    #[test]
    fn a_button_says_only_what_no_button_means_otherwise() {
        let tapped = |text| is_lifted_by_content(&[Content::Text(text)], Said::Tapped);
        for text in STOP {
            let is_plain = STOP_TAPPED.contains(text);
            assert_eq!(tapped((*text).to_owned()), is_plain.then_some(false), "{text}");
        }
        for text in ["Cancel", "End", "Quit", "Revoke"] {
            assert_eq!(tapped(text.to_owned()), None, "{text}");
        }
        for text in START {
            assert_eq!(tapped((*text).to_owned()), Some(true), "{text}");
        }
    }
}
