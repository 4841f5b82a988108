//! The keystore over a token.

use std::collections::HashMap;

use secure_log::envelope::{Envelope, EnvelopeError};
use secure_log::signature::Verifier;
use secure_log::signer::{Algorithm, CheckpointSigner, KeyError, PublicKey};
use sha2::{Digest as _, Sha256};

use crate::spki::public_key;
use crate::token::{
    Hash, Key, KeyOf, KeyQuery, Mechanism, Session, SessionOf, Slot, TokenError, TokenInfo, Tokens, User,
    Wrapping, WrappingKey, Zeroizing,
};
use crate::uri::KeyUri;

/// How many names of keys are kept; with more, all are looked up anew.
const MAX_KEPT: usize = 256;

// CK_MECHANISM_TYPE
const CKM_RSA_PKCS_PSS: u32 = 0x0d;
const CKM_SHA256_RSA_PKCS_PSS: u32 = 0x43;
const CKM_ECDSA: u32 = 0x1041;
const CKM_ECDSA_SHA256: u32 = 0x1044;
const CKM_EDDSA: u32 = 0x1057;

/// Signs with the keys of any [`Tokens`], and wraps with the AES keys of any [`Wrapping`]. Identities are [`KeyUri`]s.
///
/// It opens one session for a token and logs in once. A token that refused the PIN is not asked again by this keystore,
/// so that no retry burns the token's counter: a new instance with another PIN is needed. The first signature of each key
/// is verified, so that a key whose halves do not fit is found out here and not by an auditor.
pub struct Pkcs11Keystore<T: Tokens> {
    // Keys before sessions before the token: in this order they are dropped.
    keys: HashMap<String, Loaded<T>>,
    open: Vec<Open<T>>,
    refused: Vec<(Name, TokenError)>,
    tokens: T,
}

/// What tells a token from others: label and serial number.
type Name = (String, String);

struct Open<T: Tokens> {
    name: Name,
    session: SessionOf<T>,
    mechanisms: Vec<u32>,
}

struct Loaded<T: Tokens> {
    key: KeyOf<T>,
    public: PublicKey,
    mechanism: Mechanism,
    checked: bool,
}

impl<T: Tokens> Pkcs11Keystore<T> {
    /// A keystore; the token is not asked before a key is.
    pub fn new(tokens: T) -> Self {
        Self { keys: HashMap::new(), open: Vec::new(), refused: Vec::new(), tokens }
    }

    /// Runs `f` on the key `identity`; once more with a new session if the old one turns out to be over.
    fn with_key<R>(
        &mut self,
        identity: &str,
        f: impl Fn(&mut Loaded<T>) -> Result<R, Failure>,
    ) -> Result<R, KeyError> {
        let kept = self.keys.contains_key(identity);
        match self.key(identity).and_then(&f) {
            Err(Failure::Token(error)) if kept && session_is_over(&error) => {
                self.forget();
                self.key(identity).and_then(f)
            }
            other => other,
        }
        .map_err(|failure| failure.of(identity))
    }

    fn forget(&mut self) {
        self.keys.clear();
        self.open.clear();
    }

    fn key(&mut self, identity: &str) -> Result<&mut Loaded<T>, Failure> {
        if !self.keys.contains_key(identity) {
            let uri = KeyUri::parse(identity).map_err(|e| KeyError::Invalid(e.to_string()))?;
            let loaded = self.load(&uri)?;
            if self.keys.len() >= MAX_KEPT {
                self.keys.clear();
            }
            self.keys.insert(identity.to_owned(), loaded);
        }
        self.keys.get_mut(identity).ok_or(Failure::Token(TokenError::KeyGone))
    }

    fn load(&mut self, uri: &KeyUri) -> Result<Loaded<T>, Failure> {
        let (slot, info) = self.slot(uri)?;
        let open = self.session(&slot, &info)?;
        let query = KeyQuery { label: uri.object.clone(), id: uri.id.clone() };
        let key = sole(open.session.find_keys(&query)?, "private key", &info)?;
        let kind = key.key_type()?;
        let public = public_key(&key.public_key().map_err(|error| match error {
            TokenError::KeyGone => Failure::Key(KeyError::Invalid(
                "its public half is not on the token: put the public key there, with the same CKA_ID".into(),
            )),
            error => error.into(),
        })?)?;
        let mechanism = mechanism(public.algorithm, &open.mechanisms).ok_or_else(|| {
            KeyError::Invalid(format!(
                "the token {:?} has no mechanism to sign with a key of {kind}",
                info.label
            ))
        })?;
        Ok(Loaded { key, public, mechanism, checked: false })
    }

