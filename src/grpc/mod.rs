//! The gRPC edge: parse, ask the engine, render. It never sees the store but through its reader.

mod access;
mod accounts;
mod admin;
mod applications;
mod callbacks;
mod calls;
mod erasure;
mod guard;
mod inbound;
mod opt_outs;
mod preface;
pub(crate) mod render;
mod rendered;
mod sandbox;
mod service;
mod status;
mod stream;
mod unguarded;
pub(crate) mod unread;

pub use access::AccessService;
pub use accounts::AccountService;
pub use admin::AdminService;
pub use applications::ApplicationService;
pub use callbacks::CallbackService;
pub use calls::Calls;
pub use erasure::ErasureService;
pub use guard::Guarded;
pub use inbound::InboundService;
pub use opt_outs::OptOutService;
pub use preface::Preface;
pub use sandbox::{Sandbox, SandboxService, Sent};
pub use service::DispatchService;
pub use stream::follower::{JournalRead, StatusFollower, StatusTarget, StreamStep};
pub use unguarded::Unguarded;
pub use unread::Explained;

pub use crate::api::token::Position;

use crate::api::parse;

/// What a request of the tenant `default` asks for, as CreateWorkflow takes it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_create(
    request: &crate::pb::v1::CreateWorkflowRequest,
    routes: &crate::engine::RouteTable,
    now: dispatch_contract::UnixMillis,
) -> Result<crate::contents::WorkflowRequest, Vec<String>> {
    let rules = parse::TenantRoutes::only(routes, crate::access::DEFAULT_TENANT);
    let wrong = |violations: Vec<crate::api::RequestViolation>| {
        violations.into_iter().map(|it| format!("{}: {}", it.field, it.wanted)).collect()
    };
    parse::create_request(request, &rules, now).map_err(wrong)
}
