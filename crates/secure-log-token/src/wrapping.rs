//! Wrapping with AES keys.

use std::fmt;
use std::rc::Rc;

use secure_log_pkcs11::token::{KeyQuery, Result, TokenError, Wrapping, WrappingKey, Zeroizing};

use crate::admin;
use crate::attributes::Attributes;
use crate::ck::*;
use crate::functions::Rv;
use crate::key;
use crate::mechanism::{NONCE, Operation, TAG};
use crate::module::Module;
use crate::session::{Open, TokenSession};

/// Length of a wrapping key in bytes.
pub(crate) const AES_LEN: CK_ULONG = 32;

/// An AES key, as one session sees it.
///
/// Nonces are the token's random numbers: one key wraps at most 2³² others (NIST SP 800-38D §8.3).
pub struct TokenWrappingKey {
    session: Rc<Open>,
    object: CK_OBJECT_HANDLE,
}

impl Wrapping for Module {
    type WrappingKey = TokenWrappingKey;

    fn find_wrapping_keys(&self, on: &TokenSession, query: &KeyQuery) -> Result<Vec<TokenWrappingKey>> {
        let template = Attributes::of(CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES).matching(query);
        let keys = on.0.find(&template)?;
        Ok(keys.into_iter().map(|object| TokenWrappingKey { session: on.0.clone(), object }).collect())
    }
}

impl TokenWrappingKey {
    fn check(&self) -> Result<()> {
        let (functions, session) = self.session.operate()?;
        match functions.number(session, self.object, CKA_VALUE_LEN)? {
            Some(AES_LEN) => Ok(()),
            _ => Err(TokenError::KeyUnsuitable),
        }
    }
}

impl WrappingKey for TokenWrappingKey {
    fn label(&self) -> Result<String> {
        let (functions, session) = self.session.current()?;
        key::label(functions, session, self.object)
    }

    fn id(&self) -> Result<Vec<u8>> {
        let (functions, session) = self.session.current()?;
        key::id(functions, session, self.object)
    }

    fn wrap(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>> {
        if !(1..=Self::MAX_KEY).contains(&key.len()) || context.len() > Self::MAX_CONTEXT {
            return Err(TokenError::InvalidInput);
        }
        self.check()?;
        let (functions, session) = self.session.operate()?;
        let mut nonce = [0; NONCE];
        functions.random(session, &mut nonce)?;
        functions.encrypt_init(session, &Operation::Gcm { nonce, context }, self.object)?;
        let mut wrapped = vec![0; NONCE + key.len() + TAG];
        wrapped[..NONCE].copy_from_slice(&nonce);
        match functions.encrypt(session, key, &mut wrapped[NONCE..]) {
            Ok(len) if NONCE + len == wrapped.len() => Ok(wrapped),
            other => {
                self.session.renew();
                Err(other.err().unwrap_or(Rv(CKR_DEVICE_ERROR)).into())
            }
        }
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if context.len() > Self::MAX_CONTEXT {
            return Err(TokenError::InvalidInput);
        }
        let Some((nonce, sealed)) = wrapped.split_first_chunk::<NONCE>() else {
            return Err(TokenError::WrappedKeyInvalid);
        };
        if !(TAG + 1..=TAG + Self::MAX_KEY).contains(&sealed.len()) {
            return Err(TokenError::WrappedKeyInvalid);
        }
        self.check()?;
        let (functions, session) = self.session.operate()?;
        functions.decrypt_init(session, &Operation::Gcm { nonce: *nonce, context }, self.object)?;
        // As much as went in: some modules ask for that.
        let mut key = Zeroizing::new(vec![0; sealed.len()]);
        match functions.decrypt(session, sealed, &mut key) {
            Ok(len) if len + TAG == sealed.len() => {
                key.truncate(len);
                Ok(key)
            }
            other => {
                self.session.renew();
                Err(other.map_or_else(refused, |_| Rv(CKR_DEVICE_ERROR).into()))
            }
        }
    }

    fn destroy(&self) -> Result<()> {
        admin::destroy_object(&self.session, self.object)
    }
}

/// Why C_Decrypt failed: modules have many words for a tag that does not fit.
fn refused(rv: Rv) -> TokenError {
    match rv.0 {
        CKR_GENERAL_ERROR
        | CKR_FUNCTION_FAILED
        | CKR_DATA_INVALID
        | CKR_DATA_LEN_RANGE
        | CKR_ENCRYPTED_DATA_INVALID
        | CKR_ENCRYPTED_DATA_LEN_RANGE
        | CKR_SIGNATURE_INVALID => TokenError::WrappedKeyInvalid,
        _ => rv.into(),
    }
}

impl fmt::Debug for TokenWrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenWrappingKey").field(&self.object).finish()
    }
}
