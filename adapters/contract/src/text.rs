//! What a text is made of: whether a person could see it.
//!
//! Two names that look alike must be alike. An id with a zero-width character in it reaches nobody, and
//! nobody finds out why; a name with a direction mark is read as another.

/// Whether a text may name something: an id, a reference, a label, a person's name for a thing. Each of
/// its characters is to be seen where it stands, blanks are U+0020 only, and none is at an end. An
/// empty text is not refused here.
pub fn is_printable(text: &str) -> bool {
    let is_seen = |c: char| !c.is_control() && !is_invisible(c) && (c == ' ' || !c.is_whitespace());
    text.chars().all(is_seen) && !text.starts_with(' ') && !text.ends_with(' ')
}

/// Whether nobody would see anything of a text: it is empty, or blank.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control() || is_invisible(c))
}

/// Whether a text that people read holds a control character: a NUL, an escape. Line breaks and tabs
/// are none.
pub fn has_control(text: &str) -> bool {
    if text.is_ascii() {
        // Most texts are, and so many bytes are looked at together.
        let is_control = |b: u8| b.is_ascii_control() & !matches!(b, b'\n' | b'\r' | b'\t');
        return text.bytes().fold(false, |found, b| found | is_control(b));
    }
    text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// Whether a character takes no place of its own or shows nothing in it: format characters (zero-width
/// and direction marks among them), fillers, variation selectors, tags and noncharacters. Those of
/// Unicode's `Default_Ignorable_Code_Point` and category `Cf`, and the blank pattern of Braille.
pub fn is_invisible(c: char) -> bool {
    const RANGES: [(u32, u32); 26] = [
        (0x00ad, 0x00ad),
        (0x034f, 0x034f),
        (0x0600, 0x0605),
        (0x061c, 0x061c),
        (0x06dd, 0x06dd),
        (0x070f, 0x070f),
        (0x0890, 0x0891),
        (0x08e2, 0x08e2),
        (0x115f, 0x1160),
        (0x17b4, 0x17b5),
        (0x180b, 0x180f),
        (0x200b, 0x200f),
        (0x2028, 0x202e),
        (0x2060, 0x206f),
        (0x2800, 0x2800),
        (0x3164, 0x3164),
        (0xfdd0, 0xfdef),
        (0xfe00, 0xfe0f),
        (0xfeff, 0xfeff),
        (0xffa0, 0xffa0),
        (0xfff0, 0xfffb),
        (0x110bd, 0x110bd),
        (0x13430, 0x1343f),
        (0x1bca0, 0x1bca3),
        (0x1d173, 0x1d17a),
        (0xe0000, 0xe0fff),
    ];
    let point = u32::from(c);
    let is_noncharacter = point & 0xfffe == 0xfffe;
    let at = RANGES.partition_point(|(_, last)| *last < point);
    is_noncharacter || RANGES.get(at).is_some_and(|(first, _)| *first <= point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_printable() {
        for text in [
            "",
            "107083064136738",
            "Ana Lúcia",
            "نادي",
            "ไทย",
            "हिन्दी",
            "e\u{301}",
            "order-17 ✓ 🎉",
        ] {
            assert!(is_printable(text), "{text}");
        }
    }

    #[test]
    fn what_nobody_sees_is_not() {
        for c in [
            '\0',
            '\n',
            '\t',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2028}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffff}',
            '\u{e0041}',
        ] {
            assert!(!is_printable(&format!("1{c}2")), "U+{:04X}", u32::from(c));
            assert!(is_blank(&format!(" {c} ")), "U+{:04X}", u32::from(c));
        }
        assert!(!is_printable(" 12") && !is_printable("12 ") && !is_printable(" "));
        assert!(is_blank("") && !is_blank(" . "));
    }

    #[test]
    fn a_text_may_have_lines_and_no_other_control_character() {
        assert!(!has_control("Dear all,\r\n\tyour table is ready.\n"));
        for c in ['\0', '\u{1b}', '\u{7f}', '\u{9b}'] {
            assert!(has_control(&format!("a{c}b")));
        }
    }
}
