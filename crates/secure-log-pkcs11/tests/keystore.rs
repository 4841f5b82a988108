//! What the keystore does when a token behaves as real ones seldom do on demand. With real tokens it is tested where
//! those are: in `crates/secure-log-token`, `crates/secure-log-host` and the harness.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ed25519_dalek::{Signer as _, SigningKey};
use secure_log::signature::verify;
use secure_log::signer::{CheckpointSigner as _, KeyError};
use secure_log_pkcs11::Pkcs11Keystore;
use secure_log_pkcs11::token::{
    Curve, EcPoint, Key, KeyQuery, KeyType, Mechanism, PublicKey, Result, Session, Signer, Slot, TokenError,
    TokenInfo, Tokens, User,
};

const CKM_EDDSA: u32 = 0x1057;

/// Tokens that do as they are told, and count.
#[derive(Default)]
struct World {
    tokens: RefCell<Vec<Token>>,
    /// What logins answer.
    login: RefCell<Option<TokenError>>,
    /// What the next signatures answer, the last one first.
    sign: RefCell<Vec<TokenError>>,
    logins: Cell<u32>,
    sessions: Cell<u32>,
    closed: Cell<u32>,
}

#[derive(Clone)]
struct Token {
    label: &'static str,
    initialized: bool,
    mechanisms: Vec<u32>,
    keys: Vec<FakeKey>,
}

#[derive(Clone)]
struct FakeKey {
    label: &'static str,
    secret: [u8; 32],
    public: std::result::Result<PublicKey, TokenError>,
    kind: KeyType,
}

fn ed25519(seed: u8) -> PublicKey {
    let point = SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes().to_vec();
    PublicKey::Ec(EcPoint { curve: Curve::Ed25519, point })
}

fn key(label: &'static str, seed: u8) -> FakeKey {
    FakeKey { label, secret: [seed; 32], public: Ok(ed25519(seed)), kind: KeyType::Ec(Curve::Ed25519) }
}

fn token(label: &'static str, keys: Vec<FakeKey>) -> Token {
    Token { label, initialized: true, mechanisms: vec![CKM_EDDSA], keys }
}

struct Handle(Rc<World>, usize);
struct OpenSession(Rc<World>, usize);
struct KeyHandle(Rc<World>, FakeKey);
struct Never;

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.closed.set(self.0.closed.get() + 1);
    }
}

struct Fake(Rc<World>);

impl Tokens for Fake {
    type Slot = Handle;
    fn slots(&self) -> Result<Vec<Handle>> {
        Ok((0..self.0.tokens.borrow().len()).map(|i| Handle(self.0.clone(), i)).collect())
    }
}

impl Slot for Handle {
    type Session = OpenSession;
    fn id(&self) -> u64 {
        self.1 as u64
    }
    fn info(&self) -> Result<TokenInfo> {
        let token = &self.0.tokens.borrow()[self.1];
        Ok(TokenInfo {
            label: token.label.into(),
            manufacturer: "fake".into(),
            model: "fake".into(),
            serial: self.1.to_string(),
            initialized: token.initialized,
            user_pin_initialized: true,
            user_pin_locked: false,
            login_required: true,
            protected_authentication: false,
            write_protected: false,
        })
    }
    fn mechanisms(&self) -> Result<Vec<u32>> {
        Ok(self.0.tokens.borrow()[self.1].mechanisms.clone())
    }
    fn open_session(&self, read_write: bool) -> Result<OpenSession> {
        assert!(!read_write, "signing needs no session that can write");
        self.0.sessions.set(self.0.sessions.get() + 1);
        Ok(OpenSession(self.0.clone(), self.1))
    }
}

impl Session for OpenSession {
    type Key = KeyHandle;
    fn login(&self, user: User) -> Result<()> {
        assert_eq!(user, User::Normal);
        self.0.logins.set(self.0.logins.get() + 1);
        self.0.login.borrow().clone().map_or(Ok(()), Err)
    }
    fn logout(&self) -> Result<()> {
        Ok(())
    }
    fn find_keys(&self, query: &KeyQuery) -> Result<Vec<KeyHandle>> {
        let keys = self.0.tokens.borrow()[self.1].keys.clone();
        let fits = |key: &FakeKey| query.label.as_ref().is_none_or(|label| label == key.label);
        Ok(keys.into_iter().filter(fits).map(|key| KeyHandle(self.0.clone(), key)).collect())
    }
}

