//! Compiles the protocol of adapters in programs of their own: `proto/` to Rust.
//!
//! protox reads the files, so that no `protoc` is needed on the machine.

use std::error::Error;

const ROOT: &str = "../../proto";
const FILE: &str = "dispatch/adapter/v1/adapter.proto";

/// Messages that hold personal data or secrets; `src/pb.rs` gives them a `Debug` that does not show it.
const PERSONAL: &[&str] = &[
    ".dispatch.adapter.v1.Account",
    ".dispatch.adapter.v1.Code",
    ".dispatch.adapter.v1.Content",
    ".dispatch.adapter.v1.Endpoint",
    ".dispatch.adapter.v1.Header",
    ".dispatch.adapter.v1.Location",
    ".dispatch.adapter.v1.Media",
    ".dispatch.adapter.v1.ReadWebhookRequest",
    ".dispatch.adapter.v1.ReadWebhookResponse",
    ".dispatch.adapter.v1.SendRequest",
    ".dispatch.adapter.v1.Template",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}/{FILE}");
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files([FILE])?;
    tonic_prost_build::configure()
        .btree_map(".dispatch.adapter.v1")
        .skip_debug(PERSONAL)
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
