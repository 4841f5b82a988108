//! Trees as static files: against the whole log that Tessera's authors keep as an example, against tlog_tiles, and with
//! each file damaged in turn.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secure_log::note::{CheckpointBody, Note, VerifierKey};
use secure_log::tiles::{
    Kind, TileBuilder, TilePath, TileSource, TileTree, WIDTH, hashes, of_tree, push_entry,
};
use secure_log::{Error, Result};

use super::*;

/// Its verifier key.
const VKEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
const WORDS: &str = "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten";

/// Files by path.
#[derive(Clone, Default)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl TileSource for &Memory {
    fn read(&mut self, path: &str, _max: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).cloned())
    }
}

/// Writes trees as an export does.
struct Writer {
    builder: TileBuilder,
    bundle: Vec<u8>,
    files: Memory,
}

impl Writer {
    fn new() -> Self {
        Self { builder: TileBuilder::new(0), bundle: Vec::new(), files: Memory::default() }
    }

    fn put(&mut self, path: TilePath, bytes: Vec<u8>) {
        let before = self.files.0.insert(path.to_string(), bytes.clone());
        assert!(before.is_none_or(|before| before == bytes), "{path} changed");
    }

    fn tiles(&mut self, tiles: Vec<secure_log::store::Tile>) {
        for tile in tiles {
            self.put(TilePath::tile(tile.level, tile.index, tile.hashes.len() as u64 / 32), tile.hashes);
        }
    }

    fn push(&mut self, entry: &[u8]) {
        push_entry(&mut self.bundle, entry).unwrap();
        self.builder.push(leaf_hash(entry));
        if self.builder.size().is_multiple_of(WIDTH) {
            let path = TilePath::entries(self.builder.size() / WIDTH - 1, WIDTH);
            let bundle = std::mem::take(&mut self.bundle);
            self.put(path, bundle);
            let full = self.builder.take_full();
            self.tiles(full);
        }
    }

    /// The partial files, as for a checkpoint.
    fn publish(&mut self) -> (u64, Hash) {
        let size = self.builder.size();
        if !self.bundle.is_empty() {
            self.put(TilePath::entries(size / WIDTH, size % WIDTH), self.bundle.clone());
        }
        let partial = self.builder.take_partial();
        self.tiles(partial);
        (size, self.builder.root())
    }
}

/// Every entry and every tile of a tree.
fn check(files: &Memory, size: u64, root: Hash) -> Result<Vec<Vec<u8>>> {
    let mut tree = TileTree::open_whole(files, "s", size, root)?;
    let mut all = Vec::new();
    for block in 0..tree.blocks() {
        all.extend(tree.block(block)?);
    }
    Ok(all)
}

#[test]
fn the_golden_log_comes_out_byte_for_byte_and_is_read() {
    let Some(folder) = std::env::var_os("SECURE_LOG_VECTORS") else {
        eprintln!("SKIPPED: set SECURE_LOG_VECTORS to the folder that holds tessera-golden-log");
        return;
    };
    let folder = PathBuf::from(folder).join("tessera-golden-log");
    let key = VerifierKey::parse(VKEY).unwrap();
    let words: Vec<_> = WORDS.split(' ').collect();
    let mut writer = Writer::new();
    let mut theirs = Memory::default();
    for size in 1..=words.len() {
        writer.push(words[size - 1].as_bytes());
        let (_, root) = writer.publish();
        for kind in ["0", "entries"] {
            let path = format!("tile/{kind}/000.p/{size}");
            theirs.0.insert(path.clone(), std::fs::read(folder.join(path)).unwrap());
        }
        let note = std::fs::read_to_string(folder.join(format!("checkpoint.{size}"))).unwrap();
        let note = Note::parse(&note).unwrap();
        note.verify_origin("example.com/log/testdata", std::slice::from_ref(&key)).unwrap();
        let body = CheckpointBody::parse(&note.text).unwrap();
        assert_eq!((body.size, body.root), (size as u64, root));
        let read = check(&theirs, body.size, body.root).unwrap();
        assert_eq!(read, words[..size].iter().map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>());
    }
    assert_eq!(theirs.0.len(), 30);
    assert_eq!(writer.files.0, theirs.0, "every file of theirs is one of ours, and none is over");
}

/// What tlog_tiles asks for, in the layout of C2SP.
struct Theirs<'a>(&'a Memory);

