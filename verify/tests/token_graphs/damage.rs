//! Storage of a token that is missing or damaged.

use std::fs;
use std::path::Path;

use secure_log::signer::{Algorithm, CheckpointSigner as _};
use secure_log_pkcs11::token::{Admin as _, Curve, KeySpec, Session as _, Slot as _, Tokens as _, User};
use secure_log_verify::host::Guest;

use super::token::{KRYOPTIC, Kind, LABEL, SOFTHSM, Token, identity, kinds};
use super::{MESSAGE, refused, signs, signs_or_says};

const KEY: &str = "ecdsa-p256";

fn conf(kind: Kind) -> &'static str {
    if kind.name == SOFTHSM.name { "SOFTHSM2_CONF" } else { "KRYOPTIC_CONF" }
}

#[test]
fn configuration_that_is_missing_is_named() {
    for kind in kinds() {
        let token = kind.token();
        let variable = conf(kind);
        let with = |value: Option<&Path>| {
            let mut guest = token.guest();
            guest.env.retain(|(name, _)| name != variable);
            if let Some(value) = value {
                guest.set_env(variable, value.to_str().unwrap());
            }
            kind.keystore().start(&guest).unwrap()
        };
        let text = "the token is not usable";
        refused(with(None).sign(&identity(KEY), MESSAGE), "invalid", &[text, variable, "is not set"]);
        let missing = token.dir.path().join("none.conf");
        refused(
            with(Some(&missing)).sign(&identity(KEY), MESSAGE),
            "invalid",
            &[text, variable, "none.conf"],
        );
        let dir = token.dir.path();
        refused(with(Some(dir)).sign(&identity(KEY), MESSAGE), "invalid", &[variable, "is a directory"]);
        for content in ["", "nonsense", "directories.tokendir", "[[slots]]\nslot = 1\n", "\0\u{1f511}"] {
            fs::write(&missing, content).unwrap();
            let said = signs_or_says(&mut with(Some(&missing)), &identity(KEY));
            assert!(said.is_some(), "{} signs with the configuration {content:?}", kind.name);
        }
        signs(&mut token.keystore(), &identity(KEY));
    }
}

#[test]
fn directory_that_is_missing_is_named_and_not_made() {
    for kind in kinds() {
        let token = kind.token();
        let tokens = token.dir.path().join("tokens");
        fs::remove_dir_all(&tokens).unwrap();
        let _ = fs::remove_file(token.dir.path().join("kryoptic.sql"));
        let (case, says) = match kind.name == SOFTHSM.name {
            true => ("invalid", ["the token is not usable", "/tokens: "]),
            false => ("unavailable", ["there is no", "token"]),
        };
        refused(token.keystore().sign(&identity(KEY), MESSAGE), case, &says);
        assert!(!tokens.exists());
        // The whole directory is not there for the guest.
        let mut guest = token.guest();
        guest.preopens.clear();
        let outcome = kind.keystore().start(&guest).unwrap().sign(&identity(KEY), MESSAGE);
        refused(outcome, "invalid", &["the token is not usable", conf(kind)]);
    }
}

/// What may have happened to a file.
fn damages(original: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let half = original.len() / 2;
    let garbage: Vec<u8> = (0..original.len()).map(|n| (n * 151 + 7) as u8).collect();
    let mut torn = original.to_vec();
    torn[half..].fill(0);
    let mut flipped = original.to_vec();
    for at in (0..flipped.len()).step_by(97) {
        flipped[at] ^= 0x55;
    }
    vec![
        ("emptied", Vec::new()),
        ("cut in half", original[..half].to_vec()),
        ("cut by a byte", original[..original.len() - 1].to_vec()),
        ("torn", torn),
        ("garbage", garbage),
        ("flipped", flipped),
        ("zeros", vec![0; original.len()]),
        ("ones", vec![0xff; original.len()]),
    ]
}

#[test]
fn damaged_files_are_errors_and_nothing_dies() {
    for kind in kinds() {
        let original = kind.token();
        let names: Vec<_> = original
            .files()
            .into_iter()
            .map(|file| file.strip_prefix(original.dir.path()).unwrap().to_owned())
            .collect();
        assert!(!names.is_empty());
        for name in &names {
            let bytes = fs::read(original.dir.path().join(name)).unwrap();
            if bytes.is_empty() {
                continue;
            }
            for (what, damaged) in damages(&bytes) {
                let token = original.copy();
                fs::write(token.dir.path().join(name), &damaged).unwrap();
                let mut keystore = token.keystore();
                let said = Algorithm::ALL.map(|a| signs_or_says(&mut keystore, &identity(a.name())));
                let whole = name.ends_with("token.object") || name.ends_with("kryoptic.sql");
                if whole && ["emptied", "garbage", "zeros", "ones"].contains(&what) {
                    assert!(said.iter().all(Option::is_some), "{name:?} {what}: {said:?}");
                }
                // Nobody makes a token in place of a damaged one unasked.
                let admin = token.admin();
                let _ = admin.find_token(LABEL).map(|slot| slot.map(|slot| slot.info()));
            }
        }
    }
}

