//! From accounts, and refusals, to the JSON of the old External Accounts API.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use dispatch_contract::{Channel, Secret};
use serde_json::{Value, json};

use crate::{
    access::ExternalAccount,
    rest::{
        Problem,
        request::{Faults, JsonAnswer},
    },
};

/// An account; `token` is what is shown of its token.
pub(super) fn account(account: &ExternalAccount, token: Option<&Secret>) -> Value {
    let applications: Vec<_> = account.link.application().iter().map(ToString::to_string).collect();
    let mut shown = json!({
        "external_id": account.external_id.as_str(),
        // The old API's customers were known by their key; here they are tenants.
        "api_key": account.tenant,
        "provider": account.channel.as_str(),
        "name": account.name,
        "applications": applications,
    });
    if let Some(token) = token {
        shown["access_token"] = Value::from(token.expose());
    }
    shown
}

/// A page of accounts, of `total` in all.
pub(super) fn page(
    shown: Vec<Value>,
    total: usize,
    page: usize,
    size: usize,
    channel: Option<&Channel>,
) -> Value {
    let only = channel.map_or(String::new(), |it| format!("provider={it}&"));
    let link = |page: usize| {
        let query = format!("{only}page_number={page}&page_size={size}");
        json!({ "href": format!("/beta/chatapp-accounts?{query}") })
    };
    let last = total.div_ceil(size).max(1);
    let mut links = json!({ "self": link(page), "first": link(1), "last": link(last) });
    if page > 1 {
        links["prev"] = link(page - 1);
    }
    if page < last {
        links["next"] = link(page + 1);
    }
    json!({ "page_number": page, "page_size": size, "_embedded": shown, "_links": links })
}

/// A refusal in this API's own form: the list is called `invalid_params`, and who may not ask is told
/// so without a `type`.
#[derive(Debug)]
pub(super) struct AccountProblem(Problem);

impl AccountProblem {
    /// Of a request with these faults.
    pub(super) fn invalid(faults: Faults) -> Self {
        let kind = "https://www.nexmo.com/messages/Errors#InvalidParams";
        let title = "Your request parameters didn't validate.";
        let count = faults.0.len();
        let detail = format!("Found errors validating {count} of your submitted parameters.");
        let problem = Problem::new(StatusCode::BAD_REQUEST, kind, title, detail);
        AccountProblem(Problem { invalid_parameters: faults.0, ..problem })
    }
}

impl From<Problem> for AccountProblem {
    fn from(problem: Problem) -> Self {
        AccountProblem(problem)
    }
}

impl IntoResponse for AccountProblem {
    fn into_response(self) -> Response {
        let Problem { status, kind, title, detail, instance, invalid_parameters, retry_after_s } =
            self.0;
        let mut body = match status {
            StatusCode::UNAUTHORIZED => json!({ "title": "Unauthorised", "detail": detail }),
            _ => json!({ "type": kind, "title": title, "detail": detail, "instance": instance }),
        };
        if !invalid_parameters.is_empty() {
            body["invalid_params"] = json!(invalid_parameters);
        }
        let mut response = JsonAnswer(status, body).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