impl tlog_tiles::TileReader for Theirs<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> std::result::Result<Vec<Vec<u8>>, tlog::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            let path = TilePath::tile(tile.level(), tile.level_index(), tile.width().into());
            self.0.0.get(&path.to_string()).cloned().ok_or(tlog::Error::InvalidTile)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _tiles: &[tlog_tiles::Tile], _data: &[Vec<u8>]) {}
}

/// A tree that passes the borders of tiles: the files of each size are those of tlog_tiles, which proves entries and
/// earlier sizes from them; earlier files stay as they are.
#[test]
fn trees_grow_over_the_borders_of_tiles_as_tlog_tiles_has_them() {
    let mut writer = Writer::new();
    let mut leaves = Vec::new();
    let mut before: Vec<(u64, Hash)> = Vec::new();
    for size in 1..=66_000u64 {
        writer.push(&data(size));
        leaves.push(leaf_hash(&data(size)));
        if ![1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 66_000].contains(&size) {
            continue;
        }
        let (size, root) = writer.publish();
        assert_eq!(root, tree::root(&mut &leaves[..], size).unwrap());
        // The names of all tiles, and what each holds.
        let theirs = tlog_tiles::Tile::new_tiles(8, 0, size);
        let named: Vec<_> = of_tree(size).filter(|path| path.kind != Kind::Entries).collect();
        assert_eq!(named.len(), theirs.len(), "{size}");
        for (path, theirs) in named.iter().zip(&theirs) {
            let same = TilePath::tile(theirs.level(), theirs.level_index(), theirs.width().into());
            assert_eq!(*path, same);
            let nodes = hashes(&writer.files.0[&path.to_string()]).unwrap();
            assert_eq!(nodes.len() as u64, path.width);
            let last = path.index * WIDTH + path.width - 1;
            let Kind::Tile(level) = path.kind else { unreachable!() };
            assert_eq!(nodes[path.width as usize - 1], (&leaves[..]).node(level * 8, last).unwrap());
        }
        // Proofs from the files: theirs and ours.
        let files = Theirs(&writer.files);
        let reader = tlog_tiles::TileHashReader::new(size, tlog::Hash(root), &files);
        let mut tree = TileTree::open(&writer.files, "s", size, root).unwrap();
        for index in [0, size / 2, size - 1] {
            let theirs = tlog::prove_record(size, index, &reader).unwrap();
            let ours = tree::inclusion_path(&mut tree, index, size).unwrap();
            assert_eq!(ours, theirs.iter().map(|h| h.0).collect::<Vec<_>>(), "{index} in {size}");
            let block = tree.block(index / WIDTH).unwrap();
            assert_eq!(block[(index % WIDTH) as usize], data(index + 1));
        }
        for (old, old_root) in &before {
            let theirs = tlog::prove_tree(size, *old, &reader).unwrap();
            let ours = tree::consistency_path(&mut tree, *old, size).unwrap();
            assert_eq!(ours, theirs.iter().map(|h| h.0).collect::<Vec<_>>(), "{old} to {size}");
            assert!(tree::verify_consistency(*old, size, &ours, old_root, &root));
            assert_eq!(tree::root(&mut tree, *old).unwrap(), *old_root);
        }
        // Growing goes on from the files of any size.
        assert_eq!(tree.builder().unwrap().size(), size / WIDTH * WIDTH);
        before.push((size, root));
    }
    // Whoever knew an earlier size reads it still, from full files where partial ones are gone.
    let partial: Vec<_> = writer.files.0.keys().filter(|path| path.contains(".p/")).cloned().collect();
    for path in partial {
        let full = TilePath::parse(&path).unwrap().full().to_string();
        if writer.files.0.contains_key(&full) {
            writer.files.0.remove(&path);
        }
    }
    for (size, root) in before {
        assert_eq!(check(&writer.files, size, root).unwrap().len() as u64, size);
    }
}

#[test]
fn a_tree_goes_on_from_its_files() {
    for first in [1u64, 255, 256, 257, 600, 65_536, 65_600] {
        let mut writer = Writer::new();
        (1..=first).for_each(|n| writer.push(&data(n)));
        let (size, root) = writer.publish();
        let tree = TileTree::open(&writer.files, "s", size, root).unwrap();
        let mut again =
            Writer { builder: tree.builder().unwrap(), bundle: Vec::new(), files: writer.files.clone() };
        let from = again.builder.size() + 1;
        for n in from..=first + 300 {
            again.push(&data(n));
            assert!(n != first || again.builder.root() == root, "{first}");
            if n > first {
                writer.push(&data(n));
            }
        }
        assert_eq!(again.publish(), writer.publish());
        assert_eq!(again.files.0, writer.files.0, "{first}");
    }
}

