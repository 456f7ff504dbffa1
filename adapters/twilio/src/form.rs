//! Forms as Twilio writes and reads them: `application/x-www-form-urlencoded`, names that may repeat.

use std::borrow::Cow;

use url::form_urlencoded::{Serializer, parse};

/// The content type of a form.
pub(crate) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Fields, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    /// The fields of a body or a query. What is no UTF-8 is read as U+FFFD, an escape that is none as it stands.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Form(parse(text).collect())
    }

    /// The first field of that name, if it holds anything.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(&**value).filter(|value| !value.is_empty())
    }

    /// Names and values by name and then by value, each pair once.
    pub(crate) fn sorted(&self) -> Vec<(&str, &str)> {
        let mut fields: Vec<_> = self.0.iter().map(|(name, value)| (&**name, &**value)).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }
}

/// Fields as they are posted.
pub(crate) fn encoded(fields: &[(&str, String)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}
