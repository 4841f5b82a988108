//! Making keys: both halves, or none.

use secure_log_pkcs11::token::{KeySpec, KeyType, Result, TokenError};

use super::Change;
use super::template::{Import, Pair, aes, trial};
use crate::attributes::Attributes;
use crate::ck::*;
use crate::functions::Rv;
use crate::mechanism::{Operation, Signing};
use crate::{key, kind};

/// What a pair signs when it is tried.
const TRIAL: [u8; 32] = *b"secure-log: is this pair one key";

pub(super) fn generate(change: &Change<'_>, spec: KeySpec, label: &str, id: &[u8]) -> Result<()> {
    let (functions, session) = (change.functions, change.session);
    let pair = match spec {
        KeySpec::Ec(curve) => Pair::ec(curve, label, id),
        KeySpec::Rsa(bits) => Pair::rsa(bits, label, id),
        KeySpec::Aes => {
            refuse_taken(change, CKO_SECRET_KEY, label, id)?;
            change.held.check()?;
            let made =
                functions.generate_key(session, &Operation::Plain(CKM_AES_KEY_GEN), &aes(label, id))?;
            return kept(change, label, &[made], check_stays(change, made));
        }
    };
    make_room(change, label, id)?;
    let (public, private) = functions.generate_pair(session, &pair.operation, &pair.public, &pair.private)?;
    kept(change, label, &[private, public], check_pair(change, pair.kind, private, public))
}

pub(super) fn import(change: &Change<'_>, pair: &Import, label: &str, id: &[u8]) -> Result<()> {
    let (functions, session) = (change.functions, change.session);
    make_room(change, label, id)?;
    // In this order: a private key that is left over can be found and destroyed.
    let private = functions.create(session, &pair.private)?;
    let public = match functions.create(session, &pair.public) {
        Ok(public) => public,
        Err(rv) => return kept(change, label, &[private], Err(rv.into())),
    };
    kept(change, label, &[private, public], check_pair(change, pair.kind, private, public))
}

/// For a pair: no private key has the label or the id, and what an interrupted making of it left is removed.
fn make_room(change: &Change<'_>, label: &str, id: &[u8]) -> Result<()> {
    remove_not_whole(change, label)?;
    refuse_taken(change, CKO_PRIVATE_KEY, label, id)?;
    remove_orphans(change, label, id)?;
    change.held.check()
}

/// Private keys of this label without what makes them keys, as an interrupted making leaves them, and their public halves.
fn remove_not_whole(change: &Change<'_>, label: &str) -> Result<()> {
    let (functions, session) = (change.functions, change.session);
    for private in change.find(&Attributes::of(CKO_PRIVATE_KEY).bytes(CKA_LABEL, label.as_bytes()))? {
        if !kind::is_not_whole(functions, session, private)? {
            continue;
        }
        let id = key::id(functions, session, private)?;
        let halves = Attributes::of(CKO_PUBLIC_KEY).bytes(CKA_ID, &id).bytes(CKA_LABEL, label.as_bytes());
        // The private half last: as long as it is there, this finds it again.
        let publics = if id.is_empty() { Vec::new() } else { change.find(&halves)? };
        for object in publics.into_iter().chain([private]) {
            change.held.check()?;
            functions.destroy(session, object)?;
        }
    }
    Ok(())
}

/// [`TokenError::Exists`] if a key of this class has the label or the id.
fn refuse_taken(change: &Change<'_>, class: CK_OBJECT_CLASS, label: &str, id: &[u8]) -> Result<()> {
    let taken = change.is_taken(class, CKA_LABEL, label.as_bytes(), None)?
        || change.is_taken(class, CKA_ID, id, None)?;
    if taken { Err(TokenError::Exists) } else { Ok(()) }
}

/// Public keys of this id without a private one would make it doubtful whose they are. Those that have the label too are
/// what an interrupted making left; others are somebody's: [`TokenError::Exists`].
fn remove_orphans(change: &Change<'_>, label: &str, id: &[u8]) -> Result<()> {
    let orphans = change.find(&Attributes::of(CKO_PUBLIC_KEY).bytes(CKA_ID, id))?;
    for orphan in &orphans {
        if key::label(change.functions, change.session, *orphan)? != label {
            return Err(TokenError::Exists);
        }
    }
    for orphan in orphans {
        change.held.check()?;
        change.functions.destroy(change.session, orphan)?;
    }
    Ok(())
}

/// The key counts as made if `checked`, and if nobody else changed the token meanwhile. If not it goes again.
fn kept(change: &Change<'_>, label: &str, made: &[CK_OBJECT_HANDLE], checked: Result<()>) -> Result<()> {
    let Err(error) = checked.and_then(|()| change.held.check()) else { return Ok(()) };
    // The check may have ended the session that it was begun with.
    let (functions, session) = change.open.current()?;
    let mut left = None;
    for object in made {
        if let Err(rv) = functions.destroy(session, *object) {
            left = Some(rv);
        }
    }
    match left {
        None => Err(error),
        Some(rv) => Err(TokenError::Unusable(format!(
            "key {label:?} was made but cannot be used ({error}), and could not be removed again ({}): destroy it",
            TokenError::from(rv)
        ))),
    }
}

/// The token keeps to it that the key never leaves.
fn check_stays(change: &Change<'_>, key: CK_OBJECT_HANDLE) -> Result<()> {
    let flag = |kind| change.functions.flag(change.session, key, kind);
    if flag(CKA_SENSITIVE)? == Some(true) && flag(CKA_EXTRACTABLE)? == Some(false) {
        Ok(())
    } else {
        Err(TokenError::Unsupported)
    }
}

/// Both halves are what they should be: the private one stays, and the public one verifies what it signs.
fn check_pair(
    change: &Change<'_>,
    kind: KeyType,
    private: CK_OBJECT_HANDLE,
    public: CK_OBJECT_HANDLE,
) -> Result<()> {
    let (functions, session) = (change.functions, change.session);
    check_stays(change, private)?;
    let of = |object| kind::of(functions, session, object);
    if of(private)? != kind || of(public)? != kind {
        return Err(TokenError::InvalidInput);
    }
    let signing = Signing::new(trial(kind), kind)?;
    let verified = try_pair(change, &signing, private, public);
    if verified.is_err() {
        change.open.renew();
    }
    if verified? { Ok(()) } else { Err(TokenError::InvalidInput) }
}

fn try_pair(
    change: &Change<'_>,
    signing: &Signing,
    private: CK_OBJECT_HANDLE,
    public: CK_OBJECT_HANDLE,
) -> std::result::Result<bool, Rv> {
    let (functions, session) = (change.functions, change.session);
    functions.sign_init(session, &signing.operation, private)?;
    let mut signature = vec![0; signing.signature_len];
    let len = functions.sign(session, &TRIAL, &mut signature)?;
    functions.verify(session, &signing.operation, public, &TRIAL, &signature[..len])
}