impl Key for KeyHandle {
    type Signer = Never;
    fn label(&self) -> Result<String> {
        Ok(self.1.label.into())
    }
    fn id(&self) -> Result<Vec<u8>> {
        Ok(vec![1])
    }
    fn key_type(&self) -> Result<KeyType> {
        Ok(self.1.kind)
    }
    fn public_key(&self) -> Result<PublicKey> {
        self.1.public.clone()
    }
    fn sign(&self, mechanism: Mechanism, data: &[u8]) -> Result<Vec<u8>> {
        assert_eq!(mechanism, Mechanism::Eddsa);
        match self.0.sign.borrow_mut().pop() {
            Some(error) => Err(error),
            None => Ok(SigningKey::from_bytes(&self.1.secret).sign(data).to_bytes().to_vec()),
        }
    }
    fn sign_init(&self, _: Mechanism) -> Result<Never> {
        Err(TokenError::Unsupported)
    }
}

impl Signer for Never {
    fn update(&self, _: &[u8]) -> Result<()> {
        Err(TokenError::Unsupported)
    }
    fn finish(self) -> Result<Vec<u8>> {
        Err(TokenError::Unsupported)
    }
}

fn keystore(tokens: Vec<Token>) -> (Rc<World>, Pkcs11Keystore<Fake>) {
    let world = Rc::new(World { tokens: RefCell::new(tokens), ..World::default() });
    (world.clone(), Pkcs11Keystore::new(Fake(world)))
}

fn one() -> (Rc<World>, Pkcs11Keystore<Fake>) {
    keystore(vec![token("prod", vec![key("audit", 1), key("other", 2)])])
}

#[test]
fn one_login_serves_all_signatures() {
    let (world, mut keystore) = one();
    for i in 0..100_u32 {
        let (identity, seed) = if i % 2 == 0 { ("audit", 1) } else { ("pkcs11:token=prod;object=other", 2) };
        let message = i.to_le_bytes();
        let signature = keystore.sign(identity, &message).unwrap();
        let public = keystore.public_key(identity).unwrap();
        assert_eq!(
            Some(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()),
            public.ed25519_raw()
        );
        verify(&public, &message, &signature).unwrap();
    }
    assert_eq!((world.logins.get(), world.sessions.get()), (1, 1));
    drop(keystore);
    assert_eq!(world.closed.get(), 1);
}

#[test]
fn a_refused_pin_is_not_tried_again() {
    for error in
        [TokenError::PinIncorrect, TokenError::PinLocked, TokenError::PinExpired, TokenError::PinInvalid]
    {
        let (world, mut keystore) = one();
        *world.login.borrow_mut() = Some(error);
        for attempt in 0..20 {
            // Whatever name of a key on the token it is.
            let identity = ["audit", "other", "pkcs11:object=audit", "missing"][attempt % 4];
            let refused = keystore.sign(identity, b"m").unwrap_err();
            assert!(matches!(&refused, KeyError::Denied(text) if text.contains("PIN")), "{refused}");
            assert!(matches!(keystore.public_key(identity), Err(KeyError::Denied(_))));
        }
        assert_eq!(world.logins.get(), 1);
        // A session whose login failed is not left open.
        assert_eq!(world.closed.get(), world.sessions.get());
    }
}

#[test]
fn what_is_not_the_pins_fault_may_be_tried_again() {
    let (world, mut keystore) = one();
    for error in [TokenError::Device(0x30), TokenError::PinUnavailable] {
        *world.login.borrow_mut() = Some(error);
        keystore.sign("audit", b"m").unwrap_err();
    }
    *world.login.borrow_mut() = None;
    keystore.sign("audit", b"m").unwrap();
}

#[test]
fn a_lost_session_is_opened_again_once() {
    for error in
        [TokenError::SessionClosed, TokenError::NotLoggedIn, TokenError::KeyGone, TokenError::TokenAbsent]
    {
        let (world, mut keystore) = one();
        keystore.sign("audit", b"m").unwrap();
        world.sign.borrow_mut().push(error.clone());
        keystore.sign("audit", b"m").unwrap();
        assert_eq!(world.logins.get(), 2);
        // Twice in a row is an answer.
        world.sign.borrow_mut().extend([error.clone(), error]);
        keystore.sign("audit", b"m").unwrap_err();
        assert_eq!(world.logins.get(), 3);
        keystore.sign("audit", b"m").unwrap();
    }
}

