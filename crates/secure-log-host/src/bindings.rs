//! What wasmtime generates from `wit/`: the exports of a core, of a gate, and the transport that a host may bring.

#![allow(missing_docs, reason = "wit/ has them, and the macro passes on only some")]

pub(crate) mod core {
    wasmtime::component::bindgen!({ path: "../../wit", world: "composed-sqlite" });
}

/// A keystore by itself.
pub(crate) mod keystore {
    wasmtime::component::bindgen!({ path: "../../wit", world: "keystore-provider" });
}

pub(crate) mod transport_import {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package secure-log:transport-import; world transport-import { import secure-log:log/transport@0.1.0; }",
        world: "secure-log:transport-import/transport-import",
    });
}

/// The gate's part of `composed-ingest-sqlite`: the rest of that world is `composed-sqlite`.
pub(crate) mod gate {
    wasmtime::component::bindgen!({
        path: ["../../wit", "../../wit/edgesentry"],
        inline: "package edgesentry:gate-exports;
            world gate-exports {
                export edgesentry:audit/devices@0.1.0;
                export edgesentry:audit/ingest@0.1.0;
                export edgesentry:audit/update@0.1.0;
            }",
        world: "edgesentry:gate-exports/gate-exports",
        // Records go in from where they lie: without a copy of each field.
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "secure-log:log/types@0.1.0": super::core::secure_log::log::types },
    });
}
