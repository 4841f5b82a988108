//! A tree that grows.

use super::{LEVELS, WIDTH, nodes};
use crate::error::Result;
use crate::model::Hash;
use crate::store::Tile;
use crate::tree::{empty_root, subtree_root};

/// A tree that grows leaf by leaf, and the tiles that become known with it.
pub struct TileBuilder {
    /// Lowest level of the tiles that are given.
    lowest: u8,
    size: u64,
    /// Last, incomplete tile of each level.
    levels: Vec<Level>,
    /// Complete tiles that were not taken yet.
    full: Vec<Tile>,
    /// Block of leaves in which the tree stood when it was taken up again.
    resumed: Option<u64>,
}

#[derive(Default)]
struct Level {
    index: u64,
    nodes: Vec<Hash>,
    changed: bool,
}

impl TileBuilder {
    /// A tree without leaves. It gives the tiles of level `lowest` and above, and the block of leaves that it was taken up
    /// again in.
    pub fn new(lowest: u8) -> Self {
        Self { lowest, size: 0, levels: Vec::new(), full: Vec::new(), resumed: None }
    }

    /// A tree of `size` leaves. `tile(level, index, width)` gives the first nodes of its last, incomplete tiles.
    pub fn at(
        lowest: u8,
        size: u64,
        mut tile: impl FnMut(u8, u64, u64) -> Result<Vec<Hash>>,
    ) -> Result<Self> {
        let resumed = (!size.is_multiple_of(WIDTH)).then_some(size / WIDTH);
        let mut builder = Self { size, resumed, ..Self::new(lowest) };
        for level in 0..LEVELS {
            let count = nodes(size, level);
            if count == 0 {
                break;
            }
            let (index, width) = (count / WIDTH, count % WIDTH);
            let nodes = if width == 0 { Vec::new() } else { tile(level, index, width)? };
            builder.levels.push(Level { index, nodes, changed: false });
        }
        Ok(builder)
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        self.size += 1;
        let mut node = leaf;
        for number in 0.. {
            if self.levels.len() == number {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[number];
            level.nodes.push(node);
            level.changed = true;
            if (level.nodes.len() as u64) < WIDTH {
                return;
            }
            node = subtree_root(&level.nodes);
            if number >= usize::from(self.lowest) || (number == 0 && self.resumed == Some(level.index)) {
                let hashes = level.nodes.concat();
                self.full.push(Tile { level: number as u8, index: level.index, hashes });
            }
            level.nodes.clear();
            level.index += 1;
            level.changed = false;
        }
    }

    /// Root of the tree so far.
    pub fn root(&self) -> Hash {
        root_of_edge(self.levels.iter().map(|level| level.nodes.as_slice()))
    }

    /// How many complete tiles there are to take.
    pub fn full(&self) -> usize {
        self.full.len()
    }

    /// Complete tiles since the last call.
    pub fn take_full(&mut self) -> Vec<Tile> {
        std::mem::take(&mut self.full)
    }

    /// Leaf hashes of the last block, if it is incomplete and has at least `least` of them.
    pub fn last_leaves(&self, least: usize) -> Option<Tile> {
        let last = self.levels.first().filter(|level| level.nodes.len() >= least.max(1))?;
        Some(Tile { level: 0, index: last.index, hashes: last.nodes.concat() })
    }

    /// The last, incomplete tiles that changed.
    pub fn take_partial(&mut self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        for (l, level) in self.levels.iter_mut().zip(0..).skip(self.lowest.into()) {
            if std::mem::take(&mut l.changed) && !l.nodes.is_empty() {
                tiles.push(Tile { level, index: l.index, hashes: l.nodes.concat() });
            }
        }
        tiles
    }
}

/// Root of a tree by the nodes of its last, incomplete tiles, the lowest level first: what is right of the last whole
/// node of a level is its last node.
pub(super) fn root_of_edge<'a>(levels: impl Iterator<Item = &'a [Hash]>) -> Hash {
    let mut right = None;
    for level in levels {
        let mut nodes = level.to_vec();
        nodes.extend(right);
        right = (!nodes.is_empty()).then(|| subtree_root(&nodes));
    }
    right.unwrap_or_else(empty_root)
}
