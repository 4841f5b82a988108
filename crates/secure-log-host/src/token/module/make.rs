//! Keys that are made on a token, or put there.

use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType as CkKeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as CryptokiSession;
use secure_log_pkcs11::token::{self, Curve, PrivateEcKey, PrivateRsaKey, Result, TokenError};
use zeroize::Zeroize as _;

use super::{error, template};

/// Lengths of RSA keys.
pub(super) const RSA_BITS: std::ops::RangeInclusive<u32> = 2_048..=4_096;

pub(super) fn generate_ec(raw: &CryptokiSession, curve: Curve, label: &str, id: &[u8]) -> Result<()> {
    let mechanism =
        if curve.is_edwards() { Mechanism::EccEdwardsKeyPairGen } else { Mechanism::EccKeyPairGen };
    let private = [template::private(label, id), vec![Attribute::Derive(false)]].concat();
    let generate = |params: &[u8]| {
        let public = [template::public(label, id), vec![Attribute::EcParams(params.into())]].concat();
        raw.generate_key_pair(&mechanism, &public, &private).map(|_| ()).map_err(error)
    };
    match (generate(template::oid(curve)), template::name(curve)) {
        // Tokens differ in how they want an Edwards curve to be called.
        (Err(TokenError::InvalidInput | TokenError::MechanismUnsupported), Some(name)) => generate(name),
        (outcome, _) => outcome,
    }
}

pub(super) fn generate_rsa(raw: &CryptokiSession, bits: u32, label: &str, id: &[u8]) -> Result<()> {
    let mut public = template::public(label, id);
    public.extend([Attribute::ModulusBits(u64::from(bits).into()), Attribute::PublicExponent(vec![1, 0, 1])]);
    let private = template::private(label, id);
    raw.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private).map(|_| ()).map_err(error)
}

pub(super) fn generate_aes(raw: &CryptokiSession, label: &str, id: &[u8]) -> Result<()> {
    let template = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.into()),
        Attribute::Id(id.into()),
    ];
    raw.generate_key(&Mechanism::AesKeyGen, &template).map(|_| ()).map_err(error)
}

pub(super) fn import_ec(raw: &CryptokiSession, key: &PrivateEcKey, label: &str, id: &[u8]) -> Result<()> {
    let curve = key.curve;
    if key.private.len() != curve.private_len() || key.point.len() != curve.point_len() {
        return Err(TokenError::InvalidInput);
    }
    let import = |params: &[u8], point: Vec<u8>| {
        let common = [Attribute::KeyType(template::ec_key_type(curve)), Attribute::EcParams(params.into())];
        let mut public = template::public(label, id);
        public.extend(common.clone());
        public.extend([Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::EcPoint(point)]);
        let mut private = template::private(label, id);
        private.extend(common);
        private.extend([
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Derive(false),
            Attribute::Value(key.private.to_vec()),
        ]);
        let mechanism = match curve.is_edwards() {
            true => template::mechanism(token::Mechanism::Eddsa),
            false => Mechanism::Ecdsa,
        };
        both(raw, &public, private, (mechanism, &[7; 32]))
    };
    let outcome = import(template::oid(curve), template::octet_string(&key.point));
    match (outcome, template::name(curve)) {
        (Err(TokenError::InvalidInput | TokenError::MechanismUnsupported), Some(name)) => {
            import(name, key.point.clone())
        }
        (outcome, _) => outcome,
    }
}

pub(super) fn import_rsa(raw: &CryptokiSession, key: &PrivateRsaKey, label: &str, id: &[u8]) -> Result<()> {
    if !RSA_BITS.contains(&template::bits(&key.modulus)) {
        return Err(TokenError::InvalidInput);
    }
    let common = [
        Attribute::KeyType(CkKeyType::RSA),
        Attribute::Modulus(key.modulus.clone()),
        Attribute::PublicExponent(key.public_exponent.clone()),
    ];
    let mut public = template::public(label, id);
    public.extend(common.clone());
    public.push(Attribute::Class(ObjectClass::PUBLIC_KEY));
    let mut private = template::private(label, id);
    private.extend(common);
    private.extend([
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::PrivateExponent(key.private_exponent.to_vec()),
        Attribute::Prime1(key.prime1.to_vec()),
        Attribute::Prime2(key.prime2.to_vec()),
        Attribute::Exponent1(key.exponent1.to_vec()),
        Attribute::Exponent2(key.exponent2.to_vec()),
        Attribute::Coefficient(key.coefficient.to_vec()),
    ]);
    both(raw, &public, private, (Mechanism::Sha256RsaPkcs, b"probe"))
}

/// Creates both halves, or none. The public one comes first: if this process ends in between, what stays signs nothing.
fn both(
    raw: &CryptokiSession,
    public: &[Attribute],
    mut private: Vec<Attribute>,
    probe: (Mechanism<'_>, &[u8]),
) -> Result<()> {
    let half = raw.create_object(public).map_err(error);
    let created = half.and_then(|half| {
        let key = raw.create_object(&private).map_err(error);
        let tried = key.and_then(|key| {
            tried(raw, (key, half), probe).inspect_err(|_| {
                let _ = raw.destroy_object(key);
            })
        });
        // The reason why there is no key matters more than what becomes of this half.
        tried.inspect_err(|_| {
            let _ = raw.destroy_object(half);
        })
    });
    wipe(&mut private);
    created
}

/// Whether the halves are of one key: what the one signs fits the other.
fn tried(
    raw: &CryptokiSession,
    (key, half): (ObjectHandle, ObjectHandle),
    (mechanism, data): (Mechanism<'_>, &[u8]),
) -> Result<()> {
    let signature = raw.sign(&mechanism, key, data).map_err(error)?;
    match raw.verify(&mechanism, half, data, &signature) {
        Err(CryptokiError::Pkcs11(RvError::SignatureInvalid | RvError::SignatureLenRange, _)) => {
            Err(TokenError::InvalidInput)
        }
        // A token need not verify.
        _ => Ok(()),
    }
}

/// The library has its copy of the key; this one goes.
fn wipe(template: &mut [Attribute]) {
    for attribute in template {
        match attribute {
            Attribute::Value(secret)
            | Attribute::PrivateExponent(secret)
            | Attribute::Prime1(secret)
            | Attribute::Prime2(secret)
            | Attribute::Exponent1(secret)
            | Attribute::Exponent2(secret)
            | Attribute::Coefficient(secret) => secret.zeroize(),
            _ => {}
        }
    }
}
