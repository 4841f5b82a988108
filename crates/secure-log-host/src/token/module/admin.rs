//! Provisioning through a vendor's library.

use std::sync::{MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session as CryptokiSession, UserType};
use secure_log_pkcs11::token::{
    Admin, KeyQuery, KeySpec, PrivateKey, Result, Slot as _, TokenError, Tokens as _, User,
};

use super::key::{describe, public_halves};
use super::login::new_pin;
use super::session::{Open, find};
use super::{Module, ModuleKey, ModuleSession, ModuleSlot, error, make};

/// How long a thread waits for another that changes a token.
const PATIENCE: Duration = Duration::from_secs(5);

impl Module {
    /// Only one thread of this process changes tokens.
    fn alone(&self) -> Result<MutexGuard<'_, ()>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.library.changing.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(TokenError::Locked),
            }
        }
    }

    /// The first slot whose token was never initialized.
    fn blank(&self) -> Result<ModuleSlot> {
        for slot in self.slots()? {
            if !slot.info()?.initialized {
                return Ok(slot);
            }
        }
        Err(TokenError::TokenAbsent)
    }
}

/// Calls the library for what changes keys.
fn change<T>(on: &Open, call: impl FnOnce(&CryptokiSession) -> Result<T>) -> Result<T> {
    on.with(|_| if on.read_write { Ok(()) } else { Err(TokenError::ReadOnly) })?;
    on.with_idle(call)
}

/// Destroys an object that has no other half.
pub(super) fn destroy(on: &Open, object: ObjectHandle) -> Result<()> {
    let _alone = on.slot.module.alone()?;
    change(on, |raw| raw.destroy_object(object).map_err(error))
}

/// A key of another token is not changed through this one.
fn check_same_token(on: &ModuleSession, key: &ModuleKey) -> Result<()> {
    let (on, of) = (&on.0.slot, &key.session.slot);
    key.session.with(|_| Ok(()))?;
    let same = on.slot == of.slot && std::sync::Arc::ptr_eq(&on.module.library, &of.module.library);
    if same { Ok(()) } else { Err(TokenError::InvalidInput) }
}

fn check_label(label: &str) -> Result<()> {
    if (1..=255).contains(&label.len()) { Ok(()) } else { Err(TokenError::InvalidInput) }
}

/// Refuses names that no new key of this class can have.
fn free(raw: &CryptokiSession, class: ObjectClass, label: &str, id: &[u8]) -> Result<()> {
    check_label(label)?;
    if !(1..=64).contains(&id.len()) {
        return Err(TokenError::InvalidInput);
    }
    let by_label = KeyQuery { label: Some(label.into()), id: None };
    let by_id = KeyQuery { label: None, id: Some(id.into()) };
    if !find(raw, class, &by_label)?.is_empty() || !find(raw, class, &by_id)?.is_empty() {
        return Err(TokenError::Exists);
    }
    if class != ObjectClass::PRIVATE_KEY {
        return Ok(());
    }
    // A public key of this id without a private one would make it doubtful whose it is. With the label too it is what
    // an interrupted import left; another is somebody's.
    let orphans = find(raw, ObjectClass::PUBLIC_KEY, &by_id)?;
    for orphan in &orphans {
        if !describe(raw, *orphan).is_ok_and(|public| public.label == label.as_bytes()) {
            return Err(TokenError::Exists);
        }
    }
    orphans.into_iter().try_for_each(|orphan| raw.destroy_object(orphan).map_err(error))
}