#[test]
fn keys_that_are_whole_sign_beside_one_that_is_damaged() {
    if !SOFTHSM.is_there() {
        return;
    }
    let original = SOFTHSM.token();
    let objects: Vec<_> = original.files().into_iter().filter(|f| !f.ends_with("token.object")).collect();
    let mut unusable = 0;
    for object in objects.iter().filter(|file| file.extension().is_some_and(|ext| ext == "object")) {
        let token = original.copy();
        let name = object.strip_prefix(original.dir.path()).unwrap();
        let bytes = fs::read(object).unwrap();
        fs::write(token.dir.path().join(name), &bytes[..bytes.len() / 3]).unwrap();
        let mut keystore = token.keystore();
        let said = Algorithm::ALL.map(|a| signs_or_says(&mut keystore, &identity(a.name())));
        unusable += usize::from(said.iter().any(Option::is_some));
        assert!(said.iter().filter(|said| said.is_none()).count() >= 2, "{name:?}: {said:?}");
    }
    assert!(unusable >= 3, "{unusable} of {} files mattered", objects.len());
}

#[test]
fn half_made_token_beside_a_good_one_does_no_harm() {
    if SOFTHSM.is_there() {
        let token = SOFTHSM.token();
        let half = token.dir.path().join("tokens/01234567-89ab-cdef-0123-456789abcdef");
        fs::create_dir(&half).unwrap();
        signs(&mut token.keystore(), &identity(KEY));
        fs::write(half.join("token.object"), b"").unwrap();
        signs(&mut token.keystore(), &identity(KEY));
        fs::write(half.join("generation"), b"").unwrap();
        signs(&mut token.keystore(), &identity(KEY));
        fs::write(token.dir.path().join("tokens/a-file"), b"no token").unwrap();
        signs(&mut token.keystore(), &identity(KEY));
    }
    if KRYOPTIC.is_there() {
        // A database without anything in it is a token that is not made yet.
        let token = Token::empty(KRYOPTIC);
        fs::write(token.dir.path().join("kryoptic.sql"), b"").unwrap();
        let outcome = token.keystore().sign(&identity(KEY), MESSAGE);
        refused(outcome, "unavailable", &["there is no initialized token"]);
        token.provision(&[(KEY, KeySpec::Ec(Curve::P256))]);
        signs(&mut token.keystore(), &identity(KEY));
    }
}

#[test]
fn token_that_goes_away_meanwhile_is_an_error() {
    for kind in kinds() {
        let token = kind.token();
        let mut keystore = token.keystore();
        signs(&mut keystore, &identity(KEY));
        fs::remove_dir_all(token.dir.path()).unwrap();
        for key in Algorithm::ALL.map(Algorithm::name) {
            signs_or_says(&mut keystore, &identity(key));
        }
        let guest = Guest { silent: true, ..Guest::default() };
        let said = signs_or_says(&mut kind.keystore().start(&guest).unwrap(), &identity(KEY));
        assert_eq!(said.unwrap().0, "invalid");
    }
}

#[test]
fn key_that_is_destroyed_meanwhile_is_not_found() {
    for kind in kinds() {
        let token = kind.token();
        let mut keystore = token.keystore();
        signs(&mut keystore, &identity(KEY));
        {
            let admin = token.admin();
            let session = admin.find_token(LABEL).unwrap().unwrap().open_session(true).unwrap();
            session.login(User::Normal).unwrap();
            let query = secure_log_pkcs11::token::KeyQuery { label: Some(KEY.into()), id: None };
            let key = session.find_keys(&query).unwrap().remove(0);
            admin.destroy_key(&session, &key).unwrap();
        }
        // An instance that has it in use may go on; it never signs with anything else.
        signs_or_says(&mut keystore, &identity(KEY));
        refused(token.keystore().sign(&identity(KEY), MESSAGE), "key-not-found", &["no private key"]);
        signs(&mut token.keystore(), &identity("ed25519"));
    }
}
