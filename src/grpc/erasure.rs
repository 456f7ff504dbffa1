//! `ErasureService`: what is personal can be forgotten.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::guard::caller;
use crate::{
    access::{Access, Caller, Denied, Scope},
    api::{EraseOrder, Error, FieldAt, erase_for_caller, preview_for_caller, verify_certificate},
    engine::{Engine, ErasureSubject, FoundContents},
    fair::DiskTurns,
    machine::WorkflowId,
    pb::v1::{
        EraseRequest, EraseResponse, ErasurePreview, ErasurePreviewCount, OpenWhenErased,
        VerifyErasureRequest, VerifyErasureResponse, WorkflowState, erase_request::Subject,
        erasure_service_server,
    },
};

/// How many addresses one person may have, and how long one is, in bytes.
const MOST_ADDRESSES: usize = 100;
const MOST_ADDRESS_BYTES: usize = 256;
/// How many workflows may be named at once.
const MOST_NAMED: usize = 1_000;
/// What confirms that everybody is meant.
const EVERYBODY: &str = "erase everybody";

/// The service.
#[derive(Clone, Debug)]
pub struct ErasureService {
    engine: Engine,
    access: Access,
    turns: DiskTurns,
}

impl ErasureService {
    /// In front of an engine. `access` writes down who had what erased.
    pub fn new(engine: Engine, access: Access, turns: DiskTurns) -> Self {
        ErasureService { engine, access, turns }
    }
}

#[tonic::async_trait]
impl erasure_service_server::ErasureService for ErasureService {
    async fn erase(
        &self,
        request: Request<EraseRequest>,
    ) -> Result<Response<EraseResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let is_dry = request.dry_run;
        let order = parse(&caller, request)?;
        let answer = if is_dry {
            let found = preview_for_caller(&self.engine, &order).await?;
            EraseResponse {
                has_more: found.has_more,
                preview: Some(preview(&found)),
                certificate: None,
            }
        } else {
            let (certificate, has_more) =
                erase_for_caller(&self.engine, &self.access, caller, order).await?;
            EraseResponse { certificate: Some(certificate), preview: None, has_more }
        };
        Ok(Response::new(answer))
    }

    async fn verify_erasure(
        &self,
        request: Request<VerifyErasureRequest>,
    ) -> Result<Response<VerifyErasureResponse>, Status> {
        let caller = caller(&request)?;
        let certificate = request.into_inner().certificate;
        let certificate =
            certificate.ok_or_else(|| Error::invalid("certificate", "must be given"))?;
        // What it says of is its tenant's.
        if !caller.is_operator() && certificate.tenant != *caller.tenant {
            return Err(Error::from(Denied::Forbidden(Scope::Operator)).into());
        }
        let engine = self.engine.clone();
        let look = move || verify_certificate(&engine, &certificate);
        let looked = self.turns.read(&caller.tenant, look).await.map_err(Error::from)??;
        Ok(Response::new(looked))
    }
}

/// What is to be erased, if the caller may have it erased.
fn parse(caller: &Caller, request: EraseRequest) -> Result<EraseOrder, Error> {
    let refuses_open = match request.open() {
        OpenWhenErased::Unspecified | OpenWhenErased::Cancel => false,
        OpenWhenErased::Refuse => true,
    };
    let Some(subject) = request.subject else {
        return Err(Error::invalid("subject", "must be a person, workflows, or all"));
    };
    if let Subject::Everybody(everybody) = &subject {
        if !caller.is_operator() {
            return Err(Denied::Forbidden(Scope::Operator).into());
        }
        if !request.tenant.is_empty() {
            return Err(Error::invalid("tenant", "must be empty with everybody"));
        }
        confirmed(&everybody.confirm, EVERYBODY, FieldAt::of("everybody"), request.dry_run)?;
        return Ok(EraseOrder { tenant: None, subject: ErasureSubject::All, refuses_open });
    }
    let tenant = match request.tenant.as_str() {
        "" => Arc::clone(&caller.tenant),
        named => caller.view(named)?.unwrap_or_else(|| Arc::clone(&caller.tenant)),
    };
    let subject = match subject {
        Subject::Person(person) => {
            ErasureSubject::Person(addresses(person.recipients, FieldAt::of("person"))?)
        }
        Subject::Workflows(workflows) => {
            ErasureSubject::Named(ids(&workflows.workflow_ids, FieldAt::of("workflows"))?)
        }
        Subject::EntireTenant(all) => {
            let field = FieldAt::of("entire_tenant");
            confirmed(&all.confirm, &tenant, field, request.dry_run)?;
            ErasureSubject::All
        }
        Subject::Everybody(_) => ErasureSubject::All,
    };
    Ok(EraseOrder { tenant: Some(tenant), subject, refuses_open })
}

/// To look needs no confirmation.
fn confirmed(given: &str, word: &str, field: FieldAt<'_>, is_dry: bool) -> Result<(), Error> {
    if is_dry || given == word {
        return Ok(());
    }
    Err(Error::invalid(field.key("confirm"), format!("must be `{word}`, to confirm it")))
}

fn addresses(given: Vec<String>, field: FieldAt<'_>) -> Result<Vec<String>, Error> {
    let field = field.key("recipients");
    if given.is_empty() || given.len() > MOST_ADDRESSES {
        let wanted = format!("must be 1 to {MOST_ADDRESSES} addresses, not {}", given.len());
        return Err(Error::invalid(field, wanted));
    }
    for (at, address) in given.iter().enumerate() {
        if address.trim().is_empty() || address.len() > MOST_ADDRESS_BYTES {
            let wanted = format!("must be an address of up to {MOST_ADDRESS_BYTES} bytes");
            return Err(Error::invalid(field.index(at), wanted));
        }
    }
    Ok(given)
}

fn ids(given: &[String], field: FieldAt<'_>) -> Result<Vec<WorkflowId>, Error> {
    let field = field.key("workflow_ids");
    if given.is_empty() || given.len() > MOST_NAMED {
        let wanted = format!("must be 1 to {MOST_NAMED} ids, not {}", given.len());
        return Err(Error::invalid(field, wanted));
    }
    let id = |(at, id): (usize, &String)| {
        id.parse().map_err(|_| Error::invalid(field.index(at), "must be a workflow's id"))
    };
    given.iter().enumerate().map(id).collect()
}

fn preview(found: &FoundContents) -> ErasurePreview {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let state = |name: &str| {
        WorkflowState::from_str_name(&format!("WORKFLOW_STATE_{name}")).unwrap_or_default() as i32
    };
    let by_state = found
        .by_state
        .iter()
        .map(|(name, count)| ErasurePreviewCount { state: state(name), count: number(*count) });
    ErasurePreview {
        workflow_count: number(found.workflows()),
        by_state: by_state.collect(),
        other_address_count: number(found.other_addresses),
        inbound_message_count: number(found.messages),
        opt_out_count: number(found.opt_outs),
        unreadable_count: number(found.unreadable.items),
        unreadable_key_file_count: number(found.unreadable.key_files),
    }
}
