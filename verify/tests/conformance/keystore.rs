//! Every keystore through its component: software, each token in the graph, and the host's module.

use std::path::Path;
use std::sync::LazyLock;

use secure_log::envelope::Envelope as _;
use secure_log::signer::{Algorithm, CheckpointSigner as _};
use secure_log_keystore::conformance::{Keys, Rule, run};
use secure_log_pkcs11::token::KeySpec;
use secure_log_verify::host::{Guest, Keystore, KeystoreArtifact};
use tempfile::TempDir;

use super::token::{self, Kind, Token, identity};

/// A key of each algorithm, under the name of it; and a name that no key has.
fn keys(name: impl Fn(&str) -> String) -> Keys {
    let present = Algorithm::ALL.map(|algorithm| name(algorithm.name())).to_vec();
    Keys { present, missing: Some(name("none")) }
}

mod software {
    use super::*;

    fn instance(directory: &TempDir, more: &[(&str, &str)]) -> Keystore {
        let name = directory.path().to_str().expect("a path in UTF-8");
        let mut guest = Guest { silent: true, ..Guest::default() };
        guest.preopen(directory.path(), name);
        for (variable, value) in [("SECURE_LOG_KEYSTORE_DIR", name)].iter().chain(more) {
            guest.set_env(*variable, *value);
        }
        let path = Path::new("../dist/components/keystore-software.wasm");
        assert!(path.exists(), "{} is missing: run scripts/build-components.sh", path.display());
        KeystoreArtifact::load(path).expect("a keystore").start(&guest).expect("the keystore starts")
    }

    /// A keystore with its keys in files, made by an earlier instance.
    fn open() -> (Keystore, Keys, ()) {
        static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
            let directory = tempfile::tempdir().expect("a temporary directory");
            for name in Algorithm::ALL.map(Algorithm::name) {
                let settings = [("SECURE_LOG_KEYSTORE_GENERATE", "1"), ("SECURE_LOG_KEYSTORE_ALG", name)];
                instance(&directory, &settings).public_key(name).expect("a new key");
            }
            directory
        });
        (instance(&KEYS, &[]), keys(str::to_owned), ())
    }

    secure_log_keystore::keystore_conformance!(open);

    mod envelope {
        use super::*;

        fn open() -> (Keystore, Keys, TempDir) {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let mut maker = instance(&directory, &[("SECURE_LOG_KEYSTORE_GENERATE", "1")]);
            let present = ["first", "second"].map(str::to_owned).to_vec();
            for name in &present {
                maker.wrap(name, b"key", b"").expect("a new key");
            }
            (instance(&directory, &[]), Keys { present, missing: Some("none".to_owned()) }, directory)
        }

        secure_log_keystore::envelope_conformance!(open);
    }
}

/// A token of its own, a keystore over it and its keys; none where the token is not built.
fn on(kind: Kind) -> Option<(Keystore, Keys, Token)> {
    kind.is_there().then(|| {
        let token = kind.token();
        (token.keystore(), keys(identity), token)
    })
}

/// One test of each rule, as `keystore_conformance!` makes them, for a keystore that may be missing.
macro_rules! where_built {
    ($module:ident, $kind:ident; $($rule:ident)*) => {
        mod $module {
            $(#[test]
            fn $rule() {
                super::rule(stringify!($rule), super::token::$kind);
            })*
        }
    };
    ($module:ident, $kind:ident) => {
        where_built! { $module, $kind;
            public_keys_are_canonical
            public_keys_stay_the_same
            signing_needs_no_get_key_before_it
            messages_of_every_size_are_signed
            a_message_is_never_taken_for_a_digest
            signatures_do_not_fit_another_message
            keys_are_different_keys
            ed25519_signatures_repeat
            rsa_pss_salts_differ
            a_hundred_signatures_verify
            a_missing_key_is_not_created_by_looking
            unusable_names_are_refused
            hostile_names_do_no_harm
        }
    };
}

fn rule(name: &str, kind: Kind) {
    let rules = secure_log_keystore::conformance::RULES;
    let rule: &Rule = rules.iter().find(|rule| rule.name == name).expect("a rule of this name");
    if let Some(opened) = on(kind) {
        run(rule, opened);
    }
}

where_built!(softhsm, SOFTHSM);
where_built!(kryoptic, KRYOPTIC);

/// Rules of `envelope`, each on a token of its own, whose keys it may destroy.
fn envelope_rules(kind: Kind) {
    if !kind.is_there() {
        return;
    }
    for rule in secure_log_keystore::conformance::envelope::RULES {
        let token = Token::empty(kind);
        token.provision(&[("first", KeySpec::Aes), ("second", KeySpec::Aes)]);
        let keys =
            Keys { present: ["first", "second"].map(identity).to_vec(), missing: Some(identity("none")) };
        secure_log_keystore::conformance::envelope::run(rule.name, (token.keystore(), keys, token));
    }
}

#[test]
fn softhsm_is_an_envelope() {
    envelope_rules(token::SOFTHSM);
}

#[test]
fn kryoptic_is_an_envelope() {
    envelope_rules(token::KRYOPTIC);
}

#[test]
fn tokens_are_tried_by_every_rule() {
    assert_eq!(secure_log_keystore::conformance::RULES.len(), 13, "`where_built!` lists them");
}

mod host {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use secure_log_keystore::conformance::envelope::RULES;
    use secure_log_verify::host::token::Module;

    use super::*;

    /// Native SoftHSM2 with two key-encryption keys for each rule, made before any rule runs: it fails with
    /// `CKR_GENERAL_ERROR` where a key is made while other threads use the token.
    static MODULE: LazyLock<(Module, TempDir)> = LazyLock::new(|| {
        let names: Vec<_> = (0..2 * RULES.len()).map(kek).collect();
        let keys: Vec<_> = names.iter().map(|name| (name.as_str(), KeySpec::Aes)).collect();
        token::native_module(&keys)
    });

    fn kek(number: usize) -> String {
        format!("kek-{number}")
    }

    /// The keystore component over native SoftHSM2.
    fn open() -> (Keystore, Keys, ()) {
        let guest = Guest { silent: true, token: Some(MODULE.0.clone()), ..Guest::default() };
        let keystore = KeystoreArtifact::load(Path::new("../dist/components/keystore-pkcs11.wasm"))
            .expect("a keystore")
            .start(&guest)
            .expect("the keystore starts");
        (keystore, keys(identity), ())
    }

    secure_log_keystore::keystore_conformance!(open);

    mod envelope {
        use super::*;

        /// The same, with keys of its own.
        fn open() -> (Keystore, Keys, ()) {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let (keystore, ..) = super::open();
            let first = NEXT.fetch_add(2, Ordering::Relaxed);
            let present = [first, first + 1].map(|number| identity(&kek(number))).to_vec();
            (keystore, Keys { present, missing: Some(identity("none")) }, ())
        }

        secure_log_keystore::envelope_conformance!(open);
    }
}
