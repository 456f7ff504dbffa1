//! `AccountService`: the external accounts of a tenant, as `/beta/chatapp-accounts` serves them too.

use std::sync::Arc;

use dispatch_contract::{Channel, UnixMillis};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{guard::caller, render::timestamp};
use crate::{
    access::{
        Access, AccountChange, AccountError, AccountToken, Accounts, Caller, ExternalAccount,
        ExternalId, Name, NewAccount, needs_token,
    },
    api::{Error, Mask, PageSize, Pages, RequestViolation, change_for_caller, token::Tokens},
    engine::Engine,
    fair::DiskTurns,
    pb::v1::{
        self, CreateAccountRequest, CreateAccountResponse, DeleteAccountRequest,
        DeleteAccountResponse, GetAccountRequest, GetAccountResponse, LinkApplicationRequest,
        LinkApplicationResponse, ListAccountsRequest, ListAccountsResponse,
        UnlinkApplicationRequest, UnlinkApplicationResponse, UpdateAccountRequest,
        UpdateAccountResponse, account_service_server,
    },
};

/// The service.
#[derive(Clone)]
pub struct AccountService {
    engine: Engine,
    access: Access,
    accounts: Arc<Accounts>,
    show_tokens: bool,
    turns: DiskTurns,
}

impl AccountService {
    /// In front of `accounts`; their tokens are shown in clear if `show_tokens`.
    pub fn new(
        engine: Engine,
        access: Access,
        accounts: Arc<Accounts>,
        show_tokens: bool,
        turns: DiskTurns,
    ) -> Self {
        AccountService { engine, access, accounts, show_tokens, turns }
    }

    /// The caller, who may administer, and what it asks.
    fn admin<T>(&self, request: Request<T>) -> Result<(Caller, T), Status> {
        let caller = caller(&request)?;
        Ok((caller, request.into_inner()))
    }

    /// Does a change beside the runtime, and writes down who did it.
    async fn change<T: Send + 'static>(
        &self,
        caller: Caller,
        what: &'static str,
        target: String,
        change: impl FnOnce(&Accounts, &str) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, Error> {
        let (access, now) = (self.access.clone(), self.engine.clock().wall());
        let accounts = Arc::clone(&self.accounts);
        let tenant = Arc::clone(&caller.tenant);
        change_for_caller(&self.turns, &tenant, move || {
            access.audited(&caller, (what, &target), now, || change(&accounts, &caller.tenant))
        })
        .await
    }

    fn channel(&self, name: &str) -> Result<Channel, Error> {
        self.accounts.channel(name).map_err(|wanted| Error::invalid("provider", wanted))
    }

    fn parse_new(&self, request: &CreateAccountRequest) -> Result<NewAccount, Error> {
        let channel = self.channel(&request.provider)?;
        let mut violations = Vec::new();
        let external_id =
            kept("external_id", ExternalId::parse(&channel, &request.external_id), &mut violations);
        let name = match request.name.as_str() {
            "" => None,
            name => kept("name", Name::parse(name), &mut violations),
        };
        let token = match request.access_token.as_str() {
            "" if needs_token(&channel) => {
                violations.push(RequestViolation::new(
                    "access_token",
                    format!("is required for {channel}"),
                ));
                None
            }
            "" => None,
            token => kept("access_token", AccountToken::parse(token), &mut violations),
        };
        let application = match request.application_id.as_str() {
            "" => None,
            id => {
                let id = Uuid::try_parse(id).map_err(|_| "must be an application's id");
                kept("application_id", id, &mut violations)
            }
        };
        match external_id {
            Some(external_id) if violations.is_empty() => {
                Ok(NewAccount { channel, external_id, name, token, application })
            }
            Some(_) | None => Err(Error::Invalid(violations)),
        }
    }

    fn render(&self, account: ExternalAccount) -> Result<v1::ExternalAccount, Error> {
        let access_token = match &account.token {
            Some(_) if self.show_tokens => {
                let token = self.accounts.token(&account)?;
                token.map_or(String::new(), |token| token.expose().to_owned())
            }
            Some(_) => AccountToken::REDACTED.to_owned(),
            None => String::new(),
        };
        let routes = self.engine.routes();
        let ExternalAccount { tenant, channel, external_id, .. } = &account;
        let used = account
            .token
            .iter()
            .filter(|_| !account.is_unlinked())
            .flat_map(|_| routes.under_own_token(tenant, channel, external_id.as_str()));
        let routes = used.map(|route| route.name.to_string()).collect();
        let application = account.link.application();
        Ok(v1::ExternalAccount {
            routes,
            unlinked: account.is_unlinked(),
            provider: account.channel.as_str().to_owned(),
            external_id: account.external_id.as_str().to_owned(),
            name: account.name,
            application_id: application.map_or(String::new(), |id| id.to_string()),
            access_token,
            create_time: Some(timestamp(UnixMillis(account.create_time_ms))),
        })
    }
}

