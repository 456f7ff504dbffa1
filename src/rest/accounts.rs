//! `/beta/chatapp-accounts`, as the old External Accounts API had it.
//!
//! Beyond it, accounts of Viber and WhatsApp are created, changed and deleted here as those of
//! Messenger are: there is nobody else to do it. So are those on channels whose providers take them.

mod parse;
mod render;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, request::Parts},
    routing::{delete, get, post},
};
use dispatch_contract::{Channel, Secret};
use uuid::Uuid;

use self::render::AccountProblem;
use super::{
    Problem, Rest,
    caller::caller,
    request::{Faults, JsonAnswer, beside, number, object, query},
};
use crate::{
    access::{AccountError, AccountToken, Accounts, Caller, ExternalAccount},
    api::Error,
};

/// The page size when none is asked for, and the largest.
const PAGE_USUAL: usize = 20;
const PAGE_MOST: usize = 100;

/// The paths.
pub(super) fn routes() -> Router<Arc<Rest>> {
    let all = get(list);
    let one = get(show).patch(update).delete(remove);
    Router::new()
        .route("/beta/chatapp-accounts", all.clone())
        .route("/beta/chatapp-accounts/", all)
        .route("/beta/chatapp-accounts/{provider}", post(create))
        .route("/beta/chatapp-accounts/{provider}/{external_id}", one)
        .route("/beta/chatapp-accounts/{provider}/{external_id}/applications", post(link))
        .route(
            "/beta/chatapp-accounts/{provider}/{external_id}/applications/{application}",
            delete(unlink),
        )
}

async fn list(State(rest): State<Arc<Rest>>, head: Parts) -> Result<JsonAnswer, AccountProblem> {
    let caller = caller(&rest, &head)?;
    let (query, mut faults) = (query(&head.uri), Faults::default());
    let size = number(&query, "page_size", PAGE_USUAL, PAGE_MOST, &mut faults);
    let page = number(&query, "page_number", 1, usize::MAX, &mut faults);
    let channel = query.get("provider").and_then(|name| {
        let found = rest.accounts.channel(name);
        found.map_err(|wanted| faults.add("provider", wanted)).ok()
    });
    if !faults.0.is_empty() {
        return Err(AccountProblem::invalid(faults));
    }
    let all = rest.accounts.list(&caller.tenant, channel.as_ref());
    let behind = size.saturating_mul(page - 1);
    let shown = all.iter().skip(behind).take(size).map(|account| rest.shown(account));
    let shown = shown.collect::<Result<Vec<_>, _>>()?;
    Ok(JsonAnswer(StatusCode::OK, render::page(shown, all.len(), page, size, channel.as_ref())))
}

async fn create(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path(provider): Path<String>,
    body: Body,
) -> Result<JsonAnswer, AccountProblem> {
    let caller = caller(&rest, &head)?;
    let channel = rest.channel(&provider)?;
    let body = object(&head.headers, body, rest.body_timeout).await?;
    let new = parse::new(channel, &body).map_err(AccountProblem::invalid)?;
    let now = rest.engine.clock().wall();
    let id = new.external_id.as_str().to_owned();
    let create = move |accounts: &Accounts, tenant: &str| accounts.create(tenant, new, now);
    let account = change(&rest, caller, "account.created", id, create).await?;
    Ok(JsonAnswer(StatusCode::CREATED, rest.shown(&account)?))
}

async fn show(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path((provider, id)): Path<(String, String)>,
) -> Result<JsonAnswer, AccountProblem> {
    let caller = caller(&rest, &head)?;
    let channel = rest.channel(&provider)?;
    let account = rest.accounts.get(&caller.tenant, &channel, &id).map_err(refused)?;
    Ok(JsonAnswer(StatusCode::OK, rest.shown(&account)?))
}

