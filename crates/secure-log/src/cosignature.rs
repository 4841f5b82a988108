//! C2SP cosignatures: a witness's timestamped signature of a checkpoint note.
//!
//! Rules: c2sp.org/tlog-cosignature, of its two types Ed25519 `cosignature/v1` (0x04). ML-DSA-44
//! (0x06) is not known here: such lines are passed over, such keys are refused. What a
//! cosignature says: at that time, this was the largest tree of the log that the cosigner had
//! seen, and it was consistent with all that it had seen before.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::note::{CheckpointBody, Note, NoteSignature, check_key_name};
use crate::record::LOG_STREAM;
use crate::signature;
use crate::signer::{Algorithm, CheckpointSigner, PublicKey};
use crate::wire::{base64, hex4, unbase64};

/// Type of Ed25519 cosignatures, in key ids and verifier keys.
const TYPE_COSIGNATURE: u8 = 0x04;
/// Largest timestamp of a cosignature, seconds since the Unix epoch (tlog-cosignature).
pub const MAX_TIME: u64 = i64::MAX as u64;

/// A cosigner's key: its name, id and public half.
#[derive(Clone)]
pub struct CosignerKey {
    name: String,
    id: [u8; 4],
    key: PublicKey,
    raw: [u8; 32],
    verifier: signature::Verifier,
}

/// One cosignature: by whom, when, and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// Name of the cosigner.
    pub name: String,
    /// Its key id.
    pub id: [u8; 4],
    /// When it was made, seconds since the Unix epoch, by the cosigner's clock.
    pub time: u64,
    /// The Ed25519 signature.
    pub signature: [u8; 64],
}

/// The cosignatures of a note, verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cosigned {
    /// One of each trusted key that cosigned: its newest.
    pub cosignatures: Vec<Cosignature>,
    /// Signature lines by other keys, the log's own among them: not checked.
    pub unknown: u64,
}

/// The message that is signed: `cosignature/v1`, the time, then the whole text of the note with its
/// extension lines, if any, but without its signatures.
pub fn signed_message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl CosignerKey {
    /// The key of the cosigner `name`; only Ed25519 keys can be one.
    pub fn new(name: &str, key: PublicKey) -> Result<Self> {
        check_key_name("cosigner name", name)?;
        let raw = match key.algorithm {
            Algorithm::Ed25519 => key.ed25519_raw(),
            _ => None,
        };
        let raw = raw.ok_or_else(|| {
            Error::invalid(
                "cosigner key",
                format!("of {name:?}: {} key; cosignatures are by Ed25519 keys", key.algorithm.name()),
            )
        })?;
        let verifier = signature::Verifier::new(&key)
            .map_err(|e| Error::invalid("cosigner key", format!("of {name:?}: {e}")))?;
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', TYPE_COSIGNATURE])
            .chain_update(raw)
            .finalize();
        Ok(Self { name: name.to_owned(), id: [hash[0], hash[1], hash[2], hash[3]], key, raw, verifier })
    }

    /// Parses `name+hash+key` of type 0x04.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason: &str| Error::invalid("cosigner key", format!("{text:?}: {reason}"));
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("is not of the form name+hash+key"));
        };
        let data = unbase64(data).ok_or_else(|| bad("the key is not base64"))?;
        let raw = match data.split_first() {
            Some((&TYPE_COSIGNATURE, raw)) => {
                raw.try_into().map_err(|_| bad("an Ed25519 key has 32 bytes"))?
            }
            Some((0x01, _)) => {
                return Err(bad("is the key of a note signer (type 0x01); a cosigner's has type 0x04"));
            }
            Some((0x06, _)) => return Err(bad("is an ML-DSA-44 key, which is not known here")),
            _ => return Err(bad("is not a cosigner's key (type 0x04)")),
        };
        let parsed = Self::new(name, PublicKey::from_ed25519_raw(&raw))?;
        if hex4(&parsed.id) != id {
            return Err(bad("the key hash does not belong to the key"));
        }
        Ok(parsed)
    }

    /// The cosigner's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Cosigns a checkpoint's text at `time` (seconds since the Unix epoch) with the key `identity`
    /// of the keystore. Only checkpoints are cosigned, and never without a time. What the keystore
    /// gave is verified before it is returned.
    pub fn cosign(
        &self,
        signer: &mut dyn CheckpointSigner,
        identity: &str,
        text: &str,
        time: u64,
    ) -> Result<Cosignature> {
        CheckpointBody::parse(text)?;
        if time == 0 || time > MAX_TIME {
            return Err(Error::invalid(
                "time",
                format!("{time} is not a time of a cosignature (1 to {MAX_TIME} seconds)"),
            ));
        }
        let signature = signer.sign(identity, signed_message(text, time).as_bytes())?;
        let made = signature.try_into().ok().map(|signature| Cosignature {
            name: self.name.clone(),
            id: self.id,
            time,
            signature,
        });
        made.filter(|made| self.verify(text, made)).ok_or_else(|| {
            Error::Storage(format!(
                "keystore: the signature by {identity:?} does not verify under the key of the cosigner {:?}",
                self.name
            ))
        })
    }

    /// Whether the cosignature is by this key, of this checkpoint's text, at the time it bears.
    pub fn verify(&self, text: &str, cosignature: &Cosignature) -> bool {
        cosignature.name == self.name
            && cosignature.id == self.id
            && cosignature.time <= MAX_TIME
            && CheckpointBody::parse(text).is_ok()
            && self
                .verifier
                .verify(signed_message(text, cosignature.time).as_bytes(), &cosignature.signature)
                .is_ok()
    }
}

