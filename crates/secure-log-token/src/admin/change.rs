//! Renaming and destroying keys: both halves.

use secure_log_pkcs11::token::{Key as _, Result, TokenError};

use super::Change;
use crate::attributes::Attributes;
use crate::ck::*;
use crate::functions::Call;
use crate::key::TokenKey;
use crate::public;

/// The public halves of a key; none if there are only such of another kind.
fn halves(key: &TokenKey) -> Result<Vec<CK_OBJECT_HANDLE>> {
    match public::halves(&key.session, key.object, key.key_type()?) {
        Err(TokenError::KeyUnsuitable) => Ok(Vec::new()),
        halves => halves,
    }
}

pub(super) fn rename(change: &Change<'_>, key: &TokenKey, label: &str) -> Result<()> {
    let before = key.label()?;
    if before == label {
        return Ok(());
    }
    if change.is_taken(CKO_PRIVATE_KEY, CKA_LABEL, label.as_bytes(), Some(key.object))? {
        return Err(TokenError::Exists);
    }
    let mut done = Vec::new();
    for object in std::iter::once(key.object).chain(halves(key)?) {
        let renamed = change.held.check().and_then(|()| Ok(set_label(change, object, label)?));
        if let Err(error) = renamed {
            for object in done {
                set_label(change, object, &before).map_err(|rv| {
                    TokenError::Unusable(format!(
                        "key {before:?} is now called {label:?}, but not all of it ({error}; {}): rename it again",
                        TokenError::from(rv)
                    ))
                })?;
            }
            return Err(error);
        }
        done.push(object);
    }
    Ok(())
}

fn set_label(change: &Change<'_>, object: CK_OBJECT_HANDLE, label: &str) -> Call<()> {
    let label = Attributes::default().bytes(CKA_LABEL, label.as_bytes());
    change.functions.set_attributes(change.session, object, &label)
}

pub(super) fn destroy(change: &Change<'_>, key: &TokenKey) -> Result<()> {
    check_destroyable(change, key.object)?;
    // The private half last: as long as it is there, the key can be found and destroyed again.
    for object in halves(key)?.into_iter().chain([key.object]) {
        change.held.check()?;
        change.functions.destroy(change.session, object)?;
    }
    Ok(())
}

pub(super) fn destroy_object(change: &Change<'_>, object: CK_OBJECT_HANDLE) -> Result<()> {
    check_destroyable(change, object)?;
    change.held.check()?;
    Ok(change.functions.destroy(change.session, object)?)
}

fn check_destroyable(change: &Change<'_>, object: CK_OBJECT_HANDLE) -> Result<()> {
    match change.functions.flag(change.session, object, CKA_DESTROYABLE)? {
        Some(false) => Err(TokenError::ReadOnly),
        _ => Ok(()),
    }
}
