//! The gate: bindings of `edgesentry:audit`, the imported log as its log, its exports, and an imported gate.

#[cfg(target_family = "wasm")]
mod component;
mod convert;
mod imported_gate;
mod imported_log;

#[cfg(target_family = "wasm")]
pub use component::GateComponent;
pub use imported_gate::ImportedGate;
pub use imported_log::ImportedLog;

/// Bindings of `world gate`; the types of `edgesentry:audit` live here, those of the log in
/// [`core_world`](crate::core_world).
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod gate_world {
    wit_bindgen::generate!({
        path: ["../../wit", "../../wit/edgesentry"],
        world: "edgesentry:audit/gate",
        pub_export_macro: true,
        export_macro_name: "export_gate_world",
        default_bindings_module: "secure_log_guest::gate::gate_world",
        with: { "secure-log:log/types@0.1.0": crate::core_world::secure_log::log::types },
        generate_all,
    });
}

/// Bindings of the imports of `world gate-endpoint`.
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod endpoint_world {
    wit_bindgen::generate!({
        path: ["../../wit", "../../wit/edgesentry"],
        world: "edgesentry:audit/gate-endpoint",
        with: {
            "secure-log:log/types@0.1.0": crate::core_world::secure_log::log::types,
            "edgesentry:audit/types@0.1.0": crate::gate::gate_world::edgesentry::audit::types,
        },
        generate_all,
    });
}

/// Makes the component of `world gate`.
#[macro_export]
macro_rules! export_gate {
    () => {
        type Gate = $crate::gate::GateComponent;
        $crate::gate::gate_world::export_gate_world!(Gate);
    };
}
