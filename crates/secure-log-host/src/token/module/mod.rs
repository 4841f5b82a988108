//! A vendor's PKCS #11 library as tokens of this host.

mod admin;
mod key;
mod library;
mod login;
mod make;
mod rv;
mod session;
mod template;
mod wrap;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cryptoki::error::Error as CryptokiError;
use cryptoki::slot::Slot as CryptokiSlot;
use secure_log_pkcs11::token::{Result, Slot, TokenError, TokenInfo, Tokens};

pub use key::{ModuleKey, ModuleSigner};
pub use library::ModuleError;
pub use session::ModuleSession;
pub use wrap::ModuleWrappingKey;

use super::SharedPins;
use library::Library;
use login::Application;

/// A vendor's PKCS #11 library: an HSM, a smart card, SoftHSM2.
///
/// PKCS #11 knows one login for all sessions of a process with a token. Here it is one for all sessions of a `Module`
/// and its clones, and each running instance of a component is another such application: the library logs out when
/// the last of them has, so that no instance ends the login of another. An application joins a login that is there
/// with the same PIN only.
///
/// A PIN that the token refused is not tried again by this process: whoever repeats it gets
/// [`PinIncorrect`](TokenError::PinIncorrect) at once, and the token's counter stays where it is.
///
/// As [`Admin`](secure_log_pkcs11::token::Admin), threads of this process change tokens one at a time (who waits longer
/// than five seconds gets [`Locked`](TokenError::Locked)); between processes the library's own locking is relied upon.
///
/// Keys that want the PIN again for each signature (CKA_ALWAYS_AUTHENTICATE) cannot be used.
#[derive(Clone)]
pub struct Module {
    library: Arc<Library>,
    applications: Arc<Applications>,
    pins: SharedPins,
}

/// What this application does with each slot.
#[derive(Default)]
struct Applications(Mutex<HashMap<u64, Weak<Application>>>);

impl Module {
    /// Loads the library at `path`, or takes it as it was loaded: a process initializes a library once, and it stays
    /// until the process ends. PINs come from `pins`.
    ///
    /// The library is native code that runs in this process with all of its rights.
    pub fn load(path: &Path, pins: SharedPins) -> std::result::Result<Self, ModuleError> {
        Ok(Self { library: Library::load(path)?, applications: Arc::default(), pins })
    }

    /// Where the library lies.
    pub fn path(&self) -> &Path {
        &self.library.path
    }

    /// The same library and PINs for another application, with a login of its own.
    pub fn application(&self) -> Self {
        Self { library: self.library.clone(), applications: Arc::default(), pins: self.pins.clone() }
    }

    /// The same library for another application, with PINs of its own.
    pub fn with_pins(&self, pins: SharedPins) -> Self {
        Self { library: self.library.clone(), applications: Arc::default(), pins }
    }

    fn on(&self, slot: CryptokiSlot, login_required: bool) -> Arc<Application> {
        let mut slots = self.applications.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(application) = slots.get(&slot.id()).and_then(Weak::upgrade) {
            return application;
        }
        let application = Arc::new(Application::new(self.library.token(slot.id()), login_required));
        slots.insert(slot.id(), Arc::downgrade(&application));
        application
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("path", &self.library.path).finish_non_exhaustive()
    }
}

impl Tokens for Module {
    type Slot = ModuleSlot;

    fn slots(&self) -> Result<Vec<ModuleSlot>> {
        let slots = self.library.slots(|pkcs11| pkcs11.get_slots_with_token())?;
        Ok(slots.into_iter().map(|slot| ModuleSlot { module: self.clone(), slot }).collect())
    }
}

/// A slot with a token in it.
#[derive(Clone, Debug)]
pub struct ModuleSlot {
    module: Module,
    slot: CryptokiSlot,
}

impl ModuleSlot {
    fn flags(&self) -> Result<cryptoki::slot::TokenInfo> {
        self.module.library.slots(|pkcs11| pkcs11.get_token_info(self.slot))
    }
}

impl Slot for ModuleSlot {
    type Session = ModuleSession;

    fn id(&self) -> u64 {
        self.slot.id()
    }

    fn info(&self) -> Result<TokenInfo> {
        let info = self.flags()?;
        // A token that was never initialized may have any bytes as its label.
        let text = |text: &str| text.trim_end_matches([' ', '\0']).to_owned();
        Ok(TokenInfo {
            label: text(info.label()),
            manufacturer: text(info.manufacturer_id()),
            model: text(info.model()),
            serial: text(info.serial_number()),
            initialized: info.token_initialized(),
            user_pin_initialized: info.user_pin_initialized(),
            user_pin_locked: info.user_pin_locked(),
            login_required: info.login_required(),
            protected_authentication: info.protected_authentication_path(),
            write_protected: info.write_protected(),
        })
    }

    /// Only those that cryptoki knows by name: no vendor's own.
    fn mechanisms(&self) -> Result<Vec<u32>> {
        let mechanisms = self.module.library.slots(|pkcs11| pkcs11.get_mechanism_list(self.slot))?;
        Ok(mechanisms.into_iter().filter_map(|mechanism| u32::try_from(*mechanism).ok()).collect())
    }

    fn open_session(&self, read_write: bool) -> Result<ModuleSession> {
        let info = self.flags()?;
        if !info.token_initialized() {
            return Err(TokenError::TokenUninitialized);
        }
        let raw = self.module.library.slots(|pkcs11| match read_write {
            true => pkcs11.open_rw_session(self.slot),
            false => pkcs11.open_ro_session(self.slot),
        })?;
        let application = self.module.on(self.slot, info.login_required());
        Ok(ModuleSession::new(self.clone(), raw, application, read_write))
    }
}

/// What the library said, in the words of the WIT.
fn error(error: CryptokiError) -> TokenError {
    match error {
        CryptokiError::Pkcs11(error, _) => TokenError::from_rv(rv::code(error)),
        CryptokiError::NullFunctionPointer | CryptokiError::NotSupported => TokenError::Unsupported,
        // Conversions of what the library returned.
        _ => TokenError::Unusable("its library returned what cannot be read".into()),
    }
}
