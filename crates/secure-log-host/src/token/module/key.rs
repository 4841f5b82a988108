//! Private keys, and what they sign.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::error::{Error as CryptokiError, Result as CryptokiResult, RvError};
use cryptoki::object::{Attribute, AttributeType, KeyType as CkKeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as CryptokiSession;
use secure_log_pkcs11::token::{
    Curve, EcPoint, Key, KeyType, Mechanism, PublicKey, Result, RsaPublicKey, Signer, TokenError,
};

use super::session::Open;
use super::{error, template};

/// A private key on the token.
pub struct ModuleKey {
    pub(super) session: Arc<Open>,
    pub(super) handle: ObjectHandle,
}

/// What tells key objects apart.
pub(super) struct Description {
    pub label: Vec<u8>,
    pub id: Vec<u8>,
    kind: CkKeyType,
    params: Option<Vec<u8>>,
    modulus: Option<Vec<u8>>,
}

impl ModuleKey {
    pub(super) fn new(session: Arc<Open>, handle: ObjectHandle) -> Self {
        Self { session, handle }
    }

    fn describe(&self) -> Result<Description> {
        self.session.with_keys(|raw| describe(raw, self.handle))
    }

    /// A signature is made over the session, so keys of the wrong type are found before the token is asked: some
    /// tokens fail in ways that say nothing.
    fn prepared(&self, raw: &CryptokiSession, mechanism: Mechanism) -> Result<()> {
        template::check_fits(mechanism, key_type(raw, &describe(raw, self.handle)?)?)
    }
}

/// Reads what tells a key object apart.
pub(super) fn describe(raw: &CryptokiSession, handle: ObjectHandle) -> Result<Description> {
    use AttributeType as T;
    let wanted = [T::KeyType, T::Label, T::Id, T::EcParams, T::Modulus];
    let attributes = match raw.get_attributes(handle, &wanted) {
        // A kind of key that nobody here knows.
        Err(CryptokiError::NotSupported) => return Err(TokenError::KeyUnsuitable),
        attributes => attributes.map_err(error)?,
    };
    let (mut label, mut id, mut kind, mut params, mut modulus) = (Vec::new(), Vec::new(), None, None, None);
    for attribute in attributes {
        match attribute {
            Attribute::Label(value) => label = value,
            Attribute::Id(value) => id = value,
            Attribute::KeyType(value) => kind = Some(value),
            Attribute::EcParams(value) if !value.is_empty() => params = Some(value),
            Attribute::Modulus(value) if !value.is_empty() => modulus = Some(value),
            _ => {}
        }
    }
    let kind = kind.ok_or(TokenError::KeyGone)?;
    Ok(Description { label, id, kind, params, modulus })
}

/// The public halves of a key: objects of the same id and kind. Keys without an id go by their label.
pub(super) fn public_halves(raw: &CryptokiSession, key: &Description) -> Result<Vec<ObjectHandle>> {
    let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(key.kind)];
    template.push(match key.id.is_empty() {
        false => Attribute::Id(key.id.clone()),
        true => Attribute::Label(key.label.clone()),
    });
    let found = raw.find_objects(&template).map_err(error)?;
    let mut halves = Vec::new();
    for handle in found {
        let public = describe(raw, handle)?;
        let differ =
            |a: &Option<Vec<u8>>, b: &Option<Vec<u8>>| matches!((a, b), (Some(a), Some(b)) if a != b);
        if !differ(&public.modulus, &key.modulus) && curve_of(&public) == curve_of(key) {
            halves.push(handle);
        }
    }
    Ok(halves)
}

fn curve_of(key: &Description) -> Option<Curve> {
    key.params.as_deref().and_then(template::curve)
}

fn key_type(raw: &CryptokiSession, key: &Description) -> Result<KeyType> {
    if key.kind == CkKeyType::RSA {
        let modulus = match &key.modulus {
            Some(modulus) => Some(modulus.clone()),
            None => public_attribute(raw, key, AttributeType::Modulus)?,
        };
        return Ok(KeyType::Rsa(template::bits(&modulus.ok_or(TokenError::KeyGone)?)));
    }
    match curve_of(key) {
        Some(curve) if [CkKeyType::EC, CkKeyType::EC_EDWARDS].contains(&key.kind) => Ok(KeyType::Ec(curve)),
        _ => Ok(KeyType::Other(u32::try_from(*key.kind).unwrap_or(u32::MAX))),
    }
}

fn attribute(raw: &CryptokiSession, of: ObjectHandle, which: AttributeType) -> Result<Option<Vec<u8>>> {
    let found = raw.get_attributes(of, &[which]).map_err(error)?;
    Ok(found.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(value) | Attribute::Modulus(value) | Attribute::PublicExponent(value) => {
            Some(value).filter(|value| !value.is_empty())
        }
        _ => None,
    }))
}

