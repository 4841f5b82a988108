//! Types of `pkcs11:token`, both ways.

use secure_log_pkcs11::token as t;

use super::token_world::exports::pkcs11::token::admin;
use super::token_world::pkcs11::token::types as w;

impl From<t::TokenError> for w::Error {
    fn from(error: t::TokenError) -> Self {
        use t::TokenError as E;
        match error {
            E::SlotInvalid => Self::SlotInvalid,
            E::TokenAbsent => Self::TokenAbsent,
            E::TokenUninitialized => Self::TokenUninitialized,
            E::ReadOnly => Self::ReadOnly,
            E::PinIncorrect => Self::PinIncorrect,
            E::PinInvalid => Self::PinInvalid,
            E::PinLocked => Self::PinLocked,
            E::PinExpired => Self::PinExpired,
            E::PinNotInitialized => Self::PinNotInitialized,
            E::PinUnavailable => Self::PinUnavailable,
            E::NotLoggedIn => Self::NotLoggedIn,
            E::SessionClosed => Self::SessionClosed,
            E::KeyGone => Self::KeyGone,
            E::KeyUnsuitable => Self::KeyUnsuitable,
            E::MechanismUnsupported => Self::MechanismUnsupported,
            E::InvalidInput => Self::InvalidInput,
            E::WrappedKeyInvalid => Self::WrappedKeyInvalid,
            E::Exists => Self::Exists,
            E::Busy => Self::Busy,
            E::Locked => Self::Locked,
            E::Unsupported => Self::Unsupported,
            E::Unusable(text) => Self::Unusable(text),
            E::Device(rv) => Self::Device(rv),
            E::Other(rv) => Self::Other(rv),
        }
    }
}

impl From<w::Error> for t::TokenError {
    fn from(error: w::Error) -> Self {
        use w::Error as E;
        match error {
            E::SlotInvalid => Self::SlotInvalid,
            E::TokenAbsent => Self::TokenAbsent,
            E::TokenUninitialized => Self::TokenUninitialized,
            E::ReadOnly => Self::ReadOnly,
            E::PinIncorrect => Self::PinIncorrect,
            E::PinInvalid => Self::PinInvalid,
            E::PinLocked => Self::PinLocked,
            E::PinExpired => Self::PinExpired,
            E::PinNotInitialized => Self::PinNotInitialized,
            E::PinUnavailable => Self::PinUnavailable,
            E::NotLoggedIn => Self::NotLoggedIn,
            E::SessionClosed => Self::SessionClosed,
            E::KeyGone => Self::KeyGone,
            E::KeyUnsuitable => Self::KeyUnsuitable,
            E::MechanismUnsupported => Self::MechanismUnsupported,
            E::InvalidInput => Self::InvalidInput,
            E::WrappedKeyInvalid => Self::WrappedKeyInvalid,
            E::Exists => Self::Exists,
            E::Busy => Self::Busy,
            E::Locked => Self::Locked,
            E::Unsupported => Self::Unsupported,
            E::Unusable(text) => Self::Unusable(text),
            E::Device(rv) => Self::Device(rv),
            E::Other(rv) => Self::Other(rv),
        }
    }
}

/// Enums whose cases are the same on both sides.
macro_rules! same {
    ($($ours:ident = $wit:ident { $($case:ident),* })*) => {$(
        impl From<t::$ours> for w::$wit {
            fn from(value: t::$ours) -> Self {
                match value { $(t::$ours::$case => Self::$case),* }
            }
        }
        impl From<w::$wit> for t::$ours {
            fn from(value: w::$wit) -> Self {
                match value { $(w::$wit::$case => Self::$case),* }
            }
        }
    )*};
}

same! {
    User = User { SecurityOfficer, Normal }
    Hash = Hash { Sha256, Sha384, Sha512 }
    Curve = Curve { P256, P384, P521, Ed25519, Ed448 }
}

impl From<t::KeyType> for w::KeyType {
    fn from(kind: t::KeyType) -> Self {
        match kind {
            t::KeyType::Ec(curve) => Self::Ec(curve.into()),
            t::KeyType::Rsa(bits) => Self::Rsa(bits),
            t::KeyType::Other(kind) => Self::Other(kind),
        }
    }
}

impl From<w::KeyType> for t::KeyType {
    fn from(kind: w::KeyType) -> Self {
        match kind {
            w::KeyType::Ec(curve) => Self::Ec(curve.into()),
            w::KeyType::Rsa(bits) => Self::Rsa(bits),
            w::KeyType::Other(kind) => Self::Other(kind),
        }
    }
}

