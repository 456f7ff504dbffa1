//! What a caller may do: the words of the table of rights.

use serde::{Deserialize, Serialize};

/// What a caller may do. Stored by position: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Create workflows.
    Create,
    /// Read workflows, streams, lists and callbacks.
    Read,
    /// Cancel workflows.
    Cancel,
    /// Change the tenant's applications, accounts and keys.
    Admin,
    /// Run the service: see and stop everything of every tenant, and what concerns them all (backups,
    /// every tenant's keys, the simulated provider). It brings read, cancel and admin with it.
    Operator,
    /// See who is reached and what is said, in what the other scopes show; without it that is masked. No other brings it.
    Contents,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 6] =
        [Scope::Create, Scope::Read, Scope::Cancel, Scope::Admin, Scope::Operator, Scope::Contents];

    /// What the first key may do unless it is made for less: it makes the others.
    pub const FIRST: [Scope; 5] =
        [Scope::Create, Scope::Read, Scope::Cancel, Scope::Admin, Scope::Operator];

    /// What there is to do within one tenant: what a key may do unless it is made for less.
    pub const TENANT: [Scope; 4] = [Scope::Create, Scope::Read, Scope::Cancel, Scope::Admin];

    /// What an application may do: everything but change who may.
    pub const APPLICATION: [Scope; 3] = [Scope::Create, Scope::Read, Scope::Cancel];

    /// Its name, on the wire and in the CLI.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Create => "create",
            Scope::Read => "read",
            Scope::Cancel => "cancel",
            Scope::Admin => "admin",
            Scope::Operator => "operator",
            Scope::Contents => "contents",
        }
    }

    /// All their names, as an error tells them.
    pub(super) fn names() -> String {
        Scope::ALL.map(Scope::as_str).join(", ")
    }

    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}
