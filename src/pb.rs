//! The public API as Rust types, generated from `proto/` by `build.rs`.
//!
//! What each message and field means is said in the `.proto` files, and shown by reflection. Types
//! that hold numbers or texts of people, or secrets, have a `Debug` that does not show them. Nothing is checked
//! here: that is `api::parse`'s.

use std::fmt;

mod json;
mod short;

pub(crate) use json::with_texts;
pub use json::{from_json, from_yaml, to_json};

/// Version 1 of the API.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("dispatch.v1");
}

/// The compiled `.proto` files, a `google.protobuf.FileDescriptorSet` with comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! reticent {
    ($($name:ident),*) => {$(
        impl fmt::Debug for v1::$name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

// The list stands in build.rs too.
reticent!(
    Address,
    Message,
    InboundMessage,
    SentMessage,
    PersonToErase,
    Script,
    SetScriptRequest,
    ListSentMessagesRequest
);
reticent!(CreateApplicationResponse, UpdateApplicationResponse, GetCallbackSecretResponse);
reticent!(RotateCallbackSecretResponse, RotateKeyPairResponse);
reticent!(ExternalAccount, CreateAccountRequest, UpdateAccountRequest);
reticent!(CreateKeyResponse, RotateKeyResponse);
