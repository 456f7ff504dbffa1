//! The protocol as Rust types, generated from `proto/` by `build.rs`. Types that hold numbers or texts of people,
//! or secrets, have a `Debug` that does not show them.

use std::fmt;

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
mod generated {
    tonic::include_proto!("dispatch.adapter.v1");
}

pub use generated::*;

macro_rules! reticent {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

// The list stands in build.rs too.
reticent!(Account, Code, Content, Endpoint, Header, Location, Media, Template);
reticent!(ReadWebhookRequest, ReadWebhookResponse, SendRequest);
