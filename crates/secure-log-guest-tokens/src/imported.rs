//! The import seen as Rust traits.

use secure_log_pkcs11::token as t;
use secure_log_pkcs11::token::{
    Key, Result, Session, Signer, Slot, Tokens, Wrapping, WrappingKey, Zeroizing,
};

use crate::token_import::pkcs11::token::{tokens as wit, wrapping};

/// The tokens that are plugged into the component, or its host's.
#[derive(Debug)]
pub struct ImportedTokens;

impl Tokens for ImportedTokens {
    type Slot = wit::Slot;

    fn slots(&self) -> Result<Vec<wit::Slot>> {
        Ok(wit::list_slots()?)
    }

    fn find_token(&self, label: &str) -> Result<Option<wit::Slot>> {
        Ok(wit::find_token(label)?)
    }
}

impl Slot for wit::Slot {
    type Session = wit::Session;

    fn id(&self) -> u64 {
        Self::id(self)
    }

    fn info(&self) -> Result<t::TokenInfo> {
        Ok(self.token()?.into())
    }

    fn mechanisms(&self) -> Result<Vec<u32>> {
        Ok(Self::mechanisms(self)?)
    }

    fn open_session(&self, read_write: bool) -> Result<wit::Session> {
        Ok(Self::open_session(self, read_write)?)
    }
}

impl Session for wit::Session {
    type Key = wit::Key;

    fn login(&self, user: t::User) -> Result<()> {
        Ok(Self::login(self, user.into())?)
    }

    fn logout(&self) -> Result<()> {
        Ok(Self::logout(self)?)
    }

    fn find_keys(&self, query: &t::KeyQuery) -> Result<Vec<wit::Key>> {
        Ok(Self::find_keys(self, &query.into())?)
    }
}

impl Key for wit::Key {
    type Signer = wit::Signer;

    fn label(&self) -> Result<String> {
        Ok(Self::label(self)?)
    }

    fn id(&self) -> Result<Vec<u8>> {
        Ok(Self::id(self)?)
    }

    fn key_type(&self) -> Result<t::KeyType> {
        Ok(Self::key_type(self)?.into())
    }

    fn public_key(&self) -> Result<t::PublicKey> {
        Ok(Self::public_key(self)?.into())
    }

    fn sign(&self, mechanism: t::Mechanism, data: &[u8]) -> Result<Vec<u8>> {
        Ok(Self::sign(self, mechanism.into(), data)?)
    }

    fn sign_init(&self, mechanism: t::Mechanism) -> Result<wit::Signer> {
        Ok(Self::sign_init(self, mechanism.into())?)
    }
}

impl Signer for wit::Signer {
    fn update(&self, data: &[u8]) -> Result<()> {
        Ok(Self::update(self, data)?)
    }

    fn finish(self) -> Result<Vec<u8>> {
        Ok(Self::finish(self)?)
    }
}

impl Wrapping for ImportedTokens {
    type WrappingKey = wrapping::WrappingKey;

    fn find_wrapping_keys(&self, on: &wit::Session, query: &t::KeyQuery) -> Result<Vec<Self::WrappingKey>> {
        Ok(wrapping::find_wrapping_keys(on, &query.into())?)
    }
}

impl WrappingKey for wrapping::WrappingKey {
    fn label(&self) -> Result<String> {
        Ok(Self::label(self)?)
    }

    fn id(&self) -> Result<Vec<u8>> {
        Ok(Self::id(self)?)
    }

    fn wrap(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>> {
        Ok(Self::wrap(self, key, context)?)
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(Self::unwrap(self, wrapped, context)?))
    }

    fn destroy(&self) -> Result<()> {
        Ok(Self::destroy(self)?)
    }
}