    /// The one slot whose token matches.
    fn slot(&self, uri: &KeyUri) -> Result<(<T as Tokens>::Slot, TokenInfo), Failure> {
        let mut found = None;
        let mut labels = Vec::new();
        for slot in self.tokens.slots()? {
            let info = match slot.info() {
                Err(TokenError::TokenAbsent | TokenError::TokenUninitialized) => continue,
                info => info?,
            };
            if !info.initialized {
                continue;
            }
            labels.push(format!("{:?}", info.label));
            if uri.fits(&info) && found.replace((slot, info)).is_some() {
                return Err(KeyError::Invalid(format!(
                    "several tokens match ({}): name one, `pkcs11:token=…;object=…`",
                    labels.join(", ")
                ))
                .into());
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
        // Asked for one token, the other side may know more: that some cannot be read, or that it was made just now.
        if let Some(slot) = self.tokens.find_token(uri.token.as_deref().unwrap_or_default())? {
            let info = slot.info()?;
            if uri.fits(&info) {
                return Ok((slot, info));
            }
        }
        Err(KeyError::Unavailable(match labels.len() {
            0 => "there is no initialized token".to_owned(),
            _ => format!("no token matches; there are {}", labels.join(", ")),
        })
        .into())
    }

    /// The session with this token, logged in.
    fn session(&mut self, slot: &<T as Tokens>::Slot, info: &TokenInfo) -> Result<&Open<T>, Failure> {
        let name = (info.label.clone(), info.serial.clone());
        if let Some(place) = self.open.iter().position(|open| open.name == name) {
            return Ok(&self.open[place]);
        }
        if let Some((_, error)) = self.refused.iter().find(|(refused, _)| *refused == name) {
            return Err(KeyError::Denied(format!("{error}; it is not asked again before a restart")).into());
        }
        let session = slot.open_session(false)?;
        if info.login_required
            && let Err(error) = session.login(User::Normal)
        {
            if is_about_the_pin(&error) {
                self.refused.push((name, error.clone()));
            }
            return Err(error.into());
        }
        let mechanisms = slot.mechanisms()?;
        self.open.push(Open { name, session, mechanisms });
        self.open.last().ok_or(Failure::Token(TokenError::SessionClosed))
    }
}

impl<T: Wrapping> Pkcs11Keystore<T> {
    /// Runs `f` on the wrapping key `name`; once more with a new session if the old one turns out to be over. The key is
    /// looked for at each use: destroyed by one instance, it is gone for all.
    fn with_wrapping_key<R>(
        &mut self,
        name: &str,
        read_write: bool,
        f: impl Fn(&T::WrappingKey) -> Result<R, TokenError>,
    ) -> Result<R, EnvelopeError> {
        let kept = !self.open.is_empty();
        match self.on_wrapping_key(name, read_write, &f) {
            Err(Failure::Token(error)) if kept && session_is_over(&error) => {
                self.forget();
                self.on_wrapping_key(name, read_write, f)
            }
            other => other,
        }
        .map_err(|failure| match failure {
            Failure::Token(TokenError::WrappedKeyInvalid) => {
                EnvelopeError::WrongKey(named(name, TokenError::WrappedKeyInvalid.to_string()))
            }
            Failure::Token(TokenError::ReadOnly) => {
                EnvelopeError::Denied(named(name, TokenError::ReadOnly.to_string()))
            }
            other => other.of(name).into(),
        })
    }

    fn on_wrapping_key<R>(
        &mut self,
        name: &str,
        read_write: bool,
        f: impl Fn(&T::WrappingKey) -> Result<R, TokenError>,
    ) -> Result<R, Failure> {
        let uri = KeyUri::parse(name).map_err(|e| KeyError::Invalid(e.to_string()))?;
        let (slot, info) = self.slot(&uri)?;
        // It logs in, for all sessions with this token.
        self.session(&slot, &info)?;
        let changing = read_write.then(|| slot.open_session(true)).transpose()?;
        let kept = self.open.iter().find(|open| open.name.0 == info.label && open.name.1 == info.serial);
        let session =
            changing.as_ref().or(kept.map(|open| &open.session)).ok_or(TokenError::SessionClosed)?;
        let query = KeyQuery { label: uri.object, id: uri.id };
        let keys = self.tokens.find_wrapping_keys(session, &query)?;
        Ok(f(&sole(keys, "AES key", &info)?)?)
    }
}

/// The one key that a name means.
fn sole<K>(mut keys: Vec<K>, what: &str, info: &TokenInfo) -> Result<K, KeyError> {
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (None, _) => Err(KeyError::KeyNotFound(format!("no {what} matches on the token {:?}", info.label))),
        (Some(_), others) => Err(KeyError::Invalid(format!(
            "{} {what}s match on the token {:?}: name one by its `id`",
            others + 1,
            info.label
        ))),
    }
}

/// How to sign with a key of this algorithm on a token with these mechanisms. Digests are made here where the token
/// takes them: that every token with such keys can, and a long message need not be carried there.
fn mechanism(algorithm: Algorithm, mechanisms: &[u32]) -> Option<Mechanism> {
    let has = |mechanism: u32| mechanisms.contains(&mechanism);
    let (hash, salt) = (Hash::Sha256, Some(32));
    match algorithm {
        Algorithm::Ed25519 => has(CKM_EDDSA).then_some(Mechanism::Eddsa),
        Algorithm::EcdsaP256 if has(CKM_ECDSA) => Some(Mechanism::EcdsaPrehashed),
        Algorithm::EcdsaP256 => has(CKM_ECDSA_SHA256).then_some(Mechanism::Ecdsa(hash)),
        Algorithm::RsaPssSha256 if has(CKM_RSA_PKCS_PSS) => Some(Mechanism::RsaPssPrehashed { hash, salt }),
        Algorithm::RsaPssSha256 => has(CKM_SHA256_RSA_PKCS_PSS).then_some(Mechanism::RsaPss { hash, salt }),
    }
}

fn session_is_over(error: &TokenError) -> bool {
    matches!(
        error,
        TokenError::SessionClosed | TokenError::NotLoggedIn | TokenError::KeyGone | TokenError::TokenAbsent
    )
}

/// Whether the token has looked at a PIN and wants no other try.
fn is_about_the_pin(error: &TokenError) -> bool {
    matches!(
        error,
        TokenError::PinIncorrect | TokenError::PinInvalid | TokenError::PinLocked | TokenError::PinExpired
    )
}

impl<T: Tokens> CheckpointSigner for Pkcs11Keystore<T> {
    fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError> {
        self.with_key(identity, |loaded| Ok(loaded.public.clone()))
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.with_key(identity, |loaded| {
            let signature = match loaded.mechanism {
                Mechanism::EcdsaPrehashed | Mechanism::RsaPssPrehashed { .. } => {
                    loaded.key.sign(loaded.mechanism, &Sha256::digest(message))?
                }
                _ => loaded.key.sign(loaded.mechanism, message)?,
            };
            if !loaded.checked {
                let verifier = Verifier::new(&loaded.public).map_err(|e| KeyError::Invalid(e.to_string()))?;
                verifier.verify(message, &signature).map_err(|_| {
                    KeyError::Failed(
                        "the token's signature does not verify with the public key that is on the token"
                            .into(),
                    )
                })?;
                loaded.checked = true;
            }
            Ok(signature)
        })
    }
}

impl<T: Wrapping> Envelope for Pkcs11Keystore<T> {
    fn wrap(&mut self, name: &str, key: &[u8], context: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        self.with_wrapping_key(name, false, |kek| kek.wrap(key, context))
    }

