//! The Rust face of `pkcs11:token`. The WIT (`wit/deps/pkcs11/token.wit`) is the authority for every rule.

mod error;
mod types;

pub use error::TokenError;
pub use types::{
    Curve, EcPoint, Hash, KeyQuery, KeySpec, KeyType, Mechanism, PrivateEcKey, PrivateKey, PrivateRsaKey,
    PublicKey, RsaPublicKey, TokenInfo, User,
};
pub use zeroize::Zeroizing;

/// What the functions of a token return.
pub type Result<T> = std::result::Result<T, TokenError>;

/// Where the PIN of a token comes from (`pin-provider`).
pub trait PinProvider {
    /// The PIN of `user` for the token of this label; `None` if there is none.
    fn pin(&self, token_label: &str, user: User) -> Option<Zeroizing<Vec<u8>>>;
}

/// Tokens and the keys on them, for signing (`tokens`).
pub trait Tokens {
    /// A slot with a token in it.
    type Slot: Slot;

    /// The slots with a token in them, initialized or not.
    fn slots(&self) -> Result<Vec<Self::Slot>>;

    /// The slot whose initialized token has this label. Two of one label are [`TokenError::InvalidInput`].
    fn find_token(&self, label: &str) -> Result<Option<Self::Slot>> {
        let mut found = None;
        for slot in self.slots()? {
            let info = slot.info()?;
            if info.initialized && info.label == label && found.replace(slot).is_some() {
                return Err(TokenError::InvalidInput);
            }
        }
        Ok(found)
    }
}

/// A slot with a token in it.
pub trait Slot {
    /// A session with its token.
    type Session: Session;

    /// CK_SLOT_ID.
    fn id(&self) -> u64;
    /// What the token says of itself, now.
    fn info(&self) -> Result<TokenInfo>;
    /// The mechanisms of the token, as CK_MECHANISM_TYPE.
    fn mechanisms(&self) -> Result<Vec<u32>>;
    /// Opens a session.
    fn open_session(&self, read_write: bool) -> Result<Self::Session>;
}

/// A session. Dropped: it is closed.
pub trait Session {
    /// A private key, as this session sees it.
    type Key: Key;

    /// Logs in with the PIN of the PIN provider. Already logged in is success. Asks the token once.
    fn login(&self, user: User) -> Result<()>;
    /// Logs out, for all sessions of this token.
    fn logout(&self) -> Result<()>;
    /// The private keys that match.
    fn find_keys(&self, query: &KeyQuery) -> Result<Vec<Self::Key>>;
}

/// A private key on a token.
pub trait Key {
    /// A signature over data that comes in pieces.
    type Signer: Signer;

    /// CKA_LABEL.
    fn label(&self) -> Result<String>;
    /// CKA_ID.
    fn id(&self) -> Result<Vec<u8>>;
    /// What kind of key it is.
    fn key_type(&self) -> Result<KeyType>;
    /// The public half.
    fn public_key(&self) -> Result<PublicKey>;
    /// Signs.
    fn sign(&self, mechanism: Mechanism, data: &[u8]) -> Result<Vec<u8>>;
    /// Begins a signature in pieces. One at a time in a session, else [`TokenError::Busy`].
    fn sign_init(&self, mechanism: Mechanism) -> Result<Self::Signer>;
}

/// A signature that is being made. Dropped unfinished: it is given up.
pub trait Signer {
    /// The next piece.
    fn update(&self, data: &[u8]) -> Result<()>;
    /// The signature.
    fn finish(self) -> Result<Vec<u8>>;
}

/// The session of a token's slot.
pub type SessionOf<T> = <<T as Tokens>::Slot as Slot>::Session;
/// The key of a token's session.
pub type KeyOf<T> = <SessionOf<T> as Session>::Key;

/// Wrapping other people's keys with an AES key on the token (`wrapping`).
pub trait Wrapping: Tokens {
    /// An AES key on the token.
    type WrappingKey: WrappingKey;

    /// The wrapping keys that match.
    fn find_wrapping_keys(&self, on: &SessionOf<Self>, query: &KeyQuery) -> Result<Vec<Self::WrappingKey>>;
}

/// An AES key that wraps others: AES-256-GCM, a wrapped key is nonce (12 bytes), ciphertext, tag (16 bytes).
pub trait WrappingKey {
    /// Longest key that is wrapped, in bytes.
    const MAX_KEY: usize = 1_024;
    /// Longest context, in bytes.
    const MAX_CONTEXT: usize = 65_535;

    /// CKA_LABEL.
    fn label(&self) -> Result<String>;
    /// CKA_ID.
    fn id(&self) -> Result<Vec<u8>>;
    /// Wraps a key, bound to `context`.
    fn wrap(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>>;
    /// Unwraps what [`wrap`](Self::wrap) gave, for the same context.
    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>>;
    /// Destroys the key, which takes a read-write session.
    fn destroy(&self) -> Result<()>;
}

/// Provisioning (`admin`). One instance at a time changes a token; another gets [`TokenError::Locked`].
pub trait Admin: Tokens {
    /// Initializes the first token that is not yet. Label: 1 to 32 bytes. Both PINs come from the PIN provider.
    fn init_token(&self, label: &str) -> Result<Self::Slot>;
    /// Makes a key: sensitive, not extractable. The session is read-write and logged in.
    /// Label: 1 to 255 bytes; id: 1 to 64 bytes.
    fn generate_key(&self, on: &SessionOf<Self>, spec: KeySpec, label: &str, id: &[u8]) -> Result<()>;
    /// Puts a private key on the token, as [`generate_key`](Self::generate_key) makes them.
    fn import_key(&self, on: &SessionOf<Self>, key: &PrivateKey, label: &str, id: &[u8]) -> Result<()>;
    /// Gives both halves of a key another label.
    fn rename_key(&self, on: &SessionOf<Self>, key: &KeyOf<Self>, label: &str) -> Result<()>;
    /// Destroys both halves of a key.
    fn destroy_key(&self, on: &SessionOf<Self>, key: &KeyOf<Self>) -> Result<()>;
}
