//! Wrapping keys, and provisioning of a token component.

use std::fmt;

use secure_log_pkcs11::token::{
    Admin, KeyQuery, KeySpec, PrivateKey, Result, Wrapping, WrappingKey, Zeroizing,
};
use zeroize::Zeroize as _;

use super::super::bindings::graph::exports::pkcs11::token::admin;
use super::{GraphKey, GraphSession, GraphSlot, GraphToken, Handle};

/// An AES key on the token.
pub struct GraphWrappingKey(Handle);

impl Wrapping for GraphToken {
    type WrappingKey = GraphWrappingKey;

    fn find_wrapping_keys(&self, on: &GraphSession, query: &KeyQuery) -> Result<Vec<GraphWrappingKey>> {
        let (on, query) = (on.0.of(self)?, query.into());
        let keys = self.call(|store, exports| {
            exports.pkcs11_token_wrapping().call_find_wrapping_keys(store, on, &query)
        })?;
        Ok(keys.into_iter().map(|key| GraphWrappingKey(self.hold(key))).collect())
    }
}

macro_rules! call {
    ($handle:expr, $method:ident($($argument:expr),*)) => {
        $handle.token.call(|store, exports| {
            exports.pkcs11_token_wrapping().wrapping_key().$method(store, $handle.any $(, $argument)*)
        })
    };
}

impl WrappingKey for GraphWrappingKey {
    fn label(&self) -> Result<String> {
        call!(self.0, call_label())
    }

    fn id(&self) -> Result<Vec<u8>> {
        call!(self.0, call_id())
    }

    fn wrap(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>> {
        call!(self.0, call_wrap(key, context))
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        call!(self.0, call_unwrap(wrapped, context)).map(Zeroizing::new)
    }

    fn destroy(&self) -> Result<()> {
        call!(self.0, call_destroy())
    }
}

impl fmt::Debug for GraphWrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GraphWrappingKey")
    }
}

impl Admin for GraphToken {
    fn init_token(&self, label: &str) -> Result<GraphSlot> {
        let slot = self.call(|store, exports| exports.pkcs11_token_admin().call_init_token(store, label))?;
        Ok(GraphSlot(self.hold(slot)))
    }

    fn generate_key(&self, on: &GraphSession, spec: KeySpec, label: &str, id: &[u8]) -> Result<()> {
        let on = on.0.of(self)?;
        self.call(|store, exports| {
            exports.pkcs11_token_admin().call_generate_key(store, on, spec.into(), label, id)
        })
    }

    fn import_key(&self, on: &GraphSession, key: &PrivateKey, label: &str, id: &[u8]) -> Result<()> {
        let on = on.0.of(self)?;
        let mut key = copy(key);
        let imported = self
            .call(|store, exports| exports.pkcs11_token_admin().call_import_key(store, on, &key, label, id));
        wipe(&mut key);
        imported
    }

    fn rename_key(&self, on: &GraphSession, key: &GraphKey, label: &str) -> Result<()> {
        let (on, key) = (on.0.of(self)?, key.0.of(self)?);
        self.call(|store, exports| exports.pkcs11_token_admin().call_rename_key(store, on, key, label))
    }

    fn destroy_key(&self, on: &GraphSession, key: &GraphKey) -> Result<()> {
        let (on, key) = (on.0.of(self)?, key.0.of(self)?);
        self.call(|store, exports| exports.pkcs11_token_admin().call_destroy_key(store, on, key))
    }
}

/// A key as it goes into the component; to be wiped.
fn copy(key: &PrivateKey) -> admin::PrivateKey {
    match key {
        PrivateKey::Ec(key) => admin::PrivateKey::Ec(admin::EcPrivateKey {
            curve: key.curve.into(),
            private: key.private.to_vec(),
            point: key.point.clone(),
        }),
        PrivateKey::Rsa(key) => admin::PrivateKey::Rsa(admin::RsaPrivateKey {
            modulus: key.modulus.clone(),
            public_exponent: key.public_exponent.clone(),
            private_exponent: key.private_exponent.to_vec(),
            prime1: key.prime1.to_vec(),
            prime2: key.prime2.to_vec(),
            exponent1: key.exponent1.to_vec(),
            exponent2: key.exponent2.to_vec(),
            coefficient: key.coefficient.to_vec(),
        }),
    }
}

fn wipe(key: &mut admin::PrivateKey) {
    match key {
        admin::PrivateKey::Ec(key) => key.private.zeroize(),
        admin::PrivateKey::Rsa(key) => {
            key.private_exponent.zeroize();
            key.prime1.zeroize();
            key.prime2.zeroize();
            key.exponent1.zeroize();
            key.exponent2.zeroize();
            key.coefficient.zeroize();
        }
    }
}
