//! Slots, sessions, keys and signatures of a token component.

use std::fmt;

use secure_log_pkcs11::token::{
    Key, KeyQuery, KeyType, Mechanism, PublicKey, Result, Session, Signer, Slot, TokenInfo, User,
};

use super::Handle;

/// A slot with a token in it.
pub struct GraphSlot(pub(super) Handle);

/// A session.
pub struct GraphSession(pub(super) Handle);

/// A private key on the token.
pub struct GraphKey(pub(super) Handle);

/// A signature that is being made.
pub struct GraphSigner(pub(super) Handle);

macro_rules! debug {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

debug! { GraphSlot GraphSession GraphKey GraphSigner }

/// Calls a method of a resource: `call!(handle, resource.method(arguments))`.
macro_rules! call {
    ($handle:expr, $resource:ident.$method:ident($($argument:expr),*)) => {
        $handle.token.call(|store, exports| {
            exports.pkcs11_token_tokens().$resource().$method(store, $handle.any $(, $argument)*)
        })
    };
}

impl Slot for GraphSlot {
    type Session = GraphSession;

    /// 0 where the component is dead; every other call then says so.
    fn id(&self) -> u64 {
        let called = self
            .0
            .token
            .call(|store, exports| exports.pkcs11_token_tokens().slot().call_id(store, self.0.any).map(Ok));
        called.unwrap_or_default()
    }

    fn info(&self) -> Result<TokenInfo> {
        call!(self.0, slot.call_token()).map(TokenInfo::from)
    }

    fn mechanisms(&self) -> Result<Vec<u32>> {
        call!(self.0, slot.call_mechanisms())
    }

    fn open_session(&self, read_write: bool) -> Result<GraphSession> {
        let session = call!(self.0, slot.call_open_session(read_write))?;
        Ok(GraphSession(self.0.token.hold(session)))
    }
}

impl Session for GraphSession {
    type Key = GraphKey;

    fn login(&self, user: User) -> Result<()> {
        call!(self.0, session.call_login(user.into()))
    }

    fn logout(&self) -> Result<()> {
        call!(self.0, session.call_logout())
    }

    fn find_keys(&self, query: &KeyQuery) -> Result<Vec<GraphKey>> {
        let keys = call!(self.0, session.call_find_keys(&query.into()))?;
        Ok(keys.into_iter().map(|key| GraphKey(self.0.token.hold(key))).collect())
    }
}

impl Key for GraphKey {
    type Signer = GraphSigner;

    fn label(&self) -> Result<String> {
        call!(self.0, key.call_label())
    }

    fn id(&self) -> Result<Vec<u8>> {
        call!(self.0, key.call_id())
    }

    fn key_type(&self) -> Result<KeyType> {
        call!(self.0, key.call_key_type()).map(KeyType::from)
    }

    fn public_key(&self) -> Result<PublicKey> {
        call!(self.0, key.call_public_key()).map(PublicKey::from)
    }

    fn sign(&self, mechanism: Mechanism, data: &[u8]) -> Result<Vec<u8>> {
        call!(self.0, key.call_sign(mechanism.into(), data))
    }

    fn sign_init(&self, mechanism: Mechanism) -> Result<GraphSigner> {
        let signer = call!(self.0, key.call_sign_init(mechanism.into()))?;
        Ok(GraphSigner(self.0.token.hold(signer)))
    }
}

impl Signer for GraphSigner {
    fn update(&self, data: &[u8]) -> Result<()> {
        call!(self.0, signer.call_update(data))
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        self.0.given = true;
        call!(self.0, signer.call_finish())
    }
}
