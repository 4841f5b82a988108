//! The tree of a stream, read from stored tiles where there are some and from entries where not.
//!
//! Geometry of [`crate::tiles`]. Of level 0 (leaf hashes) only blocks in which a segment ends are stored, since closing
//! and proving come back to them: the rest is one hash away from the headers. Tiles are derived data: a missing one is
//! recomputed, and a wrong one shows in the root.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::limits::MAX_PAGE_ROWS;
use crate::model::Hash;
use crate::store::{SecureLogStore, Tile};
pub(super) use crate::tiles::TileBuilder;
use crate::tiles::{WIDTH, hashes};
use crate::tree::{Nodes, leaf_hash, subtree_root};

/// Lowest level that is stored.
pub(super) const FIRST_STORED: u8 = 1;
/// Leaf hashes that are worth a tile: fewer are read faster from the headers than written.
const WORTH_A_TILE: usize = 64;
/// Tiles written at once.
const WRITE_TILES: usize = 64;

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
        let mut leaves = match self.use_tiles {
            true => {
                self.store.read_tile(self.stream_id, 0, block)?.and_then(|b| hashes(&b)).unwrap_or_default()
            }
            false => Vec::new(),
        };
        leaves.truncate((last + 1 - first) as usize);
        let mut next = first + leaves.len() as u64;
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

impl TileBuilder {
    /// The tree as it stands at `size`, from stored tiles and entries. It gives the tiles that a store keeps.
    pub(super) fn resume<S: SecureLogStore>(reader: &mut TreeReader<'_, S>, size: u64) -> Result<Self> {
        Self::at(FIRST_STORED, size, |level, index, width| match level {
            0 => {
                let leaves = reader.leaves(index)?;
                Ok(leaves.get(..width as usize).unwrap_or_default().to_vec())
            }
            _ => reader.tile_nodes(level, index * WIDTH, width),
        })
    }

    /// Writes complete tiles once there are enough of them, or all with `finish`.
    pub(super) fn flush<S: SecureLogStore>(
        &mut self,
        store: &mut S,
        stream_id: &str,
        finish: bool,
    ) -> Result<()> {
        if self.full() >= WRITE_TILES || (finish && self.full() > 0) {
            store.write_tiles(stream_id, &self.take_full())?;
        }
        if finish {
            let mut partial = self.take_partial();
            partial.extend(self.last_leaves(WORTH_A_TILE));
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
