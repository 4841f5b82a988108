//! Reading a tree from files that somebody else keeps. Nothing is used, or kept, before it led to the root.

use super::builder::root_of_edge;
use super::{LEVELS, MAX_BUNDLE, MAX_TILE, TileBuilder, TilePath, WIDTH, entries, hashes, nodes, width};
use crate::error::{Error, Result};
use crate::model::Hash;
use crate::store::Tile;
use crate::tree::{Nodes, leaf_hash, subtree_root};

/// Where files come from.
pub trait TileSource {
    /// The bytes of a file, by its path below the folder of the tree; `None` where there is none. One that has more than
    /// `max` bytes is `Invalid`. Errors name the file.
    fn read(&mut self, path: &str, max: usize) -> Result<Option<Vec<u8>>>;

    /// How errors name a file.
    fn name(&self, path: TilePath) -> String {
        path.to_string()
    }
}

/// A tree in files, under a root that the caller trusts.
///
/// Errors name the file: `NotFound` if it is not there, `Corrupt` (with the number of the first entry that it concerns)
/// if it is not what the root says.
pub struct TileTree<S> {
    source: S,
    stream_id: String,
    size: u64,
    root: Hash,
    /// The last, incomplete tile of each level.
    edge: Vec<Vec<Hash>>,
    /// Of each level the full tile that was verified last.
    kept: Vec<Option<(u64, Vec<Hash>)>>,
}

impl<S: TileSource> TileTree<S> {
    /// The tree of `size` leaves with this root. Reads its incomplete tiles, one of each level at most: together they
    /// give the root. `stream_id` is for errors.
    pub fn open(source: S, stream_id: &str, size: u64, root: Hash) -> Result<Self> {
        let mut tree = Self::unread(source, stream_id, size, root);
        tree.read_edge()?;
        Ok(tree)
    }

    /// Like [`open`](Self::open), for whoever will read the whole tree: where the root does not come out, all entry
    /// bundles are read to say which file is wrong.
    pub fn open_whole(source: S, stream_id: &str, size: u64, root: Hash) -> Result<Self> {
        let mut tree = Self::unread(source, stream_id, size, root);
        match tree.read_edge() {
            Ok(()) => Ok(tree),
            Err(Error::Corrupt(found)) => Err(tree.find_wrong().unwrap_or(Error::Corrupt(found))),
            Err(error) => Err(error),
        }
    }

    fn unread(source: S, stream_id: &str, size: u64, root: Hash) -> Self {
        let kept = vec![None; LEVELS.into()];
        Self { source, stream_id: stream_id.to_owned(), size, root, edge: Vec::new(), kept }
    }

    fn read_edge(&mut self) -> Result<()> {
        let (size, mut files) = (self.size, Vec::new());
        for level in (0..LEVELS).take_while(|level| nodes(size, *level) > 0) {
            let index = nodes(size, level) / WIDTH;
            let nodes = match width(size, level, index) {
                0 => Vec::new(),
                width => {
                    let path = TilePath::tile(level, index, width);
                    files.push(self.source.name(path));
                    self.read_tile(path)?
                }
            };
            self.edge.push(nodes);
        }
        if root_of_edge(self.edge.iter().map(Vec::as_slice)) == self.root {
            return Ok(());
        }
        let reason = match files.as_slice() {
            [] => "a tree without entries has another root".to_owned(),
            [file] => format!("{file} does not give the root of the tree of {} entries", self.size),
            files => {
                format!("{} do not give the root of the tree of {} entries", files.join(", "), self.size)
            }
        };
        Err(Error::corrupt(&self.stream_id, self.size, reason))
    }

