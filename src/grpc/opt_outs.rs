//! `OptOutService`: who wants no messages.

use std::sync::Arc;

use dispatch_contract::{AddressForm, Channel, Endpoint, UnixMillis};
use tonic::{Request, Response, Status};

use super::{guard::caller, render::timestamp};
use crate::{
    access::{Access, Caller, Denied, Scope},
    api::{
        Error, FieldAt, PageSize, Pages, RequestViolation, Showing, change_for_caller,
        token::{Tokens, audience},
    },
    engine::{Engine, ListedOptOut, NewOptOut, OptOutFilter, OptOutSource, OptOuts},
    fair::DiskTurns,
    pb::v1::{
        self, Address, BatchCreateOptOutsRequest, BatchCreateOptOutsResponse, DeleteOptOutsRequest,
        DeleteOptOutsResponse, ListOptOutsRequest, ListOptOutsResponse, OptOut, address,
        opt_out_service_server,
    },
};

/// How many one call puts on the list.
const MOST_AT_ONCE: usize = 1000;

/// The service.
#[derive(Clone, Debug)]
pub struct OptOutService {
    engine: Engine,
    access: Access,
    turns: DiskTurns,
}

impl OptOutService {
    /// In front of the engine's list. `access` writes down who changed it, and has the key of page tokens.
    pub fn new(engine: Engine, access: Access, turns: DiskTurns) -> Self {
        OptOutService { engine, access, turns }
    }

    /// Works on the list beside the runtime, in its caller's turn.
    async fn blocking<T: Send + 'static>(
        &self,
        tenant: &Arc<str>,
        work: impl FnOnce(&OptOuts) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let opt_outs = Arc::clone(self.engine.opt_outs());
        change_for_caller(&self.turns, tenant, move || work(&opt_outs)).await
    }

    /// The same for a change, and writes down who made it: what of it, without an address.
    async fn change<T: Send + 'static>(
        &self,
        caller: Caller,
        (what, target): (&'static str, String),
        change: impl FnOnce(&OptOuts) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (access, now) = (self.access.clone(), self.engine.clock().wall());
        let tenant = Arc::clone(&caller.tenant);
        self.blocking(&tenant, move |opt_outs| {
            access.audited(&caller, (what, &target), now, || change(opt_outs))
        })
        .await
    }

    /// Who an address is, on a channel of the service: in a form in which messages name them, or it would never
    /// be found.
    fn recipient(
        &self,
        tenant: Option<&str>,
        given: Option<&Address>,
        field: FieldAt<'_>,
    ) -> Result<(Channel, Endpoint), RequestViolation> {
        let wrong = |field: FieldAt<'_>, wanted: String| RequestViolation::new(field, wanted);
        let routes = self.engine.routes();
        let name = given.map_or("", |address| &address.channel);
        let of_channel = || routes.of(tenant).filter(|it| it.adapter.channel().as_str() == name);
        let Some(channel) = of_channel().next().map(|route| route.adapter.channel().clone()) else {
            let wanted = "must be a channel of this service, as `dispatch channels` lists them";
            return Err(wrong(field.key("channel"), wanted.to_owned()));
        };
        let endpoint = match given.and_then(|address| address.endpoint.as_ref()) {
            Some(address::Endpoint::Id(id)) => Endpoint::Id(id.clone()),
            Some(address::Endpoint::Number(number)) => Endpoint::Number(number.clone()),
            None => return Err(wrong(field, "must be given, with an id or a number".to_owned())),
        };
        let forms = || of_channel().flat_map(|route| route.adapter.capabilities().to.iter());
        if forms().any(|form| form.admits(&endpoint)) {
            return Ok((channel, endpoint));
        }
        let mut wanted: Vec<_> = forms().copied().map(AddressForm::describe).collect();
        wanted.dedup();
        Err(wrong(field, format!("must be {}", wanted.join(", or "))))
    }

    fn parse_new(
        &self,
        tenant: &Arc<str>,
        opt_outs: &[OptOut],
        now: UnixMillis,
    ) -> Result<Vec<NewOptOut>, Error> {
        let field = FieldAt::of("opt_outs");
        if opt_outs.is_empty() || opt_outs.len() > MOST_AT_ONCE {
            return Err(Error::invalid(
                field,
                format!("must be 1 to {MOST_AT_ONCE}, not {}", opt_outs.len()),
            ));
        }
        let (mut rows, mut violations) = (Vec::new(), Vec::new());
        for (index, given) in opt_outs.iter().enumerate() {
            let at = field.index(index);
            let recipient = given.recipient.as_ref();
            match self.recipient(Some(tenant), recipient, at.key("recipient")) {
                Ok((channel, recipient)) => rows.push(NewOptOut {
                    tenant: Arc::clone(tenant),
                    channel,
                    sender: (!given.sender.is_empty()).then(|| given.sender.clone()),
                    recipient,
                    account: None,
                    source: OptOutSource::Caller,
                    create_time: now,
                }),
                Err(violation) => violations.push(violation),
            }
            if let Err(wanted) = sender(&given.sender) {
                violations.push(RequestViolation::new(at.key("sender"), wanted));
            }
        }
        if violations.is_empty() { Ok(rows) } else { Err(Error::Invalid(violations)) }
    }
}

