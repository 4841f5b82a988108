//! Between the types of [`token`](crate::token) and those that bindings generate from the WIT.

/// Both ways between the types of [`token`](crate::token) and those of `pkcs11:token/types` in the module `$wit`, which
/// `wit-bindgen` or wasmtime's `bindgen!` generated: their names are the same.
#[macro_export]
macro_rules! token_conversions {
    ($wit:path) => {
        const _: () = {
            use $crate::token as own;
            use $wit as wit;

            $crate::token_conversions!(@enums
                User { SecurityOfficer, Normal }
                Hash { Sha256, Sha384, Sha512 }
                Curve { P256, P384, P521, Ed25519, Ed448 }
            );
            $crate::token_conversions!(@errors
                SlotInvalid TokenAbsent TokenUninitialized ReadOnly PinIncorrect PinInvalid PinLocked PinExpired
                PinNotInitialized PinUnavailable NotLoggedIn SessionClosed KeyGone KeyUnsuitable
                MechanismUnsupported InvalidInput WrappedKeyInvalid Exists Busy Locked Unsupported ;
                Unusable Device Other
            );
            $crate::token_conversions!(@records
                TokenInfo {
                    label manufacturer model serial initialized user_pin_initialized user_pin_locked
                    login_required protected_authentication write_protected
                }
                RsaPublicKey { modulus exponent }
                KeyQuery { label id }
            );
            $crate::token_conversions!(@nested own wit);
            $crate::token_conversions!(@nested wit own);

            impl From<&own::KeyQuery> for wit::KeyQuery {
                fn from(query: &own::KeyQuery) -> Self {
                    query.clone().into()
                }
            }

            impl From<own::Mechanism> for wit::Mechanism {
                fn from(mechanism: own::Mechanism) -> Self {
                    use own::Mechanism as M;
                    let pss = |hash: own::Hash, salt| wit::Pss { hash: hash.into(), salt_length: salt };
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

            impl From<wit::Mechanism> for own::Mechanism {
                fn from(mechanism: wit::Mechanism) -> Self {
                    use wit::Mechanism as M;
                    match mechanism {
                        M::EcdsaPrehashed => Self::EcdsaPrehashed,
                        M::Ecdsa(hash) => Self::Ecdsa(hash.into()),
                        M::Eddsa => Self::Eddsa,
                        M::RsaPkcs1(hash) => Self::RsaPkcs1(hash.into()),
                        M::RsaPss(pss) => Self::RsaPss { hash: pss.hash.into(), salt: pss.salt_length },
                        M::RsaPssPrehashed(pss) => {
                            Self::RsaPssPrehashed { hash: pss.hash.into(), salt: pss.salt_length }
                        }
                    }
                }
            }
        };
    };
    // Cases without a value.
    (@enums $($name:ident { $($case:ident),* })*) => {$(
        impl From<own::$name> for wit::$name {
            fn from(value: own::$name) -> Self {
                match value { $(own::$name::$case => Self::$case),* }
            }
        }
        impl From<wit::$name> for own::$name {
            fn from(value: wit::$name) -> Self {
                match value { $(wit::$name::$case => Self::$case),* }
            }
        }
    )*};
    (@errors $($plain:ident)* ; $($with:ident)*) => {
        impl From<own::TokenError> for wit::Error {
            fn from(error: own::TokenError) -> Self {
                match error {
                    $(own::TokenError::$plain => Self::$plain,)*
                    $(own::TokenError::$with(value) => Self::$with(value),)*
                }
            }
        }
        impl From<wit::Error> for own::TokenError {
            fn from(error: wit::Error) -> Self {
                match error {
                    $(wit::Error::$plain => Self::$plain,)*
                    $(wit::Error::$with(value) => Self::$with(value),)*
                }
            }
        }
    };
    // Fields of the same types.
    (@records $($name:ident { $($field:ident)* })*) => {$(
        impl From<own::$name> for wit::$name {
            fn from(value: own::$name) -> Self {
                Self { $($field: value.$field),* }
            }
        }
        impl From<wit::$name> for own::$name {
            fn from(value: wit::$name) -> Self {
                Self { $($field: value.$field),* }
            }
        }
    )*};
    (@nested $from:ident $to:ident) => {
        impl From<$from::KeyType> for $to::KeyType {
            fn from(kind: $from::KeyType) -> Self {
                match kind {
                    $from::KeyType::Ec(curve) => Self::Ec(curve.into()),
                    $from::KeyType::Rsa(bits) => Self::Rsa(bits),
                    $from::KeyType::Other(kind) => Self::Other(kind),
                }
            }
        }
        impl From<$from::PublicKey> for $to::PublicKey {
            fn from(key: $from::PublicKey) -> Self {
                match key {
                    $from::PublicKey::Ec(key) => {
                        Self::Ec($to::EcPoint { curve: key.curve.into(), point: key.point })
                    }
                    $from::PublicKey::Rsa(key) => Self::Rsa(key.into()),
                }
            }
        }
    };
}
