//! Calls to an adapter: by what it knows us, and what one means that failed.

use std::{error::Error, time::Duration};

use dispatch_contract::{AdapterError, Cause, ErrorKind, Fault, Retry};
use dispatch_kit::connect;
use tonic::{
    Code, ConnectError, Request, Status, TimeoutExpired,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// Puts the token into each call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// With what stands in `authorization`, which was found to be ASCII.
    pub(crate) fn of(authorization: Option<String>) -> Bearer {
        Bearer(authorization.and_then(|text| {
            let mut value: MetadataValue<Ascii> = text.parse().ok()?;
            value.set_sensitive(true);
            Some(value)
        }))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Why a call to an adapter failed.
pub(crate) struct CallProblem {
    /// Half a sentence, without anything that the adapter wrote: that may be personal.
    pub(crate) why: String,
    /// Why no connection came about, if that is it: then nothing left.
    pub(crate) cause: Option<Cause>,
    kind: ErrorKind,
    is_certain: bool,
    /// There was a connection, and it broke.
    is_lost: bool,
}

impl CallProblem {
    /// What a status means: whether the call may have been processed.
    pub(crate) fn of(status: &Status) -> CallProblem {
        if within_it::<TimeoutExpired>(status).is_some() {
            return CallProblem::late();
        }
        if let Some(error) = within_it::<ConnectError>(status) {
            let cause = connect::cause_of(error).unwrap_or(Cause::Other);
            let why = cause.in_words().to_owned();
            let kind = ErrorKind::Unreachable;
            let cause = Some(cause);
            return CallProblem { why, cause, kind, is_certain: true, is_lost: false };
        }
        let mut is_lost = false;
        let (why, kind, is_certain) = match status.code() {
            Code::Unauthenticated => {
                ("it does not know our token".to_owned(), ErrorKind::Unauthorized, true)
            }
            // That one was made here, of an answer: the call was processed.
            Code::Unimplemented if status.metadata().contains_key("grpc-accept-encoding") => {
                ("its answer is compressed".to_owned(), ErrorKind::ProviderFailure, false)
            }
            Code::Unimplemented => {
                ("it has no such call".to_owned(), ErrorKind::ProviderFailure, true)
            }
            Code::DeadlineExceeded => return CallProblem::late(),
            _ if status.source().is_some() => {
                is_lost = true;
                ("the connection was lost".to_owned(), ErrorKind::ProviderFailure, false)
            }
            // Nobody here cancels a call: a server does, that keeps to the deadline itself.
            Code::Cancelled => return CallProblem::late(),
            code => (format!("it failed with {code:?}"), ErrorKind::ProviderFailure, false),
        };
        CallProblem { why, cause: None, kind, is_certain, is_lost }
    }

    /// No answer came in time.
    pub(crate) fn late() -> CallProblem {
        let why = "no answer came in time".to_owned();
        let kind = ErrorKind::Timeout;
        CallProblem { why, cause: None, kind, is_certain: false, is_lost: false }
    }

    /// It cannot be dialled at all.
    pub(crate) fn unusable(why: String) -> CallProblem {
        let kind = ErrorKind::Unreachable;
        CallProblem { why, cause: None, kind, is_certain: true, is_lost: false }
    }

    /// No answer came in time.
    pub(crate) fn is_late(&self) -> bool {
        self.kind == ErrorKind::Timeout
    }

    /// Whether nobody can be there as it is: worth asking at once whether it is down.
    pub(crate) fn may_mean_down(&self) -> bool {
        self.cause.is_some() || self.is_late() || self.is_lost
    }

    /// The same for whoever sent: made again where it certainly was not processed.
    pub(crate) fn error(&self, name: &str) -> AdapterError {
        let retry = match self.is_certain {
            true => Retry::Temporary { after: None },
            false => Retry::Unknown,
        };
        let detail = format!("adapter {name}: {}", self.why);
        let error = AdapterError::new(self.kind, Fault::Provider, retry, detail);
        match self.cause {
            Some(cause) => error.with_cause(cause),
            None => error,
        }
    }
}

/// The error of this kind in a status, if it is that.
fn within_it<E: Error + 'static>(status: &Status) -> Option<&(dyn Error + 'static)> {
    let mut next = status.source();
    while let Some(error) = next {
        if error.is::<E>() {
            return Some(error);
        }
        next = error.source();
    }
    None
}

/// Ends a call when it has to, whatever the other side does.
pub(crate) async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, CallProblem> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(CallProblem::of(&status)),
        Err(_) => Err(CallProblem::late()),
    }
}

/// A request with its deadline.
pub(crate) fn request<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}
