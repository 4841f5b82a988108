//! An HTTP endpoint of a store for as long as it is needed: the other end of the remote stack.
//!
//! [`Endpoint::start`] hosts `secure-log-rpc-server.wasm` in this process; [`Serve`] runs it under the stock command
//! line, `wasmtime serve`. Both take a port that is free, and end when they are dropped.

mod client;
mod own;
mod serve;

use std::path::{Path, PathBuf};

use anyhow::Context;

pub use client::HttpClient;
pub use own::Endpoint;
pub use serve::{Form, Serve, wasmtime};

/// Artifact of an endpoint over a SQLite store.
pub const ARTIFACT: &str = "secure-log-rpc-server.wasm";

/// What an endpoint serves, and to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The component.
    pub artifact: PathBuf,
    /// Directory of the store; the endpoint sees it as `/data`.
    pub dir: PathBuf,
    /// The store's config, with its path in `/data`.
    pub config: String,
    /// Directory for copies; the endpoint sees it as `/copies`.
    pub copies: Option<PathBuf>,
    /// What callers have to show; none: `SECURE_LOG_RPC_AUTH=none`.
    pub token: Option<String>,
    /// Further variables.
    pub env: Vec<(String, String)>,
}

impl Settings {
    /// A store called `name` in `dir`, with a token of its own.
    pub fn new(artifact: impl Into<PathBuf>, dir: &Path, name: &str) -> anyhow::Result<Self> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).context("no randomness for a token")?;
        Ok(Self {
            artifact: artifact.into(),
            dir: dir.to_owned(),
            config: format!("/data/{name}"),
            copies: None,
            token: Some(crate::writer::hex(&token)),
            env: Vec::new(),
        })
    }

    /// The endpoint that lies beside a remote stack.
    pub fn beside(stack: &Path, dir: &Path, name: &str) -> anyhow::Result<Self> {
        let artifact = stack.with_file_name(ARTIFACT);
        anyhow::ensure!(
            artifact.is_file(),
            "{} is not there: the remote stack needs an endpoint to talk to, and it is looked for beside the stack",
            artifact.display()
        );
        Self::new(artifact, dir, name)
    }

    /// Directories by their names in the guest.
    fn directories(&self) -> Vec<(&Path, &'static str)> {
        [(Some(&self.dir), "/data"), (self.copies.as_ref(), "/copies")]
            .into_iter()
            .filter_map(|(host, guest)| Some((host?.as_path(), guest)))
            .collect()
    }

    /// Variables of the guest.
    fn variables(&self) -> Vec<(String, String)> {
        let mut variables = vec![("SECURE_LOG_STORE_CONFIG".to_owned(), self.config.clone())];
        variables.push(match &self.token {
            Some(token) => ("SECURE_LOG_RPC_TOKEN".into(), token.clone()),
            None => ("SECURE_LOG_RPC_AUTH".into(), "none".into()),
        });
        if self.copies.is_some() {
            variables.push(("SECURE_LOG_RPC_BACKUP_DIR".into(), "/copies".into()));
        }
        variables.extend(self.env.iter().cloned());
        variables
    }

    /// What a client needs to call an endpoint at `url`.
    pub fn client_env(&self, url: &str) -> Vec<(String, String)> {
        let mut env = vec![("SECURE_LOG_RPC_URL".to_owned(), url.to_owned())];
        env.extend(self.token.iter().map(|token| ("SECURE_LOG_RPC_TOKEN".to_owned(), token.clone())));
        env
    }
}