impl fmt::Display for CosignerKey {
    /// `name+hash+key`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[TYPE_COSIGNATURE][..], &self.raw].concat();
        write!(f, "{}+{}+{}", self.name, hex4(&self.id), base64(&typed))
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerKey({self})")
    }
}

impl Cosignature {
    /// Reads a signature line as one: 8 bytes of time, big-endian, then 64 bytes of signature.
    pub fn from_note_signature(line: &NoteSignature) -> Option<Self> {
        let (time, signature) = line.signature.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        let signature = signature.try_into().ok()?;
        (time <= MAX_TIME).then(|| Self { name: line.name.clone(), id: line.id, time, signature })
    }

    /// The signature line of a note.
    pub fn to_line(&self) -> String {
        let bytes = [&self.id[..], &self.time.to_be_bytes(), &self.signature].concat();
        format!("— {} {}\n", self.name, base64(&bytes))
    }
}

impl NoteSignature {
    /// The line, with its newline.
    pub fn to_line(&self) -> String {
        format!("— {} {}\n", self.name, base64(&[&self.id[..], &self.signature].concat()))
    }
}

impl Note {
    /// The note as text; the reverse of [`Note::parse`].
    pub fn to_text(&self) -> String {
        let lines: String = self.signatures.iter().map(NoteSignature::to_line).collect();
        format!("{}\n{lines}", self.text)
    }

    /// The cosignatures by trusted keys. As in [`Note::verify`], lines of unknown (name, id) pairs
    /// are passed over and a known pair that fails rejects the note; unlike there, none at all is
    /// no error.
    pub fn cosignatures<'a>(&self, trusted: impl IntoIterator<Item = &'a CosignerKey>) -> Result<Cosigned> {
        let trusted: Vec<_> = trusted.into_iter().collect();
        let mut found = Cosigned::default();
        for line in &self.signatures {
            let Some(key) = trusted.iter().find(|k| k.name == line.name && k.id == line.id) else {
                found.unknown += 1;
                continue;
            };
            let cosignature = Cosignature::from_note_signature(line).filter(|c| key.verify(&self.text, c));
            let cosignature = cosignature.ok_or_else(|| {
                let who = format!("{}+{}", line.name, hex4(&line.id));
                Error::corrupt(LOG_STREAM, 0, format!("the cosignature by {who} does not verify"))
            })?;
            match found.cosignatures.iter_mut().find(|c| c.name == line.name && c.id == line.id) {
                Some(known) if known.time < cosignature.time => *known = cosignature,
                Some(_) => {}
                None => found.cosignatures.push(cosignature),
            }
        }
        Ok(found)
    }

    /// The note with these cosignatures, each in place of what stood there by the same key. They
    /// are not verified here.
    pub fn with_cosignatures(&self, cosignatures: &[Cosignature]) -> Self {
        let mut note = self.clone();
        note.signatures.retain(|s| !cosignatures.iter().any(|c| c.name == s.name && c.id == s.id));
        note.signatures.extend(cosignatures.iter().map(|c| NoteSignature {
            name: c.name.clone(),
            id: c.id,
            signature: [&c.time.to_be_bytes()[..], &c.signature].concat(),
        }));
        note
    }
}
