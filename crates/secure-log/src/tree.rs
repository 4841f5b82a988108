//! Merkle trees of RFC 6962 §2.1 (RFC 9162 §2.1) over SHA-256.
//!
//! Pure arithmetic on hashes. Where the nodes come from (memory, tiles, entries) is the caller's:
//! proofs are built over [`Nodes`].

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::model::Hash;

/// Tree algorithm, as named in stored data.
pub const TREE_ALG: &str = "rfc6962-sha256";

/// Hash of a leaf: SHA-256(0x00 ‖ data).
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// Where the nodes of a tree come from.
pub trait Nodes {
    /// Root of the complete subtree over leaves `index · 2^level` to `(index + 1) · 2^level − 1`.
    fn node(&mut self, level: u8, index: u64) -> Result<Hash>;
}

/// Largest power of two smaller than `n` (`n` ≥ 2).
fn split_point(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// Root over leaves `from` to `to − 1`, where `from` is a multiple of every power of two that the
/// range splits at (as in proofs).
fn range_root(nodes: &mut dyn Nodes, from: u64, to: u64) -> Result<Hash> {
    let n = to - from;
    if n == 0 {
        return Ok(empty_root());
    }
    if n.is_power_of_two() {
        let level = n.trailing_zeros() as u8;
        return nodes.node(level, from >> level);
    }
    let middle = from + split_point(n);
    let left = range_root(nodes, from, middle)?;
    let right = range_root(nodes, middle, to)?;
    Ok(node_hash(&left, &right))
}

/// Root of the first `size` leaves.
pub fn root(nodes: &mut dyn Nodes, size: u64) -> Result<Hash> {
    range_root(nodes, 0, size)
}

/// `PATH(index, D[size])` of RFC 6962 §2.1.1, leaf sibling first. `index < size`.
pub fn inclusion_path(nodes: &mut dyn Nodes, index: u64, size: u64) -> Result<Vec<Hash>> {
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    while to - from > 1 {
        let middle = from + split_point(to - from);
        if index < middle {
            path.push(range_root(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range_root(nodes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// `PROOF(from_size, D[to_size])` of RFC 6962 §2.1.2. Empty for equal sizes and for `from_size` 0.
pub fn consistency_path(nodes: &mut dyn Nodes, from_size: u64, to_size: u64) -> Result<Vec<Hash>> {
    if from_size == 0 || from_size >= to_size {
        return Ok(Vec::new());
    }
    let (mut from, mut to) = (0, to_size);
    let mut path = Vec::new();
    // The subtree in question always begins at `from`; it is a node of the old tree once it ends
    // where the old tree ends.
    while to != from_size {
        let middle = from + split_point(to - from);
        if from_size <= middle {
            path.push(range_root(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range_root(nodes, from, middle)?);
            from = middle;
        }
    }
    if from != 0 {
        path.push(range_root(nodes, from, to)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` leads from `leaf` at `index` to `root` of a tree of `size` leaves
/// (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    climb(leaf, index, size, path, |_| ()) == Some(*root)
}

/// One step up a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The hash beside.
    pub sibling: Hash,
    /// Whether it stands on the left.
    pub left: bool,
    /// What both give.
    pub parent: Hash,
}

/// Where `path` leads from `leaf` at `index` in a tree of `size` leaves, telling each step; `None` if it has another
/// length than such a path.
pub fn climb(leaf: &Hash, index: u64, size: u64, path: &[Hash], mut tell: impl FnMut(Step)) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut fnode, mut snode) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if snode == 0 {
            return None;
        }
        let left = fnode & 1 == 1 || fnode == snode;
        if left {
            hash = node_hash(sibling, &hash);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        tell(Step { sibling: *sibling, left, parent: hash });
        fnode >>= 1;
        snode >>= 1;
    }
    (snode == 0).then_some(hash)
}

/// Whether `path` shows that the tree (`from_size`, `from_root`) is a prefix of (`to_size`,
/// `to_root`) (RFC 9162 §2.1.4.2). From size 0 the path must be empty and the root the empty one.
pub fn verify_consistency(
    from_size: u64,
    to_size: u64,
    path: &[Hash],
    from_root: &Hash,
    to_root: &Hash,
) -> bool {
    if from_size > to_size {
        return false;
    }
    if from_size == to_size {
        return path.is_empty() && from_root == to_root;
    }
    if from_size == 0 {
        return path.is_empty() && *from_root == empty_root();
    }
    let mut rest = path.iter();
    let (mut fnode, mut snode) = (from_size - 1, to_size - 1);
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    // Where the old tree is a complete subtree its root is not repeated in the path.
    let first = match fnode {
        0 => Some(from_root),
        _ => rest.next(),
    };
    let Some(first) = first else { return false };
    let (mut from_hash, mut to_hash) = (*first, *first);
    for sibling in rest {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            from_hash = node_hash(sibling, &from_hash);
            to_hash = node_hash(sibling, &to_hash);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            to_hash = node_hash(&to_hash, sibling);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    snode == 0 && from_hash == *from_root && to_hash == *to_root
}

/// The tree as it grows: one complete subtree per set bit of the size (a compact range).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, largest first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Root of the tree so far.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// Leaf hashes in memory: a tree for tests and small jobs.
impl Nodes for &[Hash] {
    fn node(&mut self, level: u8, index: u64) -> Result<Hash> {
        let out =
            || crate::Error::invalid("node", format!("level {level} index {index} is outside of the tree"));
        let from = index.checked_shl(u32::from(level)).ok_or_else(out)?;
        let leaves = usize::try_from(from)
            .ok()
            .zip(1usize.checked_shl(u32::from(level)))
            .and_then(|(from, n)| self.get(from..from.checked_add(n)?))
            .ok_or_else(out)?;
        Ok(subtree_root(leaves))
    }
}

/// Root over nodes of one level, all complete but perhaps the last (RFC 6962 MTH without leaf hashing).
pub(crate) fn subtree_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(split_point(more.len() as u64) as usize);
            node_hash(&subtree_root(left), &subtree_root(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// The definition of RFC 6962 §2.1, literally.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            more => {
                let k = more.len().next_power_of_two() / 2;
                node_hash(&mth(&more[..k]), &mth(&more[k..]))
            }
        }
    }

    #[test]
    fn known_answers() {
        let hex = |h: Hash| h.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(
            hex(leaf_hash(b"L123456")),
            "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
        );
    }

    #[test]
    fn frontier_and_nodes_agree_with_the_definition() {
        let all = leaves(300);
        let mut frontier = Frontier::default();
        for n in 0..=all.len() {
            assert_eq!(frontier.root(), mth(&all[..n]));
            assert_eq!(root(&mut &all[..], n as u64).unwrap(), mth(&all[..n]));
            if let Some(leaf) = all.get(n) {
                frontier.push(*leaf);
            }
        }
    }

    #[test]
    fn every_proof_of_small_trees_holds_and_no_other() {
        let all = leaves(40);
        let roots: Vec<Hash> = (0..=40).map(|n| mth(&all[..n])).collect();
        for size in 1..=40u64 {
            let root = roots[size as usize];
            for index in 0..size {
                let path = inclusion_path(&mut &all[..], index, size).unwrap();
                let leaf = &all[index as usize];
                assert!(verify_inclusion(leaf, index, size, &path, &root));
                assert!(!verify_inclusion(&all[(index as usize + 1) % 40], index, size, &path, &root));
                assert!(index == 0 || !verify_inclusion(leaf, index - 1, size, &path, &root));
                assert!(!verify_inclusion(leaf, index, size, &path, &roots[size as usize - 1]));
                let mut longer = path.clone();
                longer.push(root);
                assert!(!verify_inclusion(leaf, index, size, &longer, &root));
                if !path.is_empty() {
                    assert!(!verify_inclusion(leaf, index, size, &path[1..], &root));
                }
            }
            for from in 0..=size {
                let path = consistency_path(&mut &all[..], from, size).unwrap();
                let old = roots[from as usize];
                assert!(verify_consistency(from, size, &path, &old, &root), "{from} -> {size}");
                if from != size && from != 0 {
                    assert!(!verify_consistency(from, size, &path, &root, &root));
                    assert!(!verify_consistency(from, size, &path, &old, &old));
                    assert!(!verify_consistency(from, size, &path[1..], &old, &root));
                }
            }
        }
        assert!(!verify_consistency(5, 3, &[], &roots[5], &roots[3]));
        assert!(!verify_inclusion(&all[0], 0, 0, &[], &roots[0]));
    }

    #[test]
    fn hostile_sizes_end() {
        let h = [1; 32];
        for path in [&[][..], &[h; 64], &[h; 200]] {
            assert!(!verify_inclusion(&h, u64::MAX - 1, u64::MAX, path, &h));
            assert!(!verify_consistency(1, u64::MAX, path, &h, &h));
            assert!(!verify_consistency(u64::MAX - 1, u64::MAX, path, &h, &h));
        }
    }
}
