//! `[listen]`: where the service listens, and what a listener bears.

use std::net::SocketAddr;

use dispatch_contract::{SettingRule, UrlRules, check_url};
use serde::Deserialize;

use super::{ConfigError, Range, TlsConfig};

/// For what providers call.
const RULES: UrlRules = UrlRules { fragment: false, ..UrlRules::PUBLIC };

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// gRPC.
    pub grpc: SocketAddr,
    /// Public HTTP.
    pub http: SocketAddr,
    /// Internal HTTP.
    pub internal_http: SocketAddr,
    /// How providers reach the public listener; empty if they need not be told.
    pub public_url: String,
    /// How often a gRPC peer is asked whether it lives, in seconds.
    pub keep_alive_s: u64,
    /// How long it may take to say so, in seconds.
    pub keep_alive_timeout_s: u64,
    /// How many connections gRPC holds.
    pub grpc_connections: usize,
    /// How many connections public HTTP holds.
    pub http_connections: usize,
    /// How many gRPC calls may be under way in all.
    pub calls: usize,
    /// How many calls one gRPC connection may have open.
    pub max_concurrent_streams: u32,
    /// How long a stream waits for a reader that takes nothing, in seconds.
    pub reader_timeout_s: u64,
    /// How long an HTTP request's head, and then its body, may take to arrive, in seconds.
    pub http_timeout_s: u64,
    /// Whether gRPC may be reached from elsewhere without keys or without TLS.
    pub insecure: bool,
    /// TLS.
    pub tls: TlsConfig,
}

impl ListenConfig {
    pub(super) fn ranges(&self) -> impl IntoIterator<Item = Range> {
        [
            ("listen.keep_alive_s", self.keep_alive_s, 1, 3600),
            ("listen.keep_alive_timeout_s", self.keep_alive_timeout_s, 1, 3600),
            ("listen.grpc_connections", self.grpc_connections as u64, 8, 100_000),
            ("listen.http_connections", self.http_connections as u64, 8, 100_000),
            ("listen.calls", self.calls as u64, 16, 1_000_000),
            ("listen.max_concurrent_streams", self.max_concurrent_streams.into(), 1, 1_000_000),
            ("listen.reader_timeout_s", self.reader_timeout_s, 1, 86_400),
            ("listen.http_timeout_s", self.http_timeout_s, 1, 3600),
        ]
    }

    pub(super) fn problems(&self) -> Vec<ConfigError> {
        let mut problems: Vec<_> = self.tls.check().err().into_iter().collect();
        let url = &self.public_url;
        // Paths of webhooks are put behind it, and signatures cover it.
        if !url.is_empty() && (check_url(url, RULES).is_err() || !SettingRule::Url.admits(url)) {
            let problem = format!("listen.public_url must be {}, or be empty", SettingRule::Url);
            problems.push(ConfigError(problem));
        }
        problems
    }
}

impl Default for ListenConfig {
    fn default() -> Self {
        ListenConfig {
            grpc: SocketAddr::from(([127, 0, 0, 1], 50051)),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            internal_http: SocketAddr::from(([127, 0, 0, 1], 9090)),
            public_url: String::new(),
            keep_alive_s: 20,
            keep_alive_timeout_s: 10,
            grpc_connections: 1024,
            http_connections: 1024,
            calls: 20_480,
            max_concurrent_streams: 1024,
            reader_timeout_s: 60,
            http_timeout_s: 15,
            insecure: false,
            tls: TlsConfig::default(),
        }
    }
}
