//! PKCS #11 tokens for tests: one of each kind is made once, with its keys, and copied for each test.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use secure_log::signer::Algorithm;
use secure_log_pkcs11::token::KeySpec;
use secure_log_verify::host::token::{GraphToken, Module, Pins, TokenArtifact, TokenDir, provision};
use secure_log_verify::host::{Guest, Keystore, KeystoreArtifact};
use secure_log_verify::token::spec;
use tempfile::TempDir;

/// The user's PIN of every token.
pub const PIN: &str = "user-4711-PIN";
/// The security officer's.
pub const SO_PIN: &str = "officer-0815-PIN";
/// Label of every token.
pub const LABEL: &str = "test token";
/// Debian's native SoftHSM2.
pub const NATIVE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A kind of token component, and what it is built into.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub keystore: &'static str,
    pub graph: &'static str,
    /// Wrong PINs until it locks itself; none = it never does.
    pub locks_after: Option<u32>,
}

pub const SOFTHSM: Kind = Kind {
    name: "SoftHSM2",
    keystore: "keystore-softhsm.wasm",
    graph: "secure-log-sqlite-pkcs11.wasm",
    locks_after: None,
};
pub const KRYOPTIC: Kind = Kind {
    name: "kryoptic",
    keystore: "keystore-kryoptic.wasm",
    graph: "secure-log-sqlite-kryoptic.wasm",
    locks_after: Some(10),
};

/// Both kinds, those that could be built here; the others are said.
pub fn kinds() -> Vec<Kind> {
    [SOFTHSM, KRYOPTIC].into_iter().filter(Kind::is_there).collect()
}

pub fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

/// Debian's native SoftHSM2. A test without it fails: it would have tested nothing.
pub fn native() -> &'static Path {
    let path = Path::new(NATIVE);
    assert!(path.is_file(), "{NATIVE} is not there: apt-get install softhsm2 opensc");
    path
}

pub fn pins() -> Pins {
    Pins::user(PIN).with_officer(SO_PIN)
}

impl Kind {
    /// Whether it is built. Where its C library cannot be, there is none of its artifacts.
    pub fn is_there(&self) -> bool {
        let dist = dist();
        let (keystore, graph) =
            (dist.join("components").join(self.keystore).is_file(), dist.join(self.graph).is_file());
        assert!(
            dist.join("components/keystore-pkcs11.wasm").is_file(),
            "dist/components/keystore-pkcs11.wasm is not there: run scripts/build-components.sh first"
        );
        assert_eq!(keystore, graph, "one of {} and {} is missing", self.keystore, self.graph);
        static SAID: LazyLock<Mutex<HashSet<&str>>> = LazyLock::new(Mutex::default);
        if !keystore && SAID.lock().unwrap().insert(self.name) {
            let program = std::env::current_exe().unwrap_or_default();
            let program = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // Past the test harness, which swallows what successful tests print.
            let text = format!(
                "\nNOT CHECKED: {} as a token ({program}): scripts/setup-tokens.sh says what it needs\n",
                self.name
            );
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        keystore
    }

    /// The keystore component with this token in it, compiled.
    pub fn keystore(&self) -> KeystoreArtifact {
        static LOADED: LazyLock<Mutex<HashMap<&str, KeystoreArtifact>>> = LazyLock::new(Mutex::default);
        let mut loaded = LOADED.lock().unwrap();
        let path = dist().join("components").join(self.keystore);
        loaded.entry(self.name).or_insert_with(|| KeystoreArtifact::load(&path).unwrap()).clone()
    }

    /// A token of this kind with a key of each algorithm, whose label is the algorithm's name.
    pub fn token(&self) -> Token {
        static MADE: LazyLock<Mutex<HashMap<&str, Token>>> = LazyLock::new(Mutex::default);
        let mut made = MADE.lock().unwrap();
        let original = made.entry(self.name).or_insert_with(|| {
            let token = Token::empty(*self);
            let keys: Vec<_> =
                Algorithm::ALL.into_iter().map(|algorithm| (algorithm.name(), spec(algorithm))).collect();
            token.provision(&keys);
            token
        });
        original.copy()
    }
}

/// A token directory for a test.
pub struct Token {
    pub kind: Kind,
    pub dir: TokenDir,
    temp: TempDir,
}

impl Token {
    /// Without a token in it yet.
    pub fn empty(kind: Kind) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = TokenDir::create(&temp.path().join("token")).unwrap();
        Self { kind, dir, temp }
    }

    /// Makes the token, with these keys.
    pub fn provision(&self, keys: &[(&str, KeySpec)]) {
        provision(&self.admin(), LABEL, keys).unwrap();
    }

    /// The same token in another directory.
    pub fn copy(&self) -> Self {
        let copy = Self::empty(self.kind);
        for name in ["tokens", "kryoptic.sql"] {
            copy_tree(&self.dir.path().join(name), &copy.dir.path().join(name));
        }
        copy
    }

    /// The token component of its graph by itself, for provisioning.
    pub fn admin(&self) -> GraphToken {
        self.admin_with(pins())
    }

    pub fn admin_with(&self, pins: Pins) -> GraphToken {
        let artifact = TokenArtifact::find(&dist().join(self.kind.graph)).unwrap().unwrap();
        let mut guest = Guest { silent: true, ..Guest::default() };
        self.dir.prepare(&mut guest);
        artifact.start(&guest, Arc::new(pins)).unwrap()
    }

    /// What an instance sees that signs with it.
    pub fn guest(&self) -> Guest {
        self.guest_with(PIN)
    }

    pub fn guest_with(&self, pin: &str) -> Guest {
        let mut guest = Guest { silent: true, ..Guest::default() };
        self.dir.prepare(&mut guest);
        guest.set_env("SECURE_LOG_TOKEN_PIN", pin);
        guest
    }

    /// A keystore of its graph on it.
    pub fn keystore(&self) -> Keystore {
        self.keystore_with(PIN)
    }

    pub fn keystore_with(&self, pin: &str) -> Keystore {
        self.kind.keystore().start(&self.guest_with(pin)).unwrap()
    }

    /// Files of its objects: in the order of their names.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut dirs = vec![self.dir.path().join("tokens")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files.extend(Some(self.dir.path().join("kryoptic.sql")).filter(|path| path.is_file()));
        files.sort();
        files
    }
}

/// Identity of a key on a test's token.
pub fn identity(key: &str) -> String {
    format!("pkcs11:token={};object={key}", LABEL.replace(' ', "%20"))
}

/// Native SoftHSM2 in this process, on a directory of its own with a key of each algorithm and `more`: a process
/// initializes it once.
pub fn native_module(more: &[(&str, KeySpec)]) -> (Module, TempDir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = TokenDir::create(&temp.path().join("token")).unwrap();
    // SAFETY: threads of tests read the environment through std only, which has a lock.
    unsafe { std::env::set_var("SOFTHSM2_CONF", dir.softhsm_conf()) };
    let module = Module::load(native(), Arc::new(pins())).unwrap();
    let mut keys: Vec<_> =
        Algorithm::ALL.into_iter().map(|algorithm| (algorithm.name(), spec(algorithm))).collect();
    keys.extend(more);
    provision(&module, LABEL, &keys).unwrap();
    (module, temp)
}

fn copy_tree(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
    } else if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        }
    }
}