#[test]
fn a_pin_that_was_changed_meanwhile_is_tried_once() {
    let (world, mut keystore) = one();
    keystore.sign("audit", b"m").unwrap();
    world.sign.borrow_mut().push(TokenError::NotLoggedIn);
    *world.login.borrow_mut() = Some(TokenError::PinIncorrect);
    for _ in 0..5 {
        assert!(matches!(keystore.sign("audit", b"m"), Err(KeyError::Denied(_))));
    }
    assert_eq!(world.logins.get(), 2);
}

#[test]
fn a_name_must_mean_one_key_on_one_token() {
    let twice = vec![key("audit", 1), key("audit", 2)];
    let (_, mut keystore) = keystore(vec![token("prod", twice), token("spare", vec![key("audit", 3)])]);
    let text = |result: std::result::Result<Vec<u8>, KeyError>| match result {
        Err(KeyError::Invalid(text) | KeyError::KeyNotFound(text) | KeyError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(text(keystore.sign("audit", b"m")).contains(r#"several tokens match ("prod", "spare")"#));
    assert!(text(keystore.sign("pkcs11:token=prod;object=audit", b"m")).contains("2 private keys match"));
    assert!(text(keystore.sign("pkcs11:token=none;object=audit", b"m")).contains("no token matches"));
    assert!(text(keystore.sign("pkcs11:token=spare;object=none", b"m")).contains("no private key matches"));
    keystore.sign("pkcs11:token=spare;object=audit", b"m").unwrap();
    keystore.sign("pkcs11:serial=1;object=audit", b"m").unwrap();
    let blank = Token { initialized: false, ..token("", Vec::new()) };
    let (_, mut keystore) = self::keystore(vec![blank]);
    assert!(text(keystore.sign("audit", b"m")).contains("no initialized token"));
}

#[test]
fn keys_that_cannot_sign_checkpoints_are_refused() {
    let p384 = PublicKey::Ec(EcPoint { curve: Curve::P384, point: vec![4; 97] });
    let cases = [
        (FakeKey { public: Ok(p384), ..key("k", 1) }, "P-384; usable are"),
        (FakeKey { public: Err(TokenError::KeyGone), ..key("k", 1) }, "public half is not on the token"),
        (
            FakeKey {
                public: Ok(PublicKey::Ec(EcPoint { curve: Curve::P256, point: vec![4; 65] })),
                ..key("k", 1)
            },
            "the public key on the token",
        ),
        (
            FakeKey {
                public: Ok(PublicKey::Ec(EcPoint { curve: Curve::Ed25519, point: vec![4; 31] })),
                ..key("k", 1)
            },
            "31 bytes",
        ),
    ];
    for (bad, part) in cases {
        let (_, mut keystore) = keystore(vec![token("prod", vec![bad])]);
        match keystore.sign("k", b"m") {
            Err(KeyError::Invalid(text)) => assert!(text.contains(part) && text.contains("\"k\""), "{text}"),
            other => panic!("{part}: {other:?}"),
        }
    }
    let (_, mut keystore) =
        keystore(vec![Token { mechanisms: vec![0x1041], ..token("prod", vec![key("k", 1)]) }]);
    assert!(matches!(keystore.sign("k", b"m"), Err(KeyError::Invalid(text)) if text.contains("mechanism")));
}

#[test]
fn halves_that_do_not_fit_are_found_out_at_the_first_signature() {
    let (_, mut keystore) =
        keystore(vec![token("prod", vec![FakeKey { public: Ok(ed25519(9)), ..key("k", 1) }])]);
    for _ in 0..2 {
        assert!(
            matches!(keystore.sign("k", b"m"), Err(KeyError::Failed(text)) if text.contains("does not verify"))
        );
    }
}

#[test]
fn many_names_of_keys_are_not_kept_for_ever() {
    let (world, mut keystore) = one();
    for i in 0..1_000 {
        keystore.sign(&format!("pkcs11:object=audit;id=%{:02x}%{:02x}", i / 256, i % 256), b"m").unwrap();
    }
    assert_eq!(world.logins.get(), 1);
}
