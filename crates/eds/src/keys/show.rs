//! Public keys as they are shown.

use anyhow::Result;
use base64::Engine as _;
use secure_log::note::VerifierKey;
use secure_log::signer::PublicKey;
use secure_log_keystore::KeyEncryptionKey;
use serde_json::{Value, json};

use crate::output::Output;

/// The public half in PEM.
pub(super) fn pem(key: &PublicKey) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(&key.spki_der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END PUBLIC KEY-----\n"
}

/// A public key, and the verifier key with the name of a log. `more` are fields that only JSON has.
pub(super) fn key(
    out: Output,
    name: &str,
    key: &PublicKey,
    origin: Option<&str>,
    more: &[(&str, String)],
) -> Result<()> {
    let verifier_key = origin.map(|origin| VerifierKey::new(origin, key.clone())).transpose()?;
    let verifier_key = verifier_key.map(|key| key.to_string());
    if out.json {
        let mut shown = json!({
            "name": name,
            "algorithm": key.algorithm.name(),
            "public_key_pem": pem(key),
            "verifier_key": verifier_key,
        });
        for (field, value) in more {
            shown[*field] = Value::from(value.as_str());
        }
        return out.document(&shown);
    }
    out.bytes(pem(key).as_bytes())?;
    verifier_key.map_or(Ok(()), |key| out.line(key))
}

/// A key-encryption key, of which there is nothing to show but that it is there.
pub(super) fn wrapping(out: Output, name: &str, more: &[(&str, String)]) -> Result<()> {
    if !out.json {
        return out.line(format_args!("{name}\t{}", KeyEncryptionKey::ALGORITHM));
    }
    let mut shown = json!({"name": name, "algorithm": KeyEncryptionKey::ALGORITHM});
    for (field, value) in more {
        shown[*field] = Value::from(value.as_str());
    }
    out.document(&shown)
}
