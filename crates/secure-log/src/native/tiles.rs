//! The tree of a stream, read from tiles where there are some and from entries where not, and the
//! tiles as the tree grows.
//!
//! Geometry of C2SP tlog-tiles with height 8. Level 0 (leaf hashes) is never stored: it is one hash
//! away from the headers. Level L holds roots of 256^L leaves. Tiles are derived data: a missing
//! one is recomputed, and a wrong one shows in the root.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::limits::MAX_PAGE_ROWS;
use crate::model::Hash;
use crate::store::{SecureLogStore, Tile};
use crate::tree::{Nodes, leaf_hash, subtree_root};

/// Nodes of a tile.
pub(super) const WIDTH: u64 = 256;
/// Highest level that a tree of 2^63 leaves has.
const MAX_LEVEL: u8 = 8;
/// Tiles written at once.
const WRITE_TILES: usize = 64;

fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (whole, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && whole.len() as u64 <= WIDTH).then(|| whole.to_vec())
}

/// The nodes of a stream's tree.
pub(super) struct TreeReader<'a, S> {
    store: &'a mut S,
    stream_id: &'a str,
    /// Leaves that there are.
    size: u64,
    /// Whether stored tiles are used at all.
    use_tiles: bool,
    blocks: HashMap<u64, Vec<Hash>>,
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl<'a, S: SecureLogStore> TreeReader<'a, S> {
    pub(super) fn new(store: &'a mut S, stream_id: &'a str, size: u64, use_tiles: bool) -> Self {
        Self { store, stream_id, size, use_tiles, blocks: HashMap::new(), tiles: HashMap::new() }
    }

    /// Leaf hashes of a block of 256 entries (the last may be shorter).
    fn read_block(&mut self, block: u64) -> Result<Vec<Hash>> {
        let first = block * WIDTH + 1;
        let last = self.size.min(first + WIDTH - 1);
        let mut leaves = Vec::with_capacity(WIDTH as usize);
        let mut next = first;
        while next <= last {
            let limit = ((last - next + 1) as u32).min(MAX_PAGE_ROWS);
            let rows = self.store.read_rows(self.stream_id, next, limit, false)?;
            if rows.is_empty() {
                return Err(Error::corrupt(self.stream_id, next, "the entry is missing"));
            }
            for row in rows.iter().take(limit as usize) {
                if row.seqno != next {
                    return Err(Error::corrupt(self.stream_id, next, "the entry is missing"));
                }
                leaves.push(leaf_hash(&row.header));
                next += 1;
            }
        }
        Ok(leaves)
    }

    fn leaves(&mut self, block: u64) -> Result<&[Hash]> {
        if !self.blocks.contains_key(&block) {
            let leaves = self.read_block(block)?;
            self.blocks.insert(block, leaves);
        }
        Ok(self.blocks.get(&block).map_or(&[], Vec::as_slice))
    }

    /// Nodes `start` to `start + count − 1` of a level ≥ 1; they lie in one tile.
    fn tile_nodes(&mut self, level: u8, start: u64, count: u64) -> Result<Vec<Hash>> {
        let key = (level, start / WIDTH);
        if !self.tiles.contains_key(&key) {
            let stored = match self.use_tiles {
                true => self.store.read_tile(self.stream_id, level, key.1)?.and_then(|b| hashes(&b)),
                false => None,
            };
            self.tiles.insert(key, stored.unwrap_or_default());
        }
        let from = (start % WIDTH) as usize;
        let to = from + count as usize;
        loop {
            let known = self.tiles.get(&key).map_or(&[][..], Vec::as_slice);
            if let Some(nodes) = known.get(from..to) {
                return Ok(nodes.to_vec());
            }
            // Rebuild the next node from the level below.
            let index = key.1 * WIDTH + known.len() as u64;
            let node = match level {
                1 => subtree_root(&self.read_block(index)?),
                _ => subtree_root(&self.tile_nodes(level - 1, index * WIDTH, WIDTH)?),
            };
            self.tiles.entry(key).or_default().push(node);
        }
    }

    /// The stored tile at `index` of `level` with `width` nodes, rebuilt where it is missing.
    fn partial_tile(&mut self, level: u8, index: u64, width: u64) -> Result<Vec<Hash>> {
        match width {
            0 => Ok(Vec::new()),
            _ => self.tile_nodes(level, index * WIDTH, width),
        }
    }
}

impl<S: SecureLogStore> Nodes for TreeReader<'_, S> {
    fn node(&mut self, level: u8, index: u64) -> Result<Hash> {
        let (tile_level, height) = (level / 8, level % 8);
        let start = index << height;
        let count = 1u64 << height;
        if tile_level == 0 {
            let from = (start % WIDTH) as usize;
            let stream_id = self.stream_id;
            let leaves = self.leaves(start / WIDTH)?;
            let nodes = leaves
                .get(from..from + count as usize)
                .ok_or_else(|| Error::corrupt(stream_id, start + 1, "the entry is missing"))?;
            return Ok(subtree_root(nodes));
        }
        Ok(subtree_root(&self.tile_nodes(tile_level, start, count)?))
    }
}

