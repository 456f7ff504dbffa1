//! What the rooms are started with, out of the configuration.

use std::{sync::Arc, time::Duration};

use dispatch_contract::Registry;

use crate::{
    access::{Applications, Destinations, is_tenant},
    callbacks,
    config::{CallbackConfig, Config, ConfigError, EngineConfig},
    contents::ContentsRetention,
    engine::{
        EngineOptions, FormerNames, InboundOptions, LaneLimits, RouteTable, SpaceLimits, account_id,
    },
    http,
    machine::PolicySnapshot,
};

/// Routes that know how much of them each tenant gets, what accounts were called before, and what runs.
pub(super) fn with_surroundings(
    routes: RouteTable,
    registry: &Registry,
    config: &Config,
    accounts: &http::AccountsByName,
) -> RouteTable {
    let weights = config.access.tenants.iter();
    let weights = weights.map(|(name, it)| (Arc::from(name.as_str()), it.weight)).collect();
    let renamed = accounts.iter().filter(|((_, name), account)| *name != account.name);
    let names = FormerNames::new(renamed.map(|((provider, before), account)| {
        (account_id(provider, &account.name), account_id(provider, before))
    }));
    routes.weighted(weights).with_former_names(names).with_registered(registry)
}

pub(super) fn engine_options(config: &Config) -> EngineOptions {
    let (engine, store) = (&config.engine, &config.store);
    let bytes = |mib: u64| mib * 1024 * 1024;
    EngineOptions {
        policy: policy(engine),
        recovery_grace: Duration::from_secs(engine.recovery_grace_s),
        retention: Duration::from_secs(store.retention_s),
        space: SpaceLimits { warn: bytes(store.warn_free_mib), reserve: bytes(store.reserve_mib) },
        is_read_only: store.read_only,
        queue_warn: Duration::from_secs(engine.queue_warn_s),
        lanes: LaneLimits {
            creates: engine.create_queue_capacity,
            cancels: engine.cancel_queue_capacity,
            receipts: engine.receipt_queue_capacity,
        },
    }
}

/// How long contents are kept after their workflow's end: as long as that at most.
pub(super) fn contents_retention(config: &Config) -> ContentsRetention {
    let (usual, longest) = (config.store.contents_retention_s, config.store.retention_s);
    let of = |seconds: u64| Duration::from_secs(seconds.min(longest));
    let tenants = config.access.tenants.iter().filter_map(|(name, tenant)| {
        Some((Arc::from(name.as_str()), of(tenant.contents_retention_s?)))
    });
    let kept = ContentsRetention { usual: of(usual), tenants: tenants.collect() };
    let told_for = Duration::from_secs(config.callbacks.retry_for_s);
    let whose = kept.tenants.iter().map(|(name, kept)| (&**name, kept)).chain([("*", &kept.usual)]);
    for (tenant, kept) in whose.filter(|(_, kept)| **kept < told_for) {
        tracing::warn!(
            tenant,
            contents_retention_s = kept.as_secs(),
            retry_for_s = told_for.as_secs(),
            "callbacks are tried for longer than contents are kept: those that are late by more are dropped"
        );
    }
    kept
}

/// How what persons write is kept.
///
/// # Errors
/// If no tenant can be called as is said there.
pub(super) fn inbound_options(config: &Config) -> Result<InboundOptions, ConfigError> {
    let inbound = &config.inbound;
    if !is_tenant(&inbound.tenant) {
        let wanted =
            "inbound.tenant must be a tenant's name: 1 to 64 letters, digits, '.', '_' and '-'";
        return Err(ConfigError(wanted.to_owned()));
    }
    Ok(InboundOptions {
        tenant: Arc::from(inbound.tenant.as_str()),
        retention: Duration::from_secs(inbound.retention_s),
        most: inbound.most_messages,
    })
}

/// The durations that new workflows live by.
pub(super) fn policy(engine: &EngineConfig) -> PolicySnapshot {
    PolicySnapshot {
        send_within_ms: engine.send_within_s * 1000,
        last_send_within_ms: engine.last_send_within_s * 1000,
        unknown_wait_ms: engine.unknown_wait_s * 1000,
        unconfirmed_after_ms: engine.unconfirmed_after_s * 1000,
        retry_base_ms: engine.retry_base_ms,
        retry_max_ms: engine.retry_max_ms,
    }
}

/// Where callbacks may go.
pub(super) fn destinations(callbacks: &CallbackConfig) -> Destinations {
    let networks = callbacks.allow_networks.iter();
    Destinations {
        allow_http: callbacks.allow_http,
        // The configuration was checked.
        allow_networks: networks.filter_map(|network| network.parse().ok()).collect(),
    }
}

pub(super) fn callback_options(
    callbacks: &CallbackConfig,
    applications: &Arc<Applications>,
) -> callbacks::CallbackOptions {
    let applications = Arc::clone(applications);
    callbacks::CallbackOptions {
        destinations: Arc::new(destinations(callbacks)),
        concurrency: callbacks.concurrency,
        per_destination: callbacks.per_destination,
        timeout: Duration::from_secs(callbacks.timeout_s),
        retry_for: Duration::from_secs(callbacks.retry_for_s),
        retry_base: Duration::from_millis(callbacks.retry_base_ms),
        retry_max: Duration::from_millis(callbacks.retry_max_ms),
        waiting_per_application: callbacks.waiting_per_application,
        dead_letters_per_application: callbacks.dead_letters_per_application,
        secret: Arc::new(move |application| {
            let id = application.id;
            match applications.callback_secret(application) {
                Ok(Some(secret)) => Ok(secret),
                Ok(None) => Err(format!("application {id} has no secret to sign with")),
                Err(error) => Err(format!("the secret of application {id}: {error}")),
            }
        }),
    }
}
