//! The settings form of a provider's accounts: what each field is, and what may stand in it.

use std::fmt;

use url::Url;

use crate::Account;

/// What an account has to hold: every setting and secret there is, in the order in which people read them.
///
/// From it the configuration is checked and the provider's page written, so that no setting is learned from
/// an error.
#[derive(Clone, Copy, Debug)]
pub struct SettingsForm(pub &'static [Setting]);

/// One field of the form.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// As it stands in the configuration: `base_url`.
    pub name: &'static str,
    /// What it is for: half a sentence, without its name and without a full stop.
    pub sentence: &'static str,
    /// Whether it stands among the secrets, and is never shown.
    pub is_secret: bool,
    /// Whether an account without it is refused.
    pub is_required: bool,
    /// What holds where it is left out, as one would write it.
    pub default: Option<&'static str>,
    /// What may stand in it.
    pub rule: SettingRule,
}

/// What may stand in a setting.
#[derive(Clone, Copy, Debug)]
pub enum SettingRule {
    /// Any text but an empty one.
    Text,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A whole number of at least this much.
    AtLeast(u32),
    /// An http or https URL without user, query and fragment.
    Url,
    /// What a check of the provider's own admits.
    Custom {
        /// What must stand there, as the end of a sentence: "must be …".
        wanted: &'static str,
        /// Whether a value will do.
        admits: fn(&str) -> bool,
    },
}

impl Setting {
    /// A setting that may be left out.
    pub const fn plain(name: &'static str, sentence: &'static str) -> Setting {
        let (default, rule) = (None, SettingRule::Text);
        Setting { name, sentence, is_secret: false, is_required: false, default, rule }
    }

    /// A secret that may be left out.
    pub const fn secret(name: &'static str, sentence: &'static str) -> Setting {
        Setting { is_secret: true, ..Setting::plain(name, sentence) }
    }

    /// The same, and it must be there.
    #[must_use]
    pub const fn required(self) -> Setting {
        Setting { is_required: true, ..self }
    }

    /// The same, with what holds where it is left out.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Setting {
        Setting { default: Some(default), ..self }
    }

    /// The same, with what may stand in it.
    #[must_use]
    pub const fn of(self, rule: SettingRule) -> Setting {
        Setting { rule, ..self }
    }

    /// `setting` or `secret`, as problems call it.
    fn kind(&self) -> &'static str {
        if self.is_secret { "secret" } else { "setting" }
    }

    fn value<'a>(&self, account: &'a Account) -> Option<&'a str> {
        if self.is_secret { account.secret(self.name) } else { account.setting(self.name) }
    }
}

impl SettingRule {
    /// Whether this may stand there.
    pub fn admits(&self, value: &str) -> bool {
        match self {
            SettingRule::Text => !value.is_empty(),
            SettingRule::OneOf(values) => values.contains(&value),
            SettingRule::AtLeast(least) => value.parse::<u32>().is_ok_and(|it| it >= *least),
            SettingRule::Url => is_base_url(value),
            SettingRule::Custom { admits, .. } => admits(value),
        }
    }
}

/// What must stand there, as the end of a sentence: "must be …".
impl fmt::Display for SettingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingRule::Text => f.write_str("a text that is not empty"),
            SettingRule::OneOf(values) => f.write_str(&values.join(" or ")),
            SettingRule::AtLeast(least) => write!(f, "a whole number, at least {least}"),
            SettingRule::Url => {
                f.write_str("an http or https URL without user, query and fragment")
            }
            SettingRule::Custom { wanted, .. } => f.write_str(wanted),
        }
    }
}

