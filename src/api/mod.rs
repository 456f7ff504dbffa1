//! What every edge says, said once: gRPC and REST are siblings over it, and each adds only its own words.
//!
//! A request becomes a [plan](parse) or all that is wrong with it, by [typed paths](violation); an error has
//! one [table](error); lists have one [paging](paging) rule and sealed [tokens](token); who asks is found out
//! by one function ([authenticate]). Which method needs which right stands in `access/rights.rs`, for both.

mod authenticate;
mod cancel;
mod contents;
mod erase;
mod error;
mod mask;
mod paging;
pub(crate) mod parse;
mod reads;
mod resume_vector;
pub(crate) mod token;
mod violation;

pub(crate) use authenticate::{authenticate, authorization, count_denied};
pub(crate) use cancel::{cancel_for_caller, note};
pub(crate) use contents::{ContentOutline, Showing, ShownContent, ShownContents, ShownStep};
pub(crate) use erase::{
    EraseOrder, erase_for_caller, finish_erasures, is_as_answered, preview_for_caller,
    restored_erasure, verify_certificate,
};
pub(crate) use error::{Error, ErrorReason, code_name};
pub(crate) use mask::Mask;
pub(crate) use paging::{PageSize, Pages};
pub(crate) use reads::{change_for_caller, read_for_caller, read_for_stream};
pub(crate) use violation::{
    FieldAt, PathSegment, Phrase, RequestViolation, own_options, path_behind,
};
