//! Leaves out of what a provider says of a message what was said in the message, and to whom.
//!
//! A provider's code and sentence are kept in clear as long as their workflow, and shown to whoever may see that. Our
//! adapters write sentences of their own, which hold nothing personal; they go through here, unless the message has twelve
//! characters running of one. What an adapter of somebody else's tells is its provider's word, and providers repeat
//! what they were sent.
//!
//! It is a rule of thumb. It knows a person by a number, by an address with an `@`, by the recipient and by the
//! message's words; what it does not know as one it lets through. So the contract's rule stands, that an adapter tells
//! nothing personal, and this is behind it.

use std::collections::HashSet;

use dispatch_contract::{Content, Endpoint, Media, Message};
use serde_json::Value;

/// What stands in place of a sentence that is not kept.
pub const NOT_KEPT: &str = "the provider's text is not kept: it may repeat what was sent";

/// The longest sentence that is kept, in bytes.
const DETAIL_BYTES: usize = 300;
/// How much of a sentence is looked at, in bytes: what begins in the part that is kept ends in this one.
const LOOKED_AT_BYTES: usize = 1_024;
/// The longest code that is kept, in bytes.
const CODE_BYTES: usize = 64;
/// So many digits in a sentence may be a number that reaches somebody.
const NUMBER_DIGITS: usize = 7;
/// The same in a code, of which some have seven: Meta's subcodes.
const NUMBER_DIGITS_IN_A_CODE: usize = 8;
/// So many characters running that stand in the message as well were repeated from it.
const REPEATED_CHARS: usize = 12;
/// What is shorter, as `your`, says nothing of anybody.
const WORD_CHARS: usize = 4;

/// A provider's sentence, cut to the length that is kept; [`NOT_KEPT`] in its place if it may name a person, or if it
/// repeats `message`, where that is known.
pub fn detail(mut said: String, message: Option<&Message>) -> String {
    let looked_at = head(&said, LOOKED_AT_BYTES);
    if names_somebody(looked_at, NUMBER_DIGITS)
        || message.is_some_and(|message| repeats(looked_at, message))
    {
        return NOT_KEPT.to_owned();
    }
    said.truncate(head(&said, DETAIL_BYTES).len());
    said
}

/// A provider's code, if it looks like one and names nobody.
pub fn code(said: Option<String>, message: Option<&Message>) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    said.filter(|code| {
        (1..=CODE_BYTES).contains(&code.len())
            && code.bytes().all(is_plain)
            && !names_somebody(code, NUMBER_DIGITS_IN_A_CODE)
            && !message.is_some_and(|message| repeats(code, message))
    })
}

/// As much of a text as these bytes hold.
fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// Whether a text may hold somebody's number or address, whoever that is.
fn names_somebody(text: &str, number_digits: usize) -> bool {
    let is_address = |word: &str| word.len() > 1 && word.contains('@');
    text.split_whitespace().any(is_address) || longest_number(text) >= number_digits
}

/// How many digits the longest number has that people may have written so: with blanks, hyphens and parentheses.
fn longest_number(text: &str) -> usize {
    let (mut longest, mut digits, mut between) = (0, 0, 0);
    for c in text.chars() {
        match c {
            _ if c.is_numeric() => (digits, between) = (digits + 1, 0),
            // Two of them stand behind an area's code: `(202) 555-0123`.
            ' ' | '-' | '(' | ')' if between < 2 => between += 1,
            _ => (digits, between) = (0, 0),
        }
        longest = longest.max(digits);
    }
    longest
}

/// Whether a text repeats whom a message is for, or what it says.
fn repeats(text: &str, message: &Message) -> bool {
    let text = text.to_lowercase();
    let chars: Vec<char> = text.chars().collect();
    let runs: HashSet<&[char]> = chars.windows(REPEATED_CHARS).collect();
    let options = in_options(message);
    is_repeated_recipient(&text, &message.to)
        || said_in(&message.content).into_iter().chain(options.iter().map(String::as_str)).any(
            |said| {
                let said = said.to_lowercase();
                let chars: Vec<char> = said.chars().collect();
                chars.windows(REPEATED_CHARS).any(|run| runs.contains(run))
                    || (chars.len() < REPEATED_CHARS && stands_in(&text, said.trim()))
            },
        )
}

