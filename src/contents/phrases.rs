//! A short text as numbers of phrases: what is sealed is encrypted each by itself, so nothing of it is ever like another.
//!
//! A fixed table of 255 phrases, of one to eight bytes; a text is cut into them from its beginning, the longest that
//! fits each time, and each is one byte. What no phrase begins with is [`LITERAL`] and the byte itself. The table was trained on
//! what services write to people, in six languages, with the form of stored contents around it; FSST (Boncz, Neumann,
//! Leis: VLDB 2020) found the phrases. It is part of the store's format: it never changes, another would be another
//! packing.

use std::sync::LazyLock;

/// Before a byte that stands for itself.
const LITERAL: u8 = 255;
/// The longest phrase, in bytes.
const LONGEST: usize = size_of::<u64>();

/// A phrase's number is its place here.
#[rustfmt::skip]
const PHRASES: [&[u8]; 255] = [
    b"\0", b"\x01", b"\x02", b"\x0b", b"\x0c", b" ", b"!", b"%", b"'", b"(", b",", b"-", b".",
    b"/", b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b":", b";", b"=", b"?", b"@",
    b"A", b"B", b"C", b"D", b"E", b"F", b"G", b"H", b"I", b"J", b"K", b"L", b"M", b"N", b"O", b"P",
    b"R", b"S", b"T", b"U", b"V", b"W", b"X", b"Y", b"_", b"a", b"b", b"c", b"d", b"e", b"f", b"g",
    b"h", b"i", b"j", b"k", b"l", b"m", b"n", b"o", b"p", b"q", b"r", b"s", b"t", b"u", b"v", b"w",
    b"x", b"y", b"z", b"\xa0", b"\xa1", b"\xa3", b"\xa9", b"\xb1", b"\xc3", b"\0\x01", b" a",
    b" c", b" d", b" o", b" p", b" w", b". ", b"03", b"04", b"06", b"08", b"09", b"10", b"11",
    b"12", b"13", b"17", b"18", b"19", b"20", b"32", b"34", b"35", b"39", b"41", b"44", b"49",
    b"50", b"52", b"53", b"54", b"55", b"56", b"58", b"59", b"64", b"80", b"86", b"87", b"90",
    b"91", b"92", b"93", b"96", b": ", b"Re", b"a ", b"an", b"ar", b"at", b"be", b"ca", b"ce",
    b"co", b"d ", b"da", b"de", b"e ", b"ed", b"en", b"es", b"ex", b"f ", b"ge", b"ha", b"hi",
    b"ic", b"ie", b"il", b"it", b"l ", b"la", b"le", b"li", b"me", b"n ", b"ne", b"nt", b"o ",
    b"of", b"on", b"or", b"ou", b"pa", b"pe", b"pl", b"pp", b"r ", b"ra", b"re", b"s ", b"se",
    b"ss", b"st", b"t ", b"te", b"ti", b"tr", b"un", b"ur", b"us", b"ve", b"wa", b"wi", b"y ",
    b"\x01\x01\x0c", b"\x02\0\x10", b" re", b"We ", b"ack", b"as ", b"at ", b"can", b"com", b"de ",
    b"der", b"ed ", b"en ", b"er ", b"ice", b"in ", b"is ", b"it ", b"ith", b"min", b"on ", b"ond",
    b"ow ", b"ple", b"r c", b"r t", b"re ", b"the", b"to ", b"use", b"ver", b"wil", b"you",
    b" at ", b" is ", b" to ", b" you", b".\0\x01\x0c", b"The ", b"ase ", b"ed. ", b"ing ",
    b"ment", b"new ", b"not ", b"was ", b" for ", b". Ple", b"Your ", b"call ", b"code ", b"e you",
    b"from ", b"oday.", b"order", b"tion ", b" from ", b"a new ", b"bring ", b"Please ",
    b"confirm", b"ook for", b"has been",
];

/// The phrases, as a text is cut into them.
static LOOKUP: LazyLock<Lookup> = LazyLock::new(Lookup::of_phrases);

struct Lookup {
    /// Where the phrases stand that begin with two bytes, by those: few do with any two.
    by_first_two: Vec<std::ops::Range<u16>>,
    /// Those of two bytes and more, by their first two, the longest first.
    longer: Vec<KnownPhrase>,
    /// The number of the phrase that is one byte.
    single: [Option<u8>; 256],
}