impl Admin for Module {
    fn init_token(&self, label: &str) -> Result<ModuleSlot> {
        if !(1..=32).contains(&label.len()) || label.ends_with(' ') || label.contains('\0') {
            return Err(TokenError::InvalidInput);
        }
        let _alone = self.alone()?;
        let library = &self.library;
        let there = self.find_token(label)?;
        // One without the user's PIN is what an interrupted call left.
        if let Some(slot) = &there
            && slot.info()?.user_pin_initialized
        {
            return Err(TokenError::Exists);
        }
        let slot = match &there {
            Some(slot) => slot.clone(),
            None => self.blank()?,
        };
        let info = slot.flags()?;
        let pin = |user| new_pin(&self.pins, label, user, &info);
        let (officer, user) = (pin(User::SecurityOfficer)?, pin(User::Normal)?);
        let slot = match there {
            Some(slot) => slot,
            None => {
                library.slots(|pkcs11| pkcs11.init_token(slot.slot, &officer, label))?;
                // Some libraries give the token another slot now, SoftHSM2 among them.
                self.find_token(label)?.ok_or(TokenError::TokenAbsent)?
            }
        };
        library.forget(slot.id());
        let raw = library.slots(|pkcs11| pkcs11.open_rw_session(slot.slot))?;
        raw.login(UserType::So, Some(&officer)).map_err(error)?;
        let set = raw.init_pin(&user).map_err(error);
        let logged_out = raw.logout().map_err(error);
        set.and(logged_out)?;
        Ok(slot)
    }

    fn generate_key(&self, on: &ModuleSession, spec: KeySpec, label: &str, id: &[u8]) -> Result<()> {
        if matches!(spec, KeySpec::Rsa(bits) if !make::RSA_BITS.contains(&bits)) {
            return Err(TokenError::InvalidInput);
        }
        let _alone = self.alone()?;
        change(&on.0, |raw| {
            let class = match spec {
                KeySpec::Aes => ObjectClass::SECRET_KEY,
                KeySpec::Ec(_) | KeySpec::Rsa(_) => ObjectClass::PRIVATE_KEY,
            };
            free(raw, class, label, id)?;
            match spec {
                KeySpec::Ec(curve) => make::generate_ec(raw, curve, label, id),
                KeySpec::Rsa(bits) => make::generate_rsa(raw, bits, label, id),
                KeySpec::Aes => make::generate_aes(raw, label, id),
            }
        })
    }

    fn import_key(&self, on: &ModuleSession, key: &PrivateKey, label: &str, id: &[u8]) -> Result<()> {
        let _alone = self.alone()?;
        change(&on.0, |raw| {
            free(raw, ObjectClass::PRIVATE_KEY, label, id)?;
            match key {
                PrivateKey::Ec(key) => make::import_ec(raw, key, label, id),
                PrivateKey::Rsa(key) => make::import_rsa(raw, key, label, id),
            }
        })
    }

    fn rename_key(&self, on: &ModuleSession, key: &ModuleKey, label: &str) -> Result<()> {
        check_label(label)?;
        check_same_token(on, key)?;
        let _alone = self.alone()?;
        change(&on.0, |raw| {
            let named = describe(raw, key.handle)?;
            if named.label == label.as_bytes() {
                return Ok(());
            }
            let same = KeyQuery { label: Some(label.into()), id: None };
            if !find(raw, ObjectClass::PRIVATE_KEY, &same)?.is_empty() {
                return Err(TokenError::Exists);
            }
            let halves = public_halves(raw, &named)?;
            let rename = |object: ObjectHandle, label: &[u8]| {
                raw.update_attributes(object, &[Attribute::Label(label.into())]).map_err(error)
            };
            rename(key.handle, label.as_bytes())?;
            for (renamed, half) in halves.iter().enumerate() {
                if let Err(failed) = rename(*half, label.as_bytes()) {
                    for object in halves.iter().take(renamed).chain([&key.handle]) {
                        rename(*object, &named.label)?;
                    }
                    return Err(failed);
                }
            }
            Ok(())
        })
    }

    fn destroy_key(&self, on: &ModuleSession, key: &ModuleKey) -> Result<()> {
        check_same_token(on, key)?;
        let _alone = self.alone()?;
        change(&on.0, |raw| {
            let halves = public_halves(raw, &describe(raw, key.handle)?)?;
            // A public half that stays behind is of no use to anyone; a private one would be a key that still signs.
            raw.destroy_object(key.handle).map_err(error)?;
            halves.into_iter().try_for_each(|half| raw.destroy_object(half).map_err(error))
        })
    }
}
