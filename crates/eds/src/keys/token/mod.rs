//! Keys on a token.

mod import;
mod wrapping;

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use secure_log::signer::{Algorithm, PublicKey};
use secure_log_keystore::{GENERATED_RSA_BITS, KeyEncryptionKey};
use secure_log_pkcs11::token::{
    Admin, Curve, Key as _, KeyOf, KeyQuery, KeySpec, Result as TokenResult, Session as _, SessionOf,
    Slot as _, TokenError, TokenInfo, User, Wrapping, WrappingKey as _,
};
use secure_log_pkcs11::{KeyUri, public_key};
use serde_json::json;

use super::{Work, show, software};
use crate::output::{Output, note};
use crate::token::{Pins, probe, said, select};

/// What a command was told about the token.
pub(super) struct On {
    pub out: Output,
    pub pins: Arc<Pins>,
    /// `--token`
    pub token: Option<String>,
}

/// Does the work on one of these tokens.
pub(super) fn run<T: Admin + Wrapping + Clone>(tokens: T, on: On, work: Work) -> Result<()> {
    let out = on.out;
    match work {
        Work::Create { name, alg } => {
            let name = on.named(&name)?;
            let label = label(&name)?;
            let token = Token::open(tokens, &name, true, on.pins)?;
            let (made, public) = token.add(label, name.id.as_deref(), |token, id| {
                token.tokens.generate_key(&token.session, spec(alg), label, id)
            })?;
            token.show_new(out, &made, &public)
        }
        Work::Import { name, from } => {
            let name = on.named(&name)?;
            let label = label(&name)?;
            let key = software::read(&from)?;
            let numbers = import::numbers(&key)?;
            let token = Token::open(tokens, &name, true, on.pins)?;
            let (made, public) = token.add(label, name.id.as_deref(), |token, id| {
                token.tokens.import_key(&token.session, &numbers, label, id)
            })?;
            if public != *key.public() {
                token.remove(&made).context("the token has made another key of it, which is still there")?;
                bail!("the token has made another key of it, which was destroyed again");
            }
            note(format_args!(
                "{} still holds the key: whoever reads it signs as this log. Destroy it and every copy of it",
                from.display()
            ));
            token.show_new(out, &made, &public)
        }
        Work::CreateWrapping { name } => {
            let name = on.named(&name)?;
            let label = label(&name)?;
            Token::open(tokens, &name, true, on.pins)?.add_wrapping(out, label, name.id.as_deref())
        }
        Work::Destroy { name, yes } => {
            let named = on.named(&name)?;
            Token::open(tokens, &named, true, on.pins)?.destroy_wrapping(&named, &name, yes)
        }
        Work::Show { name, origin } => {
            let named = on.named(&name)?;
            let token = Token::open(tokens, &named, false, on.pins)?;
            let (label, id) = (named.object.as_deref(), named.id.as_deref());
            if origin.is_none()
                && token.matching(label, id)?.is_empty()
                && let [key] = &token.wrapping(label, id)?[..]
            {
                return token.show_wrapping(out, key);
            }
            let key = token.find(&named)?;
            let public = token.public(&key)?;
            let label = key.label().map_err(token.say())?;
            let uri = token.uri(&label, named.id.as_deref());
            let more = [("uri", uri.to_string()), ("id", hex::encode(key.id().map_err(token.say())?))];
            show::key(out, &label, &public, origin.as_deref(), &more)
        }
        Work::List => {
            let any = KeyUri { token: on.token, ..KeyUri::default() };
            Token::open(tokens, &any, false, on.pins)?.list(out)
        }
        Work::Rotate { name, alg } => {
            let name = on.named(&name)?;
            Token::open(tokens, &name, true, on.pins)?.rotate(out, &name, alg)
        }
    }
}

impl On {
    /// A key's name together with `--token`.
    fn named(&self, name: &str) -> Result<KeyUri> {
        let mut uri = KeyUri::parse(name)?;
        match (&self.token, &uri.token) {
            (Some(option), Some(said)) if option != said => {
                bail!("the key's name says token {said:?}, and --token says {option:?}")
            }
            (Some(option), _) => uri.token = Some(option.clone()),
            _ => {}
        }
        Ok(uri)
    }
}

/// The label that a new key is to have.
fn label(name: &KeyUri) -> Result<&str> {
    name.object.as_deref().context("a new key needs a label: NAME, or pkcs11:token=…;object=NAME")
}

