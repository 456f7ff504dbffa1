//! Who asks over REST, and whether they may.

use axum::http::{HeaderMap, StatusCode, header};

use super::{Problem, Rest};
use crate::access::{Caller, Denied, Scope};

/// Whoever sent a request with these headers, if they may do what `scope` says.
///
/// # Errors
/// 401, 403 or 429, in the old API's words.
pub(super) fn caller(rest: &Rest, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
    let given = headers.get(header::AUTHORIZATION);
    // One that is no text is a wrong one, and not a missing one.
    let given = given.map(|value| value.to_str().unwrap_or(""));
    let caller = rest.access.authenticate(given, rest.engine.clock().wall()).map_err(denied)?;
    if caller.may(scope) { Ok(caller) } else { Err(denied(Denied::Forbidden(scope))) }
}

fn denied(denied: Denied) -> Problem {
    let unauthorized = |detail: String| {
        let kind = "https://developer.nexmo.com/api-errors#unauthorized";
        Problem::new(StatusCode::UNAUTHORIZED, kind, "Invalid credentials supplied", detail)
    };
    match denied {
        Denied::Missing => unauthorized(
            "You did not provide credentials; send Authorization: Basic or Bearer".to_owned(),
        ),
        Denied::Invalid(why) => {
            unauthorized(format!("You did not provide correct credentials: {why}"))
        }
        Denied::Forbidden(scope) => Problem::new(
            StatusCode::FORBIDDEN,
            "https://developer.nexmo.com/api-errors#forbidden",
            "Forbidden",
            format!("These credentials lack the right: {}", scope.as_str()),
        ),
        Denied::TooMany { retry_after_ms } => Problem {
            retry_after_s: Some(retry_after_ms.div_ceil(1000).max(1)),
            ..Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "https://developer.nexmo.com/api-errors#throttled",
                "Rate Limit Hit",
                "Please wait, then retry your request".to_owned(),
            )
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_let_in_is_told_why_in_the_old_words() {
        let cases = [
            (Denied::Missing, 401, "#unauthorized", None),
            (Denied::Invalid("the token has expired"), 401, "#unauthorized", None),
            (Denied::Forbidden(Scope::Admin), 403, "#forbidden", None),
            (Denied::TooMany { retry_after_ms: 1 }, 429, "#throttled", Some(1)),
        ];
        for (given, status, kind, retry_after_s) in cases {
            let problem = denied(given);
            assert_eq!(problem.status.as_u16(), status);
            assert!(problem.kind.ends_with(kind), "{problem:?}");
            assert_eq!(problem.retry_after_s, retry_after_s);
        }
    }
}
