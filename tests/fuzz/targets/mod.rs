//! What is fuzzed, and what must hold of it beyond "no panic".
//!
//! libFuzzer calls these through `fuzz_targets/`, and `replay.rs` beside this folder what it found, in
//! every `cargo test`. A target that is given the same bytes does the same.
//!
//! Not reached from here: sockets and HTTP framing (hyper's), protobuf framing (prost's), and the
//! files that a configuration names.

mod authorization;
mod facade;
mod keys;
mod settings;
mod signed;
mod spoiled;
mod tokens;
mod webhook;
mod workflow;

pub use authorization::authorization;
pub use facade::facade;
pub use keys::keys;
pub use settings::{config, script};
pub use signed::signed;
pub use spoiled::spoiled;
pub use tokens::{row, token};
pub use webhook::webhook;
pub use workflow::workflow;

/// What is given any bytes, and panics if a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, which is its corpus folder's too.
pub const TARGETS: [(&str, Target); 11] = [
    ("authorization", authorization),
    ("config", config),
    ("facade", facade),
    ("keys", keys),
    ("row", row),
    ("script", script),
    ("signed", signed),
    ("spoiled", spoiled),
    ("token", token),
    ("webhook", webhook),
    ("workflow", workflow),
];
