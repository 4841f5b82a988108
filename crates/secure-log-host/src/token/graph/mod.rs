//! The token component of an artifact, run alone.

mod find;
mod handles;
mod manage;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secure_log_pkcs11::token::{Result, TokenError, Tokens, User};
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker, ResourceAny};

pub use handles::{GraphKey, GraphSession, GraphSigner, GraphSlot};
pub use manage::GraphWrappingKey;

use super::SharedPins;
use super::bindings::graph::TokenExports;
use super::bindings::graph::pkcs11::token::pin_provider;
use super::bindings::types;
use crate::cache;
use crate::engine::{Checks, Clocked, epochs};
use crate::error::{self, Error};
use crate::guest::{Guest, State};

/// The token component of an artifact, compiled.
#[derive(Clone)]
pub struct TokenArtifact {
    clocked: Clocked,
    component: Component,
    path: PathBuf,
}

impl TokenArtifact {
    /// The token component in the file at `path`: somewhere in a composed artifact, or the file itself. None if there
    /// is none.
    pub fn find(path: &Path) -> error::Result<Option<Self>> {
        let wasm = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::find_in(&path.to_string_lossy(), &wasm)
    }

    /// The same in an artifact that a program carries. `name` is what errors call it.
    pub fn find_in(name: &str, wasm: &[u8]) -> error::Result<Option<Self>> {
        let found = find::token_component(wasm)
            .map_err(|reason| Error::Component { name: name.to_owned(), reason: reason.to_string() })?;
        let Some(token) = found.and_then(|range| wasm.get(range)) else { return Ok(None) };
        let clocked = Clocked::shared(Checks::default())?;
        let component = cache::load(&clocked.engine, name, token)?;
        Ok(Some(Self { clocked, component, path: name.into() }))
    }

    /// The artifact that it is in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it, with PINs from `pins`. `guest` has its directory ([`TokenDir::prepare`](super::TokenDir::prepare)).
    pub fn start(&self, guest: &Guest, pins: SharedPins) -> error::Result<GraphToken> {
        let mut state = State::new(guest, None)?;
        state.pins = Some(pins);
        let mut store = Store::new(&self.clocked.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(epochs(None));
        let started = || -> wasmtime::Result<GraphToken> {
            let mut linker = Linker::<State>::new(&self.clocked.engine);
            wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
            types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
            pin_provider::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
            let exports = TokenExports::instantiate(&mut store, &self.component, &linker)?;
            Ok(GraphToken(Arc::new(Mutex::new(Running { store, exports, died: None }))))
        };
        started().map_err(|e| Error::Instantiate {
            name: self.path.to_string_lossy().into_owned(),
            reason: format!("{e:#}"),
        })
    }
}

impl fmt::Debug for TokenArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenArtifact").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A running token component. Threads use it one at a time. When it dies every call gives
/// [`Unusable`](TokenError::Unusable) with the reason: start another.
#[derive(Clone)]
pub struct GraphToken(Arc<Mutex<Running>>);

struct Running {
    store: Store<State>,
    exports: TokenExports,
    died: Option<String>,
}

impl GraphToken {
    /// Calls the component.
    fn call<T>(
        &self,
        call: impl FnOnce(
            &mut Store<State>,
            &TokenExports,
        ) -> wasmtime::Result<std::result::Result<T, types::Error>>,
    ) -> Result<T> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Running { store, exports, died } = &mut *running;
        if let Some(reason) = died {
            return Err(TokenError::Unusable(reason.clone()));
        }
        match call(store, exports) {
            Ok(answer) => answer.map_err(TokenError::from),
            Err(trap) => {
                let memory = &store.data().memory;
                let reason = match memory.refused {
                    true => format!("its component needed more than {} MiB of memory", memory.limit >> 20),
                    false => format!("its component died: {}", trap.root_cause()),
                };
                *died = Some(reason.clone());
                Err(TokenError::Unusable(reason))
            }
        }
    }

    fn hold(&self, any: ResourceAny) -> Handle {
        Handle { token: self.clone(), any, given: false }
    }
}

impl Tokens for GraphToken {
    type Slot = GraphSlot;

    fn slots(&self) -> Result<Vec<GraphSlot>> {
        let slots = self.call(|store, exports| exports.pkcs11_token_tokens().call_list_slots(store))?;
        Ok(slots.into_iter().map(|slot| GraphSlot(self.hold(slot))).collect())
    }

    fn find_token(&self, label: &str) -> Result<Option<GraphSlot>> {
        let slot = self.call(|store, exports| exports.pkcs11_token_tokens().call_find_token(store, label))?;
        Ok(slot.map(|slot| GraphSlot(self.hold(slot))))
    }
}

impl fmt::Debug for GraphToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GraphToken")
    }
}

/// A resource of the component. Dropped: the component drops it.
struct Handle {
    token: GraphToken,
    any: ResourceAny,
    /// Whether a call has taken it.
    given: bool,
}

impl Handle {
    /// The resource, if it is one of `token`.
    fn of(&self, token: &GraphToken) -> Result<ResourceAny> {
        if Arc::ptr_eq(&self.token.0, &token.0) { Ok(self.any) } else { Err(TokenError::InvalidInput) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.given {
            return;
        }
        // Nothing to do for a component that is dead: its memory goes with it.
        let _ = self.token.call(|store, _| self.any.resource_drop(store).map(Ok));
    }
}

impl pin_provider::Host for State {
    fn get_pin(&mut self, token_label: String, user: types::User) -> Option<Vec<u8>> {
        let user = match user {
            types::User::SecurityOfficer => User::SecurityOfficer,
            types::User::Normal => User::Normal,
        };
        Some(self.pins.as_ref()?.pin(&token_label, user)?.to_vec())
    }
}
