//! Any Rust token as the component that exports `pkcs11:token`, and any PIN provider.

use std::marker::PhantomData;

use secure_log_pkcs11::token as t;
use secure_log_pkcs11::token::{
    Admin as _, Key as _, KeyOf, PinProvider as _, Session as _, SessionOf, Signer as _, Slot as _,
    Tokens as _, Wrapping, WrappingKey as _,
};

use super::pin_world::exports::pkcs11::token::pin_provider as p;
use super::token_world::exports::pkcs11::token::{admin, tokens, wrapping};
use super::token_world::pkcs11::token::{pin_provider, types as w};
use super::{HasPins, HasToken};

/// The PIN provider that is plugged into a token component.
#[derive(Debug)]
pub struct ImportedPins;

impl t::PinProvider for ImportedPins {
    fn pin(&self, token_label: &str, user: t::User) -> Option<t::Zeroizing<Vec<u8>>> {
        pin_provider::get_pin(token_label, user.into()).map(t::Zeroizing::new)
    }
}

/// The exports of a token component, over the token of `H`.
pub struct TokenComponent<H>(PhantomData<H>);

/// The export of a PIN provider, over the PINs of `H`.
pub struct PinComponent<H>(PhantomData<H>);

type SlotOf<H> = <<H as HasToken>::Token as t::Tokens>::Slot;
type SignerOf<H> = <KeyOf<<H as HasToken>::Token> as t::Key>::Signer;
type WrappingKeyOf<H> = <<H as HasToken>::Token as Wrapping>::WrappingKey;

/// A slot of the token of `H`.
pub struct SlotResource<H: HasToken>(SlotOf<H>);
/// A session of the token of `H`.
pub struct SessionResource<H: HasToken>(SessionOf<H::Token>);
/// A key of the token of `H`.
pub struct KeyResource<H: HasToken>(KeyOf<H::Token>);
/// A signature that the token of `H` is making.
pub struct SignerResource<H: HasToken>(SignerOf<H>);
/// A wrapping key of the token of `H`.
pub struct WrappingKeyResource<H: HasToken>(WrappingKeyOf<H>);

impl<H: HasPins> p::Guest for PinComponent<H> {
    fn get_pin(token_label: String, user: w::User) -> Option<Vec<u8>> {
        // The generated code takes the bytes and frees them: of this copy nothing is wiped.
        H::pins().pin(&token_label, user.into()).map(|pin| pin.to_vec())
    }
}

impl<H: HasToken> tokens::Guest for TokenComponent<H> {
    type Slot = SlotResource<H>;
    type Session = SessionResource<H>;
    type Key = KeyResource<H>;
    type Signer = SignerResource<H>;

    fn list_slots() -> Result<Vec<tokens::Slot>, w::Error> {
        let slots = H::token()?.slots()?;
        Ok(slots.into_iter().map(|slot| tokens::Slot::new(SlotResource::<H>(slot))).collect())
    }

    fn find_token(label: String) -> Result<Option<tokens::Slot>, w::Error> {
        let slot = H::token()?.find_token(&label)?;
        Ok(slot.map(|slot| tokens::Slot::new(SlotResource::<H>(slot))))
    }
}

impl<H: HasToken> tokens::GuestSlot for SlotResource<H> {
    fn id(&self) -> u64 {
        self.0.id()
    }

    fn token(&self) -> Result<w::TokenInfo, w::Error> {
        Ok(self.0.info()?.into())
    }

    fn mechanisms(&self) -> Result<Vec<u32>, w::Error> {
        Ok(self.0.mechanisms()?)
    }

    fn open_session(&self, read_write: bool) -> Result<tokens::Session, w::Error> {
        Ok(tokens::Session::new(SessionResource::<H>(self.0.open_session(read_write)?)))
    }
}

impl<H: HasToken> tokens::GuestSession for SessionResource<H> {
    fn login(&self, user: w::User) -> Result<(), w::Error> {
        Ok(self.0.login(user.into())?)
    }

    fn logout(&self) -> Result<(), w::Error> {
        Ok(self.0.logout()?)
    }

    fn find_keys(&self, query: w::KeyQuery) -> Result<Vec<tokens::Key>, w::Error> {
        let keys = self.0.find_keys(&query.into())?;
        Ok(keys.into_iter().map(|key| tokens::Key::new(KeyResource::<H>(key))).collect())
    }
}