    /// Where its files come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Leaves of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Blocks of 256 entries, the last one perhaps shorter.
    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(WIDTH)
    }

    /// The tree as it stood at its last full block, to grow it from there.
    pub fn builder(&self) -> Result<TileBuilder> {
        // Above level 0 nothing depends on an incomplete block.
        TileBuilder::at(0, self.size / WIDTH * WIDTH, |level, _, _| {
            Ok(self.edge.get(usize::from(level)).cloned().unwrap_or_default())
        })
    }

    /// The entries of a block, each verified.
    pub fn block(&mut self, index: u64) -> Result<Vec<Vec<u8>>> {
        let leaves = self.tile(0, index)?;
        if leaves.is_empty() {
            return Err(Error::invalid("block", format!("{index} is outside of the tree of {}", self.size)));
        }
        let path = TilePath::entries(index, leaves.len() as u64);
        let bundle = self.read_bundle(path)?;
        for ((entry, leaf), seqno) in bundle.iter().zip(&leaves).zip(path.first_leaf() + 1..) {
            if leaf_hash(entry) != *leaf {
                return Err(Error::corrupt(
                    &self.stream_id,
                    seqno,
                    format!("{} holds another entry here than the tree", self.source.name(path)),
                ));
            }
        }
        Ok(bundle)
    }

    /// The nodes of a tile, verified.
    fn tile(&mut self, level: u8, index: u64) -> Result<Vec<Hash>> {
        if index == nodes(self.size, level) / WIDTH {
            return Ok(self.edge.get(usize::from(level)).cloned().unwrap_or_default());
        }
        if let Some(Some((kept, nodes))) = self.kept.get(usize::from(level))
            && *kept == index
        {
            return Ok(nodes.clone());
        }
        let path = TilePath::tile(level, index, width(self.size, level, index));
        if path.width < WIDTH {
            return Err(Error::invalid("tile", format!("{path} is outside of the tree of {}", self.size)));
        }
        let above = self.tile(level + 1, index / WIDTH)?;
        let expected = above.get((index % WIDTH) as usize);
        let nodes = self.read_tile(path)?;
        if expected != Some(&subtree_root(&nodes)) {
            return Err(self.wrong(path, "does not have the root that the tree says"));
        }
        if let Some(kept) = self.kept.get_mut(usize::from(level)) {
            *kept = Some((index, nodes.clone()));
        }
        Ok(nodes)
    }

    fn wrong(&self, path: TilePath, reason: impl std::fmt::Display) -> Error {
        let reason = format!("{} {reason}", self.source.name(path));
        Error::corrupt(&self.stream_id, path.first_leaf().saturating_add(1), reason)
    }

    /// A file, or the full one in its place: partial ones may be gone once that is there.
    fn read(&mut self, path: TilePath, max: usize) -> Result<(TilePath, Vec<u8>)> {
        for path in [path, path.full()] {
            if let Some(bytes) = self.source.read(&path.to_string(), max)? {
                return Ok((path, bytes));
            }
        }
        Err(Error::not_found(
            "file",
            self.source.name(path),
            None,
            format!("the tree of {} entries of {:?} needs it", self.size, self.stream_id),
        ))
    }

    /// A tile as it is, not verified.
    fn read_tile(&mut self, path: TilePath) -> Result<Vec<Hash>> {
        let (file, bytes) = self.read(path, MAX_TILE)?;
        let nodes = hashes(&bytes).filter(|nodes| nodes.len() as u64 == file.width);
        let mut nodes = nodes.ok_or_else(|| {
            self.wrong(file, format!("has {} bytes instead of {}", bytes.len(), 32 * file.width))
        })?;
        nodes.truncate(path.width as usize);
        Ok(nodes)
    }

    /// A bundle as it is, not verified.
    fn read_bundle(&mut self, path: TilePath) -> Result<Vec<Vec<u8>>> {
        let (file, bytes) = self.read(path, MAX_BUNDLE)?;
        let mut list = match entries(&bytes) {
            Ok(list) => list,
            Err(Error::Invalid(i)) => return Err(self.wrong(file, i.reason)),
            Err(error) => return Err(error),
        };
        if list.len() as u64 != file.width {
            return Err(self.wrong(file, format!("has {} entries instead of {}", list.len(), file.width)));
        }
        list.truncate(path.width as usize);
        Ok(list.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Builds the tree from the entry bundles until a file differs from it; `None` if none does.
    fn find_wrong(&mut self) -> Option<Error> {
        let mut builder = TileBuilder::new(0);
        for index in 0..self.blocks() {
            let path = TilePath::entries(index, width(self.size, 0, index));
            match self.read_bundle(path) {
                Ok(list) => list.iter().for_each(|entry| builder.push(leaf_hash(entry))),
                Err(error) => return Some(error),
            }
            if let Some(error) = builder.take_full().into_iter().find_map(|tile| self.differs(&tile)) {
                return Some(error);
            }
        }
        builder.take_partial().into_iter().find_map(|tile| self.differs(&tile))
    }

    /// What is wrong with the file of a tile that the bundles give.
    fn differs(&mut self, tile: &Tile) -> Option<Error> {
        let path = TilePath::tile(tile.level, tile.index, tile.hashes.len() as u64 / 32);
        match self.read_tile(path) {
            Ok(nodes) if nodes.concat() == tile.hashes => None,
            Ok(_) => Some(self.wrong(path, "does not belong to the entry bundles below it")),
            Err(error) => Some(error),
        }
    }
}

impl<S: TileSource> Nodes for TileTree<S> {
    fn node(&mut self, level: u8, index: u64) -> Result<Hash> {
        let start = index << (level % 8);
        let from = (start % WIDTH) as usize;
        let tile = self.tile(level / 8, start / WIDTH)?;
        let nodes = tile.get(from..from + (1 << (level % 8)));
        nodes.map(subtree_root).ok_or_else(|| {
            Error::invalid(
                "node",
                format!("{index} of level {level} is outside of the tree of {}", self.size),
            )
        })
    }
}
