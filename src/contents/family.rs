//! What a key is of.

use std::fmt;

/// What a key is of. Each family has files of its own, and counts its slots by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// One workflow's contents.
    Workflow,
    /// One opt-out's recipient.
    OptOut,
    /// One inbound message.
    Inbound,
    /// One day's hashes of conversations.
    Day,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 4] = [Family::Workflow, Family::OptOut, Family::Inbound, Family::Day];

    /// As files and what is sealed name it.
    pub(super) fn letter(self) -> char {
        match self {
            Family::Workflow => 'w',
            Family::OptOut => 'o',
            Family::Inbound => 'i',
            Family::Day => 'd',
        }
    }

    /// Where it stands in [`Family::ALL`].
    pub(super) fn position(self) -> usize {
        match self {
            Family::Workflow => 0,
            Family::OptOut => 1,
            Family::Inbound => 2,
            Family::Day => 3,
        }
    }

    /// How the file of a segment is called.
    pub fn file_name(self, segment: u32) -> String {
        format!("{}.{segment:08}", self.letter())
    }

    /// Which segment a file holds, if its name is that of one.
    pub(super) fn of_file_name(name: &str) -> Option<(Family, u32)> {
        let (letter, number) = name.split_once('.')?;
        let family = Family::ALL.into_iter().find(|it| letter == it.letter().to_string())?;
        let segment = number.parse().ok()?;
        (family.file_name(segment) == name).then_some((family, segment))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Workflow => "workflows",
            Family::OptOut => "opt-outs",
            Family::Inbound => "inbound messages",
            Family::Day => "days",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_tells_its_family_and_number_and_nothing_else_is_one() {
        for family in Family::ALL {
            assert_eq!(Family::ALL[family.position()], family);
            for segment in [0, 42, 99_999_999, u32::MAX] {
                let name = family.file_name(segment);
                assert_eq!(Family::of_file_name(&name), Some((family, segment)));
            }
        }
        for none in ["index", "w.1", "w.00000001.new", "x.00000001", "w.+0000001", "w", ".", ""] {
            assert_eq!(Family::of_file_name(none), None, "{none}");
        }
    }
}
