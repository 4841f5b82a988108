//! The one place where WIT types and engine types meet.
//!
//! Bindings of every component world are generated here once. What a shell needs:
//! [`export_core!`](crate::export_core), [`export_log!`](crate::export_log), [`export_store!`](crate::export_store),
//! [`export_keystore!`](crate::export_keystore), [`export_transport!`](crate::export_transport) and
//! `export_endpoint!`, each of which turns Rust types into a component. With the feature `gate` there are
//! `export_gate!`, `export_examiner!` and, with `http`, `export_ingest_endpoint!` beside them; with `pkcs11` `export_token!` and
//! `export_pin_provider!`.

mod convert;
#[cfg(target_family = "wasm")]
mod core_component;
#[cfg(all(target_family = "wasm", feature = "http"))]
pub mod endpoint;
#[cfg(feature = "gate")]
#[doc(hidden)]
pub mod examiner;
#[cfg(feature = "gate")]
#[doc(hidden)]
pub mod gate;
#[cfg(all(target_family = "wasm", feature = "http"))]
mod http;
mod imported;
#[cfg(all(target_family = "wasm", feature = "http", feature = "gate"))]
#[doc(hidden)]
pub mod ingest_endpoint;
mod keystore_component;
#[cfg(feature = "pkcs11")]
#[doc(hidden)]
pub mod pkcs11;
mod store_component;
mod transport;
#[cfg(all(target_family = "wasm", feature = "http"))]
#[doc(hidden)]
pub mod witness_endpoint;

pub use imported::{ImportedSigner, ImportedStore};
#[doc(hidden)]
pub use secure_log::signer::KeyError;
pub use secure_log_rpc::RemoteStore;
pub use transport::ImportedTransport;
#[doc(hidden)]
pub use transport::TransportComponent;
#[cfg(all(target_family = "wasm", feature = "http"))]
#[doc(hidden)]
pub use wasip2;

/// Bindings of `world core`; all types live here.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod core_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "core",
        pub_export_macro: true,
        export_macro_name: "export_core_world",
        default_bindings_module: "secure_log_guest::core_world",
        generate_all,
    });
}

/// Bindings of `world store-provider`, over the types of [`core_world`].
#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod store_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "store-provider",
        pub_export_macro: true,
        export_macro_name: "export_store_world",
        default_bindings_module: "secure_log_guest::store_world",
        with: { "secure-log:log/types@0.1.0": crate::core_world::secure_log::log::types },
        generate_all,
    });
}

/// Bindings of `world keystore-provider`.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod keystore_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "keystore-provider",
        pub_export_macro: true,
        export_macro_name: "export_keystore_world",
        default_bindings_module: "secure_log_guest::keystore_world",
        generate_all,
    });
}

/// Bindings of the import of `world remote-store-provider`; its export is the one of [`store_world`].
#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod transport_import {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package secure-log:transport-import; world transport-import { import secure-log:log/transport@0.1.0; }",
        world: "secure-log:transport-import/transport-import",
        generate_all,
    });
}

/// Bindings of `world transport-provider`.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod transport_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "transport-provider",
        pub_export_macro: true,
        export_macro_name: "export_transport_world",
        default_bindings_module: "secure_log_guest::transport_world",
        generate_all,
    });
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use crate::core_component::{CoreComponent, Parts, Wasi};
#[doc(hidden)]
pub use crate::keystore_component::{Keys, KeystoreComponent};
#[doc(hidden)]
pub use crate::store_component::StoreComponent;
#[doc(hidden)]
pub use secure_log::NativeSecureLog;

/// Makes the component of `world core`.
#[macro_export]
macro_rules! export_core {
    () => {
        $crate::export_log!(@ $crate::ImportedStore, $crate::ImportedSigner, $crate::ImportedSigner);
    };
}

/// Makes a whole log in one component, for hosts in which calls from component to component are slow: what
/// [`export_core!`] exports, over any [`secure_log::store::OpenStore`] and a keystore as in [`export_keystore!`].
#[macro_export]
macro_rules! export_log {
    ($store:ty, $keystore:ty, $make:expr) => {
        $crate::keystore_slot!($keystore, $make);
        $crate::export_log!(@ $store, $crate::Keys<Shell>, $crate::Keys::<Shell>::new());
    };
    (@ $store:ty, $keys:ty, $handle:expr) => {
        ::std::thread_local! {
            static LOG: $crate::Slot<$crate::NativeSecureLog<$store, $crate::Wasi>> = const { $crate::Slot::new() };
        }
        struct LogParts;
        impl $crate::Parts for LogParts {
            type Store = $store;
            type Keys = $keys;
            fn keys() -> $keys {
                $handle
            }
            fn with<R>(f: impl FnOnce(&$crate::Slot<$crate::NativeSecureLog<$store, $crate::Wasi>>) -> R) -> R {
                LOG.with(f)
            }
        }
        type Core = $crate::CoreComponent<LogParts>;
        $crate::core_world::export_core_world!(Core);
    };
}

