//! Provisioning.

mod change;
mod create;
mod init;
mod template;

use std::rc::Rc;

use secure_log_pkcs11::token::{Admin, KeySpec, PrivateKey, Result, TokenError};

use crate::attributes::Attributes;
use crate::ck::*;
use crate::functions::Functions;
use crate::key::TokenKey;
use crate::lock::Held;
use crate::module::Module;
use crate::session::{Open, TokenSession};
use crate::slot::TokenSlot;

/// Longest label of a key in bytes.
const MAX_LABEL: usize = 255;
/// Longest CKA_ID in bytes.
const MAX_ID: usize = 64;

impl Admin for Module {
    /// A token of this label that has no user PIN yet (the making of it was interrupted) is completed: its PIN is set, if
    /// the security officer's PIN is right.
    fn init_token(&self, label: &str) -> Result<TokenSlot> {
        init::token(self, label)
    }

    fn generate_key(&self, on: &TokenSession, spec: KeySpec, label: &str, id: &[u8]) -> Result<()> {
        check_label(label)?;
        check_id(id)?;
        template::check_spec(spec)?;
        let change = Change::begin(&on.0)?;
        create::generate(&change, spec, label, id)
    }

    /// The key signs once, and its public half verifies: halves that are not of one key are
    /// [`TokenError::InvalidInput`].
    fn import_key(&self, on: &TokenSession, key: &PrivateKey, label: &str, id: &[u8]) -> Result<()> {
        check_label(label)?;
        check_id(id)?;
        let pair = template::Import::new(key, label, id)?;
        let change = Change::begin(&on.0)?;
        create::import(&change, &pair, label, id)
    }

    fn rename_key(&self, on: &TokenSession, key: &TokenKey, label: &str) -> Result<()> {
        check_label(label)?;
        check_same_token(on, key)?;
        let change = Change::begin(&on.0)?;
        change::rename(&change, key, label)
    }

    fn destroy_key(&self, on: &TokenSession, key: &TokenKey) -> Result<()> {
        check_same_token(on, key)?;
        let change = Change::begin(&on.0)?;
        change::destroy(&change, key)
    }
}

/// A session that changes its token, under the lock.
struct Change<'a> {
    open: &'a Open,
    functions: &'a Functions,
    session: CK_SESSION_HANDLE,
    held: Box<dyn Held>,
}

impl<'a> Change<'a> {
    /// [`TokenError::ReadOnly`], [`TokenError::NotLoggedIn`] or [`TokenError::Busy`] if the session cannot.
    fn begin(open: &'a Open) -> Result<Self> {
        let (functions, session) = open.operate()?;
        if !open.read_write {
            return Err(TokenError::ReadOnly);
        }
        match functions.session_state(session)? {
            CKS_RW_USER_FUNCTIONS => {}
            // A token that wants no login.
            CKS_RW_PUBLIC_SESSION if functions.token_info(open.slot)?.flags & CKF_LOGIN_REQUIRED == 0 => {}
            _ => return Err(TokenError::NotLoggedIn),
        }
        let held = open.shared.lock.acquire()?;
        Ok(Self { open, functions, session, held })
    }

    fn find(&self, template: &Attributes) -> Result<Vec<CK_OBJECT_HANDLE>> {
        Ok(self.functions.find(self.session, template)?)
    }

    /// Whether there is an object other than `but` of this class with this attribute.
    fn is_taken(
        &self,
        class: CK_OBJECT_CLASS,
        kind: CK_ATTRIBUTE_TYPE,
        value: &[u8],
        but: Option<CK_OBJECT_HANDLE>,
    ) -> Result<bool> {
        let found = self.find(&Attributes::of(class).bytes(kind, value))?;
        Ok(found.into_iter().any(|object| Some(object) != but))
    }
}

/// Destroys an object that has no other half.
pub(crate) fn destroy_object(open: &Open, object: CK_OBJECT_HANDLE) -> Result<()> {
    change::destroy_object(&Change::begin(open)?, object)
}

fn check_label(label: &str) -> Result<()> {
    if (1..=MAX_LABEL).contains(&label.len()) { Ok(()) } else { Err(TokenError::InvalidInput) }
}

fn check_id(id: &[u8]) -> Result<()> {
    if (1..=MAX_ID).contains(&id.len()) { Ok(()) } else { Err(TokenError::InvalidInput) }
}

/// A handle means something in the sessions of one token only.
fn check_same_token(on: &TokenSession, key: &TokenKey) -> Result<()> {
    let (on, key) = (&on.0, &key.session);
    // A closed session has no keys.
    key.current()?;
    if Rc::ptr_eq(&on.shared, &key.shared) && on.slot == key.slot {
        Ok(())
    } else {
        Err(TokenError::InvalidInput)
    }
}
