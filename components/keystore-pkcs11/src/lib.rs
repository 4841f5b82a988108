//! The PKCS #11 keystore as a component, over the token that is plugged in or its host's.
#![cfg(target_family = "wasm")]

use secure_log_guest_tokens::ImportedTokens;
use secure_log_pkcs11::Pkcs11Keystore;

secure_log_guest::export_keystore!(Pkcs11Keystore<ImportedTokens>, || Ok(Pkcs11Keystore::new(
    ImportedTokens
)));
