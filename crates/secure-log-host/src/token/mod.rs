//! Keys that never leave a PKCS #11 token, on the host's side.
//!
//! A composed artifact signs either with a token that is one of its components, or with one of this host. For the
//! first, [`TokenDir`] is the directory in which it keeps its keys, and [`GraphToken`] runs that same component alone,
//! to provision it. For the second, [`Module`] is a vendor's PKCS #11 library: put it in
//! [`Guest::token`](crate::Guest::token), and instances sign through it. [`Pins`] is where PINs come from; a
//! [`Throwaway`] is a token for a test.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{path::Path, sync::Arc};
//! use secure_log_host::{Artifact, Guest, token::{Module, Pins}};
//!
//! let pins = Arc::new(Pins::from_env()?);
//! let token = Module::load(Path::new("/usr/lib/softhsm/libsofthsm2.so"), pins)?;
//! let guest = Guest { token: Some(token), ..Guest::default() };
//! let artifact = Artifact::load(Path::new("dist/secure-log-sqlite-pkcs11-host.wasm"))?;
//! let mut log = artifact.start(&guest)?;
//! # Ok(()) }
//! ```

pub(crate) mod bindings;
mod convert;
mod dir;
mod graph;
pub(crate) mod import;
mod module;
mod pins;
mod throwaway;

pub use dir::{TokenDir, TokenDirError};
pub use graph::{
    GraphKey, GraphSession, GraphSigner, GraphSlot, GraphToken, GraphWrappingKey, TokenArtifact,
};
pub use module::{
    Module, ModuleError, ModuleKey, ModuleSession, ModuleSigner, ModuleSlot, ModuleWrappingKey,
};
pub use pins::{PinFn, Pins, PinsError, SharedPins};
pub use throwaway::{Throwaway, ThrowawayError};

use secure_log_pkcs11::token::{Admin, KeySpec, Result, Session, Slot, User};

/// Makes a token with these keys, each a label and a kind; their ids are 01, 02 and so on (at most 255). Both PINs
/// come from the PIN provider of `tokens`.
pub fn provision(tokens: &impl Admin, label: &str, keys: &[(&str, KeySpec)]) -> Result<()> {
    let session = tokens.init_token(label)?.open_session(true)?;
    session.login(User::Normal)?;
    (1u8..).zip(keys).try_for_each(|(id, (label, spec))| tokens.generate_key(&session, *spec, label, &[id]))
}