#[tonic::async_trait]
impl account_service_server::AccountService for AccountService {
    async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<CreateAccountResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let new = self.parse_new(&request)?;
        let now = self.engine.clock().wall();
        let create = move |accounts: &Accounts, tenant: &str| accounts.create(tenant, new, now);
        let id = request.external_id.clone();
        let account = self.change(caller, "account.created", id, create).await?;
        Ok(Response::new(CreateAccountResponse { account: Some(self.render(account)?) }))
    }

    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let (caller, GetAccountRequest { provider, external_id }) = self.admin(request)?;
        let channel = self.channel(&provider)?;
        let found = self.accounts.get(&caller.tenant, &channel, &external_id);
        let account = self.render(found.map_err(Error::from)?)?;
        Ok(Response::new(GetAccountResponse { account: Some(account) }))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let size = PageSize::OF_FEW.of(request.page_size)?;
        let channel = match request.provider.as_str() {
            "" => None,
            name => Some(self.channel(name)?),
        };
        let mut all = self.accounts.list(&caller.tenant, channel.as_ref());
        let key = self.access.token_key().map_err(Error::Store)?;
        let tokens = Tokens::new(key, self.engine.reader().incarnation());
        let filter =
            ListAccountsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let pages = Pages::of(tokens, &caller.tenant, &filter);
        if let Some((channel, id)) = pages.after(&request.page_token, account_of)? {
            all.retain(|it| (&it.channel, it.external_id.as_str()) > (&channel, &*id));
        }
        let is_last = all.len() <= size;
        all.truncate(size);
        let last = all.last().filter(|_| !is_last);
        let next_page_token =
            pages.next(last.map(|last| format!("{}/{}", last.channel, last.external_id.as_str())));
        let accounts = all.into_iter().map(|account| self.render(account));
        let accounts = accounts.collect::<Result<_, _>>()?;
        Ok(Response::new(ListAccountsResponse { accounts, next_page_token }))
    }

    async fn update_account(
        &self,
        request: Request<UpdateAccountRequest>,
    ) -> Result<Response<UpdateAccountResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let (channel, wanted) = (self.channel(&request.provider)?, parse_change(&request)?);
        let update = self.change(
            caller,
            "account.updated",
            request.external_id.clone(),
            move |accounts, tenant| accounts.update(tenant, &channel, &request.external_id, wanted),
        );
        let account = self.render(update.await?)?;
        Ok(Response::new(UpdateAccountResponse { account: Some(account) }))
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        let (caller, DeleteAccountRequest { provider, external_id }) = self.admin(request)?;
        let channel = self.channel(&provider)?;
        let id = external_id.clone();
        let delete =
            move |accounts: &Accounts, tenant: &str| accounts.delete(tenant, &channel, &id);
        self.change(caller, "account.deleted", external_id, delete).await?;
        Ok(Response::new(DeleteAccountResponse {}))
    }

    async fn link_application(
        &self,
        request: Request<LinkApplicationRequest>,
    ) -> Result<Response<LinkApplicationResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let (channel, id) =
            (self.channel(&request.provider)?, application(&request.application_id)?);
        let link = self.change(
            caller,
            "account.linked",
            request.external_id.clone(),
            move |accounts, tenant| accounts.link(tenant, &channel, &request.external_id, id),
        );
        let account = self.render(link.await?)?;
        Ok(Response::new(LinkApplicationResponse { account: Some(account) }))
    }

    async fn unlink_application(
        &self,
        request: Request<UnlinkApplicationRequest>,
    ) -> Result<Response<UnlinkApplicationResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let (channel, id) =
            (self.channel(&request.provider)?, application(&request.application_id)?);
        let unlink = self.change(
            caller,
            "account.unlinked",
            request.external_id.clone(),
            move |accounts, tenant| accounts.unlink(tenant, &channel, &request.external_id, id),
        );
        let account = self.render(unlink.await?)?;
        Ok(Response::new(UnlinkApplicationResponse { account: Some(account) }))
    }
}

fn application(id: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(id).map_err(|_| Error::invalid("application_id", "must be an application's id"))
}

/// The channel and external id of the last account that was shown.
fn account_of(place: &[u8]) -> Option<(Channel, String)> {
    let (channel, id) = std::str::from_utf8(place).ok()?.split_once('/')?;
    Some((channel.parse().ok()?, id.to_owned()))
}

fn parse_change(request: &UpdateAccountRequest) -> Result<AccountChange, Error> {
    let mask = Mask::parse(request.update_mask.clone(), &["name", "access_token"])?;
    let mut violations = Vec::new();
    let name = match request.name.as_str() {
        _ if !mask.has("name") => None,
        "" => Some(None),
        name => kept("name", Name::parse(name), &mut violations).map(Some),
    };
    let token = match request.access_token.as_str() {
        _ if !mask.has("access_token") => None,
        token => kept("access_token", AccountToken::parse(token), &mut violations),
    };
    if violations.is_empty() {
        Ok(AccountChange { name, token, application: None })
    } else {
        Err(Error::Invalid(violations))
    }
}

/// The value, or `None` and a violation.
fn kept<T>(
    field: &'static str,
    read: Result<T, &'static str>,
    violations: &mut Vec<RequestViolation>,
) -> Option<T> {
    read.map_err(|wanted| violations.push(RequestViolation::new(field, wanted))).ok()
}

impl std::fmt::Debug for AccountService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountService")
    }
}
