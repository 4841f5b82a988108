//! The imports `pkcs11:token/{tokens, wrapping}` as Rust traits, over the types of `secure-log-guest`.
//!
//! A crate apart from the other bindings: `pkcs11:token/admin` uses the resources of `tokens`, and a token component into
//! which the bindings of these imports are linked as well keeps the import, although it calls nothing of it.

mod imported;

pub use imported::ImportedTokens;

/// Bindings of the imports of `world token-keystore-provider`.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod token_import {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package secure-log:token-import;
            world token-import {
                import pkcs11:token/tokens@0.1.0;
                import pkcs11:token/wrapping@0.1.0;
            }",
        world: "secure-log:token-import/token-import",
        with: { "pkcs11:token/types@0.1.0": secure_log_guest::pkcs11::token_world::pkcs11::token::types },
        generate_all,
    });
}
