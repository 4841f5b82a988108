//! Key-encryption keys on a token: AES keys.

use anyhow::{Context as _, Result, bail};
use secure_log_pkcs11::KeyUri;
use secure_log_pkcs11::token::{Admin, KeyQuery, KeySpec, TokenError, Wrapping, WrappingKey as _};

use super::{Token, new_id};
use crate::keys::{confirm, show};
use crate::output::{Output, note};

impl<T: Admin + Wrapping + Clone> Token<T> {
    pub(super) fn wrapping(&self, label: Option<&str>, id: Option<&[u8]>) -> Result<Vec<T::WrappingKey>> {
        let query = KeyQuery { label: label.map(str::to_owned), id: id.map(<[u8]>::to_vec) };
        self.tokens.find_wrapping_keys(&self.session, &query).map_err(self.say())
    }

    /// The one wrapping key that is meant.
    fn find_wrapping(&self, name: &KeyUri) -> Result<T::WrappingKey> {
        let mut keys = self.wrapping(name.object.as_deref(), name.id.as_deref())?;
        let named = || name.object.as_deref().unwrap_or("of this id");
        match (keys.pop(), keys.len()) {
            (Some(key), 0) => Ok(key),
            (None, _) => bail!(
                "there is no key-encryption key {:?} on the token {:?}: `eds keys list` names those there are",
                named(),
                self.info.label
            ),
            (Some(_), others) => bail!(
                "{} key-encryption keys are called {:?} on the token {:?}: name one by its id, pkcs11:token=…;id=… (`eds keys \
                 list` has it)",
                others + 1,
                named(),
                self.info.label
            ),
        }
    }

    /// Makes a wrapping key and wraps with it once. One that cannot do that is destroyed again.
    pub(super) fn add_wrapping(&self, out: Output, label: &str, id: Option<&[u8]>) -> Result<()> {
        let id = new_id(id)?;
        self.tokens
            .generate_key(&self.session, KeySpec::Aes, label, &id)
            .map_err(|error| self.taken(label, error))?;
        let key = self.find_wrapping(&self.uri(label, Some(&id)))?;
        let tried = key.wrap(b"probe", b"").and_then(|wrapped| key.unwrap(&wrapped, b""));
        let works = match tried {
            Ok(probe) if **probe == *b"probe" => Ok(()),
            Ok(_) => Err(TokenError::Unusable("it unwraps another key than it wrapped".into())),
            Err(error) => Err(error),
        };
        if let Err(error) = works {
            key.destroy().map_err(self.say()).context("the new key cannot wrap, and is still there")?;
            return Err(self.say()(error).context("the new key was destroyed again"));
        }
        note(format_args!(
            "without this key nobody reads what it seals: have the token backed up as its vendor says"
        ));
        self.show_wrapping(out, &key)
    }

    pub(super) fn show_wrapping(&self, out: Output, key: &T::WrappingKey) -> Result<()> {
        let label = key.label().map_err(self.say())?;
        let id = hex::encode(key.id().map_err(self.say())?);
        show::wrapping(out, &label, &[("uri", self.uri(&label, None).to_string()), ("id", id)])
    }

    /// Destroys a wrapping key for good.
    pub(super) fn destroy_wrapping(&self, uri: &KeyUri, name: &str, yes: bool) -> Result<()> {
        let key = self.find_wrapping(uri)?;
        confirm::destruction(name, yes)?;
        key.destroy().map_err(self.say())?;
        note(format_args!(
            "{name:?} is destroyed on the token {:?}. Copies of it, in backups of the token, are yours to destroy",
            self.info.label
        ));
        Ok(())
    }
}
