//! The tree against other people's implementations and vectors.
//!
//! The vectors are transparency-dev/merkle's; `SECURE_LOG_VECTORS` names the folder that holds them.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod tiles;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use secure_log::model::Hash;
use secure_log::tree::{self, Frontier, Nodes as _, leaf_hash};
use sha2::Sha256;
use tlog_tiles::tlog;

fn data(i: u64) -> Vec<u8> {
    i.to_be_bytes().repeat(1 + i as usize % 5)
}

/// Compares roots and proofs of all small trees with ct-merkle.
#[test]
fn agrees_with_ct_merkle() {
    let leaves: Vec<Hash> = (0..70).map(|i| leaf_hash(&data(i))).collect();
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut ours = Frontier::default();
    for size in 0..=70u64 {
        let root = theirs.root();
        assert_eq!(ours.root()[..], root.as_bytes()[..], "root at {size}");
        for index in 0..size {
            let path = tree::inclusion_path(&mut &leaves[..], index, size).unwrap();
            let proof = theirs.prove_inclusion(index as usize);
            assert_eq!(path.concat(), proof.as_bytes(), "inclusion of {index} in {size}");
            root.verify_inclusion(&data(index), index, &proof).unwrap();
            assert!(tree::verify_inclusion(&leaves[index as usize], index, size, &path, &ours.root()));
        }
        for from in 1..size {
            let path = tree::consistency_path(&mut &leaves[..], from, size).unwrap();
            let proof = theirs.prove_consistency((size - from) as usize);
            assert_eq!(path.concat(), proof.as_bytes(), "consistency {from} to {size}");
        }
        theirs.push(data(size));
        ours.push(leaf_hash(&data(size)));
    }
}

struct Stored(Vec<tlog::Hash>);

impl tlog::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|i| self.0[*i as usize]).collect())
    }
}

/// The same with tlog_tiles, at sizes around tile borders.
#[test]
fn agrees_with_tlog_tiles() {
    let mut stored = Stored(Vec::new());
    let mut leaves = Vec::new();
    let mut ours = Frontier::default();
    for i in 0..600 {
        let new = tlog::stored_hashes(i, &data(i), &stored).unwrap();
        stored.0.extend(new);
        leaves.push(leaf_hash(&data(i)));
        ours.push(leaf_hash(&data(i)));
        let size = i + 1;
        if ![1, 2, 3, 255, 256, 257, 511, 512, 513, 600].contains(&size) {
            continue;
        }
        let theirs = tlog::tree_hash(size, &stored).unwrap();
        assert_eq!(ours.root(), theirs.0, "root at {size}");
        for index in [0, size / 3, size / 2, size - 1] {
            let path = tree::inclusion_path(&mut &leaves[..], index, size).unwrap();
            let proof = tlog::prove_record(size, index, &stored).unwrap();
            assert_eq!(path, proof.iter().map(|h| h.0).collect::<Vec<_>>(), "inclusion of {index} in {size}");
        }
        for from in [1, size / 3, size / 2, size - 1].into_iter().filter(|n| *n > 0 && *n < size) {
            let path = tree::consistency_path(&mut &leaves[..], from, size).unwrap();
            let proof = tlog::prove_tree(size, from, &stored).unwrap();
            assert_eq!(path, proof.iter().map(|h| h.0).collect::<Vec<_>>(), "consistency {from} to {size}");
        }
    }
}

fn vectors(name: &str) -> Option<Vec<serde_json::Value>> {
    let Some(folder) = std::env::var_os("SECURE_LOG_VECTORS") else {
        eprintln!("SKIPPED: set SECURE_LOG_VECTORS to the folder that holds {name}");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Some(serde_json::from_str(&text).unwrap())
}

/// A hash as the vectors write it; `None` where it is not 32 bytes, which a reader refuses.
fn hash(value: &serde_json::Value) -> Option<Hash> {
    BASE64.decode(value.as_str().unwrap_or_default()).unwrap().try_into().ok()
}

fn path(value: &serde_json::Value) -> Option<Vec<Hash>> {
    value.as_array().map_or(Some(Vec::new()), |hashes| hashes.iter().map(hash).collect())
}

#[test]
fn inclusion_vectors() {
    let Some(cases) = vectors("rfc6962-inclusion.json") else { return };
    assert_eq!(cases.len(), 98);
    for case in &cases {
        let holds = (|| {
            Some(tree::verify_inclusion(
                &hash(&case["leafHash"])?,
                case["leafIdx"].as_u64()?,
                case["treeSize"].as_u64()?,
                &path(&case["proof"])?,
                &hash(&case["root"])?,
            ))
        })();
        assert_eq!(holds.unwrap_or(false), !case["wantErr"].as_bool().unwrap(), "{}", case["name"]);
    }
}

#[test]
fn consistency_vectors() {
    let Some(cases) = vectors("rfc6962-consistency.json") else { return };
    assert_eq!(cases.len(), 98);
    for case in &cases {
        let sizes = (case["size1"].as_u64().unwrap(), case["size2"].as_u64().unwrap());
        let hashes = hash(&case["root1"]).zip(hash(&case["root2"])).zip(path(&case["proof"]));
        let name = case["name"].as_str().unwrap();
        let Some(((root1, root2), path)) = hashes else {
            // Hashes of another length are refused when they are read. One case means its roots as
            // placeholders and expects nothing of them.
            assert!(case["wantErr"].as_bool().unwrap() || name.contains("sizes-are-equal"), "{name}");
            continue;
        };
        let holds = tree::verify_consistency(sizes.0, sizes.1, &path, &root1, &root2);
        // From size 0 everything follows; a witness accepts it with an empty proof (C2SP
        // tlog-witness), the library that the vectors come from refuses it.
        if sizes.0 == 0 && holds {
            assert!(path.is_empty() && root1 == tree::empty_root(), "{name}");
            continue;
        }
        assert_eq!(holds, !case["wantErr"].as_bool().unwrap(), "{name}");
    }
}