/// What can befall a file.
fn damages(files: &Memory, path: &str) -> Vec<(&'static str, Memory)> {
    let damaged = |change: &dyn Fn(&mut Memory)| {
        let mut files = files.clone();
        change(&mut files);
        files
    };
    let edit = |change: &dyn Fn(&mut Vec<u8>)| damaged(&|files| change(files.0.get_mut(path).unwrap()));
    let kind = TilePath::parse(path).unwrap().kind;
    let other = files
        .0
        .iter()
        .find(|(other, bytes)| TilePath::parse(other).unwrap().kind == kind && **bytes != files.0[path]);
    let mut list = vec![
        ("first byte flipped", edit(&|bytes| bytes[0] ^= 1)),
        ("last byte flipped", edit(&|bytes| *bytes.last_mut().unwrap() ^= 0x80)),
        ("cut by a byte", edit(&|bytes| _ = bytes.pop())),
        ("cut by a hash", edit(&|bytes| bytes.truncate(bytes.len() - 32))),
        ("a hash too many", edit(&|bytes| bytes.extend([7; 32]))),
        ("empty", edit(&|bytes| bytes.clear())),
        ("gone", damaged(&|files| _ = files.0.remove(path))),
    ];
    if let Some((_, bytes)) = other {
        list.push((
            "another one in its place",
            damaged(&|files| _ = files.0.insert(path.into(), bytes.clone())),
        ));
    }
    list
}

/// Whatever befalls a file, it is named.
#[test]
fn each_damaged_file_is_named() {
    let mut writer = Writer::new();
    (1..=1_100).for_each(|n| writer.push(&data(n)));
    let (size, root) = writer.publish();
    assert_eq!(writer.files.0.len(), 5 + 1 + 5);
    let mut cases = 0;
    for path in writer.files.0.keys() {
        for (what, files) in damages(&writer.files, path) {
            let error = check(&files, size, root).unwrap_err();
            let named = match &error {
                Error::Corrupt(c) => c.reason.starts_with(path.as_str()) && c.stream_id == "s",
                Error::NotFound(m) => m.what == "file" && m.name == *path && what == "gone",
                _ => false,
            };
            assert!(named, "{path}, {what}: {error}");
            cases += 1;
        }
    }
    assert!(cases > 11 * 7, "{cases}");
    // In a tree of three levels, the one file in the middle of a level, and the ends.
    (1_101..=65_900).for_each(|n| writer.push(&data(n)));
    let (size, root) = writer.publish();
    for path in ["tile/0/100", "tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1", "tile/entries/257.p/108"] {
        for (what, files) in damages(&writer.files, path).into_iter().step_by(3) {
            let error = check(&files, size, root).unwrap_err().to_string();
            assert!(error.contains(path), "{path}, {what}: {error}");
        }
    }
    // One entry of the tree: what it does not need is not read.
    let mut files = writer.files.clone();
    files.0.retain(|path, _| !path.starts_with("tile/entries/") || path == "tile/entries/003");
    files.0.retain(|path, _| !path.starts_with("tile/0/") || path == "tile/0/003" || path.contains("257"));
    let mut tree = TileTree::open(&files, "s", size, root).unwrap();
    assert_eq!(tree.block(3).unwrap()[0], data(769));
    assert!(matches!(tree.block(4), Err(Error::NotFound(m)) if m.name == "tile/0/004"));
    assert!(matches!(tree.block(258), Err(Error::Invalid(_))));
}

/// Right files under another root: the checkpoint is of another tree.
#[test]
fn another_root_and_another_size_are_refused() {
    let mut writer = Writer::new();
    (1..=300).for_each(|n| writer.push(&data(n)));
    let (size, root) = writer.publish();
    let root_of = |n: u64| {
        let leaves: Vec<_> = (1..=n).map(|n| leaf_hash(&data(n))).collect();
        tree::root(&mut &leaves[..], n).unwrap()
    };
    for (size, root) in [(size, root_of(299)), (size, [0; 32]), (299, root), (0, root)] {
        let error = check(&writer.files, size, root).unwrap_err();
        assert!(matches!(&error, Error::Corrupt(_) | Error::NotFound(_)), "{error}");
    }
    assert!(check(&writer.files, 0, tree::empty_root()).unwrap().is_empty());
    assert!(
        matches!(check(&writer.files, 301, root_of(301)), Err(Error::NotFound(m)) if m.name == "tile/0/001.p/45")
    );
}
