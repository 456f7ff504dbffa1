//! An error as gRPC tells it: a status with `google.rpc` details.
//!
//! `ErrorInfo` has the stable reason, `BadRequest` the violations, `RetryInfo` when to ask again.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::api::{Error, ErrorReason};

/// The domain of every `ErrorInfo`.
pub(super) const DOMAIN: &str = "dispatch";

/// How many violations a status names: it travels in a trailer, and clients take about 16 KiB.
const VIOLATIONS_MOST: usize = 40;

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        error.log();
        let subject = error.subject().map(|(name, value)| (name.to_owned(), value));
        let metadata = subject.into_iter().collect::<HashMap<_, _>>();
        let reason = error.reason();
        let mut details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, metadata);
        let told = error.violations().iter().take(VIOLATIONS_MOST);
        let told: Vec<_> = told
            .map(|it| FieldViolation::new(it.field.to_string(), it.wanted.to_string()))
            .collect();
        if !told.is_empty() {
            details.set_bad_request(told);
        }
        if let Some(delay) = error.retry_after() {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(reason.code(), error.message(), details)
    }
}

/// The status of a request that could not be read: `field` is a name that the decoder gave.
pub(super) fn unreadable(field: &str, wanted: &str) -> Status {
    let reason = ErrorReason::InvalidRequest.as_str();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    details.set_bad_request(vec![FieldViolation::new(field, wanted)]);
    let message = format!("{field}: {wanted}");
    Status::with_error_details(Code::InvalidArgument, message, details)
}