fn spec(algorithm: Algorithm) -> KeySpec {
    match algorithm {
        Algorithm::Ed25519 => KeySpec::Ec(Curve::Ed25519),
        Algorithm::EcdsaP256 => KeySpec::Ec(Curve::P256),
        Algorithm::RsaPssSha256 => KeySpec::Rsa(GENERATED_RSA_BITS as u32),
    }
}

/// The CKA_ID of a new key: 16 random bytes, if none is said.
fn new_id(id: Option<&[u8]>) -> Result<Vec<u8>> {
    if let Some(id) = id {
        return Ok(id.to_vec());
    }
    let mut id = vec![0; 16];
    software::random()(&mut id).map_err(|reason| anyhow!("no randomness: {reason}"))?;
    Ok(id)
}

/// A token that is logged in to.
struct Token<T: Admin> {
    // Before the token: in this order they are dropped.
    session: SessionOf<T>,
    tokens: T,
    info: TokenInfo,
    pins: Arc<Pins>,
}

impl<T: Admin + Wrapping + Clone> Token<T> {
    fn open(tokens: T, wanted: &KeyUri, read_write: bool, pins: Arc<Pins>) -> Result<Self> {
        let (slot, info) = select(&tokens, wanted, &pins)?;
        let say = |error| said(error, &info.label, &pins);
        if read_write && info.write_protected {
            return Err(say(TokenError::ReadOnly));
        }
        let session = slot.open_session(read_write).map_err(say)?;
        if info.login_required {
            session.login(User::Normal).map_err(say)?;
        }
        Ok(Self { session, tokens, info, pins })
    }

    fn say(&self) -> impl Fn(TokenError) -> anyhow::Error {
        |error| said(error, &self.info.label, &self.pins)
    }

    /// Name of a key on this token. Labels tell keys apart where there is one of each.
    fn uri(&self, label: &str, id: Option<&[u8]>) -> KeyUri {
        KeyUri {
            token: Some(self.info.label.clone()),
            object: Some(label.to_owned()).filter(|label| !label.is_empty()),
            id: id.map(<[u8]>::to_vec),
            ..KeyUri::default()
        }
    }

    fn matching(&self, label: Option<&str>, id: Option<&[u8]>) -> Result<Vec<KeyOf<T>>> {
        let query = KeyQuery { label: label.map(str::to_owned), id: id.map(<[u8]>::to_vec) };
        self.session.find_keys(&query).map_err(self.say())
    }

    /// The one key that is meant.
    fn find(&self, name: &KeyUri) -> Result<KeyOf<T>> {
        let mut keys = self.matching(name.object.as_deref(), name.id.as_deref())?;
        let named = || name.object.as_deref().unwrap_or("of this id");
        match (keys.pop(), keys.len()) {
            (Some(key), 0) => Ok(key),
            (None, _) => bail!(
                "there is no key {:?} on the token {:?}: `eds keys list` names those there are",
                named(),
                self.info.label
            ),
            (Some(_), others) => bail!(
                "{} keys are called {:?} on the token {:?}: name one by its id, pkcs11:token=…;id=… (`eds keys list` has it)",
                others + 1,
                named(),
                self.info.label
            ),
        }
    }

    fn public(&self, key: &KeyOf<T>) -> Result<PublicKey> {
        let public = key.public_key().map_err(|error| match error {
            TokenError::KeyGone => {
                anyhow!("the public half is not on the token: put the public key there, with the same CKA_ID")
            }
            error => self.say()(error),
        })?;
        Ok(public_key(&public)?)
    }

    /// Puts a key on the token with `make`, and signs with it once. One that cannot sign is destroyed again. Its CKA_ID is
    /// `id`, or 16 random bytes.
    fn add(
        &self,
        label: &str,
        id: Option<&[u8]>,
        make: impl FnOnce(&Self, &[u8]) -> TokenResult<()>,
    ) -> Result<(KeyUri, PublicKey)> {
        let id = new_id(id)?;
        make(self, &id).map_err(|error| self.taken(label, error))?;
        let made = self.uri(label, Some(&id));
        match probe(self.tokens.clone(), &made.to_string(), &self.pins) {
            Ok(probed) => Ok((made, probed.public)),
            Err(error) => match self.remove(&made) {
                Ok(()) => Err(error.context("the new key was destroyed again")),
                Err(left) => Err(error
                    .context(format!("the new key {made} cannot be used, and is still there ({left:#})"))),
            },
        }
    }

