//! Initializing tokens.

use secure_log_pkcs11::token::{Result, Session as _, Slot as _, TokenError, Tokens as _, User, Zeroizing};

use crate::ck::*;
use crate::lock::Held;
use crate::module::Module;
use crate::slot::TokenSlot;

/// Length of a token's label in bytes, filled up with blanks.
const LABEL: usize = 32;

/// The PINs of a token that is made. None: it asks for them by itself.
struct Pins {
    officer: Option<Zeroizing<Vec<u8>>>,
    user: Option<Zeroizing<Vec<u8>>>,
}

pub(super) fn token(module: &Module, label: &str) -> Result<TokenSlot> {
    let padded = padded(label)?;
    // Taken first: what others made before is there when the module starts.
    let held = module.shared.lock.acquire()?;
    module.shared.refresh()?;
    if let Some(slot) = module.find_token(label)? {
        if slot.info()?.user_pin_initialized {
            return Err(TokenError::Exists);
        }
        let pins = Pins::of(module, &slot, label)?;
        set_user_pin(&slot, &pins, &*held).map_err(|error| match error {
            // The making of it was interrupted before it had this PIN.
            TokenError::PinLocked | TokenError::PinNotInitialized => TokenError::Unusable(format!(
                "token {label:?} is only half made: remove its files, there are no keys on it, and make it again"
            )),
            error => error,
        })?;
        return Ok(slot);
    }

    let slot = free(module)?;
    let pins = Pins::of(module, &slot, label)?;
    held.check()?;
    module.shared.functions()?.init_token(slot.id, pins.officer.as_deref().map(Vec::as_slice), &padded)?;
    let unfinished = |e: TokenError| {
        TokenError::Unusable(format!(
            "token {label:?} was initialized, but has no user PIN yet ({e}); initializing it again goes on from there"
        ))
    };
    // Some modules number their slots anew.
    let slot =
        module.find_token(label).and_then(|slot| slot.ok_or(TokenError::TokenAbsent)).map_err(unfinished)?;
    set_user_pin(&slot, &pins, &*held).map_err(unfinished)?;
    Ok(slot)
}

/// [`TokenError::InvalidInput`] for a label that could not be found again.
fn padded(label: &str) -> Result<[u8; LABEL]> {
    let mut padded = [b' '; LABEL];
    let room = padded.get_mut(..label.len()).filter(|room| !room.is_empty());
    let room = room.ok_or(TokenError::InvalidInput)?;
    if label.ends_with(' ') || label.contains('\0') {
        return Err(TokenError::InvalidInput);
    }
    room.copy_from_slice(label.as_bytes());
    Ok(padded)
}

/// The first token that is not initialized.
fn free(module: &Module) -> Result<TokenSlot> {
    let mut read_only = false;
    for slot in module.slots()? {
        match slot.info() {
            Ok(info) if info.initialized => {}
            Ok(info) if info.write_protected => read_only = true,
            Ok(_) | Err(TokenError::TokenUninitialized) => return Ok(slot),
            Err(TokenError::TokenAbsent) => {}
            Err(e) => return Err(e),
        }
    }
    Err(if read_only { TokenError::ReadOnly } else { TokenError::TokenAbsent })
}

impl Pins {
    /// Both, before anything is changed: [`TokenError::PinUnavailable`], or [`TokenError::PinInvalid`] for one that the token
    /// would not take.
    fn of(module: &Module, slot: &TokenSlot, label: &str) -> Result<Self> {
        let info = slot.raw_info()?;
        if info.flags & CKF_PROTECTED_AUTHENTICATION_PATH != 0 {
            return Ok(Self { officer: None, user: None });
        }
        let pin = |user| {
            let pin = module.shared.pins.pin(label, user).ok_or(TokenError::PinUnavailable)?;
            let len = CK_ULONG::try_from(pin.len()).map_err(|_| TokenError::PinInvalid)?;
            let short =
                len == 0 || (info.ulMinPinLen != CK_UNAVAILABLE_INFORMATION && len < info.ulMinPinLen);
            // 0 is said by those who do not say.
            let long = info.ulMaxPinLen != 0 && len > info.ulMaxPinLen;
            if short || long { Err(TokenError::PinInvalid) } else { Ok(Some(pin)) }
        };
        Ok(Self { officer: pin(User::SecurityOfficer)?, user: pin(User::Normal)? })
    }
}

fn set_user_pin(slot: &TokenSlot, pins: &Pins, held: &dyn Held) -> Result<()> {
    held.check()?;
    let session = slot.open_session(true)?;
    session.login(User::SecurityOfficer)?;
    let (functions, handle) = session.0.current()?;
    let set = functions.init_pin(handle, pins.user.as_deref().map(Vec::as_slice));
    let out = functions.logout(handle);
    set?;
    Ok(out?)
}