async fn update(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path((provider, id)): Path<(String, String)>,
    body: Body,
) -> Result<JsonAnswer, AccountProblem> {
    let caller = caller(&rest, &head)?;
    let channel = rest.channel(&provider)?;
    let body = object(&head.headers, body, rest.body_timeout).await?;
    let fixed = [
        ("external_id", id.as_str()),
        ("provider", channel.as_str()),
        ("api_key", &*caller.tenant),
    ];
    let wanted = parse::change(&body, fixed).map_err(AccountProblem::invalid)?;
    let of = id.clone();
    let update =
        move |accounts: &Accounts, tenant: &str| accounts.update(tenant, &channel, &of, wanted);
    let change = change(&rest, caller, "account.updated", id, update);
    Ok(JsonAnswer(StatusCode::OK, rest.shown(&change.await?)?))
}

async fn remove(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path((provider, id)): Path<(String, String)>,
) -> Result<StatusCode, AccountProblem> {
    let caller = caller(&rest, &head)?;
    let channel = rest.channel(&provider)?;
    let of = id.clone();
    let delete = move |accounts: &Accounts, tenant: &str| accounts.delete(tenant, &channel, &of);
    change(&rest, caller, "account.deleted", id, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn link(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path((provider, id)): Path<(String, String)>,
    body: Body,
) -> Result<JsonAnswer, AccountProblem> {
    let caller = caller(&rest, &head)?;
    let channel = rest.channel(&provider)?;
    let body = object(&head.headers, body, rest.body_timeout).await?;
    let application = parse::link(&body).map_err(AccountProblem::invalid)?;
    let of = id.clone();
    let link =
        move |accounts: &Accounts, tenant: &str| accounts.link(tenant, &channel, &of, application);
    let link = change(&rest, caller, "account.linked", id, link);
    Ok(JsonAnswer(StatusCode::OK, rest.shown(&link.await?)?))
}

async fn unlink(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path((provider, id, application)): Path<(String, String, String)>,
) -> Result<StatusCode, AccountProblem> {
    let caller = caller(&rest, &head)?;
    let channel = rest.channel(&provider)?;
    // What is no id is linked to nothing.
    let application =
        Uuid::try_parse(&application).map_err(|_| refused(AccountError::NotLinked))?;
    let of = id.clone();
    let unlink = move |accounts: &Accounts, tenant: &str| {
        accounts.unlink(tenant, &channel, &of, application)
    };
    change(&rest, caller, "account.unlinked", id, unlink).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Rest {
    fn channel(&self, provider: &str) -> Result<Channel, AccountProblem> {
        self.accounts.channel(provider).map_err(|_| refused(AccountError::NotFound))
    }

    /// An account as this service shows accounts: its token in clear only where that is asked for.
    fn shown(&self, account: &ExternalAccount) -> Result<serde_json::Value, AccountProblem> {
        let token = match &account.token {
            Some(_) if self.show_tokens => self.accounts.token(account).map_err(refused)?,
            Some(_) => Some(Secret::new(AccountToken::REDACTED)),
            None => None,
        };
        Ok(render::account(account, token.as_ref()))
    }
}

/// Does a change beside the runtime, and writes down who did it.
async fn change<T: Send + 'static>(
    rest: &Rest,
    caller: Caller,
    what: &'static str,
    target: String,
    change: impl FnOnce(&Accounts, &str) -> Result<T, AccountError> + Send + 'static,
) -> Result<T, AccountProblem> {
    let (access, now) = (Arc::clone(&rest.access), rest.engine.clock().wall());
    let (accounts, tenant) = (Arc::clone(&rest.accounts), Arc::clone(&caller.tenant));
    let change =
        move || access.audited(&caller, (what, &target), now, || change(&accounts, &caller.tenant));
    beside(&rest.turns, &tenant, change).await?.map_err(refused)
}

fn refused(error: AccountError) -> AccountProblem {
    let lead = match error {
        AccountError::CannotLink => "Cannot link application: ",
        AccountError::AlreadyLinked => "Unable to link application: ",
        AccountError::NotLinked => "Unable to unlink application: ",
        AccountError::NotFound
        | AccountError::AlreadyExists
        | AccountError::TooMany { .. }
        | AccountError::Store(_)
        | AccountError::Vault(_) => "",
    };
    let problem = Problem::from(Error::from(error));
    AccountProblem::from(Problem { detail: format!("{lead}{}", problem.detail), ..problem })
}