fn public_attribute(
    raw: &CryptokiSession,
    key: &Description,
    which: AttributeType,
) -> Result<Option<Vec<u8>>> {
    for half in public_halves(raw, key)? {
        if let Some(value) = attribute(raw, half, which)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

impl Key for ModuleKey {
    type Signer = ModuleSigner;

    fn label(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.describe()?.label).into_owned())
    }

    fn id(&self) -> Result<Vec<u8>> {
        Ok(self.describe()?.id)
    }

    fn key_type(&self) -> Result<KeyType> {
        self.session.with_keys(|raw| key_type(raw, &describe(raw, self.handle)?))
    }

    fn public_key(&self) -> Result<PublicKey> {
        self.session.with_keys(|raw| {
            let key = describe(raw, self.handle)?;
            let half = |which| match attribute(raw, self.handle, which) {
                Ok(Some(value)) => Ok(value),
                // A private key need not have it.
                Ok(None) | Err(TokenError::InvalidInput) => {
                    public_attribute(raw, &key, which)?.ok_or(TokenError::KeyGone)
                }
                Err(error) => Err(error),
            };
            match key_type(raw, &key)? {
                KeyType::Ec(curve) => {
                    let point = template::point(curve, &half(AttributeType::EcPoint)?)?;
                    Ok(PublicKey::Ec(EcPoint { curve, point }))
                }
                KeyType::Rsa(_) => Ok(PublicKey::Rsa(RsaPublicKey {
                    modulus: template::number(&half(AttributeType::Modulus)?),
                    exponent: template::number(&half(AttributeType::PublicExponent)?),
                })),
                KeyType::Other(_) => Err(TokenError::KeyUnsuitable),
            }
        })
    }

    fn sign(&self, mechanism: Mechanism, data: &[u8]) -> Result<Vec<u8>> {
        self.session.with_idle(|raw| {
            self.prepared(raw, mechanism)?;
            template::check_data(mechanism, data)?;
            let sign = || raw.sign(&template::mechanism(mechanism), self.handle, data).map_err(error);
            match sign() {
                Err(TokenError::Busy) => {
                    // A signature that failed half way. Nobody makes one now.
                    let _ = raw.sign_final();
                    sign()
                }
                outcome => outcome,
            }
        })
    }

    fn sign_init(&self, mechanism: Mechanism) -> Result<ModuleSigner> {
        self.session.with_idle(|raw| {
            self.prepared(raw, mechanism)?;
            raw.sign_init(&template::mechanism(mechanism), self.handle).map_err(error)?;
            self.session.signing.store(true, Ordering::Release);
            Ok(ModuleSigner { session: self.session.clone(), over: Mutex::new(None) })
        })
    }
}

impl fmt::Debug for ModuleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleKey").field("slot", &self.session.slot).finish_non_exhaustive()
    }
}

/// A signature that is being made.
pub struct ModuleSigner {
    session: Arc<Open>,
    /// Why it goes no further: it was finished, or it failed.
    over: Mutex<Option<TokenError>>,
}

impl ModuleSigner {
    /// The next step; after one that failed there is none.
    fn step<T>(&self, last: bool, step: impl FnOnce(&CryptokiSession) -> CryptokiResult<T>) -> Result<T> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = &*over {
            return Err(reason.clone());
        }
        let outcome = self.session.with_keys(|raw| {
            step(raw).map_err(|failed| {
                // What is left of it is not to be in the way of others.
                let _ = raw.sign_final();
                piecewise(failed)
            })
        });
        *over = match &outcome {
            Err(failed) => Some(failed.clone()),
            Ok(_) => last.then_some(TokenError::InvalidInput),
        };
        if over.is_some() {
            self.session.signing.store(false, Ordering::Release);
        }
        outcome
    }
}

impl Signer for ModuleSigner {
    fn update(&self, data: &[u8]) -> Result<()> {
        self.step(false, |raw| raw.sign_update(data))
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.step(true, |raw| raw.sign_final())
    }
}

/// Tokens that take data of a mechanism in one piece only say so when a piece comes, as "nothing was begun".
fn piecewise(failed: CryptokiError) -> TokenError {
    match failed {
        CryptokiError::Pkcs11(RvError::OperationNotInitialized, _) => TokenError::Unsupported,
        failed => error(failed),
    }
}

impl Drop for ModuleSigner {
    fn drop(&mut self) {
        // Only C_SignFinal ends it in every version of PKCS #11. Nobody gets to see that signature.
        let _ = self.step(true, |raw| raw.sign_final());
    }
}

impl fmt::Debug for ModuleSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModuleSigner")
    }
}
