//! Paths in our own API, taken apart for the old ones.

/// A place in a step.
pub(super) struct StepPath<'a> {
    /// Its index.
    pub(super) index: usize,
    /// The path within it; empty for the step itself.
    pub(super) rest: &'a str,
}

/// `steps[1].recipient.channel` is `to.channel` of step 1; `None` if it is no path into a step.
pub(super) fn step(field: &str) -> Option<StepPath<'_>> {
    let (index, rest) = field.strip_prefix("steps[")?.split_once(']')?;
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    Some(StepPath { index: index.parse().ok()?, rest })
}

/// Whether `path` is `key` or a place within it.
pub(super) fn begins(path: &str, key: &str) -> bool {
    path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