/// The texts in a message's options: addresses without how they begin.
fn in_options(message: &Message) -> Vec<String> {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => {
                let text = text.split_once("://").map_or(text.as_str(), |(_, behind)| behind);
                found.push(text.to_owned());
            }
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Vec::new();
    message.options.to_document().values().for_each(|value| texts(value, &mut found));
    found
}

/// However a number is written, its last digits are the same.
fn is_repeated_recipient(text: &str, recipient: &Endpoint) -> bool {
    let digits = |of: &str| of.chars().filter(char::is_ascii_digit).collect::<String>();
    let number = digits(recipient.value());
    let end = number.len().checked_sub(NUMBER_DIGITS);
    end.is_some_and(|end| digits(text).contains(&number[end..]))
        || stands_in(text, &recipient.value().to_lowercase())
}

/// Whether a word, or several, stand in a text, and not within other words.
fn stands_in(text: &str, words: &str) -> bool {
    let is_apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    words.chars().count() >= WORD_CHARS
        && text.match_indices(words).any(|(at, found)| {
            is_apart(text[..at].chars().next_back())
                && is_apart(text[at + found.len()..].chars().next())
        })
}

/// What of a message is its writer's or its reader's.
fn said_in(content: &Content) -> Vec<&str> {
    match content {
        Content::Text(text) | Content::Custom(text) => vec![text],
        Content::Image(media)
        | Content::Audio(media)
        | Content::Video(media)
        | Content::File(media) => {
            let Media { url, caption } = media;
            // How addresses begin is the same in all of them.
            let url = url.split_once("://").map_or(url.as_str(), |(_, behind)| behind);
            caption.as_deref().into_iter().chain([url]).collect()
        }
        Content::Location { latitude, longitude, name, address } => {
            let place = [name, address].into_iter().flatten().map(String::as_str);
            place.chain([latitude.as_str(), longitude]).collect()
        }
        // Its name is the provider's.
        Content::Template { name: _, parameters } => {
            parameters.iter().map(String::as_str).collect()
        }
        Content::Code { code, text } => {
            text.as_deref().into_iter().chain([code.as_str()]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::{Channel, Options};

    use super::*;

    fn message(to: &str, content: Content) -> Message {
        Message {
            channel: Channel::SMS,
            from: Endpoint::Number("447700900009".to_owned()),
            to: Endpoint::Number(to.to_owned()),
            content,
            options: Options::default(),
        }
    }

    #[test]
    fn what_stands_in_a_message_s_options_is_looked_for_too() {
        let button = serde_json::json!({ "action": { "url": "https://shop.example/u/ann-smith" } });
        let serde_json::Value::Object(button) = button else { panic!("an object") };
        let message =
            Message { options: Options::document(button), ..text("Your parcel is on its way") };
        let said = || "cannot open http://shop.example/u/ann-smith".to_owned();
        assert_eq!(detail(said(), Some(&message)), NOT_KEPT);
        assert_eq!(detail(said(), Some(&text("Your parcel is on its way"))), said());
    }

    fn text(text: &str) -> Message {
        message("447700900123", Content::Text(text.to_owned()))
    }

    fn is_kept(said: &str, message: Option<&Message>) -> bool {
        let kept = detail(said.to_owned(), message);
        assert!(kept == said || kept == NOT_KEPT, "{kept}");
        kept == said
    }

    #[test]
    fn a_sentence_with_a_number_or_an_address_is_not_kept_whosever_it_is() {
        for said in [
            "447700900000 is barred",
            "no such number: +44 7700 900-000",
            "call (202) 555-0123",
            "٤٤٧٧٠٠٩٠٠٠ is barred",
            "ann@example.com is unknown",
            "there is no @ann_of_acme",
        ] {
            assert!(!is_kept(said, None), "{said}");
        }
        for said in [
            "the handset cannot be reached",
            "code 131047, more than 24 hours after the person wrote",
            "HTTP 503 from 10.0.0.5:8080",
            "at most 160 characters @ once",
            "",
        ] {
            assert!(is_kept(said, None), "{said}");
        }
    }

    #[test]
    fn a_sentence_that_repeats_whom_or_what_is_not_kept() {
        let table = text("Hi Ann, your table for two is ready");
        let other = message("12025550123", Content::Text("Something else".to_owned()));
        for said in [
            "we cannot send 'Your Table for Two'",
            "07700 9.00.12.3 is wrong",
            "rejected: ...e for two is r...",
        ] {
            assert!(!is_kept(said, Some(&table)), "{said}");
            assert!(is_kept(said, Some(&other)), "{said}");
        }
        for said in ["your message was filtered", "table 5 was not found", "0123 is no code"] {
            assert!(is_kept(said, Some(&table)), "{said}");
        }
    }

    #[test]
    fn what_is_short_counts_as_a_whole_and_as_words_of_its_own() {
        let code = Content::Code { code: "2718".to_owned(), text: None };
        let code = message("447700900123", code);
        assert!(!is_kept("the code 2718 was used before", Some(&code)));
        assert!(is_kept("error 27180", Some(&code)));
        let named =
            Content::Template { name: "order".to_owned(), parameters: vec!["Mercedes".into()] };
        let named = message("447700900123", named);
        assert!(!is_kept("no template 'order' for (mercedes)", Some(&named)));
        assert!(is_kept("there is no template 'order'", Some(&named)));
        let short = text("no");
        assert!(is_kept("there is no route", Some(&short)));
        let person = Message { to: Endpoint::Id("GB.Ann".to_owned()), ..text("x") };
        assert!(!is_kept("no user gb.ann here", Some(&person)));
    }

    #[test]
    fn every_part_of_every_kind_is_looked_for() {
        let own = |said: &str| said.to_owned();
        let media = || Media {
            url: own("https://shop.example/invoice-of-ann.pdf"),
            caption: Some(own("the invoice of March")),
        };
        let place = Content::Location {
            latitude: own("51.5074"),
            longitude: own("-0.12775"),
            name: Some(own("At the Three Oaks")),
            address: Some(own("12 Station Parade")),
        };
        let code =
            Content::Code { code: own("271828"), text: Some(own("Log in with {code}, Ann")) };
        for (content, parts) in [
            (Content::Image(media()), vec!["shop.example/invoice", "the invoice of March"]),
            (Content::Audio(media()), vec!["invoice-of-ann.pdf"]),
            (Content::Video(media()), vec!["invoice-of-ann.pdf"]),
            (Content::File(media()), vec!["invoice-of-ann.pdf"]),
            (place, vec!["51.5074", "-0.12775", "the three oaks", "station parade"]),
            (code, vec!["271828", "log in with {"]),
            (Content::Custom(own(r#"{"body":"Dear Ann Smith"}"#)), vec!["\"dear ann smi"]),
        ] {
            let sent = message("447700900123", content);
            for part in parts {
                assert!(!is_kept(&format!("what is `{part}`"), Some(&sent)), "{part}");
            }
            assert!(is_kept("see https://www.example.com/errors", Some(&sent)));
        }
    }

    #[test]
    fn a_code_is_one_and_names_nobody() {
        let kept = |said: &str, message: Option<&Message>| code(Some(said.to_owned()), message);
        for said in
            ["1340", "10/2018108", "PHONE_NUMBER_NOT_AVAILABLE", "low-balance", "smtp:5.1.1"]
        {
            assert_eq!(kept(said, None).as_deref(), Some(said));
        }
        let long = "X".repeat(65);
        for said in
            ["447700900000", "44-7700-900-000", "", "Ann is barred", "ann@example.com", &long]
        {
            assert_eq!(kept(said, None), None, "{said}");
        }
        assert_eq!(kept("number.0900123", Some(&text("x"))), None);
        assert_eq!(kept("ready-to-eat-Tables", Some(&text("Your ready-to-eat meal"))), None);
        assert_eq!(code(None, None), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_stands_across_the_end_is_seen() {
        let long = "é".repeat(400);
        assert_eq!(detail(long, None), "é".repeat(150));
        let across = format!("{} 447700900000", "x".repeat(DETAIL_BYTES - 4));
        assert_eq!(detail(across, None), NOT_KEPT);
    }
}
