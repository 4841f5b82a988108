//! A first signature, before anything depends on it.

use anyhow::{Result, anyhow};
use secure_log::signer::{CheckpointSigner as _, KeyError, PublicKey};
use secure_log_pkcs11::token::{Session as _, Slot as _, Tokens, User};
use secure_log_pkcs11::{KeyUri, Pkcs11Keystore};

use super::explain::DEVICE;
use super::{Pins, said, select};

/// What is signed. It is no checkpoint: those begin with the log's name and have a line for size and root.
const MESSAGE: &[u8] = b"eds key check";

/// A key that can sign.
pub(crate) struct Probed {
    /// Its public half.
    pub public: PublicKey,
    /// Label of its token.
    pub label: String,
    /// Whether the token wants a PIN.
    pub login_required: bool,
}

/// Logs in and signs with the key `identity`, once: what a checkpoint needs is there, the PIN first of all.
pub(crate) fn probe<T: Tokens>(tokens: T, identity: &str, pins: &Pins) -> Result<Probed> {
    let name = KeyUri::parse(identity)?;
    let (slot, info) = select(&tokens, &name, pins)?;
    let say = |error| said(error, &info.label, pins);
    // Held while the keystore signs, which joins this login.
    let session = slot.open_session(false).map_err(say)?;
    if info.login_required {
        session.login(User::Normal).map_err(say)?;
    }
    let mut keystore = Pkcs11Keystore::new(tokens);
    keystore.sign(identity, MESSAGE).map_err(|error| match error {
        KeyError::KeyNotFound(text) => anyhow!("{text}: `eds keys list` names those there are"),
        KeyError::Failed(text) => anyhow!("the key cannot sign: {text}. {DEVICE}"),
        error => anyhow!(error).context("the key cannot sign"),
    })?;
    let public = keystore.public_key(identity)?;
    Ok(Probed { public, label: info.label, login_required: info.login_required })
}
