//! The one place where WIT types and engine types meet.
//!
//! Bindings of every component world are generated here once. What a shell needs:
//! [`export_core!`](crate::export_core), [`export_store!`](crate::export_store) and
//! [`export_keystore!`](crate::export_keystore), each of which turns Rust types into a component.

mod convert;
#[cfg(target_family = "wasm")]
mod core_component;
mod imported;
mod keystore_component;
mod store_component;

pub use imported::{ImportedSigner, ImportedStore};
#[doc(hidden)]
pub use secure_log::signer::KeyError;

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

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use crate::core_component::CoreComponent;
#[doc(hidden)]
pub use crate::keystore_component::KeystoreComponent;
#[doc(hidden)]
pub use crate::store_component::StoreComponent;

/// Makes the component of `world core`.
#[macro_export]
macro_rules! export_core {
    () => {
        type Core = $crate::CoreComponent;
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

/// Makes a component that exports `keys:keystore/signer` from a
/// [`CheckpointSigner`](secure_log::signer::CheckpointSigner) and a function that makes it.
#[macro_export]
macro_rules! export_keystore {
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
        type Keystore = $crate::KeystoreComponent<Shell>;
        $crate::keystore_world::export_keystore_world!(Keystore);
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
