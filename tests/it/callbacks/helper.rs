//! A service whose workflows name applications, as the REST facade lets them.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatch::{
    access::{Application, MasterKey, MessagesCapability, PayloadVersion, Signing, Vault, Webhook},
    config::Config,
    pb::v1::{Callback, ListCallbacksRequest},
    store::{ApiDialect, Kind, Requester, SettingChange, encode},
};
use dispatch_contract::Secret;
use uuid::Uuid;

use super::receiver::Received;
use crate::support::{Running, messenger_sms, request};

pub const PERSON: &str = "1000000000000001";
pub const NUMBER: &str = "447700900001";
pub const SECRET: &str = "a secret of thirty-two characters";

/// So that secrets can be sealed here which the service opens. It guards nothing.
pub const MASTER_KEY: &str =
    concat!("file:", env!("CARGO_MANIFEST_DIR"), "/tests/it/callbacks/master.key");

pub struct Told {
    pub running: Running,
    created: Mutex<Vec<String>>,
}

/// Lets callbacks go to receivers on this machine.
pub fn allowing(mut config: Config) -> Config {
    config.access.master_key = MASTER_KEY.into();
    config.callbacks.allow_http = true;
    config.callbacks.allow_networks = vec!["127.0.0.0/8".to_owned()];
    config
}

/// An application that is told at `address`.
pub fn app(address: &str, payload_version: PayloadVersion, signing: Signing) -> Application {
    let status = Some(Webhook { address: address.to_owned() });
    Application {
        id: Uuid::now_v7(),
        tenant: "default".to_owned(),
        name: "orders".to_owned(),
        public_key: None,
        messages: Some(MessagesCapability {
            inbound: None,
            status,
            payload_version,
            signing,
            secret: SECRET.as_bytes().to_vec(),
        }),
        other_capabilities: String::new(),
        improve_ai: false,
        create_time_ms: 0,
    }
}

/// What the callbacks tell, in the order they came.
pub fn statuses(received: &[Received]) -> Vec<&'static str> {
    const WORDS: [&str; 7] =
        ["submitted", "delivered", "read", "rejected", "undeliverable", "completed", "error"];
    let told = received.iter().map(|callback| callback.json()["status"].clone());
    told.map(|status| WORDS.into_iter().find(|word| status == *word).unwrap()).collect()
}

/// An application whose secret is in clear, as it is kept.
pub fn sealed(application: &Application) -> Application {
    let key = MasterKey::parse(include_str!("master.key")).unwrap();
    let mut sealed = application.clone();
    if let Some(messages) = &mut sealed.messages {
        let clear = Secret::new(String::from_utf8(messages.secret.clone()).unwrap());
        let place = Application::secret_place(application.id);
        messages.secret = Vault::new(&key).unwrap().sealing().seal(&place, &clear).unwrap();
    }
    sealed
}

impl Told {
    pub async fn start(config: &Config) -> Told {
        Told { running: Running::start(config).await, created: Mutex::default() }
    }

    /// Keeps an application whose secret is in clear, as the applications API does.
    pub fn keep(&self, application: &Application) {
        self.keep_as_it_is(&sealed(application));
    }

    /// Keeps an application with whatever it has in place of a sealed secret.
    pub fn keep_as_it_is(&self, application: &Application) {
        let row = encode(application).unwrap();
        let change = SettingChange::put(Kind::Application, *application.id.as_bytes(), row);
        self.running.service.engine.settings().write(vec![change]).unwrap();
    }

    /// Messenger to be read within `expiry`, else an SMS; its id.
    pub async fn create(
        &self,
        facade: ApiDialect,
        application: Option<Uuid>,
        webhook_url: Option<String>,
        expiry: &str,
    ) -> String {
        let requester = Requester { application, dialect: facade };
        self.create_to("default", requester, webhook_url, expiry).await
    }

    /// The same for a tenant.
    pub async fn create_for(&self, tenant: &str, requester: Requester, expiry: &str) -> String {
        self.create_to(tenant, requester, None, expiry).await
    }

    async fn create_to(
        &self,
        tenant: &str,
        requester: Requester,
        webhook_url: Option<String>,
        expiry: &str,
    ) -> String {
        let engine = &self.running.service.engine;
        let request = request(messenger_sms(PERSON, NUMBER, expiry));
        let now = engine.clock().now();
        let mut asked = dispatch::grpc::parse_create(&request, &engine.routes(), now).unwrap();
        asked.contents.webhook_url = webhook_url;
        let created = engine.create(Arc::from(tenant), asked, None, requester).await.unwrap();
        self.created.lock().unwrap().push(created.id.to_string());
        created.id.to_string()
    }

    pub fn workflows(&self) -> Vec<String> {
        self.created.lock().unwrap().clone()
    }

    pub async fn advance(&self, by: Duration) {
        self.running.advance(by).await;
    }

    /// What is kept, of one workflow or of all.
    pub async fn list(&self, workflow: Option<&str>) -> Vec<Callback> {
        let workflow_id = workflow.unwrap_or("").to_owned();
        let request = ListCallbacksRequest { workflow_id, page_size: 500, ..Default::default() };
        let mut client = self.running.client.callbacks();
        client.list_callbacks(request).await.unwrap().into_inner().callbacks
    }

    /// Runs the program; what it says.
    pub async fn cli(&self, arguments: &[&str]) -> String {
        let server = format!("http://{}", self.running.service.grpc);
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"))
            .args(arguments)
            .args(["--server", &server])
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.running.service.internal_http);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}
