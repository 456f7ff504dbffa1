//! Creates, one by one and in batches: checked, handed to the engine, answered.

use std::sync::Arc;

use super::{DispatchService, View};
use crate::{
    access::{Admitted, Caller},
    api::{Error, RequestViolation, ShownContents, parse},
    contents::{Contents, WorkflowRequest},
    engine::{Created, EngineError, NewWorkflow},
    grpc::render,
    machine::{Progress, WorkflowId},
    pb::v1::{self, CreateWorkflowRequest, CreateWorkflowResponse},
    store::Requester,
};

/// A request to create something, checked.
enum Prepared {
    /// It only asked whether it could be.
    Preview(Box<CreateWorkflowResponse>),
    New(Box<NewRequest>),
}

/// What is to be created.
struct NewRequest {
    asked: WorkflowRequest,
    request_id: Option<String>,
    /// Held until it is answered.
    place: Admitted,
}

/// A request of a batch, after its check.
enum Batched {
    Preview(Box<CreateWorkflowResponse>),
    /// With the caller's own words, for its answer.
    New(View, Contents),
    Refused(View, Error),
}

impl DispatchService {
    pub(super) async fn create(
        &self,
        caller: &Caller,
        request: CreateWorkflowRequest,
    ) -> Result<CreateWorkflowResponse, Error> {
        let view = View::of_create(&request)?;
        let NewRequest { asked, request_id, place } = match self.prepare(caller, &request, view) {
            Ok(Prepared::Preview(preview)) => return Ok(*preview),
            Ok(Prepared::New(new)) => *new,
            Err(error) => return self.repeated(caller, &request, view, error).await,
        };
        let requester = self.requester(caller)?;
        let (tenant, words) = (Arc::clone(&caller.tenant), asked.contents.words());
        let made = self.engine.create(tenant, asked, request_id, requester).await;
        let answer = self.created(caller, &request, (view, words), made).await;
        drop(place);
        answer
    }

    /// As [`create`](Self::create) for each, in order. What is new is handed over at once, so that it shares
    /// a commit.
    pub(super) async fn create_all(
        &self,
        caller: &Caller,
        requests: Vec<CreateWorkflowRequest>,
    ) -> Result<Vec<Result<CreateWorkflowResponse, Error>>, Error> {
        let requester = self.requester(caller)?;
        let (mut places, mut asked) = (Vec::new(), Vec::new());
        let mut prepare = |request: &CreateWorkflowRequest| {
            let view = View::of_create(request)?;
            Ok(match self.prepare(caller, request, view) {
                Ok(Prepared::Preview(preview)) => Batched::Preview(preview),
                Ok(Prepared::New(new)) => {
                    let NewRequest { asked: one, request_id, place } = *new;
                    places.push(place);
                    let words = one.contents.words();
                    asked.push((one, request_id));
                    Batched::New(view, words)
                }
                Err(error) => Batched::Refused(view, error),
            })
        };
        let prepared: Vec<Result<Batched, Error>> = requests.iter().map(&mut prepare).collect();
        let made = self.engine.create_all(&caller.tenant, asked, requester).await;
        let mut made = made.into_iter();
        let mut results = Vec::with_capacity(requests.len());
        for (request, prepared) in requests.iter().zip(prepared) {
            results.push(match prepared {
                Ok(Batched::Preview(preview)) => Ok(*preview),
                Ok(Batched::New(view, words)) => {
                    let made = made.next().unwrap_or(Err(EngineError::Unavailable));
                    self.created(caller, request, (view, words), made).await
                }
                Ok(Batched::Refused(view, error)) => {
                    self.repeated(caller, request, view, error).await
                }
                Err(error) => Err(error),
            });
        }
        drop(places);
        Ok(results)
    }

    /// What the engine made of a request with these personal words of the caller's.
    async fn created(
        &self,
        caller: &Caller,
        request: &CreateWorkflowRequest,
        (view, words): (View, Contents),
        made: Result<Created, EngineError>,
    ) -> Result<CreateWorkflowResponse, Error> {
        let Created { id, new } = match made {
            Ok(created) => created,
            Err(error) => return self.repeated(caller, request, view, error.into()).await,
        };
        let Some(new) = new else { return self.existing(caller, id, view).await };
        let workflow = Some(match view {
            // It was sealed just now, and a summary shows these alone: nothing has to be opened.
            View::Summary => {
                let contents = ShownContents::to(caller, words, new.state.has_ended());
                render::summary(&new.record, &new.state, &contents)
            }
            View::Basic => self.fresh(caller, &new),
            View::Full => self.show(caller, id, view).await?,
        });
        Ok(CreateWorkflowResponse { workflow, already_existed: false, warnings: Vec::new() })
    }

