//! Update masks: which fields of a resource an update changes.

use prost_types::FieldMask;

use super::{Error, FieldAt};

/// The fields that a mask names.
#[derive(Debug)]
pub(crate) struct Mask(Vec<String>);

impl Mask {
    /// Reads the `update_mask` of a request that can change the fields `known`.
    ///
    /// # Errors
    /// If it names nothing, or something else.
    pub(crate) fn parse(given: Option<FieldMask>, known: &[&str]) -> Result<Mask, Error> {
        let paths = given.unwrap_or_default().paths;
        if paths.is_empty() {
            let wanted = format!("must name what is to change: of {}", known.join(", "));
            return Err(Error::invalid("update_mask", wanted));
        }
        if let Some(index) = paths.iter().position(|path| !known.contains(&path.as_str())) {
            let wanted = format!("must be one of {}", known.join(", "));
            return Err(Error::invalid(
                FieldAt::of("update_mask").key("paths").index(index),
                wanted,
            ));
        }
        Ok(Mask(paths))
    }

    /// Whether it names this very field.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|path| path == field)
    }
}
