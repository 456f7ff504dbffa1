//! Applications as rows of a store: whose they are, how many, and what a list of them costs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dispatch::{
    access::{
        Application, ApplicationError, ApplicationSpec, Applications, LimitsByTenant, MasterKey,
        MessagesSpec, Name, TenantLimits, Vault,
    },
    store::{Kind, MemoryStore, SettingChange, Settings, Store, StoreError},
};
use dispatch_contract::UnixMillis;

fn rows_within(limits: TenantLimits) -> (Arc<dyn Settings>, Applications) {
    let settings = MemoryStore::new().settings();
    let vault = Arc::new(Vault::new(&MasterKey::random().unwrap()).unwrap());
    let limits = LimitsByTenant::new(limits, Default::default());
    (Arc::clone(&settings), Applications::open(settings, vault, limits).unwrap())
}

fn rows() -> (Arc<dyn Settings>, Applications) {
    rows_within(TenantLimits::default())
}

fn list(applications: &Applications, tenant: &str) -> Vec<Application> {
    applications.of_ids(tenant, &applications.ids(tenant)).unwrap()
}

fn spec(name: &str) -> ApplicationSpec {
    ApplicationSpec {
        name: Name::parse(name).unwrap(),
        public_key: None,
        renew_key: false,
        messages: Some(MessagesSpec::default()),
        other_capabilities: None,
        improve_ai: None,
        is_default: None,
    }
}

#[test]
fn another_tenant_s_applications_are_not_there() {
    let (_, applications) = rows();
    let now = UnixMillis(1_800_000_000_000);
    let ours = applications.create("ours", spec("one"), now).unwrap().application;
    let theirs = applications.create("theirs", spec("two"), now).unwrap().application;
    assert_eq!(list(&applications, "ours"), std::slice::from_ref(&ours));
    assert_eq!(applications.get("ours", ours.id), Ok(ours.clone()));
    let none = ApplicationError::NotFound;
    assert_eq!(applications.get("ours", theirs.id), Err(none.clone()));
    assert_eq!(applications.update("ours", theirs.id, spec("mine now")), Err(none.clone()));
    assert_eq!(applications.delete("ours", theirs.id), Err(none.clone()));
    assert_eq!(applications.rotate_callback_secret("ours", theirs.id), Err(none));
    assert_eq!(applications.get("theirs", theirs.id), Ok(theirs));
}

#[test]
fn a_secret_copied_into_another_application_s_row_does_not_open() {
    let (_, applications) = rows();
    let now = UnixMillis(1_800_000_000_000);
    let mut one = applications.create("ours", spec("one"), now).unwrap();
    let two = applications.create("ours", spec("two"), now).unwrap();
    let opened = applications.callback_secret(&one.application).unwrap();
    assert_eq!(opened, one.callback_secret);
    one.application.messages = two.application.messages;
    assert!(matches!(
        applications.callback_secret(&one.application),
        Err(ApplicationError::Vault(_))
    ));
}

#[test]
fn more_applications_than_are_read_at_once_are_all_listed() {
    let (_, applications) = rows();
    let key = applications.create("ours", spec("first"), UnixMillis(1)).unwrap();
    let key = dispatch::access::PublicKey::parse(&key.application.public_key.unwrap()).unwrap();
    for number in 1..600 {
        let spec = ApplicationSpec { public_key: Some(key.clone()), ..spec("another") };
        let tenant = if number % 2 == 0 { "ours" } else { "theirs" };
        applications.create(tenant, spec, UnixMillis(number * 1000)).unwrap();
    }
    assert_eq!(list(&applications, "ours").len(), 300);
    assert_eq!(list(&applications, "theirs").len(), 300);
}

/// Counts the rows that are read.
struct Counting {
    rows: Arc<dyn Settings>,
    read: Arc<AtomicUsize>,
}

impl Settings for Counting {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.rows.get(kind, key)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let rows = self.rows.list(kind, after, limit)?;
        self.read.fetch_add(rows.len(), Ordering::Relaxed);
        Ok(rows)
    }

    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.rows.write(changes)
    }

    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.rows.note(changes)
    }
}

#[test]
fn a_list_costs_what_it_shows_whatever_other_tenants_have() {
    let (settings, filling) = rows();
    let made = filling.create("ours", spec("first"), UnixMillis(1)).unwrap();
    let key = dispatch::access::PublicKey::parse(&made.application.public_key.unwrap()).unwrap();
    for number in 1..500 {
        let spec = ApplicationSpec { public_key: Some(key.clone()), ..spec("another") };
        filling.create("theirs", spec, UnixMillis(number * 1000)).unwrap();
    }
    let read = Arc::new(AtomicUsize::new(0));
    let counting = Arc::new(Counting { rows: settings, read: Arc::clone(&read) });
    let vault = Arc::new(Vault::new(&MasterKey::random().unwrap()).unwrap());
    let applications = Applications::open(counting, vault, LimitsByTenant::default()).unwrap();
    read.store(0, Ordering::Relaxed);
    assert_eq!(list(&applications, "ours").len(), 1);
    assert_eq!(read.load(Ordering::Relaxed), 1);
    let ids = applications.ids("theirs");
    assert_eq!(applications.of_ids("theirs", &ids[400..410]).unwrap().len(), 10);
    assert_eq!(read.load(Ordering::Relaxed), 11);
}

#[test]
fn a_tenant_has_so_many_applications_and_another_as_many_for_itself() {
    let (_, applications) =
        rows_within(TenantLimits { applications: 2, ..TenantLimits::default() });
    let create = |tenant| applications.create(tenant, spec("one"), UnixMillis(1));
    let first = create("greedy").unwrap().application.id;
    create("greedy").unwrap();
    let refused = create("greedy").unwrap_err();
    assert_eq!(refused, ApplicationError::TooMany { most: 2 });
    assert!(refused.to_string().contains("raise most_applications in [access]"), "{refused}");
    create("another").unwrap();
    applications.delete("greedy", first).unwrap();
    create("greedy").unwrap();
    assert_eq!(list(&applications, "greedy").len(), 2);
}