/// Makes a component that exports `secure-log:log/store` from any [`secure_log::store::OpenStore`].
#[macro_export]
macro_rules! export_store {
    ($store:ty) => {
        ::std::thread_local! {
            static STORE: $crate::Slot<$store> = const { $crate::Slot::new() };
        }
        struct Shell;
        impl $crate::HasSlot for Shell {
            type Value = $store;
            fn with<R>(f: impl FnOnce(&$crate::Slot<$store>) -> R) -> R {
                STORE.with(f)
            }
        }
        type Store = $crate::StoreComponent<Shell>;
        $crate::store_world::export_store_world!(Store);
    };
}

/// Makes a component that exports `keys:keystore/{signer, envelope}` from a
/// [`CheckpointSigner`](secure_log::signer::CheckpointSigner) and
/// [`Envelope`](secure_log::envelope::Envelope), and a function that makes it.
#[macro_export]
macro_rules! export_keystore {
    ($keystore:ty, $make:expr) => {
        $crate::keystore_slot!($keystore, $make);
        type Keystore = $crate::KeystoreComponent<Shell>;
        $crate::keystore_world::export_keystore_world!(Keystore);
    };
}

/// The place of a component's keystore, and how it is made: `Shell`.
#[doc(hidden)]
#[macro_export]
macro_rules! keystore_slot {
    ($keystore:ty, $make:expr) => {
        ::std::thread_local! {
            static KEYSTORE: $crate::Slot<$keystore> = const { $crate::Slot::new() };
        }
        struct Shell;
        impl $crate::HasSlot for Shell {
            type Value = $keystore;
            fn with<R>(f: impl FnOnce(&$crate::Slot<$keystore>) -> R) -> R {
                KEYSTORE.with(f)
            }
        }
        impl $crate::MakeKeystore for Shell {
            fn make() -> ::std::result::Result<$keystore, $crate::KeyError> {
                $make()
            }
        }
    };
}

/// Makes a component that exports `secure-log:log/transport` from any
/// [`Transport`](secure_log_rpc::Transport) that has a default.
#[macro_export]
macro_rules! export_transport {
    ($transport:ty) => {
        ::std::thread_local! {
            static TRANSPORT: $crate::Slot<$transport> = const { $crate::Slot::new() };
        }
        struct Shell;
        impl $crate::HasSlot for Shell {
            type Value = $transport;
            fn with<R>(f: impl FnOnce(&$crate::Slot<$transport>) -> R) -> R {
                TRANSPORT.with(f)
            }
        }
        type TransportShell = $crate::TransportComponent<Shell>;
        $crate::transport_world::export_transport_world!(TransportShell);
    };
}

/// Makes an HTTP endpoint for the store that is plugged in: a component that exports
/// `wasi:http/incoming-handler`. The argument says whether rows are checked
/// ([`Checked`](crate::endpoint::Checked)) or left to the store.
#[cfg(all(target_family = "wasm", feature = "http"))]
#[macro_export]
macro_rules! export_endpoint {
    ($checks:ty) => {
        type EndpointShell = $crate::endpoint::Endpoint<$checks>;
        $crate::wasip2::http::proxy::export!(EndpointShell with_types_in $crate::wasip2);
    };
}

/// Makes an HTTP endpoint for the gate that is plugged in: a component that exports `wasi:http/incoming-handler`.
#[cfg(all(target_family = "wasm", feature = "http", feature = "gate"))]
#[macro_export]
macro_rules! export_ingest_endpoint {
    () => {
        type EndpointShell = $crate::ingest_endpoint::IngestEndpoint;
        $crate::wasip2::http::proxy::export!(EndpointShell with_types_in $crate::wasip2);
    };
}

/// Makes a witness over HTTP, on the store and the keystore that are plugged in: a component that exports
/// `wasi:http/incoming-handler`.
#[cfg(all(target_family = "wasm", feature = "http"))]
#[macro_export]
macro_rules! export_witness {
    () => {
        type WitnessShell = $crate::witness_endpoint::WitnessEndpoint;
        $crate::wasip2::http::proxy::export!(WitnessShell with_types_in $crate::wasip2);
    };
}

/// Where an instance keeps its one value: P2 instances are never entered twice at once.
#[doc(hidden)]
pub struct Slot<T>(std::cell::RefCell<Option<T>>);

impl<T> Slot<T> {
    /// An empty slot.
    #[doc(hidden)]
    #[allow(clippy::new_without_default, reason = "const, for statics")]
    pub const fn new() -> Self {
        Self(std::cell::RefCell::new(None))
    }

    /// Runs `f` on the slot; `None` if it is in use further up the stack.
    #[doc(hidden)]
    pub fn enter<R>(&self, f: impl FnOnce(&mut Option<T>) -> R) -> Option<R> {
        self.0.try_borrow_mut().ok().map(|mut slot| f(&mut slot))
    }
}

/// A type that has a slot, declared by the macros of this crate.
#[doc(hidden)]
pub trait HasSlot: 'static {
    /// What is in the slot.
    type Value: 'static;
    /// Runs `f` on the slot.
    fn with<R>(f: impl FnOnce(&Slot<Self::Value>) -> R) -> R;
}

/// Makes the keystore of a component, on first use.
#[doc(hidden)]
pub trait MakeKeystore: HasSlot {
    /// Makes it.
    fn make() -> Result<Self::Value, secure_log::signer::KeyError>;
}
