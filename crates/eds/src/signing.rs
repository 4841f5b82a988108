//! What signs checkpoints: a key in a file, or one on a token.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secure_log_host::token::{Module, TokenDir};
use secure_log_host::{Guest, LogOwner};
use secure_log_keystore::{DIR_VARIABLE, GENERATE_VARIABLE, key_file_name};
use secure_log_pkcs11::PIN_VARIABLE;
use zeroize::Zeroizing;

use crate::keys::{Hints, Place};
use crate::open::StoreArgs;
use crate::token::{ModuleArgs, OfficerPin, PinArgs, Pins, load_module, open_dir, probe, start_graph};

// The token of a command that signs.
#[derive(Args, Debug, Clone)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    module: ModuleArgs,

    /// Directory of the token that is in the component of --stack PATH.wasm
    #[arg(long, value_name = "DIR", help_heading = "Token", conflicts_with_all = ["keys", "pkcs11_module"])]
    token_dir: Option<PathBuf>,

    #[command(flatten)]
    pin: PinArgs,
}

/// What an instance needs to sign.
pub(crate) enum Signing {
    /// Keys in files, if any.
    Files,
    /// A token of this machine: the instance asks it through its host.
    Module(Module),
    /// The token in the component, which keeps its keys in a directory, with its PIN.
    Graph { dir: TokenDir, pin: Option<Zeroizing<String>> },
}

impl Signing {
    /// Lets an instance sign with a token.
    pub fn prepare(self, guest: &mut Guest) {
        match self {
            Self::Files => {}
            Self::Module(module) => guest.token = Some(module),
            Self::Graph { dir, pin } => {
                dir.prepare(guest);
                if let Some(pin) = pin {
                    guest.set_env(PIN_VARIABLE, pin.as_str());
                }
            }
        }
    }
}

impl StoreArgs {
    /// Finds the key `identity` and, if it is on a token, signs with it once: a wrong PIN or a missing key would otherwise
    /// show at the first checkpoint, when nobody looks any more.
    pub fn signing(&self, identity: &str, token: &TokenArgs) -> Result<Signing> {
        let hints = Hints {
            name: Some(identity),
            keys: self.keys.as_deref(),
            module: token.module.pkcs11_module.as_deref(),
            dir: token.token_dir.as_deref(),
            token: token.pin.pin_file.is_some(),
        };
        let pins =
            || Ok::<_, anyhow::Error>(Arc::new(Pins::new(token.pin.pin_file.as_deref(), OfficerPin::None)?));
        match Place::find(&hints)? {
            None | Some(Place::Files(_)) => {
                self.check_file(identity)?;
                Ok(Signing::Files)
            }
            Some(Place::Module(path)) => {
                self.takes_a_module()?;
                let pins = pins()?;
                let module = load_module(&path, pins.clone())?;
                probe(module.clone(), identity, &pins)?;
                Ok(Signing::Module(module))
            }
            Some(Place::Dir(path)) => {
                if !self.is_a_file() {
                    bail!(
                        "--token-dir is for a component with a token in it (--stack PATH.wasm), and {:?} has none: sign with a \
                         token of this machine (--pkcs11-module FILE), or a key in a file (--keys DIR)",
                        self.stack
                    );
                }
                let pins = pins()?;
                let dir = open_dir(&path)?;
                let probed =
                    probe(start_graph(Path::new(&self.stack), &dir, pins.clone())?, identity, &pins)?;
                let pin = if probed.login_required { pins.text(&probed.label)? } else { None };
                Ok(Signing::Graph { dir, pin })
            }
        }
    }

    /// Where the key-encryption keys of sealed streams are: they must outlive the command.
    pub fn wrapping(&self, domain: &str, token: &TokenArgs) -> Result<Signing> {
        let hints = Hints {
            name: Some(domain),
            keys: self.keys.as_deref(),
            module: token.module.pkcs11_module.as_deref(),
            dir: token.token_dir.as_deref(),
            token: token.pin.pin_file.is_some(),
        };
        match Place::find(&hints)? {
            None | Some(Place::Files(_)) => match self.keys_dir() {
                Some(_) => Ok(Signing::Files),
                None => bail!(
                    "no keys are given: use --keys DIR, or {DIR_VARIABLE} (`eds keys create {domain} --alg aes-256-gcm` makes \
                     one), or --pkcs11-module FILE for keys on a token"
                ),
            },
            Some(Place::Module(path)) => {
                self.takes_a_module()?;
                let pins = Arc::new(Pins::new(token.pin.pin_file.as_deref(), OfficerPin::None)?);
                Ok(Signing::Module(load_module(&path, pins)?))
            }
            Some(Place::Dir(_)) => bail!(
                "sealed streams take their keys from files (--keys DIR) or a token of this machine (--pkcs11-module FILE) here"
            ),
        }
    }

    /// Whether a log of this stack can be signed with a token of this machine.
    fn takes_a_module(&self) -> Result<()> {
        let short = self.stack.rsplit("ingest-").next().unwrap_or_default();
        if self.is_a_file() || ["sqlite", "secure-log-sqlite"].contains(&short) {
            return Ok(());
        }
        bail!(
            "{:?} signs with keys in files only (--keys DIR). Keys on tokens sign logs of --stack sqlite, or of a component \
             that imports pkcs11:token/tokens, by its path",
            self.stack
        )
    }

    /// Refuses to sign with a key that is not there: without a directory of keys a component would make one that ends with
    /// it.
    fn check_file(&self, identity: &str) -> Result<()> {
        let dir = self.keys_dir().with_context(|| {
            format!(
                "no keys are given: use --keys DIR, or {DIR_VARIABLE} (`eds keys create` makes one), or --pkcs11-module FILE \
                 for keys on a token"
            )
        })?;
        let file = dir.join(key_file_name(identity)?);
        let generates = std::env::var_os(GENERATE_VARIABLE).is_some_and(|value| value == "1");
        if !generates && !file.is_file() {
            bail!(
                "there is no key {identity:?}: {} is not there (`eds keys create` makes one, `eds keys list` names those there are)",
                file.display()
            );
        }
        Ok(())
    }
}

/// Lets the instance find its key, and log in to the token that has it: now, and not at the first checkpoint. A log that
/// has no name yet has no verifier key; it finds its key then.
pub(crate) async fn find_key(owner: &LogOwner, identity: String) -> Result<()> {
    let named = identity.clone();
    let find = owner.read(move |log| match log.origin()? {
        Some(_) => log.verifier_key(&identity).map(drop),
        None => Ok(()),
    });
    find.await.with_context(|| format!("--sign-with {named:?}"))
}