#[tonic::async_trait]
impl opt_out_service_server::OptOutService for OptOutService {
    async fn batch_create_opt_outs(
        &self,
        request: Request<BatchCreateOptOutsRequest>,
    ) -> Result<Response<BatchCreateOptOutsResponse>, Status> {
        let caller = caller(&request)?;
        let BatchCreateOptOutsRequest { opt_outs, tenant } = request.into_inner();
        let caller = at(caller, &tenant)?;
        let rows = self.parse_new(&caller.tenant, &opt_outs, self.engine.clock().wall())?;
        let most = self.access.limits().of(&caller.tenant).opt_outs;
        let (metrics, target) = (Arc::clone(self.engine.metrics()), rows.len().to_string());
        let created = self.change(caller, ("opt_outs.created", target), move |opt_outs| {
            let created = opt_outs.add(rows, most).map_err(Error::Store)?;
            let created = created.ok_or(Error::TooManyOptOuts { most })?;
            metrics.opted_out(OptOutSource::Caller.as_str(), created);
            Ok(created)
        });
        let created_count = i32::try_from(created.await?).unwrap_or(i32::MAX);
        Ok(Response::new(BatchCreateOptOutsResponse { created_count }))
    }

    async fn list_opt_outs(
        &self,
        request: Request<ListOptOutsRequest>,
    ) -> Result<Response<ListOptOutsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let size = PageSize::OF_SMALL.of(request.page_size)?;
        let tenant = caller.view(&request.tenant).map_err(Error::from)?;
        let mut filter = OptOutFilter {
            tenant: tenant.clone(),
            channel: channel(&request.channel)?,
            sender: (!request.sender.is_empty()).then(|| request.sender.clone()),
            recipient: None,
        };
        if request.recipient.is_some() {
            let field = FieldAt::of("recipient");
            let found = self.recipient(tenant.as_deref(), request.recipient.as_ref(), field);
            let (channel, recipient) = found.map_err(|wrong| Error::Invalid(vec![wrong]))?;
            filter = OptOutFilter { channel: Some(channel), recipient: Some(recipient), ..filter };
        }
        let key = self.access.token_key().map_err(Error::Store)?;
        let tokens = Tokens::new(key, self.engine.reader().incarnation());
        let list =
            ListOptOutsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let pages = Pages::of(tokens, audience(&tenant), &list);
        let after = pages.after(&request.page_token, |place| Some(place.to_vec()))?;
        let read =
            move |opt_outs: &OptOuts| opt_outs.list(&filter, after, size).map_err(Error::Store);
        let found = self.blocking(&caller.tenant, read).await?;
        let showing = Showing::to(&caller);
        Ok(Response::new(ListOptOutsResponse {
            opt_outs: found.rows.into_iter().map(|(_, row)| shown(row, showing)).collect(),
            next_page_token: pages.next(found.next),
        }))
    }

    async fn delete_opt_outs(
        &self,
        request: Request<DeleteOptOutsRequest>,
    ) -> Result<Response<DeleteOptOutsResponse>, Status> {
        let caller = caller(&request)?;
        let DeleteOptOutsRequest { recipient, sender, tenant, of_every_tenant } =
            request.into_inner();
        let caller = at(caller, &tenant)?;
        let (whose, routes_of) = match of_every_tenant {
            true if !tenant.is_empty() => {
                let wanted = "must be empty where of_every_tenant is set";
                return Err(Error::invalid("tenant", wanted).into());
            }
            true if !caller.is_operator() => {
                return Err(Error::from(Denied::Forbidden(Scope::Operator)).into());
            }
            true => (Arc::from(""), None),
            false => (Arc::clone(&caller.tenant), Some(&*caller.tenant)),
        };
        let found = self.recipient(routes_of, recipient.as_ref(), FieldAt::of("recipient"));
        let (channel, recipient) = found.map_err(|wrong| Error::Invalid(vec![wrong]))?;
        let target = channel.to_string();
        let filter = OptOutFilter {
            tenant: Some(whose),
            channel: Some(channel),
            sender: (!sender.is_empty()).then_some(sender),
            recipient: Some(recipient),
        };
        let metrics = Arc::clone(self.engine.metrics());
        let deleted = self.change(caller, ("opt_outs.deleted", target), move |opt_outs| {
            match opt_outs.lift(&filter).map_err(Error::Store)? {
                0 => Err(Error::NoOptOut),
                count => {
                    metrics.opt_outs_lifted(OptOutSource::Caller.as_str(), count);
                    Ok(count)
                }
            }
        });
        let deleted_count = i32::try_from(deleted.await?).unwrap_or(i32::MAX);
        Ok(Response::new(DeleteOptOutsResponse { deleted_count }))
    }
}