impl Lookup {
    fn of_phrases() -> Lookup {
        let (mut longer, mut single) = (Vec::new(), [None; 256]);
        for (number, bytes) in PHRASES.iter().enumerate() {
            match bytes {
                [byte] => single[usize::from(*byte)] = Some(number as u8),
                _ => longer.push(KnownPhrase::of(bytes, number as u8)),
            }
        }
        longer.sort_by_key(|phrase| (first_two(phrase.word), std::cmp::Reverse(phrase.length)));
        let mut by_first_two = vec![0..0; 1 << 16];
        for (at, phrase) in (0..).zip(&longer) {
            let range = &mut by_first_two[first_two(phrase.word)];
            let is_first = range.start == range.end;
            let begin = if is_first { at } else { range.start };
            *range = begin..at + 1;
        }
        Lookup { by_first_two, longer, single }
    }

    /// The longest phrase that `rest` begins with, and its length.
    fn longest(&self, rest: &[u8]) -> Option<(u8, usize)> {
        let word = word_at(rest);
        let std::ops::Range { start, end } = self.by_first_two[first_two(word)];
        let candidates = &self.longer[usize::from(start)..usize::from(end)];
        let fits = |phrase: &&KnownPhrase| {
            phrase.length <= rest.len() && word & phrase.mask == phrase.word
        };
        match candidates.iter().find(fits) {
            Some(phrase) => Some((phrase.number, phrase.length)),
            None => self.single[usize::from(*rest.first()?)].map(|number| (number, 1)),
        }
    }
}

fn first_two(word: u64) -> usize {
    (word & 0xffff) as usize
}

struct KnownPhrase {
    /// Its bytes, and zeros.
    word: u64,
    /// Of the bytes that are its own.
    mask: u64,
    length: usize,
    number: u8,
}

impl KnownPhrase {
    fn of(bytes: &[u8], number: u8) -> KnownPhrase {
        let mask = u64::MAX >> (8 * (LONGEST - bytes.len()));
        KnownPhrase { word: word_at(bytes), mask, length: bytes.len(), number }
    }
}

/// The first eight bytes; zeros where there are fewer.
fn word_at(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => {
            let mut word = [0; LONGEST];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        }
    }
}

/// Writes a text in phrases, behind what is there already.
pub(super) fn write(text: &[u8], into: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(first) = rest.first() {
        match LOOKUP.longest(rest) {
            Some((number, length)) => {
                into.push(number);
                rest = &rest[length..];
            }
            None => {
                into.extend([LITERAL, *first]);
                rest = &rest[1..];
            }
        }
    }
}

/// The text that was written so; `None` if none was, or it is longer than `most` bytes.
pub(super) fn read(written: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(written.len().saturating_mul(2).min(most));
    let mut rest = written.iter();
    while let Some(number) = rest.next() {
        match *number {
            LITERAL => text.push(*rest.next()?),
            number => text.extend_from_slice(PHRASES.get(usize::from(number))?),
        }
        if text.len() > most {
            return None;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &[u8]) -> Vec<u8> {
        let mut written = Vec::new();
        write(text, &mut written);
        written
    }

    /// What is stored is read with this very table, for as long as there are stores.
    #[test]
    fn the_table_is_the_one_that_stores_are_written_with() {
        let mut sum = crc32fast::Hasher::new();
        for phrase in PHRASES {
            sum.update(&[phrase.len() as u8]);
            sum.update(phrase);
        }
        assert_eq!(sum.finalize(), 4_091_291_741);
    }

    #[test]
    fn what_services_write_takes_less_room() {
        for (text, most) in [
            ("Your code is 412907. Do not share it with anyone.", 28),
            ("Your parcel is at the post office until Friday, 18:00. Reply STOP to opt out.", 45),
            ("Seu pedido foi enviado e chega na sexta-feira. Obrigado!", 45),
        ] {
            let length = written(text.as_bytes()).len();
            assert!(length <= most, "{text}: {length}");
        }
    }

    #[test]
    fn what_is_no_text_in_phrases_is_none() {
        assert_eq!(read(&[LITERAL], 100), None);
        assert_eq!(read(&[0; 10], 9), None);
        assert_eq!(read(&[], 0), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(read(&written(&text), text.len()), Some(text));
        }

        #[test]
        fn every_sentence_comes_back(text in "[a-zA-Z0-9 ,.:?é\0]{0,200}") {
            let text = text.into_bytes();
            let written = written(&text);
            prop_assert!(written.len() <= 2 * text.len());
            prop_assert_eq!(read(&written, text.len()), Some(text));
        }
    }
}
