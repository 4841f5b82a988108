//! A tree as static files: C2SP tlog-tiles.
//!
//! A tile holds up to 256 consecutive nodes of a tree, 32 bytes each. Node *n* of level *l* is the root of leaves
//! `n · 256^l` to `(n + 1) · 256^l − 1`; level 0 holds leaf hashes. Only complete subtrees have a node, so a tile of a
//! higher level never depends on a partial one below it. An entry bundle holds the leaves themselves, each after its
//! length in two bytes (big-endian); it has the index and the width of the tile of level 0 above it.
//!
//! A file is named `tile/<level>/<index>` or `tile/entries/<index>`, with `.p/<width>` behind it while it has fewer than
//! 256 nodes. Once written, a file never changes: a wider one has another name.
//!
//! - [`TilePath`] names files, [`of_tree`] those that a tree consists of.
//! - [`TileBuilder`] grows a tree leaf by leaf, and gives its tiles.
//! - [`TileTree`] reads and verifies them from anywhere.

mod builder;
mod path;
mod verify;

pub use builder::TileBuilder;
pub use path::{Kind, TilePath, folder, of_tree};
pub use verify::{TileSource, TileTree};

use crate::error::{Error, Result};
use crate::limits::MAX_HEADER;
use crate::model::Hash;

/// Nodes of a full tile, and entries of a full bundle.
pub const WIDTH: u64 = 256;
/// Most bytes of a tile.
pub const MAX_TILE: usize = 32 * WIDTH as usize;
/// Most bytes of an entry bundle.
pub const MAX_BUNDLE: usize = (2 + MAX_HEADER) * WIDTH as usize;
/// Levels that the tree of the largest size has.
const LEVELS: u8 = 8;

/// How many nodes the tile at `index` of `level` has in a tree of `size` leaves; 0 where there is none.
pub fn width(size: u64, level: u8, index: u64) -> u64 {
    let nodes = nodes(size, level);
    index.checked_mul(WIDTH).map_or(0, |first| nodes.saturating_sub(first).min(WIDTH))
}

/// Nodes of a level in a tree of `size` leaves.
fn nodes(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * 8).unwrap_or(0)
}

/// The nodes of a tile; `None` where it is not of 1 to 256 hashes.
pub fn hashes(tile: &[u8]) -> Option<Vec<Hash>> {
    let (whole, rest) = tile.as_chunks::<32>();
    (rest.is_empty() && !whole.is_empty() && whole.len() as u64 <= WIDTH).then(|| whole.to_vec())
}

/// Adds an entry to a bundle. `Invalid` where it has more than 65,535 bytes, which its length cannot say.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<()> {
    let length = u16::try_from(entry.len()).map_err(|_| {
        Error::invalid("entry", format!("{} bytes; an entry bundle takes at most 65535", entry.len()))
    })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle, or of a page of [`read_headers`](crate::SecureLog::read_headers), in their order. `Invalid`
/// where it ends within one.
pub fn entries(bundle: &[u8]) -> Result<Vec<&[u8]>> {
    let mut entries = Vec::with_capacity(WIDTH as usize);
    let mut rest = bundle;
    while !rest.is_empty() {
        let taken = rest
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        let Some((entry, after)) = taken else {
            return Err(Error::invalid("entry bundle", format!("ends within entry {}", entries.len() + 1)));
        };
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn widths_are_those_of_the_standard() {
        // The example of C2SP tlog-tiles.
        let tiles = |level| (0..300).map(move |index| width(70_000, level, index)).filter(|w| *w > 0);
        assert_eq!(tiles(0).filter(|w| *w == 256).count(), 273);
        assert_eq!(tiles(0).next_back(), Some(112));
        assert_eq!(tiles(1).collect::<Vec<_>>(), [256, 17]);
        assert_eq!(tiles(2).collect::<Vec<_>>(), [1]);
        assert_eq!(tiles(3).count(), 0);
        assert_eq!((width(256, 0, 0), width(256, 0, 1), width(256, 1, 0)), (256, 0, 1));
        assert_eq!((width(u64::MAX, 7, 0), width(u64::MAX, 8, 0), width(u64::MAX, 63, 0)), (255, 0, 0));
        assert_eq!(width(u64::MAX, 0, u64::MAX), 0);
    }

    #[test]
    fn a_bundle_that_ends_early_is_refused() {
        let mut bundle = Vec::new();
        for entry in [&b""[..], b"one", &[7; 65_535]] {
            push_entry(&mut bundle, entry).unwrap();
        }
        assert_eq!(entries(&bundle).unwrap(), [&b""[..], b"one", &[7; 65_535]]);
        for cut in [1, 3, 6, 8, 100, bundle.len() - 1] {
            let refused = entries(&bundle[..cut]);
            assert!(matches!(refused, Err(Error::Invalid(i)) if i.field == "entry bundle"), "{cut}");
        }
        let before = bundle.clone();
        assert!(matches!(push_entry(&mut bundle, &[0; 65_536]), Err(Error::Invalid(_))));
        assert_eq!(bundle, before, "nothing is half-written");
    }

    proptest! {
        #[test]
        fn bundles_come_back(list in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut bundle = Vec::new();
            for entry in &list {
                push_entry(&mut bundle, entry).unwrap();
            }
            prop_assert_eq!(entries(&bundle).unwrap(), list);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = (entries(&bytes), hashes(&bytes));
        }
    }
}