    /// Why no key `label` was made.
    fn taken(&self, label: &str, error: TokenError) -> anyhow::Error {
        match error {
            TokenError::Exists => anyhow!(
                "a key {label:?}, or one of this id, is on the token {:?} already, and a key is never overwritten: take \
                 another name, or `eds keys rotate`",
                self.info.label
            ),
            error => self.say()(error),
        }
    }

    /// Destroys a key that nobody uses yet.
    fn remove(&self, name: &KeyUri) -> Result<()> {
        let key = self.find(name)?;
        self.tokens.destroy_key(&self.session, &key).map_err(self.say())
    }

    fn show_new(&self, out: Output, made: &KeyUri, public: &PublicKey) -> Result<()> {
        let label = made.object.as_deref().unwrap_or_default();
        let id = made.id.as_deref().unwrap_or_default();
        let uri = self.uri(label, None).to_string();
        note(format_args!("the key's name is {uri}, its CKA_ID {}", hex::encode(id)));
        show::key(out, label, public, None, &[("uri", uri), ("id", hex::encode(id))])
    }

    fn list(&self, out: Output) -> Result<()> {
        let mut keys = Vec::new();
        for key in self.matching(None, None)? {
            let label = key.label().map_err(self.say())?;
            let id = key.id().map_err(self.say())?;
            match self.public(&key) {
                Ok(public) => keys.push((label, id, public.algorithm.name())),
                Err(error) => {
                    note(format_args!("passed over: {label:?} (id {}): {error:#}", hex::encode(id)))
                }
            }
        }
        for key in self.wrapping(None, None)? {
            let label = key.label().map_err(self.say())?;
            keys.push((label, key.id().map_err(self.say())?, KeyEncryptionKey::ALGORITHM));
        }
        keys.sort();
        let uri = |label: &str, id: &[u8]| {
            let alone = !label.is_empty() && keys.iter().filter(|(other, ..)| other == label).count() == 1;
            self.uri(label, (!alone).then_some(id)).to_string()
        };
        let listed = keys.iter().map(|(label, id, algorithm)| (label, id, algorithm, uri(label, id)));
        if out.json {
            let keys: Vec<_> = listed
                .map(|(name, id, algorithm, uri)| {
                    json!({"name": name, "algorithm": algorithm, "id": hex::encode(id), "uri": uri})
                })
                .collect();
            return out.document(&keys);
        }
        for (label, _, algorithm, uri) in listed {
            out.line(format_args!("{label}\t{algorithm}\t{uri}"))?;
        }
        Ok(())
    }

    fn rotate(&self, out: Output, name: &KeyUri, alg: Option<Algorithm>) -> Result<()> {
        let old = self.find(name)?;
        let algorithm = alg.unwrap_or(self.public(&old)?.algorithm);
        let label = old.label().map_err(self.say())?;
        if label.is_empty() {
            bail!(
                "the key has no label, so no new one can take its place: give it one with its vendor's tool"
            );
        }
        let mut retired = None;
        for n in 1..1_000_u32 {
            let name = format!("{label}.retired-{n}");
            if self.matching(Some(&name), None)?.is_empty() {
                retired = Some(name);
                break;
            }
        }
        let Some(retired) = retired else { bail!("{label:?} was rotated too often: destroy retired keys") };
        let rename = |to: &str| self.tokens.rename_key(&self.session, &old, to).map_err(self.say());
        rename(&retired)?;
        let made = self.add(&label, None, |token, id| {
            token.tokens.generate_key(&token.session, spec(algorithm), &label, id)
        });
        let (made, public) = made.map_err(|error| match rename(&label) {
            Ok(()) => error.context(format!("there is no new key; the old one is {label:?} as before")),
            Err(stuck) => error.context(format!(
                "there is no new key, and the old one is {retired:?} now ({stuck:#}): sign with it under that name"
            )),
        })?;
        note(format_args!(
            "the old key is {retired:?} now and can still sign. Hand out the new verifier key (`eds keys show --origin`): whoever \
             verifies the log has to trust both. A server that runs signs with the new key after its next start"
        ));
        self.show_new(out, &made, &public)
    }
}
