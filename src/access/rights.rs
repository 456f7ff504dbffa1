//! What each call asks of its caller: one table for both edges.
//!
//! A gRPC method and the HTTP requests that do the same stand in one line, so that they cannot ask for
//! different scopes. What does not stand here is answered to nobody.

use super::Scope::{self, Admin, Cancel, Create, Operator, Read};

/// A call: the scope that it needs, its method in `dispatch.v1`, and the requests of the REST API that
/// do the same.
type CallRights = (Scope, &'static str, &'static [&'static str]);

const CALLS: &[CallRights] = &[
    (
        Create,
        "DispatchService/CreateWorkflow",
        &[
            "POST /v0.1/dispatch",
            "POST /beta/workflows",
            "POST /v0.1/messages",
            "POST /beta/messages",
            "POST /v1/messages",
        ],
    ),
    (Create, "DispatchService/BatchCreateWorkflows", &[]),
    (Read, "DispatchService/GetWorkflow", &["GET /v0.1/dispatch/{id}", "GET /workflows/{id}"]),
    (Read, "DispatchService/StreamStatus", &[]),
    (Read, "DispatchService/ListWorkflows", &[]),
    (Read, "DispatchService/ListChannels", &[]),
    (
        Cancel,
        "DispatchService/CancelWorkflow",
        &["DELETE /v0.1/dispatch/{id}", "DELETE /workflows/{id}"],
    ),
    (Admin, "AccessService/CreateKey", &[]),
    (Admin, "AccessService/ListKeys", &[]),
    (Admin, "AccessService/RotateKey", &[]),
    (Admin, "AccessService/RevokeKey", &[]),
    (Admin, "AccessService/ListAudit", &[]),
    (Operator, "AccessService/RotateMasterKey", &[]),
    (Operator, "AccessService/GetMasterKeyRotation", &[]),
    (Admin, "ApplicationService/CreateApplication", &["POST /v2/applications"]),
    (Admin, "ApplicationService/GetApplication", &["GET /v2/applications/{id}"]),
    (Admin, "ApplicationService/ListApplications", &["GET /v2/applications"]),
    (Admin, "ApplicationService/UpdateApplication", &["PUT /v2/applications/{id}"]),
    (Admin, "ApplicationService/DeleteApplication", &["DELETE /v2/applications/{id}"]),
    (Admin, "ApplicationService/RotateKeyPair", &[]),
    (Admin, "ApplicationService/GetCallbackSecret", &[]),
    (Admin, "ApplicationService/RotateCallbackSecret", &[]),
    (Admin, "AccountService/CreateAccount", &["POST /beta/chatapp-accounts/{provider}"]),
    (Admin, "AccountService/GetAccount", &["GET /beta/chatapp-accounts/{provider}/{external_id}"]),
    (Admin, "AccountService/ListAccounts", &["GET /beta/chatapp-accounts"]),
    (
        Admin,
        "AccountService/UpdateAccount",
        &["PATCH /beta/chatapp-accounts/{provider}/{external_id}"],
    ),
    (
        Admin,
        "AccountService/DeleteAccount",
        &["DELETE /beta/chatapp-accounts/{provider}/{external_id}"],
    ),
    (
        Admin,
        "AccountService/LinkApplication",
        &["POST /beta/chatapp-accounts/{provider}/{external_id}/applications"],
    ),
    (
        Admin,
        "AccountService/UnlinkApplication",
        &["DELETE /beta/chatapp-accounts/{provider}/{external_id}/applications/{application}"],
    ),
    (Read, "CallbackService/ListCallbacks", &[]),
    (Admin, "CallbackService/ResendCallback", &[]),
    (Cancel, "OptOutService/BatchCreateOptOuts", &[]),
    (Read, "OptOutService/ListOptOuts", &[]),
    (Read, "InboundService/StreamInbound", &[]),
    (Admin, "OptOutService/DeleteOptOuts", &[]),
    // For another tenant and for everybody the service asks for more.
    (Admin, "ErasureService/Erase", &[]),
    (Admin, "ErasureService/VerifyErasure", &[]),
    (Operator, "AdminService/Backup", &[]),
    (Operator, "AdminService/Resume", &[]),
    (Operator, "SandboxService/AdvanceClock", &[]),
    (Operator, "SandboxService/SetScript", &[]),
    (Operator, "SandboxService/ListScripts", &[]),
    (Operator, "SandboxService/ListSentMessages", &[]),
];

/// The scope that a gRPC method needs, by its path; `None` if nobody may call it.
pub fn scope_of_grpc(path: &str) -> Option<Scope> {
    let method = path.strip_prefix("/dispatch.v1.")?;
    CALLS.iter().find(|(_, known, _)| *known == method).map(|(scope, ..)| *scope)
}

/// The scope that an HTTP request needs, by its method and the pattern of its path as the router has
/// it, with or without a slash at its end; `None` if nobody may make it.
pub fn scope_of_rest(method: &str, pattern: &str) -> Option<Scope> {
    let pattern = pattern.trim_end_matches('/');
    let is_it = |known: &&str| known.split_once(' ') == Some((method, pattern));
    CALLS.iter().find(|(.., known)| known.iter().any(is_it)).map(|(scope, ..)| *scope)
}

/// Every gRPC method and every HTTP request with the scope it needs.
pub fn all_rights() -> impl Iterator<Item = (Scope, &'static str, &'static [&'static str])> {
    CALLS.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_stands_in_the_table_once_and_is_found_there() {
        let mut all: Vec<String> = Vec::new();
        for (scope, method, requests) in all_rights() {
            assert_eq!(scope_of_grpc(&format!("/dispatch.v1.{method}")), Some(scope));
            all.push(method.to_owned());
            for request in requests {
                let (verb, pattern) = request.split_once(' ').unwrap();
                assert_eq!(scope_of_rest(verb, pattern), Some(scope), "{request}");
                assert_eq!(scope_of_rest(verb, &format!("{pattern}/")), Some(scope), "{request}");
                all.push((*request).to_owned());
            }
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert_eq!(scope_of_grpc("/dispatch.v1.DispatchService/Delete"), None);
        assert_eq!(scope_of_grpc("/grpc.health.v1.Health/Check"), None);
        assert_eq!(scope_of_rest("PUT", "/v0.1/dispatch"), None);
    }
}
