//! Requests as callers make them.

use dispatch::pb::v1::{CreateWorkflowRequest, WorkflowSpec};

/// Asks for a workflow, without a request id.
pub fn request(spec: WorkflowSpec) -> CreateWorkflowRequest {
    CreateWorkflowRequest { workflow: Some(spec), ..Default::default() }
}

/// Messenger to `person`, to be read within `expiry`, else an SMS to `number`.
pub fn messenger_sms(person: &str, number: &str, expiry: &str) -> WorkflowSpec {
    messenger_sms_saying(person, number, expiry, "Your table is ready.")
}

/// The same, with a text of its own on Messenger.
pub fn messenger_sms_saying(person: &str, number: &str, expiry: &str, text: &str) -> WorkflowSpec {
    dispatch::pb::from_yaml(&format!(
        "
steps:
  - sender: {{ channel: messenger, id: '107083064136738' }}
    recipient: {{ channel: messenger, id: '{person}' }}
    message: {{ text: '{text}' }}
    failover: {{ expiry_time: {expiry}, condition_status: read }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '{number}' }}
    message: {{ text: 'Your table is ready.' }}
"
    ))
    .unwrap()
}