/// The caller at work for a tenant that it names, or for its own.
fn at(caller: Caller, tenant: &str) -> Result<Caller, Error> {
    match tenant {
        "" => Ok(caller),
        named => Ok(caller.view(named)?.map_or(caller.clone(), |tenant| caller.at(&tenant))),
    }
}

fn channel(name: &str) -> Result<Option<Channel>, Error> {
    match name {
        "" => Ok(None),
        name => match name.parse() {
            Ok(channel) => Ok(Some(channel)),
            Err(_) => Err(Error::invalid("channel", "must be empty, or a channel's name")),
        },
    }
}

/// Whether workflows can name a sender so.
fn sender(text: &str) -> Result<(), &'static str> {
    const WANTED: &str =
        "must be empty, or a sender as workflows name it: up to 50 printable characters";
    let fits =
        text.is_empty() || text.chars().count() <= 50 && dispatch_contract::is_printable(text);
    if fits { Ok(()) } else { Err(WANTED) }
}

fn shown(listed: ListedOptOut, showing: Showing) -> OptOut {
    let ListedOptOut { recipient, row } = listed;
    let endpoint = recipient.map(|recipient| match showing.address(&recipient) {
        Endpoint::Id(id) => address::Endpoint::Id(id),
        Endpoint::Number(number) => address::Endpoint::Number(number),
    });
    let source = match row.source {
        OptOutSource::Caller => v1::OptOutSource::Caller,
        OptOutSource::Person => v1::OptOutSource::Person,
        OptOutSource::Provider => v1::OptOutSource::Provider,
    };
    OptOut {
        recipient: Some(Address { channel: row.channel.to_string(), endpoint }),
        sender: row.sender.unwrap_or_default(),
        tenant: row.tenant.to_string(),
        account: row.account.map_or(String::new(), |account| account.to_string()),
        source: source as i32,
        create_time: Some(timestamp(row.create_time)),
    }
}
