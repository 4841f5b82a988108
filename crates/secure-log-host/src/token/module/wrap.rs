//! AES keys that wrap others.

use std::fmt;
use std::sync::Arc;

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as CryptokiSession;
use secure_log_pkcs11::token::{KeyQuery, Result, TokenError, Wrapping, WrappingKey, Zeroizing};

use super::key::describe;
use super::session::Open;
use super::{Module, ModuleSession, admin, error};

const NONCE: usize = 12;
const TAG: usize = 16;

/// An AES key on the token.
pub struct ModuleWrappingKey {
    session: Arc<Open>,
    handle: ObjectHandle,
}

impl Wrapping for Module {
    type WrappingKey = ModuleWrappingKey;

    fn find_wrapping_keys(&self, on: &ModuleSession, query: &KeyQuery) -> Result<Vec<ModuleWrappingKey>> {
        if !on.0.application.may_use_keys() {
            return on.0.with(|_| Ok(Vec::new()));
        }
        let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
        template.extend(query.label.as_ref().map(|label| Attribute::Label(label.clone().into())));
        template.extend(query.id.as_ref().map(|id| Attribute::Id(id.clone())));
        let found = on.0.with(|raw| raw.find_objects(&template).map_err(error))?;
        Ok(found.into_iter().map(|handle| ModuleWrappingKey { session: on.0.clone(), handle }).collect())
    }
}

impl ModuleWrappingKey {
    /// Nonce, ciphertext, tag.
    fn seal(&self, raw: &CryptokiSession, key: &[u8], context: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)
            .map_err(|_| TokenError::Unusable("this host has no randomness".into()))?;
        let params = GcmParams::new(&mut nonce, context, ((TAG * 8) as u64).into()).map_err(error)?;
        let mut mechanism = Mechanism::AesGcm(params);
        let sealed = raw.encrypt(&mechanism, self.handle, key).map_err(error)?;
        // An HSM under FIPS rules takes a nonce of its own and says here which.
        let Mechanism::AesGcm(params) = &mut mechanism else { return Err(TokenError::Unsupported) };
        let wrapped = [params.iv(), sealed.as_slice()].concat();
        if wrapped.len() != NONCE + key.len() + TAG {
            return Err(TokenError::Unusable("its AES-GCM has not the length that it must have".into()));
        }
        Ok(wrapped)
    }

    fn open(&self, raw: &CryptokiSession, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE).ok_or(TokenError::WrappedKeyInvalid)?;
        let mut nonce = nonce.to_vec();
        let params = GcmParams::new(&mut nonce, context, ((TAG * 8) as u64).into()).map_err(error)?;
        raw.decrypt(&Mechanism::AesGcm(params), self.handle, sealed).map(Zeroizing::new).map_err(error)
    }
}

impl WrappingKey for ModuleWrappingKey {
    fn label(&self) -> Result<String> {
        let label = self.session.with_keys(|raw| Ok(describe(raw, self.handle)?.label))?;
        Ok(String::from_utf8_lossy(&label).into_owned())
    }

    fn id(&self) -> Result<Vec<u8>> {
        self.session.with_keys(|raw| Ok(describe(raw, self.handle)?.id))
    }

    fn wrap(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>> {
        if !(1..=Self::MAX_KEY).contains(&key.len()) || context.len() > Self::MAX_CONTEXT {
            return Err(TokenError::InvalidInput);
        }
        self.session.with_keys(|raw| self.seal(raw, key, context))
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if context.len() > Self::MAX_CONTEXT {
            return Err(TokenError::InvalidInput);
        }
        if !(NONCE + 1 + TAG..=NONCE + Self::MAX_KEY + TAG).contains(&wrapped.len()) {
            return Err(TokenError::WrappedKeyInvalid);
        }
        self.session.with_keys(|raw| match self.open(raw, wrapped, context) {
            // Tokens call a wrong tag by many names, "the device failed" among them. It did not if it still works.
            Err(TokenError::Device(_) | TokenError::InvalidInput | TokenError::Other(_)) => {
                let probe = self.seal(raw, b"probe", b"")?;
                self.open(raw, &probe, b"")?;
                Err(TokenError::WrappedKeyInvalid)
            }
            outcome => outcome,
        })
    }

    fn destroy(&self) -> Result<()> {
        admin::destroy(&self.session, self.handle)
    }
}

impl fmt::Debug for ModuleWrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleWrappingKey").field("slot", &self.session.slot).finish_non_exhaustive()
    }
}
