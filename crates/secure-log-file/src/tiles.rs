//! Tree tiles: derived data, one small file each. A tile that does not check out is not there.

use std::fs;
use std::io;
use std::path::PathBuf;

use secure_log::store::Tile;

/// 256 hashes and a checksum.
const MAX_FILE: u64 = 256 * 32 + 32;

pub(crate) struct Tiles {
    dir: PathBuf,
}

impl Tiles {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, stream: &str, level: u8, index: u64) -> PathBuf {
        let name = blake3::hash(stream.as_bytes()).to_hex();
        self.dir.join(format!("{}-{level}-{index}", &name[..32]))
    }

    pub(crate) fn write(&self, stream: &str, tile: &Tile) -> io::Result<()> {
        let mut bytes = checksum(stream, tile.level, tile.index, &tile.hashes).to_vec();
        bytes.extend_from_slice(&tile.hashes);
        let path = self.path(stream, tile.level, tile.index);
        match fs::write(&path, &bytes) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                match fs::create_dir(&self.dir) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                    _ => {}
                }
                fs::write(&path, &bytes)
            }
            other => other,
        }
    }

    pub(crate) fn read(&self, stream: &str, level: u8, index: u64) -> Option<Vec<u8>> {
        let path = self.path(stream, level, index);
        let meta = fs::metadata(&path).ok()?;
        if !meta.is_file() || meta.len() > MAX_FILE {
            return None;
        }
        let bytes = fs::read(&path).ok()?;
        let (sum, hashes) = bytes.split_at_checked(32)?;
        (sum == checksum(stream, level, index, hashes)).then(|| hashes.to_vec())
    }
}

fn checksum(stream: &str, level: u8, index: u64, hashes: &[u8]) -> [u8; 32] {
    let mut h = blake3::Hasher::new();
    h.update(&(stream.len() as u64).to_le_bytes());
    h.update(stream.as_bytes());
    h.update(&[level]);
    h.update(&index.to_le_bytes());
    h.update(hashes);
    *h.finalize().as_bytes()
}
