//! Slots and the tokens in them.

use std::fmt;
use std::rc::Rc;

use secure_log_pkcs11::token::{Result, Slot, TokenInfo};

use crate::ck::*;
use crate::functions::to_u32;
use crate::module::Shared;
use crate::session::TokenSession;

/// A slot of a [`Module`](crate::Module).
#[derive(Clone)]
pub struct TokenSlot {
    pub(crate) shared: Rc<Shared>,
    pub(crate) id: CK_SLOT_ID,
}

impl TokenSlot {
    pub(crate) fn new(shared: Rc<Shared>, id: CK_SLOT_ID) -> Self {
        Self { shared, id }
    }

    pub(crate) fn raw_info(&self) -> Result<CK_TOKEN_INFO> {
        Ok(self.shared.functions()?.token_info(self.id)?)
    }
}

impl Slot for TokenSlot {
    type Session = TokenSession;

    fn id(&self) -> u64 {
        #[allow(clippy::useless_conversion, reason = "CK_ULONG has 32 bits elsewhere")]
        u64::from(self.id)
    }

    fn info(&self) -> Result<TokenInfo> {
        let info = self.raw_info()?;
        let has = |flag| info.flags & flag != 0;
        Ok(TokenInfo {
            label: text(&info.label),
            manufacturer: text(&info.manufacturerID),
            model: text(&info.model),
            serial: text(&info.serialNumber),
            initialized: has(CKF_TOKEN_INITIALIZED),
            user_pin_initialized: has(CKF_USER_PIN_INITIALIZED),
            user_pin_locked: has(CKF_USER_PIN_LOCKED),
            login_required: has(CKF_LOGIN_REQUIRED),
            protected_authentication: has(CKF_PROTECTED_AUTHENTICATION_PATH),
            write_protected: has(CKF_WRITE_PROTECTED),
        })
    }

    fn mechanisms(&self) -> Result<Vec<u32>> {
        let mechanisms = self.shared.functions()?.mechanisms(self.id)?;
        Ok(mechanisms.into_iter().map(to_u32).collect())
    }

    fn open_session(&self, read_write: bool) -> Result<TokenSession> {
        TokenSession::open(self, read_write)
    }
}

impl fmt::Debug for TokenSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenSlot").field(&self.id).finish()
    }
}

/// A text of CK_TOKEN_INFO, which blanks fill up; some modules take zeros for it.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned()
}
