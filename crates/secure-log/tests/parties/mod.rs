//! Logs and witnesses of the tests: keys from a seed, trees from numbered leaves.

#![allow(dead_code, reason = "each test uses its part")]

pub mod running;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ed25519_dalek::{Signer, SigningKey};
use secure_log::cosignature::{Cosignature, CosignerKey};
use secure_log::model::Hash;
use secure_log::note::{CheckpointBody, VerifierKey};
use secure_log::signer::{CheckpointSigner, KeyError, PublicKey};
use sha2::Sha256;

/// One Ed25519 key, under any identity but `missing`.
pub struct Key(pub SigningKey);

pub fn seed(seed: u8) -> Key {
    Key(SigningKey::from_bytes(&[seed; 32]))
}

impl Key {
    pub fn public(&self) -> PublicKey {
        PublicKey::from_ed25519_raw(self.0.verifying_key().as_bytes())
    }
}

impl CheckpointSigner for Key {
    fn public_key(&mut self, _: &str) -> Result<PublicKey, KeyError> {
        Ok(self.public())
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match identity {
            "missing" => Err(KeyError::KeyNotFound("no key `missing`".into())),
            _ => Ok(self.0.sign(message).to_bytes().to_vec()),
        }
    }
}

/// A log: a tree of ct-merkle, and a key.
pub struct TestLog {
    pub origin: String,
    pub key: Key,
    pub tree: MemoryBackedTree<Sha256, Vec<u8>>,
    size: u64,
    salt: &'static str,
}

impl TestLog {
    pub fn new(origin: &str, seed_byte: u8) -> Self {
        Self { origin: origin.into(), key: seed(seed_byte), tree: MemoryBackedTree::new(), size: 0, salt: "" }
    }

    /// Grows to `size`; leaves differ by `salt`, so that another salt is a fork.
    pub fn grow(&mut self, size: u64) -> &mut Self {
        while self.size < size {
            self.tree.push(format!("leaf {}{}", self.size, self.salt).into_bytes());
            self.size += 1;
        }
        self
    }

    pub fn fork(mut self, salt: &'static str) -> Self {
        self.salt = salt;
        self
    }

    pub fn root(&self) -> Hash {
        self.tree.root().as_bytes()[..].try_into().unwrap()
    }

    pub fn verifier(&self) -> VerifierKey {
        VerifierKey::new(&self.origin, self.key.public()).unwrap()
    }

    /// The signed checkpoint of the tree as it is.
    pub fn checkpoint(&self) -> String {
        let body = CheckpointBody { origin: self.origin.clone(), size: self.size, root: self.root() };
        self.sign(&body.to_text())
    }

    pub fn sign(&self, text: &str) -> String {
        let signature = self.key.0.sign(text.as_bytes()).to_bytes();
        format!("{text}\n{}", self.verifier().signature_line(&signature).unwrap())
    }

    /// ct-merkle's proof from an earlier size to now.
    pub fn proof_from(&self, from: u64) -> Vec<Hash> {
        if from == 0 || from == self.size {
            return Vec::new();
        }
        let proof = self.tree.prove_consistency((self.size - from) as usize);
        proof.as_bytes().chunks(32).map(|h| h.try_into().unwrap()).collect()
    }
}

pub fn cosigner(name: &str, seed_byte: u8) -> CosignerKey {
    CosignerKey::new(name, seed(seed_byte).public()).unwrap()
}

/// A cosignature of a note's text by the key of that seed.
pub fn cosign(name: &str, seed_byte: u8, text: &str, time: u64) -> Cosignature {
    cosigner(name, seed_byte).cosign(&mut seed(seed_byte), "key", text, time).unwrap()
}
