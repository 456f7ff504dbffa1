//! Requests that never reached their service: too large, or not what the method reads.
//!
//! Such calls are ended by the transport, with codes and texts of its own and without details: a text
//! that is not UTF-8 would be INTERNAL, as if it were this service's fault. Here they are told as every
//! other refusal is. Whatever a service answered by itself carries details, and is let through.

use std::{
    collections::HashMap,
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::Map};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};
use tonic_types::{ErrorDetails, StatusExt};

use super::status::{DOMAIN, unreadable};

/// The largest request taken, in MiB; compressed ones as they are when they are unpacked.
pub(crate) const MOST_MIB: usize = 4;

const DETAILS: &str = "grpc-status-details-bin";

/// A service whose unread requests are refused in this service's words.
#[derive(Clone, Debug)]
pub struct Explained<S>(pub S);

type TransportResult = Result<http::Response<Body>, Infallible>;

impl<S, B> Service<http::Request<B>> for Explained<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Map<S::Future, fn(TransportResult) -> TransportResult>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.0.call(request).map(explained)
    }
}

impl<S: NamedService> NamedService for Explained<S> {
    const NAME: &'static str = S::NAME;
}

fn explained(answer: TransportResult) -> TransportResult {
    answer.map(|response| {
        let headers = response.headers();
        // Refused before anything was answered: all that there is stands in the headers.
        if headers.contains_key(DETAILS) {
            return response;
        }
        match Status::from_header_map(headers).and_then(|status| told(&status)) {
            Some(status) => status.into_http(),
            None => response,
        }
    })
}

/// What the transport's status is about; `None` where its own words will do.
fn told(status: &Status) -> Option<Status> {
    let message = status.message();
    let is_too_large = match status.code() {
        Code::OutOfRange => message.contains("message length too large"),
        Code::ResourceExhausted => message.contains("size limit"),
        _ => false,
    };
    if is_too_large {
        let details = ErrorDetails::with_error_info("REQUEST_TOO_LARGE", DOMAIN, HashMap::new());
        let wanted = format!("a request must have at most {MOST_MIB} MiB; a batch may be split");
        return Some(Status::with_error_details(Code::ResourceExhausted, wanted, details));
    }
    if status.code() != Code::Internal {
        return None;
    }
    if let Some(why) = message.strip_prefix("failed to decode Protobuf message: ") {
        return Some(undecoded(why));
    }
    let wrong = if message.starts_with("Error decompressing") {
        "is not what its grpc-encoding says: it could not be unpacked"
    } else if message.starts_with("Unexpected EOF") {
        "ends before its message does"
    } else if message.starts_with("Missing request message") {
        "must hold a message"
    } else {
        return None;
    };
    Some(unreadable("request", wrong))
}

/// Which field could not be read, from the innermost place outwards: `Address.id: Step.recipient: what`.
fn undecoded(why: &str) -> Status {
    let mut places: Vec<_> = why.split(": ").collect();
    let mut path: Vec<&str> = Vec::new();
    while let Some((message, field)) = places.first().and_then(|place| place.split_once('.')) {
        if !message.chars().all(char::is_alphanumeric) {
            break;
        }
        path.insert(0, field);
        places.remove(0);
    }
    // As paths of workflows stand everywhere else.
    let path = path.join(".");
    let field = path.strip_prefix("workflow.").unwrap_or(&path);
    let field = if field.is_empty() { "request" } else { field };
    let wanted = match places.first() {
        Some(what) if what.starts_with("invalid string value") => "must be text in UTF-8",
        Some(what) if what.starts_with("recursion limit") => "is nested too deep",
        Some(_) | None => {
            "is not encoded as this method's message is; see the service's proto files"
        }
    };
    unreadable(field, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_cannot_be_read_is_named_from_the_outside() {
        for (why, told) in [
            (
                "Address.endpoint: Step.recipient: WorkflowSpec.steps: CreateWorkflowRequest.workflow: invalid \
                 string value: data is not UTF-8 encoded",
                "steps.recipient.endpoint: must be text in UTF-8",
            ),
            ("invalid varint", "request: is not encoded as this method's message is"),
            ("GetWorkflowRequest.id: buffer underflow", "id: is not encoded as"),
        ] {
            let status = undecoded(why);
            let message = status.message();
            assert!(message.starts_with(told), "{message}");
        }
    }

    #[test]
    fn what_has_words_of_its_own_keeps_them() {
        for (code, message) in [
            (Code::Internal, "the store could not be read"),
            (Code::OutOfRange, "this resume token is past retention"),
            (Code::ResourceExhausted, "too busy"),
            (Code::Unimplemented, "Content is compressed with `br` which isn't supported"),
        ] {
            assert!(told(&Status::new(code, message)).is_none(), "{message}");
        }
    }
}
