//! The remote store over HTTP: a native client, and the composed client component, each at an endpoint of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use secure_log::Result;
use secure_log_conformance::{AnyStore, Stores, store_conformance};
use secure_log_rpc::RemoteStore;
use secure_log_verify::endpoint::{Endpoint, HttpClient, Settings};
use tempfile::TempDir;

use super::Provider;
use super::store::{Component, Which};

static CLIENT: LazyLock<Provider> =
    LazyLock::new(|| Provider::at(Path::new("../dist/secure-log-store-remote-http.wasm")));

/// The composed client.
struct Client;

impl Which for Client {
    fn provider() -> &'static Provider {
        &CLIENT
    }
}

/// Connects to the endpoint at a URL, with a token.
type Connect = fn(url: &str, token: &str, config: &str) -> Result<Box<dyn AnyStore>>;

/// Stores behind endpoints: one for the store under test, and one for each copy that is opened.
struct Remote {
    connect: Connect,
    endpoints: BTreeMap<String, (Endpoint, Settings)>,
    dir: TempDir,
}

impl Remote {
    fn new(connect: Connect) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { connect, endpoints: BTreeMap::new(), dir }
    }

    fn native() -> Self {
        Self::new(|url, token, config| {
            Ok(Box::new(RemoteStore::connect(HttpClient::new(url, Some(token)), config)?))
        })
    }

    fn component() -> Self {
        Self::new(|url, token, config| {
            let env = [("SECURE_LOG_RPC_URL", url), ("SECURE_LOG_RPC_TOKEN", token)];
            Ok(Box::new(Component::<Client>::open_in(None, &env, config)?))
        })
    }

    /// An endpoint that checks no rows: those of the rules carry arbitrary bytes.
    fn start(&self, name: &str) -> (Endpoint, Settings) {
        let artifact = "../dist/test/unchecked-rpc-server.wasm";
        let mut settings = Settings::new(artifact, self.dir.path(), name).expect("a token");
        settings.copies = Some(self.dir.path().to_owned());
        (Endpoint::start(&settings).expect("the endpoint starts"), settings)
    }
}

impl Stores for Remote {
    fn open(&mut self) -> Result<Box<dyn AnyStore>> {
        self.open_config("store")
    }

    fn persistent(&self) -> bool {
        true
    }

    fn copy_config(&self, number: u32) -> Option<String> {
        Some(format!("copy{number}"))
    }

    fn open_config(&mut self, config: &str) -> Result<Box<dyn AnyStore>> {
        // The far end owns its storage, whatever it is opened with.
        let name = if config.is_empty() { "store" } else { config };
        if !self.endpoints.contains_key(name) {
            let started = self.start(name);
            self.endpoints.insert(name.to_owned(), started);
        }
        let (endpoint, settings) = &self.endpoints[name];
        (self.connect)(endpoint.url(), settings.token.as_deref().unwrap_or_default(), config)
    }
}

store_conformance!(native_client, Remote::native);
store_conformance!(client_component, Remote::component);
