//! C2SP signed notes, verifier keys and checkpoint bodies.
//!
//! Rules: c2sp.org/signed-note, c2sp.org/tlog-checkpoint. Signature types: Ed25519 (0x01), ECDSA
//! (0x02, DER inside) and, for RSA-PSS, 0xff with an identifier of our own, which nobody else
//! verifies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::model::Hash;
use crate::signature;
use crate::signer::{Algorithm, PublicKey};
use crate::wire::{self, hex4};

/// Most bytes of a note that are looked at.
pub const MAX_NOTE: usize = 1 << 20;
/// Most signatures of a note that are looked at; C2SP asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

const TYPE_ED25519: u8 = 0x01;
const TYPE_ECDSA: u8 = 0x02;
const TYPE_OTHER: u8 = 0xff;
/// What follows 0xff for RSA-PSS keys (RSASSA-PSS, SHA-256, MGF1-SHA-256, salt 32).
const RSA_PSS_ID: &[u8] = b"secure-log/rsa-pss-sha256";

fn bad(reason: impl Into<String>) -> Error {
    Error::invalid("note", reason)
}

/// Checks a key name (signed-note: not empty, no white space, no `+`), which is also what an
/// origin must be here, since a log's keys carry its origin as their name.
pub fn check_key_name(field: &str, name: &str) -> Result<()> {
    crate::header::check_name(field, name)?;
    if name.chars().any(|c| c.is_whitespace() || c == '+') {
        return Err(Error::invalid(field, "must hold neither white space nor `+` (C2SP signed-note)"));
    }
    if name.len() > 255 {
        return Err(Error::invalid(field, format!("{} bytes; at most 255", name.len())));
    }
    Ok(())
}

/// A key whose signatures count: its name, id and public half.
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: PublicKey,
    verifier: signature::Verifier,
}

impl VerifierKey {
    /// The verifier key of a public key under `name`.
    pub fn new(name: &str, key: PublicKey) -> Result<Self> {
        check_key_name("key name", name)?;
        let verifier = signature::Verifier::new(&key)
            .map_err(|e| Error::invalid("public key", format!("of {name:?}: {e}")))?;
        let typed = typed_key(&key)?;
        let id = match key.algorithm {
            Algorithm::EcdsaP256 => first4(Sha256::digest(&key.spki_der).into()),
            _ => first4(
                Sha256::new().chain_update(name).chain_update(b"\n").chain_update(&typed).finalize().into(),
            ),
        };
        Ok(Self { name: name.to_owned(), id, key, verifier })
    }

    /// Parses `name+hash+key`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason: &str| Error::invalid("verifier key", format!("{text:?}: {reason}"));
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("is not of the form name+hash+key"));
        };
        let data = BASE64.decode(data).map_err(|_| bad("the key is not base64"))?;
        let key = match data.split_first() {
            Some((&TYPE_ED25519, raw)) => {
                let raw = raw.try_into().map_err(|_| bad("an Ed25519 key has 32 bytes"))?;
                PublicKey::from_ed25519_raw(&raw)
            }
            Some((&TYPE_ECDSA, spki)) => PublicKey::from_spki_der(spki).map_err(|e| bad(&e.to_string()))?,
            Some((&TYPE_OTHER, rest)) => {
                let spki =
                    rest.strip_prefix(RSA_PSS_ID).ok_or_else(|| bad("a key type that is not known here"))?;
                PublicKey::from_spki_der(spki).map_err(|e| bad(&e.to_string()))?
            }
            _ => return Err(bad("a key type that is not known here")),
        };
        if typed_key(&key)? != data {
            return Err(bad("the key type and the key do not fit together"));
        }
        let parsed = Self::new(name, key)?;
        if hex4(&parsed.id) != id {
            return Err(bad("the key hash does not belong to the key"));
        }
        Ok(parsed)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Signature line of a note: what `signature` (as the keystore gave it) becomes.
    pub fn signature_line(&self, signature: &[u8]) -> Result<String> {
        let mut bytes = self.id.to_vec();
        match self.key.algorithm {
            Algorithm::EcdsaP256 => {
                let der = signature::ecdsa_raw_to_der(signature)
                    .map_err(|e| Error::Storage(format!("keystore: signature of {:?}: {e}", self.name)))?;
                bytes.extend_from_slice(&der);
            }
            _ => bytes.extend_from_slice(signature),
        }
        Ok(format!("— {} {}\n", self.name, BASE64.encode(bytes)))
    }

    fn verify(&self, text: &str, signature: &[u8]) -> bool {
        match self.key.algorithm {
            Algorithm::EcdsaP256 => signature::ecdsa_der_to_raw(signature)
                .is_ok_and(|raw| self.verifier.verify(text.as_bytes(), &raw).is_ok()),
            _ => self.verifier.verify(text.as_bytes(), signature).is_ok(),
        }
    }
}

impl std::fmt::Display for VerifierKey {
    /// `name+hash+key`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let typed = typed_key(&self.key).map_err(|_| std::fmt::Error)?;
        write!(f, "{}+{}+{}", self.name, hex4(&self.id), BASE64.encode(typed))
    }
}

impl std::fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

