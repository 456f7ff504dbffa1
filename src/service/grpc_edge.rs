//! The gRPC edge: every service behind its guard, on one listener.

use std::time::Duration;

use tonic::{codec::CompressionEncoding, transport::server::Router};
use tonic_health::server::HealthReporter;

use super::rooms::Rooms;
use std::sync::Arc;

use crate::{
    access::Access,
    config::ListenConfig,
    engine::Engine,
    fair::DiskTurns,
    grpc::{
        AccessService, AccountService, AdminService, ApplicationService, CallbackService, Calls,
        DispatchService, ErasureService, Explained, Guarded, InboundService, OptOutService,
        SandboxService, Unguarded, unread::MOST_MIB,
    },
    pb::{
        DESCRIPTORS,
        v1::{
            access_service_server::AccessServiceServer,
            account_service_server::AccountServiceServer, admin_service_server::AdminServiceServer,
            application_service_server::ApplicationServiceServer,
            callback_service_server::CallbackServiceServer,
            dispatch_service_server::DispatchServiceServer,
            erasure_service_server::ErasureServiceServer,
            inbound_service_server::InboundServiceServer,
            opt_out_service_server::OptOutServiceServer,
            sandbox_service_server::SandboxServiceServer,
        },
    },
    store::KeyFiles,
};

/// The largest gRPC message taken: a full batch.
const MESSAGE_BYTES: usize = MOST_MIB * 1024 * 1024;

/// How many calls of health, and of each version of reflection, may be under way: nobody is asked for a
/// key at them.
const HEALTH_CALLS: usize = 4096;
const REFLECTION_CALLS: usize = 256;
/// How long a call of reflection may ask nothing.
const REFLECTION_QUIET: Duration = Duration::from_secs(10);

/// Lets callers of a generated server compress, and compresses for those who ask for it. What is
/// unpacked is bounded as what comes unpacked, and what cannot be read is refused in our words.
macro_rules! gzipped {
    ($server:expr) => {
        Explained(
            $server
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MESSAGE_BYTES),
        )
    };
}

/// The gRPC edge of an engine, to be served on whatever brings connections.
pub fn grpc_edge(
    engine: &Engine,
    access: &Access,
    calls: &Calls,
    turns: &DiskTurns,
    listen: &ListenConfig,
) -> Router {
    let timeout = Duration::from_secs(listen.reader_timeout_s);
    let dispatch =
        DispatchService::new(engine.clone(), access.clone(), calls.clone(), timeout, turns.clone());
    let dispatch = Guarded::new(
        gzipped!(DispatchServiceServer::new(dispatch)),
        access.clone(),
        engine.clone(),
        calls.clone(),
    );
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        // What is more waits at the client, and not in this process's memory.
        .max_concurrent_streams(listen.max_concurrent_streams)
        .http2_keepalive_interval(Some(Duration::from_secs(listen.keep_alive_s)))
        .http2_keepalive_timeout(Some(Duration::from_secs(listen.keep_alive_timeout_s)))
        .add_service(dispatch)
}

/// All services of the started rooms on the gRPC edge, and who says whether it serves.
pub(super) async fn router(rooms: &Rooms, listen: &ListenConfig) -> (Router, HealthReporter) {
    let (engine, access) = (&rooms.engine, &rooms.grpc_access);
    let calls = Calls::new(listen.calls, rooms.access.limits().clone());
    macro_rules! guarded {
        ($server:ident, $service:expr) => {
            Guarded::new(
                gzipped!($server::new($service)),
                access.clone(),
                engine.clone(),
                calls.clone(),
            )
        };
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    if engine.is_restore_locked() || engine.is_read_only() {
        health.set_not_serving::<DispatchServiceServer<DispatchService>>().await;
    } else {
        health.set_serving::<DispatchServiceServer<DispatchService>>().await;
    }
    let health_service =
        Unguarded::new(gzipped!(health_service), engine.clone(), HEALTH_CALLS, None);
    let timeout = Duration::from_secs(listen.reader_timeout_s);
    let admin = AdminService::new(
        engine.clone(),
        access.clone(),
        health.clone(),
        timeout,
        rooms.turns.clone(),
        rooms.content_keys.clone().map(|keys| keys as Arc<dyn KeyFiles>),
    );
    let keys = AccessService::new(
        access.clone(),
        engine.clone(),
        rooms.rotation.clone(),
        rooms.turns.clone(),
    );
    let applications = ApplicationService::new(
        engine.clone(),
        access.clone(),
        rooms.applications.clone(),
        rooms.external_accounts.clone(),
        rooms.destinations.clone(),
        rooms.turns.clone(),
    );
    let accounts = AccountService::new(
        engine.clone(),
        access.clone(),
        rooms.external_accounts.clone(),
        rooms.shows_tokens,
        rooms.turns.clone(),
    );
    let callbacks = CallbackService::new(
        rooms.callbacks.queries(),
        access.clone(),
        engine.clone(),
        rooms.turns.clone(),
    );
    let erasures = ErasureService::new(engine.clone(), access.clone(), rooms.turns.clone());
    let opt_outs = OptOutService::new(engine.clone(), access.clone(), rooms.turns.clone());
    let inbound = InboundService::new(
        engine.clone(),
        access.clone(),
        calls.clone(),
        timeout,
        rooms.turns.clone(),
    );
    let sandbox = rooms.sandbox.clone().map(SandboxService::new);
    // Made at build time, so it decodes; the tests see that both versions answer.
    let (v1, v1alpha) = (reflection().build_v1().ok(), reflection().build_v1alpha().ok());
    let quiet = Some(REFLECTION_QUIET);
    let v1 = v1.map(|it| Unguarded::new(gzipped!(it), engine.clone(), REFLECTION_CALLS, quiet));
    let v1alpha =
        v1alpha.map(|it| Unguarded::new(gzipped!(it), engine.clone(), REFLECTION_CALLS, quiet));
    let router = grpc_edge(engine, access, &calls, &rooms.turns, listen)
        .add_service(guarded!(AdminServiceServer, admin))
        .add_service(guarded!(AccessServiceServer, keys))
        .add_service(guarded!(ApplicationServiceServer, applications))
        .add_service(guarded!(AccountServiceServer, accounts))
        .add_service(guarded!(CallbackServiceServer, callbacks))
        .add_service(guarded!(OptOutServiceServer, opt_outs))
        .add_service(guarded!(InboundServiceServer, inbound))
        .add_service(guarded!(ErasureServiceServer, erasures))
        .add_optional_service(sandbox.map(|it| guarded!(SandboxServiceServer, it)))
        .add_service(health_service)
        .add_optional_service(v1)
        .add_optional_service(v1alpha);
    (router, health)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // So that error details can be read: BadRequest, ErrorInfo, RetryInfo.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        // Each version lists the other too: grpcurl 1.8 speaks only v1alpha.
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false)
}
