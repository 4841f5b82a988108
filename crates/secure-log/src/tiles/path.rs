//! Names of files.

use std::fmt;
use std::fmt::Write as _;

use super::{LEVELS, WIDTH, nodes, width};
use crate::wire::decimal;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nodes of this level.
    Tile(u8),
    /// Leaves.
    Entries,
}

/// Name of a tile or of an entry bundle, below the folder of its tree. Displays as its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    /// What it holds.
    pub kind: Kind,
    /// Its index.
    pub index: u64,
    /// Its nodes or entries, 1 to 256.
    pub width: u64,
}

impl TilePath {
    /// The tile at `index` of `level`, with `width` nodes.
    pub fn tile(level: u8, index: u64, width: u64) -> Self {
        Self { kind: Kind::Tile(level), index, width }
    }

    /// The entry bundle at `index`, with `width` entries.
    pub fn entries(index: u64, width: u64) -> Self {
        Self { kind: Kind::Entries, index, width }
    }

    /// The full file at the same place.
    pub fn full(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// Index of the first leaf below it.
    pub fn first_leaf(self) -> u64 {
        let level = match self.kind {
            Kind::Tile(level) => u32::from(level),
            Kind::Entries => 0,
        };
        // Beyond the largest tree there is no leaf to name.
        256u64.checked_pow(level + 1).and_then(|span| self.index.checked_mul(span)).unwrap_or(u64::MAX)
    }

    /// Reads a path; `None` for anything that is not written so. Levels go up to 63, as in the standard.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Tile(decimal(level).filter(|level| *level < 64)? as u8),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, decimal(width).filter(|w| (1..WIDTH).contains(w))?),
            None => (rest, WIDTH),
        };
        let mut number = 0u64;
        let mut elements = index.split('/').peekable();
        while let Some(element) = elements.next() {
            let digits = match elements.peek() {
                Some(_) => element.strip_prefix('x')?,
                None => element,
            };
            let three = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
            let value: u64 = three.then(|| digits.parse().ok())??;
            number = number.checked_mul(1000)?.checked_add(value)?;
        }
        let path_of = Self { kind, index: number, width };
        // An index with leading zeros has another spelling.
        (path_of.to_string() == path).then_some(path_of)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Tile(level) => write!(f, "tile/{level}/")?,
            Kind::Entries => f.write_str("tile/entries/")?,
        }
        let digits = format!("{:03}", self.index);
        let first = (digits.len() - 1) % 3 + 1;
        let padded = format!("{}{digits}", "0".repeat(3 - first));
        let groups = padded.len() / 3;
        for (n, group) in padded.as_bytes().chunks(3).enumerate() {
            if n + 1 < groups {
                f.write_char('x')?;
            }
            f.write_str(std::str::from_utf8(group).unwrap_or_default())?;
            if n + 1 < groups {
                f.write_char('/')?;
            }
        }
        if self.width < WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// The files that the tree of `size` leaves consists of: level by level from 0, then the entry bundles.
pub fn of_tree(size: u64) -> impl Iterator<Item = TilePath> {
    let tiles = move |kind: Kind, level: u8| {
        (0..nodes(size, level).div_ceil(WIDTH)).map(move |index| TilePath {
            kind,
            index,
            width: width(size, level, index),
        })
    };
    (0..LEVELS).flat_map(move |level| tiles(Kind::Tile(level), level)).chain(tiles(Kind::Entries, 0))
}

/// Most bytes of one element of a folder's path: what common file systems take, and some room.
const MAX_ELEMENT: usize = 200;

/// A stream's id as a folder: `a` to `z`, `0` to `9`, `-` and `.` stay as they are (`.` not at the beginning), every
/// other byte becomes `_` and two hex digits. So ids that differ in case alone have different folders everywhere, and a
/// URL needs no escapes. What is longer than 200 bytes is split; all elements but the last end with `+`.
pub fn folder(stream_id: &str) -> String {
    let mut text = String::with_capacity(stream_id.len() + 16);
    let mut element = 0;
    for (n, byte) in stream_id.bytes().enumerate() {
        if element + 3 > MAX_ELEMENT {
            text.push_str("+/");
            element = 0;
        }
        let before = text.len();
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => text.push(char::from(byte)),
            b'.' if n > 0 && element > 0 => text.push('.'),
            // Writing to a string cannot fail.
            _ => _ = write!(text, "_{byte:02x}"),
        }
        element += text.len() - before;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_spelt_as_in_the_standard() {
        for (path, text) in [
            (TilePath::tile(0, 0, 256), "tile/0/000"),
            (TilePath::tile(0, 273, 112), "tile/0/273.p/112"),
            (TilePath::tile(2, 1_234_067, 256), "tile/2/x001/x234/067"),
            (TilePath::entries(1_234_067, 1), "tile/entries/x001/x234/067.p/1"),
            (TilePath::entries(999, 255), "tile/entries/999.p/255"),
            (TilePath::entries(1_000, 256), "tile/entries/x001/000"),
            (TilePath::tile(63, u64::MAX, 256), "tile/63/x018/x446/x744/x073/x709/x551/615"),
        ] {
            assert_eq!(path.to_string(), text);
            assert_eq!(TilePath::parse(text), Some(path));
        }
        for bad in [
            "",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/entry/000",
            "/tile/0/000",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000/",
            "tile/0/+00",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/8/0/000",
            "tile/entries/../000",
        ] {
            assert_eq!(TilePath::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_tree_consists_of_these_files() {
        let of = |size| of_tree(size).map(|path| path.to_string()).collect::<Vec<_>>();
        assert!(of(0).is_empty());
        assert_eq!(of(1), ["tile/0/000.p/1", "tile/entries/000.p/1"]);
        assert_eq!(of(256), ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
        assert_eq!(
            of(257),
            ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/1"]
        );
        assert_eq!(of_tree(70_000).count(), 274 + 2 + 1 + 274);
        assert!(of_tree(u64::MAX).next().is_some());
    }

    #[test]
    fn folders_are_told_apart_whatever_the_file_system() {
        for (id, name) in [
            ("doors", "doors"),
            ("device/lift-01/0", "device_2flift-01_2f0"),
            ("Doors", "_44oors"),
            ("_log", "_5flog"),
            ("..", "_2e."),
            ("a.b", "a.b"),
            ("tür", "t_c3_bcr"),
            ("a%2Fb", "a_252_46b"),
        ] {
            assert_eq!(folder(id), name);
        }
        let long = folder(&"Ä".repeat(127));
        assert!(long.split('/').all(|element| element.len() <= MAX_ELEMENT + 1), "{long}");
        let elements: Vec<_> = long.split('/').collect();
        assert!(elements.len() > 1 && elements[..elements.len() - 1].iter().all(|e| e.ends_with('+')));
        assert!(!elements[elements.len() - 1].ends_with('+'));
    }

    proptest! {
        #[test]
        fn every_path_comes_back(level in 0u8..64, index: u64, width in 1u64..=256, entries: bool) {
            let path = if entries { TilePath::entries(index, width) } else { TilePath::tile(level, index, width) };
            prop_assert_eq!(TilePath::parse(&path.to_string()), Some(path));
        }

        #[test]
        fn different_ids_have_different_folders(a in ".{0,60}", b in ".{0,60}") {
            prop_assert_eq!(a == b, folder(&a) == folder(&b));
        }
    }
}