fn typed_key(key: &PublicKey) -> Result<Vec<u8>> {
    Ok(match key.algorithm {
        Algorithm::Ed25519 => {
            let raw = key
                .ed25519_raw()
                .ok_or_else(|| Error::invalid("public key", "is not an Ed25519 key in SPKI form"))?;
            [&[TYPE_ED25519][..], &raw].concat()
        }
        Algorithm::EcdsaP256 => [&[TYPE_ECDSA][..], &key.spki_der].concat(),
        Algorithm::RsaPssSha256 => [&[TYPE_OTHER][..], RSA_PSS_ID, &key.spki_der].concat(),
    })
}

fn first4(hash: Hash) -> [u8; 4] {
    [hash[0], hash[1], hash[2], hash[3]]
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Its key id.
    pub id: [u8; 4],
    /// What follows the key id.
    pub signature: Vec<u8>,
}

/// A parsed note. Nothing in it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text, with its final newline.
    pub text: String,
    /// The signature lines.
    pub signatures: Vec<NoteSignature>,
}

/// How many signatures of a note counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// By trusted keys, verified.
    pub trusted: u64,
    /// By keys that are not in the list: not checked.
    pub unknown: u64,
}

impl Note {
    /// Parses a signed note.
    pub fn parse(note: &str) -> Result<Self> {
        if note.len() > MAX_NOTE {
            return Err(bad(format!("is longer than {MAX_NOTE} bytes")));
        }
        if note.chars().any(|c| c != '\n' && c < ' ') {
            return Err(bad("holds control characters"));
        }
        // The signatures follow the last blank line.
        let split = note.rfind("\n\n").ok_or_else(|| bad("has no blank line before its signatures"))?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or_else(|| bad("does not end with a newline"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(bad(format!("has more than {MAX_SIGNATURES} signatures")));
            }
            let parse = || {
                let (name, data) = line.strip_prefix("— ")?.split_once(' ')?;
                check_key_name("name", name).ok()?;
                let data = BASE64.decode(data).ok()?;
                let (id, signature) = data.split_first_chunk::<4>()?;
                let signature = (!signature.is_empty()).then(|| signature.to_vec())?;
                Some(NoteSignature { name: name.to_owned(), id: *id, signature })
            };
            signatures.push(parse().ok_or_else(|| bad(format!("malformed signature line {line:?}")))?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Verifies by the trusted keys: unknown (name, id) pairs are passed over, a known pair that
    /// fails rejects the whole note, and at least one must verify (`Denied` if none is known).
    pub fn verify(&self, trusted: &[VerifierKey]) -> Result<Verified> {
        let mut verified = Verified::default();
        let mut counted: Vec<(&str, [u8; 4])> = Vec::new();
        for s in &self.signatures {
            let Some(key) = trusted.iter().find(|k| k.name == s.name && k.id == s.id) else {
                verified.unknown += 1;
                continue;
            };
            if !key.verify(&self.text, &s.signature) {
                return Err(Error::corrupt(
                    crate::record::LOG_STREAM,
                    0,
                    format!("the signature by {}+{} does not verify", s.name, hex4(&s.id)),
                ));
            }
            if !counted.contains(&(&s.name, s.id)) {
                counted.push((&s.name, s.id));
                verified.trusted += 1;
            }
        }
        if verified.trusted == 0 {
            let by: Vec<_> = self.signatures.iter().map(|s| format!("{}+{}", s.name, hex4(&s.id))).collect();
            return Err(Error::Denied(format!(
                "signed by {}, which is not among the trusted keys",
                by.join(", ")
            )));
        }
        Ok(verified)
    }
}

impl Note {
    /// [`verify`](Self::verify), and at least one of the signatures is by a key of the log itself: a
    /// key that bears its origin as name. Whoever holds the key of another log signs for that one.
    pub fn verify_origin(&self, origin: &str, trusted: &[VerifierKey]) -> Result<Verified> {
        let verified = self.verify(trusted)?;
        let own =
            |s: &NoteSignature| s.name == origin && trusted.iter().any(|k| k.name == s.name && k.id == s.id);
        if !self.signatures.iter().any(own) {
            return Err(Error::Denied(format!("no trusted key of the log {origin:?} signed it")));
        }
        Ok(verified)
    }
}

/// Body of a C2SP tlog-checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointBody {
    /// Name of the log.
    pub origin: String,
    /// Size of the tree.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl CheckpointBody {
    /// The text to sign.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// Parses the text of a note. Extension lines are accepted and ignored, as C2SP asks.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines =
            text.strip_suffix('\n').ok_or_else(|| bad("does not end with a newline"))?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(bad("a checkpoint has three lines: origin, size, root"));
        };
        if lines.any(str::is_empty) {
            return Err(bad("an extension line is empty"));
        }
        if origin.is_empty() {
            return Err(bad("the origin is empty"));
        }
        let size = wire::decimal(size)
            .ok_or_else(|| bad("the size is not a decimal number without leading zeros"))?;
        let root = wire::hash(root).ok_or_else(|| bad("the root is not base64 of 32 bytes"))?;
        if size == 0 && root != crate::tree::empty_root() {
            return Err(bad("size 0 has another root than the empty tree"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}
