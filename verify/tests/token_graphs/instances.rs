//! Several instances with one token.

use std::thread;
use std::time::Duration;

use secure_log::signature::Verifier;
use secure_log::signer::{Algorithm, CheckpointSigner as _};
use secure_log_lease::{Lease, LeaseOptions};
use secure_log_pkcs11::token::{
    Admin as _, Curve, KeySpec, Session as _, Slot as _, TokenError, Tokens as _, User,
};

use super::token::{LABEL, SOFTHSM, Token, identity, kinds};
use super::{MESSAGE, signs};

const SIGNERS: usize = 4;
const SIGNATURES: usize = 50;

fn sign_side_by_side(token: &Token) {
    thread::scope(|scope| {
        for signer in 0..SIGNERS {
            scope.spawn(move || {
                let mut keystore = token.keystore();
                for n in 0..SIGNATURES {
                    let name = identity(Algorithm::ALL[(signer + n) % 3].name());
                    let message = format!("{signer} {n}");
                    let signature = keystore.sign(&name, message.as_bytes()).unwrap();
                    let key = keystore.public_key(&name).unwrap();
                    Verifier::new(&key).unwrap().verify(message.as_bytes(), &signature).unwrap();
                }
            });
        }
    });
}

#[test]
fn instances_that_only_sign_do_not_disturb_one_another() {
    for kind in kinds() {
        let token = kind.token();
        for _ in 0..3 {
            sign_side_by_side(&token);
        }
        signs(&mut token.keystore(), &identity("ed25519"));
    }
}

#[test]
fn instances_start_on_one_token_at_the_same_time() {
    for kind in kinds() {
        let token = &kind.token();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        signs(&mut token.keystore(), &identity("ecdsa-p256"));
                    }
                });
            }
        });
    }
}

#[test]
fn keys_that_several_make_at_once_are_all_there_or_refused_by_name() {
    for kind in kinds() {
        let token = &kind.token();
        let made: Vec<String> = thread::scope(|scope| {
            let makers: Vec<_> = (0u8..3)
                .map(|maker| {
                    scope.spawn(move || {
                        let admin = token.admin();
                        let session = admin.find_token(LABEL).unwrap().unwrap().open_session(true).unwrap();
                        session.login(User::Normal).unwrap();
                        let mut made = Vec::new();
                        for n in 0u8..5 {
                            let name = format!("made-{maker}-{n}");
                            let id = [0x40 + 16 * maker + n];
                            match admin.generate_key(&session, KeySpec::Ec(Curve::Ed25519), &name, &id) {
                                Ok(()) => made.push(name),
                                Err(TokenError::Locked | TokenError::Busy) => {}
                                Err(other) => panic!("{}: {name}: {other:?}", kind.name),
                            }
                        }
                        made
                    })
                })
                .collect();
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
        });
        assert!(made.len() >= 3, "{made:?}");
        let mut keystore = token.keystore();
        made.iter().for_each(|name| signs(&mut keystore, &identity(name)));
        Algorithm::ALL.iter().for_each(|a| signs(&mut keystore, &identity(a.name())));
    }
}

#[test]
fn second_instance_that_provisions_is_locked_out_and_signing_goes_on() {
    for kind in kinds() {
        let token = &kind.token();
        let admin = token.admin();
        let session = admin.find_token(LABEL).unwrap().unwrap().open_session(true).unwrap();
        session.login(User::Normal).unwrap();
        let conf =
            if kind.name == SOFTHSM.name { token.dir.softhsm_conf() } else { token.dir.kryoptic_conf() };
        // What an instance holds while it changes the token.
        let options =
            LeaseOptions { duration: Duration::from_secs(3), wait: Duration::ZERO, host_lock: false };
        let lease = Lease::acquire(&conf, &options).unwrap();
        let late = thread::scope(|scope| {
            let second = scope.spawn(|| {
                let late = admin.generate_key(&session, KeySpec::Ec(Curve::P256), "late", b"\x20");
                let other = token.admin().init_token("another token");
                [late, other.map(drop)]
            });
            while !second.is_finished() {
                lease.check().unwrap();
                signs(&mut token.keystore(), &identity("ed25519"));
            }
            second.join().unwrap()
        });
        let late: Vec<_> = late.into_iter().map(Result::unwrap_err).collect();
        assert_eq!(late, [TokenError::Locked, TokenError::Locked], "{}", kind.name);
        lease.release().unwrap();
        let outcome = token.keystore().sign(&identity("late"), MESSAGE);
        super::refused(outcome, "key-not-found", &["no private key matches"]);
        admin.generate_key(&session, KeySpec::Ec(Curve::P256), "late", b"\x20").unwrap();
        signs(&mut token.keystore(), &identity("late"));
    }
}

#[test]
fn keys_made_by_another_instance_are_found_without_a_restart() {
    for kind in kinds() {
        let token = kind.token();
        let mut keystore = token.keystore();
        signs(&mut keystore, &identity("ed25519"));
        let admin = token.admin();
        let session = admin.find_token(LABEL).unwrap().unwrap().open_session(true).unwrap();
        session.login(User::Normal).unwrap();
        admin.generate_key(&session, KeySpec::Ec(Curve::P256), "new", b"\x30").unwrap();
        signs(&mut keystore, &identity("new"));
    }
}
