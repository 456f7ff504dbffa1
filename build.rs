//! Compiles the public API: `proto/` to Rust, and to a descriptor set for reflection and JSON.
//!
//! protox reads the files, so that no `protoc` is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

const ROOT: &str = "proto";
const FILES: &[&str] = &[
    "dispatch/v1/access.proto",
    "dispatch/v1/account.proto",
    "dispatch/v1/admin.proto",
    "dispatch/v1/application.proto",
    "dispatch/v1/callback.proto",
    "dispatch/v1/channel.proto",
    "dispatch/v1/erasure.proto",
    "dispatch/v1/inbound.proto",
    "dispatch/v1/message.proto",
    "dispatch/v1/opt_out.proto",
    "dispatch/v1/sandbox.proto",
    "dispatch/v1/service.proto",
    "dispatch/v1/timeline.proto",
    "dispatch/v1/workflow.proto",
    // Nothing imports it; it is what the details of a google.rpc.Status are, for reflection and JSON.
    "google/rpc/error_details.proto",
];

/// Messages that hold personal data or secrets; `src/pb.rs` gives them a `Debug` that does not show it.
const PERSONAL: &[&str] = &[
    ".dispatch.v1.Address",
    ".dispatch.v1.Message",
    ".dispatch.v1.InboundMessage",
    ".dispatch.v1.SentMessage",
    ".dispatch.v1.PersonToErase",
    ".dispatch.v1.Script",
    ".dispatch.v1.SetScriptRequest",
    ".dispatch.v1.ListSentMessagesRequest",
    ".dispatch.v1.CreateApplicationResponse",
    ".dispatch.v1.UpdateApplicationResponse",
    ".dispatch.v1.GetCallbackSecretResponse",
    ".dispatch.v1.RotateCallbackSecretResponse",
    ".dispatch.v1.RotateKeyPairResponse",
    ".dispatch.v1.ExternalAccount",
    ".dispatch.v1.CreateAccountRequest",
    ".dispatch.v1.UpdateAccountRequest",
    ".dispatch.v1.CreateKeyResponse",
    ".dispatch.v1.RotateKeyResponse",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    // With imports and comments: what reflection shows is then complete.
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    // As protox has them, because prost's types would drop the options that are not protobuf's own.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let descriptors = compiler.file_descriptor_set();

    // Names, so that a Rust type finds its descriptor for JSON.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        // Labels in a fixed order, wherever they go.
        .btree_map(".dispatch.v1")
        // One type for a status, and the same that reads its details.
        .extern_path(".google.rpc", "::tonic_types::pb")
        .skip_debug(PERSONAL)
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
