//! What wasmtime generates from `wit/deps/pkcs11`.

#![allow(missing_docs, reason = "wit/ has them, and the macro passes on only some")]

/// Tokens that a graph imports from this host.
pub(crate) mod host {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/pkcs11",
        inline: "package secure-log:token-import;
            world token-import {
                import pkcs11:token/tokens@0.1.0;
                import pkcs11:token/wrapping@0.1.0;
            }",
        world: "secure-log:token-import/token-import",
        imports: { default: trappable },
        with: {
            "pkcs11:token/tokens.slot": crate::token::ModuleSlot,
            "pkcs11:token/tokens.session": crate::token::ModuleSession,
            "pkcs11:token/tokens.key": crate::token::ModuleKey,
            "pkcs11:token/tokens.signer": crate::token::ModuleSigner,
            "pkcs11:token/wrapping.wrapping-key": crate::token::ModuleWrappingKey,
        },
    });
}

/// A token component, with the PIN from this host.
pub(crate) mod graph {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/pkcs11",
        inline: "package secure-log:token-exports;
            world token-exports {
                import pkcs11:token/pin-provider@0.1.0;
                export pkcs11:token/tokens@0.1.0;
                export pkcs11:token/wrapping@0.1.0;
                export pkcs11:token/admin@0.1.0;
            }",
        world: "secure-log:token-exports/token-exports",
        with: { "pkcs11:token/types@0.1.0": super::host::pkcs11::token::types },
    });
}

pub(crate) use host::pkcs11::token::types;
