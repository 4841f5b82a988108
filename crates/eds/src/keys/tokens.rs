//! Tokens as a whole: made, listed.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use secure_log_host::token::TokenDir;
use secure_log_pkcs11::token::{Admin, Slot, TokenError, TokenInfo, Tokens};
use serde_json::json;

use super::{Place, TokenPlace};
use crate::output::{Output, note};
use crate::token::{OfficerPin, Pins, load_module, open_dir, said, start_graph};

/// Makes a token.
pub(super) fn init(out: Output, label: &str, so_pin_file: Option<PathBuf>, place: &TokenPlace) -> Result<()> {
    if !(1..=32).contains(&label.len()) || label.trim() != label {
        bail!("the label {label:?} has to have 1 to 32 bytes, without blanks at its ends");
    }
    let found = place.find()?;
    let pins = Arc::new(Pins::new(place.pin.pin_file.as_deref(), OfficerPin::From(so_pin_file))?);
    match (found, &place.token_graph) {
        (Place::Dir(dir), Some(graph)) => {
            let dir = TokenDir::create(&dir).with_context(|| format!("--token-dir {}", dir.display()))?;
            make(out, &start_graph(graph, &dir, pins.clone())?, label, &pins)
        }
        (Place::Module(path), _) => make(out, &load_module(&path, pins.clone())?, label, &pins),
        _ => bail!("--token-dir DIR needs the component with the token: --token-graph PATH.wasm"),
    }
}

fn make<T: Admin>(out: Output, tokens: &T, label: &str, pins: &Pins) -> Result<()> {
    let slot = tokens.init_token(label).map_err(|error| match error {
        TokenError::Exists => {
            anyhow!("there is a token {label:?} already, and a token is never initialized again: take another label")
        }
        TokenError::TokenAbsent => anyhow!(
            "there is no token that was never initialized: put one in, or free one with its vendor's tool (`eds keys tokens` \
             lists them)"
        ),
        error => said(error, label, pins),
    })?;
    note(format_args!(
        "the token {label:?} is made. Keep the security officer's PIN apart from it: it sets a new PIN, and nothing that \
         signs needs it"
    ));
    let info = slot.info().map_err(|error| said(error, label, pins))?;
    if out.json { out.document(&shown(&info)) } else { line(out, &info) }
}

/// Lists tokens.
pub(super) fn list(out: Output, place: &TokenPlace) -> Result<()> {
    let pins = Arc::new(Pins::new(place.pin.pin_file.as_deref(), OfficerPin::None)?);
    let infos = match (place.find()?, &place.token_graph) {
        (Place::Dir(dir), Some(graph)) => infos(&start_graph(graph, &open_dir(&dir)?, pins.clone())?, &pins),
        (Place::Module(path), _) => infos(&load_module(&path, pins.clone())?, &pins),
        _ => bail!("--token-dir DIR needs the component with the token: --token-graph PATH.wasm"),
    }?;
    if out.json {
        return out.document(&infos.iter().map(shown).collect::<Vec<_>>());
    }
    infos.iter().try_for_each(|info| line(out, info))
}

fn infos<T: Tokens>(tokens: &T, pins: &Pins) -> Result<Vec<TokenInfo>> {
    let mut infos = Vec::new();
    for slot in tokens.slots().map_err(|error| said(error, "", pins))? {
        match slot.info() {
            Ok(info) => infos.push(info),
            // It says no more of itself.
            Err(TokenError::TokenUninitialized) => infos.push(TokenInfo {
                label: String::new(),
                manufacturer: String::new(),
                model: String::new(),
                serial: String::new(),
                initialized: false,
                user_pin_initialized: false,
                user_pin_locked: false,
                login_required: true,
                protected_authentication: false,
                write_protected: false,
            }),
            Err(TokenError::TokenAbsent) => {}
            Err(error) => return Err(said(error, "", pins)),
        }
    }
    Ok(infos)
}

/// The state of the user's PIN.
fn pin(info: &TokenInfo) -> &'static str {
    match info {
        TokenInfo { user_pin_locked: true, .. } => "locked",
        TokenInfo { login_required: false, initialized: true, .. } => "not needed",
        TokenInfo { user_pin_initialized: false, .. } => "not set",
        TokenInfo { protected_authentication: true, .. } => "set, typed at the token",
        _ => "set",
    }
}

fn shown(info: &TokenInfo) -> serde_json::Value {
    json!({
        "label": info.initialized.then_some(&info.label),
        "manufacturer": info.manufacturer,
        "model": info.model,
        "serial": info.serial,
        "initialized": info.initialized,
        "pin": pin(info),
        "write_protected": info.write_protected,
    })
}

fn line(out: Output, info: &TokenInfo) -> Result<()> {
    let (label, state) = match info.initialized {
        true => (info.label.as_str(), "initialized"),
        false => ("-", "not initialized"),
    };
    let protected = if info.write_protected { "\twrite-protected" } else { "" };
    out.line(format_args!(
        "{label}\t{}\t{}\t{}\t{state}\tPIN {}{protected}",
        info.manufacturer,
        info.model,
        info.serial,
        pin(info)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_pin_has_words() {
        let set = TokenInfo {
            label: "t".into(),
            manufacturer: "m".into(),
            model: "x".into(),
            serial: "1".into(),
            initialized: true,
            user_pin_initialized: true,
            user_pin_locked: false,
            login_required: true,
            protected_authentication: false,
            write_protected: false,
        };
        assert_eq!(pin(&set), "set");
        assert_eq!(pin(&TokenInfo { user_pin_locked: true, ..set.clone() }), "locked");
        assert_eq!(pin(&TokenInfo { user_pin_initialized: false, ..set.clone() }), "not set");
        assert_eq!(pin(&TokenInfo { login_required: false, ..set.clone() }), "not needed");
        assert_eq!(pin(&TokenInfo { protected_authentication: true, ..set }), "set, typed at the token");
    }
}