impl SettingsForm {
    /// The field of that name.
    pub fn get(&self, name: &str) -> Option<&'static Setting> {
        self.0.iter().find(|setting| setting.name == name)
    }

    /// Everything in an account that does not fit the form: each problem one sentence that names the
    /// field, says what would be right and shows no value.
    pub fn problems(&self, account: &Account) -> Vec<String> {
        let settings = account.settings.keys().filter_map(|name| self.misplaced(name, false));
        let secrets = account.secrets.keys().filter_map(|name| self.misplaced(name, true));
        let mut problems: Vec<_> = settings.chain(secrets).collect();
        for setting in self.0 {
            let (kind, name) = (setting.kind(), setting.name);
            match setting.value(account) {
                Some(value) if !setting.rule.admits(value) => {
                    problems.push(format!("{kind} {name} must be {}", setting.rule));
                }
                None if setting.is_required => {
                    problems.push(format!("{kind} {name} is missing: {}", setting.sentence));
                }
                Some(_) | None => {}
            }
        }
        problems
    }

    fn misplaced(&self, name: &str, is_secret: bool) -> Option<String> {
        let kind = if is_secret { "secret" } else { "setting" };
        match self.get(name) {
            Some(setting) if setting.is_secret == is_secret => None,
            Some(_) if is_secret => Some(format!(
                "{name} is no secret and stands among the secrets; move it to the settings"
            )),
            Some(_) => Some(format!(
                "{name} is a secret and stands among the settings; move it to the secrets"
            )),
            None => {
                let all = self.0.iter().filter(|it| it.is_secret == is_secret);
                let known: Vec<_> = all.map(|it| it.name).collect();
                Some(match known.as_slice() {
                    [] => format!("there is no {kind} {name}, nor any other {kind}"),
                    _ => format!("there is no {kind} {name}; there are {}", known.join(", ")),
                })
            }
        }
    }
}

fn is_base_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use crate::Secret;

    use super::*;

    const FORM: SettingsForm = SettingsForm(&[
        Setting::plain("base_url", "where the API is").or("https://a.example").of(SettingRule::Url),
        Setting::plain("version", "which words to use").of(SettingRule::OneOf(&["v1", "v2"])),
        Setting::plain("age_s", "how old a signature may be").of(SettingRule::AtLeast(60)),
        Setting::plain("page", "who writes").of(SettingRule::Custom {
            wanted: "an id of digits",
            admits: |id| id.bytes().all(|byte| byte.is_ascii_digit()),
        }),
        Setting::secret("token", "what calls are authorised with").required(),
    ]);

    fn problems(settings: &[(&str, &str)], secrets: &[(&str, &str)]) -> String {
        let account = Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            secrets: secrets.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect(),
        };
        FORM.problems(&account).join("\n")
    }

    #[test]
    fn an_account_that_fits_has_no_problem() {
        let settings = [
            ("base_url", "http://127.0.0.1:80/x/"),
            ("version", "v2"),
            ("age_s", "60"),
            ("page", "7"),
        ];
        assert_eq!(problems(&settings, &[("token", "t0ken")]), "");
        assert_eq!(problems(&[], &[("token", "t0ken")]), "");
    }

    #[test]
    fn a_problem_names_the_field_and_what_would_be_right_and_shows_no_value() {
        let token = ("token", "t0ken");
        for (settings, secrets, part) in [
            (vec![], vec![], "secret token is missing: what calls are authorised with"),
            (vec![], vec![("token", "")], "secret token must be a text that is not empty"),
            (vec![("version", "t0ken")], vec![token], "setting version must be v1 or v2"),
            (
                vec![("age_s", "59")],
                vec![token],
                "setting age_s must be a whole number, at least 60",
            ),
            (vec![("age_s", "t0ken")], vec![token], "setting age_s must be a whole number"),
            (vec![("base_url", "ftp://t0ken")], vec![token], "setting base_url must be an http or"),
            (vec![("base_url", "https://t0ken@h")], vec![token], "without user"),
            (vec![("page", "t0ken")], vec![token], "setting page must be an id of digits"),
            (vec![("token", "t0ken")], vec![], "token is a secret and stands among the settings"),
            (vec![], vec![token, ("page", "t0ken")], "page is no secret"),
            (
                vec![("versoin", "v1")],
                vec![token],
                "no setting versoin; there are base_url, version",
            ),
            (vec![], vec![token, ("tokn", "t0ken")], "no secret tokn; there are token"),
        ] {
            let text = problems(&settings, &secrets);
            assert!(text.contains(part), "{text:?} should contain {part:?}");
            assert!(!text.contains("t0ken"), "{text:?} shows a value");
        }
    }
}
