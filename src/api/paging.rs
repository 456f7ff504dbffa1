//! Pages of lists: one rule for all of them, as the conventions in service.proto say it.

use prost::{Message, Name};

use super::{
    Error,
    token::{List, PAGE_WANTED, Tokens},
};

/// How many entries a page of a list has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSize {
    /// Where no number is asked for.
    pub(crate) usual: usize,
    /// At most, whatever is asked for.
    pub(crate) most: usize,
}

impl PageSize {
    /// Of workflows and callbacks.
    pub(crate) const OF_MANY: PageSize = PageSize { usual: 50, most: 500 };
    /// Of keys, audit entries, scripts and sent messages, which are small.
    pub(crate) const OF_SMALL: PageSize = PageSize { usual: 100, most: 1000 };
    /// Of applications and external accounts, each of which costs a read.
    pub(crate) const OF_FEW: PageSize = PageSize { usual: 20, most: 100 };

    /// The size that a request asks for in its `page_size`.
    ///
    /// # Errors
    /// If it is negative.
    pub(crate) fn of(self, asked: i32) -> Result<usize, Error> {
        let PageSize { usual, most } = self;
        match usize::try_from(asked) {
            Ok(0) => Ok(usual),
            Ok(size) => Ok(size.min(most)),
            Err(_) => {
                let wanted = format!("must be 0 (the usual {usual}) or 1 to {most}");
                Err(Error::invalid("page_size", wanted))
            }
        }
    }
}

/// The tokens of one list.
pub(crate) struct Pages {
    tokens: Tokens,
    list: List,
}

impl Pages {
    /// Of the list that `audience` asks for with `filter`: the request without its page size and token.
    pub(crate) fn of<R: Message + Name>(tokens: Tokens, audience: &str, filter: &R) -> Pages {
        Pages { tokens, list: List::of(audience, filter) }
    }

    /// Behind what the page begins, as `read` reads it from a token of ours; `None` for the first page.
    ///
    /// # Errors
    /// If the token is none of this list.
    pub(crate) fn after<T>(
        &self,
        token: &str,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let wrong = |wanted| Error::invalid("page_token", wanted);
        let place = self.tokens.place(&self.list, token).map_err(wrong)?;
        place.map(|place| read(&place).ok_or_else(|| wrong(PAGE_WANTED))).transpose()
    }

    /// The token of the page behind `last`; empty if there is none.
    pub(crate) fn next(&self, last: Option<impl AsRef<[u8]>>) -> String {
        last.map_or(String::new(), |last| self.tokens.page(&self.list, last.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_the_usual_one_too_large_a_one_the_most_and_a_negative_one_is_refused() {
        let size = PageSize { usual: 20, most: 100 };
        let cases = [(0, Some(20)), (1, Some(1)), (100, Some(100)), (101, Some(100)), (-1, None)];
        for (asked, wanted) in cases {
            assert_eq!(size.of(asked).ok(), wanted, "{asked}");
        }
        assert_eq!(size.of(i32::MAX).ok(), Some(100));
        assert!(size.of(i32::MIN).is_err());
    }
}
