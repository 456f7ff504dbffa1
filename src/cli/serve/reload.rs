//! `kill -HUP`: the configuration is read again, and what can be changed while the service runs is.

use dispatch_contract::Registry;

use super::{Read, warn_of_unheard_accounts};
use crate::{
    builtin,
    cli::ServeArgs,
    config::{Config, ConfigError, Difference, TlsListener},
    service::{Service, ServiceClock},
    telemetry::{self, LogLevel},
};

/// What a running service was started by.
pub(super) struct Running<'a> {
    pub(super) args: &'a ServeArgs,
    pub(super) providers: &'a Registry,
    /// The adapters in programs of their own among them.
    pub(super) remote: builtin::RemoteAdapters,
    /// What it runs on now.
    pub(super) read: Read,
    pub(super) clock: Option<ServiceClock>,
    pub(super) log_level: LogLevel,
}

impl Running<'_> {
    /// Takes up the configuration, and tells the log what changed and what needs a restart; or that
    /// nothing changed, and why.
    pub(super) async fn reload(&mut self, service: &Service) {
        match self.try_reload(service).await {
            Ok(differences) => {
                tell(&differences);
                warn_of_unheard_accounts(service, self.providers);
            }
            Err(problem) => {
                let problem = self.read.shown(&problem);
                tracing::error!(problem, "the configuration was not reloaded; nothing has changed");
            }
        }
    }

    async fn try_reload(&mut self, service: &Service) -> Result<Vec<Difference>, ConfigError> {
        let mut new = Read::of(self.args)?;
        new.config.check()?;
        // Needs a restart; routes made of another one would tell providers a place that is not ours.
        new.config.listen.public_url.clone_from(&self.read.config.listen.public_url);
        let level = &new.config.log.level;
        let wrong = |problem| ConfigError(format!("log.level: {problem}"));
        telemetry::check_log_level(level).map_err(wrong)?;
        let Some(clock) = &self.clock else { return Ok(Vec::new()) };
        let parts = builtin::parts_of(self.providers, &new.config, clock)?;
        let redial = self.remote.prepare(&new.config)?;
        service.reload(&new.config, parts).await?;
        redial();
        self.log_level.set(level).map_err(wrong)?;

        let mut differences = self.read.settings.differences(&new.settings);
        let speaks_tls = |config: &Config| {
            [TlsListener::Grpc, TlsListener::Http].map(|it| config.listen.tls.is_of(it))
        };
        let switches_tls = speaks_tls(&self.read.config) != speaks_tls(&new.config);
        for difference in &mut differences {
            // A listener that speaks TLS takes other files; one that does not cannot begin to.
            difference.by_reload &=
                !(switches_tls && difference.setting.starts_with("listen.tls."));
        }
        self.read.settings = self.read.settings.reloaded(&new.settings);
        if !switches_tls {
            self.read.config.listen.tls = new.config.listen.tls;
        }
        Ok(differences)
    }
}

fn tell(differences: &[Difference]) {
    let named = |by_reload| {
        let some = differences.iter().filter(|difference| difference.by_reload == by_reload);
        some.map(|difference| difference.setting.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (changed, left) = (named(true), named(false));
    let changed =
        if changed.is_empty() { "nothing but what files hold".to_owned() } else { changed };
    tracing::info!(changed, "the configuration was reloaded");
    if !left.is_empty() {
        tracing::warn!("needs a restart: {left}");
    }
}
