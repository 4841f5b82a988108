//! Debian's SoftHSM2 with tokens of its own for each test binary.

#![allow(dead_code, reason = "not every test binary needs all of it")]

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use secure_log_pkcs11::token::{
    Admin as _, Key, KeyQuery, Mechanism, Session as _, Slot as _, User, Zeroizing,
};
use secure_log_token::ck::{CK_C_GetFunctionList, CK_FUNCTION_LIST, CK_RV};
use secure_log_token::{ChangeLock, Module, NoLock, PinProvider, TokenKey, TokenSession, TokenSlot};

/// The user's PIN of every token.
pub const PIN: &str = "user-1234";
/// The security officer's.
pub const SO_PIN: &str = "officer-5678";

/// Names the storage of another process, for one that shares it.
pub const STORAGE_VARIABLE: &str = "SECURE_LOG_TEST_STORAGE";

const PATHS: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

static ENTRY: OnceLock<CK_C_GetFunctionList> = OnceLock::new();

/// SoftHSM2's C_GetFunctionList.
///
/// # Safety
///
/// As that of any module.
pub unsafe extern "C" fn softhsm(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let entry = ENTRY.get_or_init(|| {
        // SAFETY: the first to come, under the lock of all tests, before the module is there to read it.
        unsafe { std::env::set_var("SOFTHSM2_CONF", storage().join("softhsm2.conf")) };
        let path = module_path();
        // SAFETY: SoftHSM2 initializes nothing that others could disturb; it stays loaded.
        let library = unsafe { libloading::Library::new(&path) };
        let library = library.unwrap_or_else(|e| panic!("cannot load {}: {e}", path.display()));
        let library = Box::leak(Box::new(library));
        // SAFETY: the standard gives it this type.
        *unsafe { library.get::<CK_C_GetFunctionList>(b"C_GetFunctionList\0") }.unwrap()
    });
    // SAFETY: the caller's.
    unsafe { entry(list) }
}

fn module_path() -> PathBuf {
    if let Some(path) = std::env::var_os("SOFTHSM2_MODULE") {
        return path.into();
    }
    let found = PATHS.into_iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("SoftHSM2 is not installed: install Debian's package softhsm2, or name libsofthsm2.so in SOFTHSM2_MODULE")
}

/// The directory of this process's tokens. Those of processes that are gone are removed.
pub fn storage() -> &'static Path {
    static STORAGE: OnceLock<PathBuf> = OnceLock::new();
    STORAGE.get_or_init(|| {
        if let Some(parents) = std::env::var_os(STORAGE_VARIABLE) {
            return parents.into();
        }
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("softhsm2");
        let processes = Path::new("/proc");
        for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
            if processes.join("self").exists() && !processes.join(entry.file_name()).exists() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let own = all.join(std::process::id().to_string());
        fs::create_dir_all(own.join("tokens")).unwrap();
        let tokens = own.join("tokens");
        let config = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        fs::write(own.join("softhsm2.conf"), config).unwrap();
        own
    })
}

/// PINs that a test can change, and count the asking for.
#[derive(Clone)]
pub struct Pins(pub Rc<RefCell<PinsNow>>);

pub struct PinsNow {
    pub user: Option<&'static str>,
    pub officer: Option<&'static str>,
    pub asked: Vec<(String, User)>,
}

impl Pins {
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(PinsNow { user: Some(PIN), officer: Some(SO_PIN), asked: Vec::new() })))
    }

    pub fn asked(&self) -> usize {
        self.0.borrow().asked.len()
    }
}

impl PinProvider for Pins {
    fn pin(&self, token_label: &str, user: User) -> Option<Zeroizing<Vec<u8>>> {
        let mut pins = self.0.borrow_mut();
        pins.asked.push((token_label.to_owned(), user));
        let pin = match user {
            User::Normal => pins.user,
            User::SecurityOfficer => pins.officer,
        };
        pin.map(|pin| Zeroizing::new(pin.as_bytes().to_vec()))
    }
}

/// One test at a time: a token's login is the whole process's, and SoftHSM2 does not lock its list of slots.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fresh token.
pub struct Token {
    pub module: Module,
    pub pins: Pins,
    pub slot: TokenSlot,
    _alone: MutexGuard<'static, ()>,
}

impl Token {
    pub fn new(label: &str) -> Self {
        Self::with(label, softhsm, NoLock)
    }

    pub fn with(label: &str, entry: CK_C_GetFunctionList, lock: impl ChangeLock + 'static) -> Self {
        Self::alone(alone(), label, entry, lock)
    }

    pub fn alone(
        alone: MutexGuard<'static, ()>,
        label: &str,
        entry: CK_C_GetFunctionList,
        lock: impl ChangeLock + 'static,
    ) -> Self {
        let pins = Pins::new();
        // SAFETY: SoftHSM2's, or one that calls it.
        let module = unsafe { Module::new(entry, pins.clone(), lock) };
        let slot = module.init_token(label).unwrap();
        pins.0.borrow_mut().asked.clear();
        Self { module, pins, slot, _alone: alone }
    }

    /// The module, and what keeps other tests away.
    pub fn into_module(self) -> (Module, MutexGuard<'static, ()>) {
        (self.module, self._alone)
    }

    /// A read-write session, logged in.
    pub fn session(&self) -> TokenSession {
        let session = self.slot.open_session(true).unwrap();
        session.login(User::Normal).unwrap();
        session
    }
}

/// The keys of this label.
pub fn keys(session: &TokenSession, label: &str) -> Vec<TokenKey> {
    session.find_keys(&KeyQuery { label: Some(label.into()), id: None }).unwrap()
}

/// The one key of this label.
pub fn key(session: &TokenSession, label: &str) -> TokenKey {
    let mut keys = keys(session, label);
    assert_eq!(keys.len(), 1, "{label}");
    keys.remove(0)
}

/// That a session signs, whatever went wrong in it before.
pub fn assert_usable(key: &TokenKey, mechanism: Mechanism) {
    key.sign(mechanism, &[7; 32]).unwrap();
}
