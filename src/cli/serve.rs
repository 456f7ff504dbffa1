//! `dispatch serve`.

use std::process::ExitCode;

use super::{Failure, ServeArgs};
use crate::{
    config::{Config, ConfigError, LogFormat},
    engine::Engine,
    service::{Parts, Service, ServiceClock},
    telemetry,
};

pub(super) async fn run<P>(args: ServeArgs, parts: P) -> Result<ExitCode, Failure>
where
    P: FnOnce(&Config, &ServiceClock) -> Result<Parts, ConfigError>,
{
    let config = settings(args).map_err(|error| Failure { code: 2, text: error.to_string() })?;
    telemetry::init_logs(config.log.format == LogFormat::Json, &config.log.level);
    // Before anything is served: a signal during the start is not lost.
    let stopping =
        signals().map_err(|error| Failure::new(format!("cannot hear signals: {error}")))?;
    let started = Service::start(&config, |clock, _| parts(&config, clock)).await;
    let service = started.map_err(|error| Failure::new(error.to_string()))?;
    greet(&service, &config);

    let engine = service.engine.clone();
    tokio::select! {
        () = stopping => {
            eprintln!("dispatch: stopping; calls that are out get {} s", config.engine.drain_s);
        }
        _ = engine.stopped() => {}
    }
    match service.stop().await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new(format!("stopped because of the store: {error}"))),
    }
}

fn settings(args: ServeArgs) -> Result<Config, ConfigError> {
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let listen = &mut config.listen;
    listen.grpc = args.grpc.unwrap_or(listen.grpc);
    listen.http = args.http.unwrap_or(listen.http);
    listen.internal_http = args.internal_http.unwrap_or(listen.internal_http);
    if let Some(data) = args.data {
        config.store.data = data;
    }
    if args.log_json {
        config.log.format = LogFormat::Json;
    }
    Ok(config)
}

/// Ready on SIGINT or SIGTERM. The handlers are in place when this returns.
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn greet(service: &Service, config: &Config) {
    println!("dispatch {}", env!("CARGO_PKG_VERSION"));
    println!("  gRPC           {}", service.grpc);
    println!("  webhooks       http://{}/receipts/{{provider}}/{{account}}", service.http);
    println!("  health         http://{}/healthz /readyz /metrics", service.internal_http);
    match config.store.kind {
        crate::config::StoreKind::Sled => {
            println!("  data           {}", config.store.data.display())
        }
        crate::config::StoreKind::Memory => println!("  data           none: kept in memory only"),
    }
    println!("\n{}", channels(&service.engine));
    if config.routes.is_empty() {
        println!("No routes are configured: the sandbox serves, and nothing is really sent.\n");
    }
    for address in [service.grpc, service.internal_http] {
        if !address.ip().is_loopback() {
            let wide = "reachable from elsewhere, and there is no authentication";
            tracing::warn!(%address, "{wide}: keep it inside your own network");
        }
    }
    println!("Try:  grpcurl -plaintext {} list", service.grpc);
    println!(
        "      dispatch create -f docs/workflows/messenger-sms.yaml --watch --server http://{}",
        service.grpc
    );
}

/// Which channels are served through which adapters with which condition statuses.
fn channels(engine: &Engine) -> String {
    let mut rows = vec![["channel", "route", "adapter", "condition statuses"].map(str::to_owned)];
    for channel in engine.routes().channels() {
        for route in engine.routes().iter().filter(|route| *route.adapter.channel() == channel) {
            let statuses = &route.adapter.capabilities().condition_statuses;
            let statuses: Vec<_> = statuses.iter().map(|status| status.as_str()).collect();
            let (name, adapter) = (route.name.to_string(), route.adapter.name().to_owned());
            rows.push([channel.to_string(), name, adapter, statuses.join(", ")]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |row: &[String; 4]| {
        let [a, b, c] = widths;
        format!("  {:<a$}  {:<b$}  {:<c$}  {}\n", row[0], row[1], row[2], row[3])
    };
    rows.iter().map(line).collect()
}
