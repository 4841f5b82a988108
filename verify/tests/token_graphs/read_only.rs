//! A token in a directory that the guest may only read.

use secure_log::signer::{Algorithm, KeyError, PublicKey};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::token::{SOFTHSM, Token, dist, identity, kinds};
use super::{MESSAGE, said};

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "keystore-provider" });
}
use bindings::exports::keys::keystore::signer;

struct Host(WasiCtx, ResourceTable);

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.0, table: &mut self.1 }
    }
}

fn instance(token: &Token) -> (Store<Host>, bindings::KeystoreProvider) {
    let engine = Engine::new(&secure_log_verify::host::engine_config()).unwrap();
    let path = dist().join("components").join(token.kind.keystore);
    let component = Component::from_file(&engine, path).unwrap();
    let mut linker = Linker::<Host>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    // It has types and no functions.
    linker.instance("pkcs11:token/types@0.1.0").unwrap();
    let guest = token.guest();
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_blocking_current_thread(true).envs(&guest.env);
    for (host, name) in &guest.preopens {
        wasi.preopened_dir(host, name, FsPerms::ReadOnly).unwrap();
    }
    let mut store = Store::new(&engine, Host(wasi.build(), ResourceTable::new()));
    let world = bindings::KeystoreProvider::instantiate(&mut store, &component, &linker).unwrap();
    (store, world)
}

fn error(error: signer::KeyError) -> KeyError {
    match error {
        signer::KeyError::KeyNotFound(text) => KeyError::KeyNotFound(text),
        signer::KeyError::Denied(text) => KeyError::Denied(text),
        signer::KeyError::Invalid(text) => KeyError::Invalid(text),
        signer::KeyError::Unavailable(text) => KeyError::Unavailable(text),
        signer::KeyError::Failed(text) => KeyError::Failed(text),
    }
}

#[test]
fn token_in_a_read_only_directory_signs_or_says_why_not() {
    for kind in kinds() {
        let token = kind.token();
        let before: Vec<_> = token.files().into_iter().map(|f| std::fs::read(f).unwrap()).collect();
        let (mut store, world) = instance(&token);
        let calls = world.keys_keystore_signer();
        let mut works = 0;
        for algorithm in Algorithm::ALL {
            let name = identity(algorithm.name());
            match calls.call_sign(&mut store, &name, MESSAGE).expect("no trap") {
                Ok(signature) => {
                    let spki = calls.call_get_key(&mut store, &name).expect("no trap").unwrap().public_key;
                    super::oracle::ring(&PublicKey { algorithm, spki_der: spki }, MESSAGE, &signature);
                    works += 1;
                }
                Err(e) => {
                    let (case, text) = said(&error(e));
                    assert!(["invalid", "failed"].contains(&case), "{case} {text}");
                    assert!(text.contains("written to") || text.contains("not usable"), "{case} {text}");
                }
            }
        }
        let after: Vec<_> = token.files().into_iter().map(|f| std::fs::read(f).unwrap()).collect();
        assert_eq!(before, after);
        // kryoptic counts logins in its database.
        assert!(works == 3 || kind.name != SOFTHSM.name, "{works} of 3 keys sign");
    }
}
