//! Private keys.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use secure_log_pkcs11::token::{Key, KeyType, Mechanism, PublicKey, Result, TokenError};

use crate::ck::*;
use crate::functions::{Functions, Rv};
use crate::mechanism::Signing;
use crate::session::Open;
use crate::signer::TokenSigner;
use crate::{kind, public};

/// A private key, as one session sees it.
pub struct TokenKey {
    pub(crate) session: Rc<Open>,
    pub(crate) object: CK_OBJECT_HANDLE,
    kind: OnceCell<KeyType>,
}

impl TokenKey {
    pub(crate) fn new(session: Rc<Open>, object: CK_OBJECT_HANDLE) -> Self {
        Self { session, object, kind: OnceCell::new() }
    }

    fn signing(&self, mechanism: Mechanism) -> Result<Signing> {
        Signing::new(mechanism, self.key_type()?)
    }
}

impl Key for TokenKey {
    type Signer = TokenSigner;

    fn label(&self) -> Result<String> {
        let (functions, session) = self.session.current()?;
        label(functions, session, self.object)
    }

    fn id(&self) -> Result<Vec<u8>> {
        let (functions, session) = self.session.current()?;
        id(functions, session, self.object)
    }

    fn key_type(&self) -> Result<KeyType> {
        let (functions, session) = self.session.current()?;
        if let Some(kind) = self.kind.get() {
            return Ok(*kind);
        }
        if kind::is_not_whole(functions, session, self.object)? {
            return Err(TokenError::Unusable(
                "the key is not whole: its making was interrupted, or its file is damaged; restore it, or make it again \
                 in its place"
                    .into(),
            ));
        }
        let kind = kind::of(functions, session, self.object)?;
        Ok(*self.kind.get_or_init(|| kind))
    }

    fn public_key(&self) -> Result<PublicKey> {
        public::of(&self.session, self.object, self.key_type()?)
    }

    fn sign(&self, mechanism: Mechanism, data: &[u8]) -> Result<Vec<u8>> {
        let (functions, session) = self.session.operate()?;
        let signing = self.signing(mechanism)?;
        signing.check_data(data)?;
        begin(&self.session, functions, session, &signing, self.object)?;
        let mut signature = vec![0; signing.signature_len];
        match functions.sign(session, data, &mut signature) {
            Ok(len) if len == signature.len() => Ok(signature),
            other => {
                self.session.renew();
                Err(damaged(other.map_or_else(TokenError::from, |_| TokenError::from(Rv(CKR_DEVICE_ERROR)))))
            }
        }
    }

    fn sign_init(&self, mechanism: Mechanism) -> Result<TokenSigner> {
        let (functions, session) = self.session.operate()?;
        let signing = self.signing(mechanism)?;
        begin(&self.session, functions, session, &signing, self.object)?;
        Ok(TokenSigner::new(self.session.clone(), signing.signature_len))
    }
}

fn begin(
    open: &Open,
    functions: &Functions,
    session: CK_SESSION_HANDLE,
    signing: &Signing,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    functions.sign_init(session, &signing.operation, key).map_err(|rv| {
        // It was left over by something that went wrong.
        if rv == Rv(CKR_OPERATION_ACTIVE) {
            open.renew();
        }
        damaged(rv.into())
    })
}

/// Nothing is unwrapped by signing but the key itself, by the token from its storage.
fn damaged(error: TokenError) -> TokenError {
    match error {
        TokenError::WrappedKeyInvalid => TokenError::Unusable("the stored key is damaged".into()),
        error => error,
    }
}

/// CKA_LABEL; empty if there is none.
pub(crate) fn label(
    functions: &Functions,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> Result<String> {
    let label = functions.attribute(session, object, CKA_LABEL)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&label).into_owned())
}

/// CKA_ID; empty if there is none.
pub(crate) fn id(
    functions: &Functions,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> Result<Vec<u8>> {
    Ok(functions.attribute(session, object, CKA_ID)?.unwrap_or_default())
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenKey").field(&self.object).finish()
    }
}
