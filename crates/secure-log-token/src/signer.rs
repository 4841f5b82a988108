//! Signatures over data that comes in pieces.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use secure_log_pkcs11::token::{Result, Signer, TokenError};

use crate::ck::{CKR_DEVICE_ERROR, CKR_OPERATION_NOT_INITIALIZED};
use crate::functions::Rv;
use crate::session::Open;

/// A signature that is being made. Its session makes no other meanwhile.
pub struct TokenSigner {
    session: Rc<Open>,
    signature_len: usize,
    /// Why it has ended, if it has.
    ended: RefCell<Option<TokenError>>,
}

impl TokenSigner {
    pub(crate) fn new(session: Rc<Open>, signature_len: usize) -> Self {
        session.signing.set(true);
        Self { session, signature_len, ended: RefCell::new(None) }
    }

    fn fail(&self, rv: Rv) -> TokenError {
        let error = match rv {
            // It was initialized: this mechanism takes its data in one piece.
            Rv(CKR_OPERATION_NOT_INITIALIZED) => TokenError::Unsupported,
            rv => rv.into(),
        };
        self.end(error.clone());
        self.session.renew();
        error
    }

    fn end(&self, why: TokenError) {
        self.ended.replace(Some(why));
        self.session.signing.set(false);
    }

    fn check(&self) -> Result<()> {
        self.ended.borrow().clone().map_or(Ok(()), Err)
    }
}

impl Signer for TokenSigner {
    fn update(&self, data: &[u8]) -> Result<()> {
        self.check()?;
        let (functions, session) = self.session.current()?;
        if data.is_empty() {
            return Ok(());
        }
        functions.sign_update(session, data).map_err(|rv| self.fail(rv))
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.check()?;
        let (functions, session) = self.session.current()?;
        let mut signature = vec![0; self.signature_len];
        match functions.sign_final(session, &mut signature) {
            Ok(len) if len == signature.len() => {
                self.end(TokenError::InvalidInput);
                Ok(signature)
            }
            other => Err(self.fail(other.err().unwrap_or(Rv(CKR_DEVICE_ERROR)))),
        }
    }
}

impl Drop for TokenSigner {
    fn drop(&mut self) {
        if self.ended.borrow().is_none() {
            self.session.signing.set(false);
            self.session.renew();
        }
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSigner")
    }
}