/// A tree that grows leaf by leaf, and the tiles that become known with it.
pub(super) struct TileBuilder {
    size: u64,
    /// Leaf hashes of the last, incomplete block.
    block: Vec<Hash>,
    /// Last tile of each level ≥ 1 and whether it changed.
    levels: Vec<Level>,
    /// Complete tiles that were not taken yet.
    full: Vec<Tile>,
}

#[derive(Default)]
struct Level {
    index: u64,
    nodes: Vec<Hash>,
    changed: bool,
}

impl TileBuilder {
    pub(super) fn empty() -> Self {
        Self { size: 0, block: Vec::new(), levels: Vec::new(), full: Vec::new() }
    }

    /// The tree as it stands at `size`, from stored tiles and entries.
    pub(super) fn resume<S: SecureLogStore>(reader: &mut TreeReader<'_, S>, size: u64) -> Result<Self> {
        let mut builder = Self::empty();
        builder.size = size;
        if !size.is_multiple_of(WIDTH) {
            let block = reader.leaves(size / WIDTH)?;
            builder.block = block.get(..(size % WIDTH) as usize).unwrap_or_default().to_vec();
        }
        let mut nodes = size / WIDTH;
        let mut level = 1;
        while nodes > 0 && level <= MAX_LEVEL {
            let index = nodes / WIDTH;
            let nodes_here = reader.partial_tile(level, index, nodes % WIDTH)?;
            builder.levels.push(Level { index, nodes: nodes_here, changed: false });
            nodes /= WIDTH;
            level += 1;
        }
        Ok(builder)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn push(&mut self, leaf: Hash) {
        self.block.push(leaf);
        self.size += 1;
        if self.block.len() as u64 == WIDTH {
            let root = subtree_root(&self.block);
            self.block.clear();
            self.push_node(0, root);
        }
    }

    fn push_node(&mut self, at: usize, node: Hash) {
        if self.levels.len() == at {
            self.levels.push(Level::default());
        }
        let level = &mut self.levels[at];
        level.nodes.push(node);
        level.changed = true;
        if level.nodes.len() as u64 == WIDTH {
            let nodes = std::mem::take(&mut level.nodes);
            self.full.push(Tile { level: at as u8 + 1, index: level.index, hashes: nodes.concat() });
            level.index += 1;
            level.changed = false;
            let root = subtree_root(&nodes);
            self.push_node(at + 1, root);
        }
    }

    /// Root of the tree so far.
    pub(super) fn root(&self) -> Hash {
        // The incomplete part of each level is the last node of the level above it.
        let mut right = (!self.block.is_empty()).then(|| subtree_root(&self.block));
        for level in &self.levels {
            let mut nodes = level.nodes.clone();
            nodes.extend(right);
            right = (!nodes.is_empty()).then(|| subtree_root(&nodes));
        }
        right.unwrap_or_else(crate::tree::empty_root)
    }

    /// Complete tiles since the last call.
    pub(super) fn take_full(&mut self) -> Vec<Tile> {
        std::mem::take(&mut self.full)
    }

    /// The last, incomplete tiles that changed.
    pub(super) fn take_partial(&mut self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        for (l, level) in self.levels.iter_mut().zip(1..) {
            if std::mem::take(&mut l.changed) && !l.nodes.is_empty() {
                tiles.push(Tile { level, index: l.index, hashes: l.nodes.concat() });
            }
        }
        tiles
    }

    /// Writes complete tiles once there are enough of them, or all with `finish`.
    pub(super) fn flush<S: SecureLogStore>(
        &mut self,
        store: &mut S,
        stream_id: &str,
        finish: bool,
    ) -> Result<()> {
        if self.full.len() >= WRITE_TILES || (finish && !self.full.is_empty()) {
            store.write_tiles(stream_id, &self.take_full())?;
        }
        if finish {
            let partial = self.take_partial();
            if !partial.is_empty() {
                store.write_tiles(stream_id, &partial)?;
            }
        }
        Ok(())
    }
}

/// The tile of level 1 at `index` as far as the stream's entries fill it, from the stored one and from rows; what was
/// missing is written. For whoever keeps a store for others and takes no tiles from them.
///
/// `None` where no node of it is complete.
pub fn derive_tile<S: SecureLogStore>(store: &mut S, stream_id: &str, index: u64) -> Result<Option<Vec<u8>>> {
    let stored = store.read_tile(stream_id, 1, index)?.filter(|bytes| hashes(bytes).is_some());
    let known = stored.as_ref().map_or(0, |bytes| bytes.len() as u64 / 32);
    if known == WIDTH {
        return Ok(stored);
    }
    let size = store.head(stream_id)?.map_or(0, |head| head.seqno);
    let complete = match index.checked_mul(WIDTH) {
        Some(first) => (size / WIDTH).saturating_sub(first).min(WIDTH),
        None => 0,
    };
    if complete <= known {
        return Ok(stored);
    }
    let nodes =
        TreeReader::new(store, stream_id, size, true).tile_nodes(1, index * WIDTH, complete)?.concat();
    store.write_tiles(stream_id, &[Tile { level: 1, index, hashes: nodes.clone() }])?;
    Ok(Some(nodes))
}
