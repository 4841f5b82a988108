//! `pkcs11:token/{tokens, wrapping}` for instances, over this host's [`Module`](super::Module).
//!
//! A call waits for the token: a slow HSM holds up the instance that asks it, which has a thread and sessions of its
//! own, and nobody else.

use secure_log_pkcs11::token::{
    Key as _, Session as _, Signer as _, Slot as _, TokenError, Tokens as _, Wrapping as _, WrappingKey as _,
    Zeroizing,
};
use wasmtime::component::{HasSelf, Linker, Resource};

use super::bindings::host::pkcs11::token::{tokens, wrapping};
use super::bindings::types::{self, Error, KeyQuery, KeyType, Mechanism, PublicKey, TokenInfo, User};
use super::{Module, ModuleKey, ModuleSession, ModuleSigner, ModuleSlot, ModuleWrappingKey};
use crate::guest::State;

/// Offers this host's tokens to what is instantiated with `linker`.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    tokens::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    wrapping::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// What a host function returns: a trap, or what the WIT says.
type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl State {
    fn module(&self) -> Result<&Module, Error> {
        self.token.as_ref().ok_or(Error::TokenAbsent)
    }

    fn keep<T: Send + 'static>(&mut self, outcome: Result<T, TokenError>) -> Answer<Resource<T>> {
        match outcome {
            Ok(value) => Ok(Ok(self.table.push(value)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn keep_all<T: Send + 'static>(
        &mut self,
        outcome: Result<Vec<T>, TokenError>,
    ) -> Answer<Vec<Resource<T>>> {
        match outcome {
            Ok(values) => {
                let kept = values.into_iter().map(|value| self.table.push(value));
                Ok(Ok(kept.collect::<Result<_, _>>()?))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }
}

fn plain<T, U: From<T>>(outcome: Result<T, TokenError>) -> Answer<U> {
    Ok(outcome.map(U::from).map_err(Error::from))
}

impl types::Host for State {}

impl tokens::Host for State {
    fn list_slots(&mut self) -> Answer<Vec<Resource<ModuleSlot>>> {
        match self.module() {
            Ok(module) => {
                let slots = module.slots();
                self.keep_all(slots)
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn find_token(&mut self, label: String) -> Answer<Option<Resource<ModuleSlot>>> {
        let found = match self.module() {
            Ok(module) => module.find_token(&label),
            Err(error) => return Ok(Err(error)),
        };
        match found {
            Ok(Some(slot)) => Ok(Ok(Some(self.table.push(slot)?))),
            Ok(None) => Ok(Ok(None)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl tokens::HostSlot for State {
    fn id(&mut self, this: Resource<ModuleSlot>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&this)?.id())
    }

    fn token(&mut self, this: Resource<ModuleSlot>) -> Answer<TokenInfo> {
        plain(self.table.get(&this)?.info())
    }

    fn mechanisms(&mut self, this: Resource<ModuleSlot>) -> Answer<Vec<u32>> {
        plain(self.table.get(&this)?.mechanisms())
    }

    fn open_session(
        &mut self,
        this: Resource<ModuleSlot>,
        read_write: bool,
    ) -> Answer<Resource<ModuleSession>> {
        let session = self.table.get(&this)?.open_session(read_write);
        self.keep(session)
    }

    fn drop(&mut self, this: Resource<ModuleSlot>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl tokens::HostSession for State {
    fn login(&mut self, this: Resource<ModuleSession>, user: User) -> Answer<()> {
        plain(self.table.get(&this)?.login(user.into()))
    }

    fn logout(&mut self, this: Resource<ModuleSession>) -> Answer<()> {
        plain(self.table.get(&this)?.logout())
    }

    fn find_keys(
        &mut self,
        this: Resource<ModuleSession>,
        query: KeyQuery,
    ) -> Answer<Vec<Resource<ModuleKey>>> {
        let keys = self.table.get(&this)?.find_keys(&query.into());
        self.keep_all(keys)
    }

    fn drop(&mut self, this: Resource<ModuleSession>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl tokens::HostKey for State {
    fn label(&mut self, this: Resource<ModuleKey>) -> Answer<String> {
        plain(self.table.get(&this)?.label())
    }

    fn id(&mut self, this: Resource<ModuleKey>) -> Answer<Vec<u8>> {
        plain(self.table.get(&this)?.id())
    }

    fn key_type(&mut self, this: Resource<ModuleKey>) -> Answer<KeyType> {
        plain(self.table.get(&this)?.key_type())
    }

    fn public_key(&mut self, this: Resource<ModuleKey>) -> Answer<PublicKey> {
        plain(self.table.get(&this)?.public_key())
    }

    fn sign(&mut self, this: Resource<ModuleKey>, mechanism: Mechanism, data: Vec<u8>) -> Answer<Vec<u8>> {
        plain(self.table.get(&this)?.sign(mechanism.into(), &data))
    }

    fn sign_init(
        &mut self,
        this: Resource<ModuleKey>,
        mechanism: Mechanism,
    ) -> Answer<Resource<ModuleSigner>> {
        let signer = self.table.get(&this)?.sign_init(mechanism.into());
        self.keep(signer)
    }

    fn drop(&mut self, this: Resource<ModuleKey>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl tokens::HostSigner for State {
    fn update(&mut self, this: Resource<ModuleSigner>, data: Vec<u8>) -> Answer<()> {
        plain(self.table.get(&this)?.update(&data))
    }

    fn finish(&mut self, this: Resource<ModuleSigner>) -> Answer<Vec<u8>> {
        plain(self.table.delete(this)?.finish())
    }

    fn drop(&mut self, this: Resource<ModuleSigner>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl wrapping::Host for State {
    fn find_wrapping_keys(
        &mut self,
        on: Resource<ModuleSession>,
        query: KeyQuery,
    ) -> Answer<Vec<Resource<ModuleWrappingKey>>> {
        let keys = match self.module() {
            Ok(module) => module.find_wrapping_keys(self.table.get(&on)?, &query.into()),
            Err(error) => return Ok(Err(error)),
        };
        self.keep_all(keys)
    }
}

impl wrapping::HostWrappingKey for State {
    fn label(&mut self, this: Resource<ModuleWrappingKey>) -> Answer<String> {
        plain(self.table.get(&this)?.label())
    }

    fn id(&mut self, this: Resource<ModuleWrappingKey>) -> Answer<Vec<u8>> {
        plain(self.table.get(&this)?.id())
    }

    fn wrap(&mut self, this: Resource<ModuleWrappingKey>, key: Vec<u8>, context: Vec<u8>) -> Answer<Vec<u8>> {
        plain(self.table.get(&this)?.wrap(&Zeroizing::new(key), &context))
    }

    fn unwrap(
        &mut self,
        this: Resource<ModuleWrappingKey>,
        wrapped: Vec<u8>,
        context: Vec<u8>,
    ) -> Answer<Vec<u8>> {
        // What goes to the instance is wasmtime's to copy: that copy is not wiped.
        plain(self.table.get(&this)?.unwrap(&wrapped, &context).map(|key| key.to_vec()))
    }

    fn destroy(&mut self, this: Resource<ModuleWrappingKey>) -> Answer<()> {
        plain(self.table.get(&this)?.destroy())
    }

    fn drop(&mut self, this: Resource<ModuleWrappingKey>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