impl From<t::Mechanism> for w::Mechanism {
    fn from(mechanism: t::Mechanism) -> Self {
        use t::Mechanism as M;
        let pss = |hash: t::Hash, salt| w::Pss { hash: hash.into(), salt_length: salt };
        match mechanism {
            M::EcdsaPrehashed => Self::EcdsaPrehashed,
            M::Ecdsa(hash) => Self::Ecdsa(hash.into()),
            M::Eddsa => Self::Eddsa,
            M::RsaPkcs1(hash) => Self::RsaPkcs1(hash.into()),
            M::RsaPss { hash, salt } => Self::RsaPss(pss(hash, salt)),
            M::RsaPssPrehashed { hash, salt } => Self::RsaPssPrehashed(pss(hash, salt)),
        }
    }
}

impl From<w::Mechanism> for t::Mechanism {
    fn from(mechanism: w::Mechanism) -> Self {
        use w::Mechanism as M;
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

impl From<t::PublicKey> for w::PublicKey {
    fn from(key: t::PublicKey) -> Self {
        match key {
            t::PublicKey::Ec(key) => Self::Ec(w::EcPoint { curve: key.curve.into(), point: key.point }),
            t::PublicKey::Rsa(key) => {
                Self::Rsa(w::RsaPublicKey { modulus: key.modulus, exponent: key.exponent })
            }
        }
    }
}

impl From<w::PublicKey> for t::PublicKey {
    fn from(key: w::PublicKey) -> Self {
        match key {
            w::PublicKey::Ec(key) => Self::Ec(t::EcPoint { curve: key.curve.into(), point: key.point }),
            w::PublicKey::Rsa(key) => {
                Self::Rsa(t::RsaPublicKey { modulus: key.modulus, exponent: key.exponent })
            }
        }
    }
}

impl From<t::TokenInfo> for w::TokenInfo {
    fn from(info: t::TokenInfo) -> Self {
        Self {
            label: info.label,
            manufacturer: info.manufacturer,
            model: info.model,
            serial: info.serial,
            initialized: info.initialized,
            user_pin_initialized: info.user_pin_initialized,
            user_pin_locked: info.user_pin_locked,
            login_required: info.login_required,
            protected_authentication: info.protected_authentication,
            write_protected: info.write_protected,
        }
    }
}

impl From<w::TokenInfo> for t::TokenInfo {
    fn from(info: w::TokenInfo) -> Self {
        Self {
            label: info.label,
            manufacturer: info.manufacturer,
            model: info.model,
            serial: info.serial,
            initialized: info.initialized,
            user_pin_initialized: info.user_pin_initialized,
            user_pin_locked: info.user_pin_locked,
            login_required: info.login_required,
            protected_authentication: info.protected_authentication,
            write_protected: info.write_protected,
        }
    }
}

impl From<w::KeyQuery> for t::KeyQuery {
    fn from(query: w::KeyQuery) -> Self {
        Self { label: query.label, id: query.id }
    }
}

impl From<&t::KeyQuery> for w::KeyQuery {
    fn from(query: &t::KeyQuery) -> Self {
        Self { label: query.label.clone(), id: query.id.clone() }
    }
}

impl From<admin::KeySpec> for t::KeySpec {
    fn from(spec: admin::KeySpec) -> Self {
        match spec {
            admin::KeySpec::Ec(curve) => Self::Ec(curve.into()),
            admin::KeySpec::Rsa(bits) => Self::Rsa(bits),
            admin::KeySpec::Aes => Self::Aes,
        }
    }
}

impl From<admin::PrivateKey> for t::PrivateKey {
    fn from(key: admin::PrivateKey) -> Self {
        let secret = t::Zeroizing::new;
        match key {
            admin::PrivateKey::Ec(key) => Self::Ec(t::PrivateEcKey {
                curve: key.curve.into(),
                private: secret(key.private),
                point: key.point,
            }),
            admin::PrivateKey::Rsa(key) => Self::Rsa(Box::new(t::PrivateRsaKey {
                modulus: key.modulus,
                public_exponent: key.public_exponent,
                private_exponent: secret(key.private_exponent),
                prime1: secret(key.prime1),
                prime2: secret(key.prime2),
                exponent1: secret(key.exponent1),
                exponent2: secret(key.exponent2),
                coefficient: secret(key.coefficient),
            })),
        }
    }
}
