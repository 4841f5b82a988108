//! Which module or token directory a command works with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use secure_log_host::Guest;
use secure_log_host::token::{GraphToken, Module, TokenArtifact, TokenDir, TokenDirError};

use super::Pins;

/// Names a vendor's PKCS #11 library.
pub(crate) const MODULE_VARIABLE: &str = "SECURE_LOG_PKCS11_MODULE";

// A vendor's library.
#[derive(Args, Debug, Clone)]
pub(crate) struct ModuleArgs {
    /// A vendor's PKCS#11 library, for a key on a token: the identity is then `pkcs11:token=…;object=…` (RFC 7512), or the
    /// label of a key on the only token [default: SECURE_LOG_PKCS11_MODULE]
    #[arg(long, value_name = "FILE", help_heading = "Token", conflicts_with = "keys")]
    pub pkcs11_module: Option<PathBuf>,
}

// A PIN.
#[derive(Args, Debug, Clone)]
pub(crate) struct PinArgs {
    /// File with the token's PIN, mode 0600 [default: SECURE_LOG_TOKEN_PIN_FILE or SECURE_LOG_TOKEN_PIN (with `_LABEL` after
    /// PIN for one token), else it is asked for at the terminal]
    #[arg(long, value_name = "FILE", help_heading = "Token")]
    pub pin_file: Option<PathBuf>,
}

/// The library that an option or the environment names.
pub(crate) fn module_path(option: Option<&Path>) -> Option<PathBuf> {
    let from_env = || std::env::var_os(MODULE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    option.map(Path::to_owned).or_else(from_env)
}

/// Loads a vendor's library.
pub(crate) fn load_module(path: &Path, pins: Arc<Pins>) -> Result<Module> {
    Ok(Module::load(path, pins)?)
}

/// The directory of a token, which is there.
pub(crate) fn open_dir(path: &Path) -> Result<TokenDir> {
    TokenDir::open(path).map_err(|error| match error {
        TokenDirError::Missing { path, missing } => anyhow!(
            "--token-dir {}: {} is not there; `eds keys init-token` makes a token directory",
            path.display(),
            missing.display()
        ),
        error => anyhow!(error).context("--token-dir"),
    })
}

/// Starts the token component in `graph` on a directory.
pub(crate) fn start_graph(graph: &Path, dir: &TokenDir, pins: Arc<Pins>) -> Result<GraphToken> {
    let token =
        TokenArtifact::find(graph)?.with_context(|| format!("{} has no token in it", graph.display()))?;
    let mut guest = Guest::default();
    dir.prepare(&mut guest);
    Ok(token.start(&guest, pins)?)
}
