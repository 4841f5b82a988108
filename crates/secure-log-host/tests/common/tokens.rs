//! Debian's SoftHSM2 as the PKCS #11 library of this host, with tokens of its own for each test binary.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use secure_log_host::token::{Module, ModuleKey, ModuleSession, PinFn, Pins, SharedPins, TokenDir};
use secure_log_pkcs11::Pkcs11Keystore;
use secure_log_pkcs11::token::{KeyQuery, KeySpec, PinProvider, Session as _, Slot as _, Tokens as _, User};

/// The user's PIN of every token.
pub const PIN: &str = "user-1234";
/// The security officer's.
pub const SO_PIN: &str = "officer-5678";

/// SoftHSM2. Without it a test fails: it would have tested nothing.
pub fn softhsm() -> PathBuf {
    let path = std::env::var_os("SOFTHSM2_MODULE")
        .map_or_else(|| "/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there: install Debian's package softhsm2, or name libsofthsm2.so in SOFTHSM2_MODULE",
        path.display()
    );
    path
}

/// Tokens of this process: SoftHSM2 reads its configuration once.
pub static STORAGE: LazyLock<TokenDir> = LazyLock::new(|| {
    // Nothing of a test binary runs after its tests, so the next one tidies up.
    let all = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tokens");
    for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let path = all.join(std::process::id().to_string());
    let dir = TokenDir::create(&path).unwrap();
    // SAFETY: every test comes here before it does anything else, so no thread reads the environment meanwhile but
    // through std, which has a lock.
    unsafe { std::env::set_var("SOFTHSM2_CONF", dir.softhsm_conf()) };
    dir
});

pub fn pins() -> SharedPins {
    Arc::new(Pins::user(PIN).with_officer(SO_PIN))
}

/// SoftHSM2 for an application of its own, with these PINs.
pub fn module(pins: SharedPins) -> Module {
    LazyLock::force(&STORAGE);
    Module::load(&softhsm(), pins).unwrap()
}

/// Another user's PIN, counting how often it is asked for.
pub fn counting(pin: Option<&'static str>) -> (SharedPins, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let pins = PinFn(move |_: &str, user: User| {
        count.fetch_add(1, Ordering::SeqCst);
        Pins::user(pin?).pin("", user)
    });
    (Arc::new(pins), asked)
}

/// A token of this label with these keys, through an application that has logged out again.
pub fn provisioned(label: &str, keys: &[(&str, KeySpec)]) -> Module {
    let module = module(pins());
    secure_log_host::token::provision(&module, label, keys).unwrap();
    module
}

/// A session of an application, logged in.
pub fn session(module: &Module, label: &str, read_write: bool) -> ModuleSession {
    let session = module.find_token(label).unwrap().unwrap().open_session(read_write).unwrap();
    session.login(User::Normal).unwrap();
    session
}

/// The keys of a label.
pub fn keys(session: &ModuleSession, label: &str) -> Vec<ModuleKey> {
    session.find_keys(&KeyQuery { label: Some(label.into()), id: None }).unwrap()
}

/// The one key of a label.
pub fn key(session: &ModuleSession, label: &str) -> ModuleKey {
    let mut keys = keys(session, label);
    assert_eq!(keys.len(), 1, "{label}");
    keys.remove(0)
}

/// The keystore of an application.
pub fn keystore(pins: SharedPins) -> Pkcs11Keystore<Module> {
    Pkcs11Keystore::new(module(pins))
}

/// Identity of a key.
pub fn identity(token: &str, key: &str) -> String {
    format!("pkcs11:token={token};object={key}")
}
