//! What is shown of a request, and reported of its message.

use dispatch_contract::{Endpoint, ErrorKind, Receipt, Report, Status};
use serde_json::{Value, json};

use super::request::CodeOrder;
use crate::codes::refusal;

/// A request's status, without its message's.
pub(super) fn request(id: &str, phone_number: &str, payload: &str) -> Value {
    json!({
        "request_id": id, "phone_number": phone_number, "request_cost": 0.01, "payload": payload,
    })
}

/// What the caller is told of a message that was taken.
pub(super) fn sent(order: &CodeOrder, id: &str) -> Value {
    let mut shown = of(order, id);
    shown["remaining_balance"] = json!(1_000);
    shown
}

/// What is reported when `receipt` is due; `None` where Telegram reports nothing of the kind.
pub(super) fn report(order: &CodeOrder, receipt: &Receipt) -> Option<Value> {
    let status = match receipt.report {
        Report::Reached(Status::Submitted) => "sent",
        Report::Reached(Status::Delivered) => "delivered",
        Report::Reached(Status::Read) => "read",
        Report::Reached(Status::Pending | Status::Replied) => return None,
        Report::Failed(_) => "expired",
    };
    let mut shown = of(order, receipt.provider_id.as_deref()?);
    let seconds = receipt.provider_time.unwrap_or_default().0 / 1_000;
    shown["delivery_status"] = json!({ "status": status, "updated_at": seconds });
    if status == "expired" {
        shown["is_refunded"] = json!(true);
    }
    Some(shown)
}

/// The error that says what a script has another provider say as `code`.
pub(super) fn error(code: u16) -> &'static str {
    match refusal(code).kind {
        ErrorKind::InvalidRecipient => "PHONE_NUMBER_INVALID",
        ErrorKind::OptedOut
        | ErrorKind::OutsideWindow
        | ErrorKind::Unreached
        | ErrorKind::Timeout
        | ErrorKind::Unreachable => "PHONE_NUMBER_NOT_AVAILABLE",
        ErrorKind::ContentRejected => "CODE_INVALID",
        ErrorKind::InvalidRequest => "PAYLOAD_INVALID",
        ErrorKind::Unauthorized => "ACCESS_TOKEN_INVALID",
        ErrorKind::Forbidden => "SENDER_NOT_VERIFIED",
        ErrorKind::InsufficientFunds => "BALANCE_NOT_ENOUGH",
        ErrorKind::Throttled | ErrorKind::ProviderFailure => "FLOOD_WAIT",
    }
}

fn of(order: &CodeOrder, id: &str) -> Value {
    let number = match &order.to {
        Endpoint::Number(number) | Endpoint::Id(number) => format!("+{number}"),
    };
    request(id, &number, order.payload.as_deref().unwrap_or_default())
}
