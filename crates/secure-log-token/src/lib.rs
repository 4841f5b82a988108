//! A PKCS #11 v2.40 module that is linked in, as the token that secure-log signs with.
//!
//! [`Module`] sees the functions of a module (`C_GetFunctionList`) as the traits of [`secure_log_pkcs11::token`], the
//! Rust face of `pkcs11:token`. Token components are this and a module's code, nothing else:
//!
//! ```
//! use secure_log_token::ck::{CK_FUNCTION_LIST, CK_RV};
//! use secure_log_token::{LeaseLock, Module, PinProvider, config_file};
//!
//! unsafe extern "C" {
//!     fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV;
//! }
//! # mod module {
//! #     use secure_log_token::ck::{CK_FUNCTION_LIST, CK_RV};
//! #     #[unsafe(no_mangle)]
//! #     extern "C" fn C_GetFunctionList(_: *mut *mut CK_FUNCTION_LIST) -> CK_RV { 5 }
//! # }
//!
//! fn make(pins: impl PinProvider + 'static) -> Module {
//!     // SAFETY: it is the module's own, and stays as long as the program.
//!     let module = unsafe { Module::new(C_GetFunctionList, pins, LeaseLock::new("/token/change")) };
//!     module.with_check(|| config_file("SOFTHSM2_CONF").map(|_| ())).with_sole_use()
//! }
//! ```
//!
//! The module of SoftHSM needs [`Module::with_stored`] besides: [`softhsm`].
//!
//! # How it behaves
//!
//! * The module is started (`C_Initialize`) by the first call, not by [`Module::new`]. One that does not start is
//!   [`TokenError::Unusable`] at each call, and is tried again each time. It is never finalized, except as
//!   [`Module::with_sole_use`] tells.
//! * A login asks the PIN provider once and the token once. If the token says that the PIN is locked it is not asked at
//!   all. PINs are overwritten after use.
//! * Signing does what is asked for and nothing else: no mechanism stands in for another. A mechanism that does not fit
//!   the key is refused before the token sees it.
//! * An operation that failed or was given up leaves its session as it was: a fresh session takes its place, under the
//!   same login.
//! * Changes ([`Admin`](secure_log_pkcs11::token::Admin)) are made one instance at a time ([`ChangeLock`]). Both halves
//!   of a key are there afterwards, or none; a key is tried before it counts as made. What could not be finished nor
//!   undone is said.
//! * What a module returns is not trusted: counts, lengths and encodings are checked.
//!
//! Everything is for one thread, as components are.

mod admin;
mod attributes;
pub mod ck;
mod functions;
mod key;
mod kind;
mod lock;
mod mechanism;
mod module;
mod public;
mod session;
mod signer;
mod slot;
pub mod softhsm;
mod wrapping;

pub use key::TokenKey;
pub use lock::{ChangeLock, Held, LeaseLock, NoLock};
pub use module::{Module, config_file};
pub use secure_log_pkcs11::token::{PinProvider, TokenError};
pub use session::TokenSession;
pub use signer::TokenSigner;
pub use slot::TokenSlot;
pub use wrapping::TokenWrappingKey;
