//! Configuration files and the sandbox's scripts.

use std::collections::BTreeMap;

use dispatch::config::Config;
use dispatch_contract::{Account, Secret};
use dispatch_sandbox::Script;
use dispatch_vonage::VonageAccount;

/// Stands for every secret; no error and no `Debug` may show it.
const SECRET: &str = "hunter2-hunter2-hunter2";

/// A configuration: text before an account with secrets, a zero byte, text behind it.
pub fn config(data: &[u8]) {
    let (before, behind) = halves(data);
    let (Ok(before), Ok(behind)) = (std::str::from_utf8(before), std::str::from_utf8(behind))
    else {
        return;
    };
    if let Ok(config) = Config::parse(before) {
        assert_eq!(Config::parse(before), Ok(config.clone()), "reading is a function");
        assert_eq!(config.check(), Ok(()), "what was read is right");
    }
    // A text of several lines could swallow the secret, and then it is none.
    let swallows = before.contains("\"\"\"") || before.contains("'''");
    let swallows = swallows || before.contains(SECRET) || behind.contains(SECRET);
    let text = format!(
        "{before}\n[[accounts]]\nname = \"a\"\nprovider = \"vonage\"\n\
         secrets = {{ api_secret = \"{SECRET}\", signature_secret = \"{SECRET}\" }}\n{behind}"
    );
    match Config::parse(&text) {
        Ok(config) => {
            assert!(swallows || !format!("{config:?}").contains(SECRET), "Debug shows a secret");
            for account in config.accounts.iter().filter(|_| !swallows) {
                checks_without_showing(&account.settings);
            }
        }
        Err(error) => assert!(swallows || !error.0.contains(SECRET), "{error}"),
    }
}

/// An account of any settings is judged without a word about its secrets.
fn checks_without_showing(settings: &BTreeMap<String, String>) {
    let names = ["api_secret", "signature_secret", "signature_secret_next", "private_key"];
    let secrets = names.map(|name| (name.to_owned(), Secret::new(SECRET)));
    let settings = settings.clone();
    for secrets in [secrets[..1].to_vec(), secrets[..3].to_vec(), secrets.to_vec()] {
        let secrets = secrets.into_iter().collect();
        let account =
            Account { name: "a".to_owned(), revision: 1, settings: settings.clone(), secrets };
        assert!(!format!("{account:?}").contains(SECRET));
        if let Err(problem) = VonageAccount::check(&account) {
            assert!(!problem.contains(SECRET), "{problem}");
        }
    }
}

/// A script of the sandbox: what is read is written back as the same script.
pub fn script(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Script>() {
        Ok(script) => {
            let written = script.to_string();
            assert_eq!(written.parse::<Script>(), Ok(script), "{written}");
        }
        // A text for people, however long the script was.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What is before the first zero byte, and what is behind it.
pub fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    (&data[..at], data.get(at + 1..).unwrap_or_default())
}
