#![doc = include_str!("ARCHITECTURE.md")]

pub mod access;
mod api;
pub mod builtin;
pub mod callbacks;
pub mod cli;
pub mod client;
pub mod config;
pub mod contents;
pub mod current;
pub mod engine;
pub mod fair;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grpc;
pub mod http;
pub mod machine;
mod owned_files;
pub mod pb;
pub mod rest;
pub mod service;
pub mod store;
pub mod telemetry;
mod terminal;
pub mod tls;

#[cfg(test)]
#[path = "../tests/shared/mod.rs"]
mod shared;

// What is shared with suites beside this crate calls it by its name.
#[cfg(test)]
extern crate self as dispatch;

use std::process::ExitCode;

/// What [`main!`] needs, and nobody else.
#[doc(hidden)]
pub use mimalloc::MiMalloc;

/// Runs the command line with the providers that this program brings along, and those that `add` adds.
///
/// Whoever writes a binary of their own begins with [`main!`], which is this and the allocator: sled is
/// several times faster with it, and takes less memory, than with glibc's.
pub fn run<E: std::fmt::Display>(
    add: impl FnOnce(&mut builtin::Providers) -> Result<(), E>,
) -> ExitCode {
    let mut providers = builtin::Providers::default();
    let ours = builtin::add(&mut providers).map_err(|error| error.to_string());
    match ours.and_then(|()| add(&mut providers).map_err(|error| error.to_string())) {
        Ok(()) => cli::run(&providers),
        Err(problem) => cli::refuse(&problem),
    }
}

/// A whole program: the `dispatch` command line, with providers of one's own beside those that it has.
///
/// ```ignore
/// //! Dispatch, with LINE.
///
/// dispatch::main!(|providers| providers.add_proven(line::provider(), line::subjects));
/// ```
#[macro_export]
macro_rules! main {
    ($add:expr) => {
        #[global_allocator]
        static ALLOCATOR: $crate::MiMalloc = $crate::MiMalloc;

        fn main() -> ::std::process::ExitCode {
            $crate::run($add)
        }
    };
}
