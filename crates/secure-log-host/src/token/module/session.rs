//! Sessions, and how keys of them get at the library.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::Session as CryptokiSession;
use secure_log_pkcs11::token::{KeyQuery, Result, Session, TokenError, User};

use super::login::Application;
use super::{ModuleKey, ModuleSlot, error};

/// A session. Keys of it are of no use when it is dropped.
pub struct ModuleSession(pub(super) Arc<Open>);

/// What a session and its keys share.
pub(super) struct Open {
    pub slot: ModuleSlot,
    pub application: Arc<Application>,
    pub read_write: bool,
    /// None when it is closed. A session does one thing at a time.
    raw: Mutex<Option<CryptokiSession>>,
    /// Whether a signature in pieces is being made.
    pub signing: AtomicBool,
}

impl ModuleSession {
    pub(super) fn new(
        slot: ModuleSlot,
        raw: CryptokiSession,
        application: Arc<Application>,
        read_write: bool,
    ) -> Self {
        application.enter();
        let (raw, signing) = (Mutex::new(Some(raw)), AtomicBool::new(false));
        Self(Arc::new(Open { slot, application, read_write, raw, signing }))
    }
}

impl Open {
    /// Calls the library.
    pub fn with<T>(&self, call: impl FnOnce(&CryptokiSession) -> Result<T>) -> Result<T> {
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        call(raw.as_ref().ok_or(TokenError::SessionClosed)?)
    }

    /// Calls the library for what needs a login.
    pub fn with_keys<T>(&self, call: impl FnOnce(&CryptokiSession) -> Result<T>) -> Result<T> {
        self.with(
            |raw| if self.application.may_use_keys() { call(raw) } else { Err(TokenError::NotLoggedIn) },
        )
    }

    /// The same for what cannot be done while a signature is made in pieces.
    pub fn with_idle<T>(&self, call: impl FnOnce(&CryptokiSession) -> Result<T>) -> Result<T> {
        self.with_keys(
            |raw| {
                if self.signing.load(Ordering::Acquire) { Err(TokenError::Busy) } else { call(raw) }
            },
        )
    }

    fn close(&self) {
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(raw) = raw {
            self.application.leave(&raw);
        }
    }
}

impl Session for ModuleSession {
    type Key = ModuleKey;

    fn login(&self, user: User) -> Result<()> {
        let Open { slot, application, .. } = &*self.0;
        let info = slot.flags()?;
        self.0.with(|raw| application.log_in(raw, user, &info, &slot.module.pins))
    }

    fn logout(&self) -> Result<()> {
        self.0.with(|raw| self.0.application.log_out(raw))
    }

    fn find_keys(&self, query: &KeyQuery) -> Result<Vec<ModuleKey>> {
        if !self.0.application.may_use_keys() {
            return self.0.with(|_| Ok(Vec::new()));
        }
        let found = self.0.with(|raw| find(raw, ObjectClass::PRIVATE_KEY, query))?;
        Ok(found.into_iter().map(|handle| ModuleKey::new(self.0.clone(), handle)).collect())
    }
}

/// Objects of a class that match.
pub(super) fn find(
    raw: &CryptokiSession,
    class: ObjectClass,
    query: &KeyQuery,
) -> Result<Vec<cryptoki::object::ObjectHandle>> {
    let mut template = vec![Attribute::Class(class)];
    template.extend(query.label.as_ref().map(|label| Attribute::Label(label.clone().into())));
    template.extend(query.id.as_ref().map(|id| Attribute::Id(id.clone())));
    raw.find_objects(&template).map_err(error)
}

impl Drop for ModuleSession {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for ModuleSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleSession").field("slot", &self.0.slot).finish_non_exhaustive()
    }
}