    /// What is answered to a request that was refused: a repeat is told the workflow that there is, whatever
    /// stands in the way of a new one. It is looked for here, so that what is taken needs no further read.
    async fn repeated(
        &self,
        caller: &Caller,
        request: &CreateWorkflowRequest,
        view: View,
        refused: Error,
    ) -> Result<CreateWorkflowResponse, Error> {
        if request.validate_only || request.request_id.is_empty() {
            return Err(refused);
        }
        let known = self.engine.existing_request(&caller.tenant, &request.request_id);
        match known.and_then(|known| Some((known, parse::repeated(request)?))) {
            Some((known, asked)) => {
                let id = self.engine.repeated(known, &asked)?;
                self.existing(caller, id, view).await
            }
            None => Err(refused),
        }
    }

    async fn existing(
        &self,
        caller: &Caller,
        id: WorkflowId,
        view: View,
    ) -> Result<CreateWorkflowResponse, Error> {
        let workflow = Some(self.show(caller, id, view).await?);
        Ok(CreateWorkflowResponse { workflow, already_existed: true, warnings: Vec::new() })
    }

    /// Who is told what becomes of a caller's workflows.
    fn requester(&self, caller: &Caller) -> Result<Requester, Error> {
        let application = self.access.receiver(caller).map_err(Error::Store)?.application;
        Ok(Requester { application, ..Requester::default() })
    }

    /// Checks a request, and takes a place for it within the tenant's limits.
    fn prepare(
        &self,
        caller: &Caller,
        request: &CreateWorkflowRequest,
        view: View,
    ) -> Result<Prepared, Error> {
        let now = self.engine.clock().moment();
        // First: a refusal must be cheap, or refusing is what the service cannot keep up with.
        let place = if request.validate_only {
            None
        } else {
            self.engine.check_capacity(&caller.tenant)?;
            Some(self.access.admit(caller, &**self.engine.reader(), now.engine)?)
        };
        let routes = self.engine.routes();
        let rules = parse::TenantRoutes::of(&self.engine, &self.access, &routes, &caller.tenant);
        let asked = parse::create_request(request, &rules, now.wall).map_err(Error::Invalid)?;
        if let Some(place) = place {
            let request_id = Some(request.request_id.clone()).filter(|id| !id.is_empty());
            return Ok(Prepared::New(Box::new(NewRequest { asked, request_id, place })));
        }
        if asked.plan.valid_until.is_some_and(|until| until <= now.wall) {
            return Err(EngineError::TooLate.into());
        }
        let warnings = parse::warnings(&asked, &rules, now.wall);
        let preview = CreateWorkflowResponse {
            workflow: Some(preview(caller, asked, &request.request_id, view)),
            already_existed: false,
            warnings: warnings.iter().map(violation).collect(),
        };
        Ok(Prepared::Preview(Box::new(preview)))
    }

    /// A workflow just after its creation.
    fn fresh(&self, caller: &Caller, new: &NewWorkflow) -> v1::Workflow {
        let NewWorkflow { record, state, facts } = new;
        let contents = ShownContents::of(&self.engine, caller, record, state.has_ended());
        render::fresh(record, &contents, state).unwrap_or_else(|| {
            let progress = Progress::of(state, facts);
            render::workflow(record, &contents, &progress, Vec::new())
        })
    }
}

impl View {
    /// How much is answered to a create.
    fn of_create(request: &CreateWorkflowRequest) -> Result<View, Error> {
        let usual = if request.validate_only { View::Basic } else { View::Summary };
        View::parse(request.view, usual)
    }
}

/// The workflow that would be created; nothing is kept, and it has no id.
fn preview(caller: &Caller, asked: WorkflowRequest, request_id: &str, view: View) -> v1::Workflow {
    let WorkflowRequest { plan, contents } = asked;
    let contents = ShownContents::to(caller, contents, false);
    v1::Workflow {
        spec: (view != View::Summary).then(|| render::spec(&plan, &contents)),
        contents: contents.state() as i32,
        tenant: caller.tenant.to_string(),
        request_id: request_id.to_owned(),
        ..v1::Workflow::default()
    }
}

fn violation(violation: &RequestViolation) -> v1::FieldViolation {
    v1::FieldViolation {
        field: violation.field.to_string(),
        description: violation.wanted.to_string(),
    }
}
