//! The types of `pkcs11:token` as this host's bindings and as [`secure_log_pkcs11::token`] have them.

use secure_log_pkcs11::token as own;

use super::bindings::graph::exports::pkcs11::token::admin;
use super::bindings::types;

/// Both ways, for enums of the same cases.
macro_rules! both_ways {
    ($($a:path = $b:path { $($case:ident),* $(,)? })*) => {$(
        impl From<$a> for $b {
            fn from(value: $a) -> Self {
                match value { $(<$a>::$case => Self::$case),* }
            }
        }
        impl From<$b> for $a {
            fn from(value: $b) -> Self {
                match value { $(<$b>::$case => Self::$case),* }
            }
        }
    )*};
}

both_ways! {
    own::User = types::User { SecurityOfficer, Normal }
    own::Hash = types::Hash { Sha256, Sha384, Sha512 }
    own::Curve = types::Curve { P256, P384, P521, Ed25519, Ed448 }
}

macro_rules! errors {
    ($($plain:ident)* ; $($with:ident)*) => {
        impl From<own::TokenError> for types::Error {
            fn from(error: own::TokenError) -> Self {
                match error {
                    $(own::TokenError::$plain => Self::$plain,)*
                    $(own::TokenError::$with(value) => Self::$with(value),)*
                }
            }
        }
        impl From<types::Error> for own::TokenError {
            fn from(error: types::Error) -> Self {
                match error {
                    $(types::Error::$plain => Self::$plain,)*
                    $(types::Error::$with(value) => Self::$with(value),)*
                }
            }
        }
    };
}

errors! {
    SlotInvalid TokenAbsent TokenUninitialized ReadOnly PinIncorrect PinInvalid PinLocked PinExpired
    PinNotInitialized PinUnavailable NotLoggedIn SessionClosed KeyGone KeyUnsuitable MechanismUnsupported
    InvalidInput WrappedKeyInvalid Exists Busy Locked Unsupported ; Unusable Device Other
}

impl From<own::TokenInfo> for types::TokenInfo {
    fn from(info: own::TokenInfo) -> Self {
        let own::TokenInfo {
            label,
            manufacturer,
            model,
            serial,
            initialized,
            user_pin_initialized,
            user_pin_locked,
            login_required,
            protected_authentication,
            write_protected,
        } = info;
        Self {
            label,
            manufacturer,
            model,
            serial,
            initialized,
            user_pin_initialized,
            user_pin_locked,
            login_required,
            protected_authentication,
            write_protected,
        }
    }
}

impl From<types::TokenInfo> for own::TokenInfo {
    fn from(info: types::TokenInfo) -> Self {
        let types::TokenInfo {
            label,
            manufacturer,
            model,
            serial,
            initialized,
            user_pin_initialized,
            user_pin_locked,
            login_required,
            protected_authentication,
            write_protected,
        } = info;
        Self {
            label,
            manufacturer,
            model,
            serial,
            initialized,
            user_pin_initialized,
            user_pin_locked,
            login_required,
            protected_authentication,
            write_protected,
        }
    }
}

impl From<types::KeyQuery> for own::KeyQuery {
    fn from(query: types::KeyQuery) -> Self {
        Self { label: query.label, id: query.id }
    }
}

impl From<&own::KeyQuery> for types::KeyQuery {
    fn from(query: &own::KeyQuery) -> Self {
        Self { label: query.label.clone(), id: query.id.clone() }
    }
}

impl From<own::KeyType> for types::KeyType {
    fn from(kind: own::KeyType) -> Self {
        match kind {
            own::KeyType::Ec(curve) => Self::Ec(curve.into()),
            own::KeyType::Rsa(bits) => Self::Rsa(bits),
            own::KeyType::Other(kind) => Self::Other(kind),
        }
    }
}

impl From<types::KeyType> for own::KeyType {
    fn from(kind: types::KeyType) -> Self {
        match kind {
            types::KeyType::Ec(curve) => Self::Ec(curve.into()),
            types::KeyType::Rsa(bits) => Self::Rsa(bits),
            types::KeyType::Other(kind) => Self::Other(kind),
        }
    }
}

impl From<types::Mechanism> for own::Mechanism {
    fn from(mechanism: types::Mechanism) -> Self {
        use types::Mechanism as M;
        match mechanism {
            M::EcdsaPrehashed => Self::EcdsaPrehashed,
            M::Ecdsa(hash) => Self::Ecdsa(hash.into()),
            M::Eddsa => Self::Eddsa,
            M::RsaPkcs1(hash) => Self::RsaPkcs1(hash.into()),
            M::RsaPss(pss) => Self::RsaPss { hash: pss.hash.into(), salt: pss.salt_length },
            M::RsaPssPrehashed(pss) => Self::RsaPssPrehashed { hash: pss.hash.into(), salt: pss.salt_length },
        }
    }
}

impl From<own::Mechanism> for types::Mechanism {
    fn from(mechanism: own::Mechanism) -> Self {
        use own::Mechanism as M;
        match mechanism {
            M::EcdsaPrehashed => Self::EcdsaPrehashed,
            M::Ecdsa(hash) => Self::Ecdsa(hash.into()),
            M::Eddsa => Self::Eddsa,
            M::RsaPkcs1(hash) => Self::RsaPkcs1(hash.into()),
            M::RsaPss { hash, salt } => Self::RsaPss(types::Pss { hash: hash.into(), salt_length: salt }),
            M::RsaPssPrehashed { hash, salt } => {
                Self::RsaPssPrehashed(types::Pss { hash: hash.into(), salt_length: salt })
            }
        }
    }
}

impl From<own::PublicKey> for types::PublicKey {
    fn from(key: own::PublicKey) -> Self {
        match key {
            own::PublicKey::Ec(own::EcPoint { curve, point }) => {
                Self::Ec(types::EcPoint { curve: curve.into(), point })
            }
            own::PublicKey::Rsa(own::RsaPublicKey { modulus, exponent }) => {
                Self::Rsa(types::RsaPublicKey { modulus, exponent })
            }
        }
    }
}

impl From<types::PublicKey> for own::PublicKey {
    fn from(key: types::PublicKey) -> Self {
        match key {
            types::PublicKey::Ec(types::EcPoint { curve, point }) => {
                Self::Ec(own::EcPoint { curve: curve.into(), point })
            }
            types::PublicKey::Rsa(types::RsaPublicKey { modulus, exponent }) => {
                Self::Rsa(own::RsaPublicKey { modulus, exponent })
            }
        }
    }
}

impl From<own::KeySpec> for admin::KeySpec {
    fn from(spec: own::KeySpec) -> Self {
        match spec {
            own::KeySpec::Ec(curve) => Self::Ec(curve.into()),
            own::KeySpec::Rsa(bits) => Self::Rsa(bits),
            own::KeySpec::Aes => Self::Aes,
        }
    }
}
