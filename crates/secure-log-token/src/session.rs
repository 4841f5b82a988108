//! Sessions and logins.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use secure_log_pkcs11::token::{KeyQuery, Result, Session, TokenError, User};

use crate::attributes::Attributes;
use crate::ck::*;
use crate::functions::{Functions, Rv};
use crate::key::TokenKey;
use crate::module::Shared;
use crate::slot::{TokenSlot, text};

/// A session with a token. Its keys end with it.
pub struct TokenSession(pub(crate) Rc<Open>);

impl TokenSession {
    pub(crate) fn open(slot: &TokenSlot, read_write: bool) -> Result<Self> {
        let shared = slot.shared.clone();
        let functions = shared.functions()?;
        let handle = functions.open_session(slot.id, read_write).map_err(|rv| {
            // Modules have various words for that.
            match functions.token_info(slot.id) {
                Ok(info) if info.flags & CKF_TOKEN_INITIALIZED == 0 => TokenError::TokenUninitialized,
                _ => rv.into(),
            }
        })?;
        shared.sessions.set(shared.sessions.get() + 1);
        Ok(Self(Rc::new(Open {
            shared,
            slot: slot.id,
            read_write,
            handle: Cell::new(Some(handle)),
            signing: Cell::new(false),
        })))
    }
}

impl Session for TokenSession {
    type Key = TokenKey;

    fn login(&self, user: User) -> Result<()> {
        let (functions, session) = self.0.current()?;
        let (state, kind) = match user {
            User::Normal => (CKS_RW_USER_FUNCTIONS, CKU_USER),
            User::SecurityOfficer => (CKS_RW_SO_FUNCTIONS, CKU_SO),
        };
        let now = functions.session_state(session)?;
        if now == state || (now == CKS_RO_USER_FUNCTIONS && user == User::Normal) {
            return Ok(());
        }

        let info = functions.token_info(self.0.slot)?;
        if info.flags & CKF_TOKEN_INITIALIZED == 0 {
            return Err(TokenError::TokenUninitialized);
        }
        let locked = match user {
            User::Normal => CKF_USER_PIN_LOCKED,
            User::SecurityOfficer => CKF_SO_PIN_LOCKED,
        };
        if info.flags & locked != 0 {
            return Err(TokenError::PinLocked);
        }
        let asked = if info.flags & CKF_PROTECTED_AUTHENTICATION_PATH != 0 {
            functions.login(session, kind, None)
        } else {
            let label = text(&info.label);
            let pin = self.0.shared.pins.pin(&label, user).ok_or(TokenError::PinUnavailable)?;
            if pin.is_empty() {
                return Err(TokenError::PinInvalid);
            }
            functions.login(session, kind, Some(&pin))
        };
        match asked {
            Err(Rv(CKR_USER_ALREADY_LOGGED_IN)) => Ok(()),
            asked => Ok(asked?),
        }
    }

    fn logout(&self) -> Result<()> {
        let (functions, session) = self.0.current()?;
        Ok(functions.logout(session)?)
    }

    fn find_keys(&self, query: &KeyQuery) -> Result<Vec<TokenKey>> {
        let template = Attributes::of(CKO_PRIVATE_KEY).matching(query);
        let keys = self.0.find(&template)?;
        Ok(keys.into_iter().map(|key| TokenKey::new(self.0.clone(), key)).collect())
    }
}

impl Drop for TokenSession {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for TokenSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSession").field("slot", &self.0.slot).finish_non_exhaustive()
    }
}

/// What a session and its keys share.
pub(crate) struct Open {
    pub shared: Rc<Shared>,
    pub slot: CK_SLOT_ID,
    pub read_write: bool,
    /// None once it is closed.
    handle: Cell<Option<CK_SESSION_HANDLE>>,
    /// A signature in pieces is being made.
    pub signing: Cell<bool>,
}

impl Open {
    /// The functions and the handle to call them with.
    pub fn current(&self) -> Result<(&Functions, CK_SESSION_HANDLE)> {
        let handle = self.handle.get().ok_or(TokenError::SessionClosed)?;
        Ok((self.shared.functions()?, handle))
    }

    /// The same, for an operation of which a session has one at a time.
    pub fn operate(&self) -> Result<(&Functions, CK_SESSION_HANDLE)> {
        let open = self.current()?;
        if self.signing.get() { Err(TokenError::Busy) } else { Ok(open) }
    }

    pub fn find(&self, template: &Attributes) -> Result<Vec<CK_OBJECT_HANDLE>> {
        let (functions, session) = self.current()?;
        Ok(functions.find(session, template)?)
    }

    /// Ends whatever the session is in the middle of: PKCS #11 v2.40 has no function for that, so a fresh session takes
    /// its place, opened first, as the login ends with the last one. If there is none to be had, the session is closed.
    pub fn renew(&self) {
        let (Some(old), Ok(functions)) = (self.handle.take(), self.shared.functions()) else { return };
        let fresh = functions.open_session(self.slot, self.read_write);
        let _ = functions.close_session(old);
        match fresh {
            Ok(fresh) => self.handle.set(Some(fresh)),
            Err(_) => self.forget(),
        }
    }

    fn close(&self) {
        let (Some(handle), Ok(functions)) = (self.handle.take(), self.shared.functions()) else { return };
        let _ = functions.close_session(handle);
        self.forget();
    }

    fn forget(&self) {
        self.shared.sessions.set(self.shared.sessions.get().saturating_sub(1));
    }
}

impl Attributes {
    /// Those that a query names.
    pub fn matching(mut self, query: &KeyQuery) -> Self {
        if let Some(label) = &query.label {
            self = self.bytes(CKA_LABEL, label.as_bytes());
        }
        if let Some(id) = &query.id {
            self = self.bytes(CKA_ID, id);
        }
        self
    }
}
