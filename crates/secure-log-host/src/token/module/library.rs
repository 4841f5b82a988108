//! The libraries that this process has loaded.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use secure_log_pkcs11::token;

use super::login::Token;
use super::rv;

/// Why a PKCS #11 library cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// No such file.
    #[error("the PKCS #11 library {path} cannot be found", path = .path.display())]
    Missing {
        /// The path, as it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be loaded, or it is another kind of library.
    #[error("{path} is not a PKCS #11 library for this system: {reason}", path = .path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It does not start.
    #[error(
        "the PKCS #11 library {path} does not start: C_Initialize gave CK_RV 0x{rv:x}. Look at its own configuration \
         (SoftHSM2: SOFTHSM2_CONF)",
        path = .path.display()
    )]
    Initialize {
        /// The file.
        path: PathBuf,
        /// What C_Initialize returned.
        rv: u32,
    },
}

/// A library that is loaded and initialized.
pub(super) struct Library {
    pub path: PathBuf,
    pkcs11: Pkcs11,
    /// Held by whoever changes a token.
    pub changing: Mutex<()>,
    slots: Mutex<()>,
    tokens: Mutex<HashMap<u64, Arc<Token>>>,
}

impl Library {
    pub fn load(path: &Path) -> Result<Arc<Self>, ModuleError> {
        static LOADED: Mutex<Option<HashMap<PathBuf, Arc<Library>>>> = Mutex::new(None);
        // The real path: a library that is initialized twice under two names fails.
        let path =
            path.canonicalize().map_err(|source| ModuleError::Missing { path: path.to_owned(), source })?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = loaded.get_or_insert_default();
        if let Some(library) = loaded.get(&path) {
            return Ok(library.clone());
        }
        let library = Arc::new(Self::initialize(path.clone())?);
        loaded.insert(path, library.clone());
        Ok(library)
    }

    fn initialize(path: PathBuf) -> Result<Self, ModuleError> {
        let pkcs11 = match Pkcs11::new(&path) {
            Ok(pkcs11) => pkcs11,
            Err(CryptokiError::Pkcs11(error, _)) => {
                return Err(ModuleError::Initialize { path, rv: rv::code(error) });
            }
            Err(CryptokiError::MissingSymbol(symbol)) => {
                return Err(ModuleError::NotALibrary { path, reason: format!("it has no {symbol}") });
            }
            Err(error) => return Err(ModuleError::NotALibrary { path, reason: error.to_string() }),
        };
        match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(CryptokiError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(CryptokiError::Pkcs11(error, _)) => {
                return Err(ModuleError::Initialize { path, rv: rv::code(error) });
            }
            Err(error) => return Err(ModuleError::NotALibrary { path, reason: error.to_string() }),
        }
        Ok(Self {
            path,
            pkcs11,
            changing: Mutex::default(),
            slots: Mutex::default(),
            tokens: Mutex::default(),
        })
    }

    /// Calls for slots, one at a time: SoftHSM2 changes its list of them without a lock of its own.
    pub fn slots<T>(&self, call: impl FnOnce(&Pkcs11) -> cryptoki::error::Result<T>) -> token::Result<T> {
        let _alone = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        call(&self.pkcs11).map_err(super::error)
    }

    /// The login of the token in a slot.
    pub fn token(&self, slot: u64) -> Arc<Token> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(slot).or_default().clone()
    }

    /// What was known of a token that is another one now.
    pub fn forget(&self, slot: u64) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
    }
}