impl<H: HasToken> tokens::GuestKey for KeyResource<H> {
    fn label(&self) -> Result<String, w::Error> {
        Ok(self.0.label()?)
    }

    fn id(&self) -> Result<Vec<u8>, w::Error> {
        Ok(self.0.id()?)
    }

    fn key_type(&self) -> Result<w::KeyType, w::Error> {
        Ok(self.0.key_type()?.into())
    }

    fn public_key(&self) -> Result<w::PublicKey, w::Error> {
        Ok(self.0.public_key()?.into())
    }

    fn sign(&self, mechanism: w::Mechanism, data: Vec<u8>) -> Result<Vec<u8>, w::Error> {
        Ok(self.0.sign(mechanism.into(), &data)?)
    }

    fn sign_init(&self, mechanism: w::Mechanism) -> Result<tokens::Signer, w::Error> {
        Ok(tokens::Signer::new(SignerResource::<H>(self.0.sign_init(mechanism.into())?)))
    }
}

impl<H: HasToken> tokens::GuestSigner for SignerResource<H> {
    fn update(&self, data: Vec<u8>) -> Result<(), w::Error> {
        Ok(self.0.update(&data)?)
    }

    fn finish(this: tokens::Signer) -> Result<Vec<u8>, w::Error> {
        Ok(this.into_inner::<Self>().0.finish()?)
    }
}

impl<H: HasToken> wrapping::Guest for TokenComponent<H> {
    type WrappingKey = WrappingKeyResource<H>;

    fn find_wrapping_keys(
        on: tokens::SessionBorrow<'_>,
        query: w::KeyQuery,
    ) -> Result<Vec<wrapping::WrappingKey>, w::Error> {
        let session = &on.get::<SessionResource<H>>().0;
        let keys = H::token()?.find_wrapping_keys(session, &query.into())?;
        Ok(keys.into_iter().map(|key| wrapping::WrappingKey::new(WrappingKeyResource::<H>(key))).collect())
    }
}

impl<H: HasToken> wrapping::GuestWrappingKey for WrappingKeyResource<H> {
    fn label(&self) -> Result<String, w::Error> {
        Ok(self.0.label()?)
    }

    fn id(&self) -> Result<Vec<u8>, w::Error> {
        Ok(self.0.id()?)
    }

    fn wrap(&self, key: Vec<u8>, context: Vec<u8>) -> Result<Vec<u8>, w::Error> {
        let key = t::Zeroizing::new(key);
        Ok(self.0.wrap(&key, &context)?)
    }

    fn unwrap(&self, wrapped: Vec<u8>, context: Vec<u8>) -> Result<Vec<u8>, w::Error> {
        Ok(self.0.unwrap(&wrapped, &context)?.to_vec())
    }

    fn destroy(&self) -> Result<(), w::Error> {
        Ok(self.0.destroy()?)
    }
}

impl<H: HasToken> admin::Guest for TokenComponent<H> {
    fn init_token(label: String) -> Result<tokens::Slot, w::Error> {
        Ok(tokens::Slot::new(SlotResource::<H>(H::token()?.init_token(&label)?)))
    }

    fn generate_key(
        on: tokens::SessionBorrow<'_>,
        spec: admin::KeySpec,
        label: String,
        id: Vec<u8>,
    ) -> Result<(), w::Error> {
        let session = &on.get::<SessionResource<H>>().0;
        Ok(H::token()?.generate_key(session, spec.into(), &label, &id)?)
    }

    fn import_key(
        on: tokens::SessionBorrow<'_>,
        key: admin::PrivateKey,
        label: String,
        id: Vec<u8>,
    ) -> Result<(), w::Error> {
        let session = &on.get::<SessionResource<H>>().0;
        Ok(H::token()?.import_key(session, &key.into(), &label, &id)?)
    }

    fn rename_key(
        on: tokens::SessionBorrow<'_>,
        key: tokens::KeyBorrow<'_>,
        label: String,
    ) -> Result<(), w::Error> {
        let (session, key) = (&on.get::<SessionResource<H>>().0, &key.get::<KeyResource<H>>().0);
        Ok(H::token()?.rename_key(session, key, &label)?)
    }

    fn destroy_key(on: tokens::SessionBorrow<'_>, key: tokens::KeyBorrow<'_>) -> Result<(), w::Error> {
        let (session, key) = (&on.get::<SessionResource<H>>().0, &key.get::<KeyResource<H>>().0);
        Ok(H::token()?.destroy_key(session, key)?)
    }
}
