//! What a terminal shows cannot command it.
//!
//! Texts of callers, providers and servers may hold characters that move the cursor, set a window's title,
//! turn the direction of writing or are not seen at all: what stands on the screen is then not what was
//! sent. All such characters are shown as escapes (`\n`, `\u{1b}`, `\u{202e}`). In JSON they become JSON's own
//! escapes, so that whoever reads the document gets the text as it was.

use std::{borrow::Cow, fmt::Write};

/// Whether a character commands a terminal, or changes what is seen without being seen itself: controls
/// (C0, DEL, C1), line separators, marks of direction, zero-width characters, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text of somebody else, on one line and harmless.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, is_hidden, |c, out| out.extend(c.escape_default()))
}

/// Lines of our own: breaks, tabs and colours stay, whatever else is hidden is escaped.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    but_colours(text, |c| is_hidden(c) && c != '\n' && c != '\t')
}

/// One line of our own: colours stay, whatever else is hidden is escaped.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    but_colours(text, is_hidden)
}

fn but_colours(text: &str, is_replaced: impl Fn(char) -> bool) -> Cow<'_, str> {
    let escape = |c: char, out: &mut String| out.extend(c.escape_default());
    if !text.contains('\u{1b}') {
        return replaced(text, is_replaced, escape);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour_bytes(rest);
        let (this, behind) = rest.split_at(colour.max(c.len_utf8()));
        if colour == 0 && is_replaced(c) {
            escape(c, &mut out)
        } else {
            out.push_str(this)
        }
        rest = behind;
    }
    Cow::Owned(out)
}

/// A JSON document of somebody else's texts, harmless and of the same meaning.
pub(crate) fn json(document: &str) -> Cow<'_, str> {
    // Controls below U+0020 are escaped in strings already; between values they are white space.
    let is_raw = |c: char| is_hidden(c) && c >= '\u{7f}';
    replaced(document, is_raw, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a text cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// How many bytes at the beginning set a colour (`ESC [ … m`); 0 if they do something else.
fn colour_bytes(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return 0 };
    let parameters = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
    if rest.as_bytes().get(parameters) == Some(&b'm') { 2 + parameters + 1 } else { 0 }
}

fn replaced(
    text: &str,
    is_replaced: impl Fn(char) -> bool,
    replace: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    if !text.contains(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) { replace(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str =
        "a\u{1b}]0;owned\u{7}b\u{9b}2Jc\u{7f}d\r\ne\u{202e}f\u{200b}g\u{2066}h\u{e0041}";

    #[test]
    fn nothing_of_somebody_elses_commands_a_terminal() {
        let shown = "a\\u{1b}]0;owned\\u{7}b\\u{9b}2Jc\\u{7f}d\\r\\ne\\u{202e}f\\u{200b}g\\u{2066}h\\u{e0041}";
        assert_eq!(escaped(NASTY), shown);
        assert_eq!(escaped("x\n\u{1b}[2K\u{202e}"), "x\\n\\u{1b}[2K\\u{202e}");
        for harmless in ["", "Ünïcode 日本 👍 हिन्दी e\u{301}", "a \\ \"b\" 'c'\u{a0}d"]
        {
            assert_eq!(escaped(harmless), harmless);
        }
    }

    #[test]
    fn our_own_lines_keep_their_breaks_and_colours_and_nothing_else() {
        let ours = "\u{1b}[1;32mgreen\u{1b}[0m\nnext \u{1b}[m";
        assert_eq!(lines(ours), ours);
        assert_eq!(lines("plain\n\tlines"), "plain\n\tlines");
        assert_eq!(one_line("\u{1b}[31ma\nb"), "\u{1b}[31ma\\nb");
        assert_eq!(lines("\u{1b}[2J\u{1b}[31mx\u{1b}"), "\\u{1b}[2J\u{1b}[31mx\\u{1b}");
        assert_eq!(lines("a\rb\u{1b}]0;t\u{7}"), "a\\rb\\u{1b}]0;t\\u{7}");
    }

    #[test]
    fn json_stays_the_same_document() {
        let document = serde_json::to_string(&[NASTY]).unwrap();
        let shown = json(&document);
        assert!(!shown.contains(is_hidden), "{shown}");
        let again: Vec<String> = serde_json::from_str(&shown).unwrap();
        assert_eq!(again, [NASTY]);
    }
}
