//! What differs between two configurations, and which of it a running service takes up by itself.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{ConfigError, DEFAULT_TOML};

/// What a reload applies: a setting, or all that stands below it. Everything else needs a restart.
const BY_RELOAD: &[&str] = &[
    "access.creates_burst",
    "access.creates_per_s",
    "access.keys",
    "access.most_accounts",
    "access.most_opt_outs",
    "access.most_applications",
    "access.most_keys",
    "access.open_streams",
    "access.open_workflows",
    "access.personal_client_ref",
    "access.personal_labels",
    "access.tenants",
    "access.token_once",
    "access.token_tolerance_s",
    "accounts",
    "adapters",
    "callbacks",
    "engine.drain_s",
    "engine.unconfirmed_after_s",
    "engine.last_send_within_s",
    "engine.retry_base_ms",
    "engine.retry_max_ms",
    "engine.send_within_s",
    "engine.unknown_wait_s",
    "listen.tls.certificate",
    "listen.tls.client_ca",
    "listen.tls.key",
    "log.level",
    "routes",
    "sandbox.default_script",
    "store.contents_retention_s",
    "sandbox.scripts",
];

/// What a reload does not apply of that: which adapters there are.
const BY_RESTART: &[&str] = &["adapters.order"];

/// A setting that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// As in `engine.drain_s`, `routes.sms-main.timeout_s`, `accounts.main.secrets`. Never a value: it
    /// may be a secret.
    pub setting: String,
    /// Whether a reload applies it; else it needs a restart.
    pub by_reload: bool,
}

/// The settings of a text, defaults included, each by its full name.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingValues(BTreeMap<String, Value>);

impl SettingValues {
    /// Those of a file's text. It is only read, not checked: [`Config::parse`](super::Config::parse)
    /// does that.
    ///
    /// # Errors
    /// If it is no TOML.
    pub fn of(text: &str) -> Result<SettingValues, ConfigError> {
        let mut settings = BTreeMap::new();
        for text in [DEFAULT_TOML, text] {
            let table: Table =
                toml::from_str(text).map_err(|error| ConfigError(super::explain(&error, text)))?;
            flatten("", &Value::Table(table), &mut settings);
        }
        Ok(SettingValues(settings))
    }

    /// These after a reload by `new`: what it applies is as there.
    #[must_use]
    pub fn reloaded(&self, new: &SettingValues) -> SettingValues {
        let mut settings = self.0.clone();
        for Difference { setting, by_reload } in self.differences(new) {
            match new.0.get(&setting).filter(|_| by_reload) {
                Some(value) => {
                    settings.insert(setting, value.clone());
                }
                None if by_reload => {
                    settings.remove(&setting);
                }
                None => {}
            }
        }
        SettingValues(settings)
    }

    /// What is not the same in `other`, in order of name. The order of routes counts: it is the order
    /// in which they are tried.
    pub fn differences(&self, other: &SettingValues) -> Vec<Difference> {
        let names = self.0.keys().chain(other.0.keys());
        let mut names: Vec<_> =
            names.filter(|name| self.0.get(*name) != other.0.get(*name)).collect();
        names.sort_unstable();
        names.dedup();
        let difference = |setting: &String| Difference {
            setting: setting.clone(),
            by_reload: !BY_RESTART.contains(&setting.as_str())
                && BY_RELOAD.iter().any(|below| is_below(setting, below)),
        };
        names.into_iter().map(difference).collect()
    }
}

fn is_below(setting: &str, of: &str) -> bool {
    setting.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Tables by their keys; lists of tables by what names them, and their order as a setting of its own.
fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        // One difference for all secrets of an account: their names say nothing further.
        Value::Table(_) if name.ends_with(".secrets") => {
            into.insert(name.to_owned(), value.clone());
        }
        Value::Table(table) => {
            for (key, value) in table {
                flatten(&below(key), value, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            let mut order = Vec::new();
            for item in items {
                let named = item.get("name").or(item.get("id")).and_then(Value::as_str);
                let key = named.unwrap_or("unnamed");
                order.push(Value::from(key));
                flatten(&below(key), item, into);
            }
            into.insert(below("order"), Value::Array(order));
        }
        _ => {
            into.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(old: &str, new: &str) -> Vec<(String, bool)> {
        let [old, new] = [old, new].map(|text| SettingValues::of(text).unwrap());
        let differences = old.differences(&new).into_iter();
        differences.map(|difference| (difference.setting, difference.by_reload)).collect()
    }

    #[test]
    fn what_a_reload_applies_is_told_from_what_needs_a_restart() {
        let same = "[log]\nlevel = \"info\"\n";
        assert_eq!(between("", same), [], "a default that is written out is no difference");
        let new = "[log]\nlevel = \"debug\"\nformat = \"json\"\n[listen]\ngrpc = \"127.0.0.1:1\"\n";
        assert_eq!(
            between("", new),
            [
                ("listen.grpc".to_owned(), false),
                ("log.format".to_owned(), false),
                ("log.level".to_owned(), true)
            ]
        );
    }

    #[test]
    fn accounts_and_routes_go_by_their_names_and_no_value_is_told() {
        let account = |secret: &str| {
            format!(
                "[[accounts]]\nname = \"main\"\nprovider = \"vonage\"\nsecrets = {{ api_secret = \"{secret}\" }}\n"
            )
        };
        let route = |name: &str, limit| {
            format!(
                "[[routes]]\nname = \"{name}\"\nadapter = \"a\"\naccount = \"main\"\nconcurrency = {limit}\n"
            )
        };
        let old = account("one") + &route("x", 1) + &route("y", 1);
        let new = account("two") + &route("y", 2) + &route("x", 1);
        assert_eq!(
            between(&old, &new),
            [
                ("accounts.main.secrets".to_owned(), true),
                ("routes.order".to_owned(), true),
                ("routes.y.concurrency".to_owned(), true)
            ]
        );
    }

    #[test]
    fn every_name_of_the_list_is_a_setting() {
        let all = SettingValues::of("").unwrap();
        // Lists that are empty by default, and so stand in no text.
        let lists =
            ["access.keys", "access.tenants", "accounts", "adapters", "routes", "sandbox.scripts"];
        for name in BY_RELOAD {
            let is_setting = all.0.keys().any(|setting| is_below(setting, name));
            assert!(is_setting || lists.contains(name), "{name}");
        }
    }
}