    fn unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        self.with_wrapping_key(name, false, |kek| kek.unwrap(wrapped, context))
    }

    fn destroy(&mut self, name: &str) -> Result<(), EnvelopeError> {
        self.with_wrapping_key(name, true, WrappingKey::destroy)
    }
}

impl<T: Tokens> std::fmt::Debug for Pkcs11Keystore<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs11Keystore")
            .field("tokens", &self.open.iter().map(|open| &open.name.0).collect::<Vec<_>>())
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// What went wrong, before the key's name is put to it.
enum Failure {
    Token(TokenError),
    Key(KeyError),
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// A text about the key `identity`.
fn named(identity: &str, text: String) -> String {
    match KeyUri::parse(identity) {
        Ok(_) => format!("{identity:?}: {text}"),
        // The text says what is wrong with the name, which may hold anything.
        Err(_) => text,
    }
}

impl Failure {
    fn of(self, identity: &str) -> KeyError {
        use TokenError as E;
        let named = |text| named(identity, text);
        match self {
            Self::Key(error) => match error {
                KeyError::KeyNotFound(text) => KeyError::KeyNotFound(named(text)),
                KeyError::Denied(text) => KeyError::Denied(named(text)),
                KeyError::Invalid(text) => KeyError::Invalid(named(text)),
                KeyError::Unavailable(text) => KeyError::Unavailable(named(text)),
                KeyError::Failed(text) => KeyError::Failed(named(text)),
            },
            Self::Token(error) => {
                let text = named(error.to_string());
                match error {
                    E::PinIncorrect
                    | E::PinInvalid
                    | E::PinLocked
                    | E::PinExpired
                    | E::PinNotInitialized
                    | E::PinUnavailable
                    | E::NotLoggedIn => KeyError::Denied(text),
                    E::KeyGone => KeyError::KeyNotFound(text),
                    E::TokenUninitialized
                    | E::KeyUnsuitable
                    | E::MechanismUnsupported
                    | E::InvalidInput
                    | E::Unusable(_)
                    | E::Exists
                    | E::WrappedKeyInvalid => KeyError::Invalid(text),
                    E::SlotInvalid | E::TokenAbsent | E::SessionClosed | E::Busy | E::Locked => {
                        KeyError::Unavailable(text)
                    }
                    E::ReadOnly | E::Unsupported | E::Device(_) | E::Other(_) => KeyError::Failed(text),
                }
            }
        }
    }
}
