//! The subset of deterministic CBOR (RFC 8949 §4.2.1) that stored data uses: maps with unsigned
//! integer keys in ascending order, unsigned integers, byte strings and text strings, all of
//! definite length and in their shortest form. The decoder accepts nothing else, so one value has
//! one encoding.

use std::fmt;

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const MAP: u8 = 5;

/// Why bytes are not canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError(pub &'static str);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

/// Writes a map whose keys are given in ascending order.
pub struct MapWriter {
    out: Vec<u8>,
    entries: u8,
    last: Option<u64>,
}

impl MapWriter {
    /// Room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::reusing(Vec::with_capacity(capacity))
    }

    /// Writes into the memory of `out`; what it held is gone.
    pub fn reusing(mut out: Vec<u8>) -> Self {
        out.clear();
        out.push(MAP << 5);
        Self { out, entries: 0, last: None }
    }

    fn key(&mut self, key: u64) {
        debug_assert!(self.last.is_none_or(|last| last < key), "keys ascend");
        debug_assert!(self.entries < 23, "the map's head is one byte");
        self.last = Some(key);
        self.entries += 1;
        head(&mut self.out, UINT, key);
    }

    /// Writes a number.
    pub fn uint(&mut self, key: u64, value: u64) -> &mut Self {
        self.key(key);
        head(&mut self.out, UINT, value);
        self
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, key: u64, value: &[u8]) -> &mut Self {
        self.key(key);
        head(&mut self.out, BYTES, value.len() as u64);
        self.out.extend_from_slice(value);
        self
    }

    /// Writes a text string.
    pub fn text(&mut self, key: u64, value: &str) -> &mut Self {
        self.key(key);
        head(&mut self.out, TEXT, value.len() as u64);
        self.out.extend_from_slice(value.as_bytes());
        self
    }

    /// Writes a text string, if there is one.
    pub fn opt_text(&mut self, key: u64, value: Option<&str>) -> &mut Self {
        match value {
            Some(v) => self.text(key, v),
            None => self,
        }
    }

    /// Writes a byte string, if there is one.
    pub fn opt_bytes(&mut self, key: u64, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(v) => self.bytes(key, v),
            None => self,
        }
    }

    /// The encoded map.
    pub fn finish(mut self) -> Vec<u8> {
        self.out[0] |= self.entries;
        self.out
    }
}

/// A value of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// An unsigned integer.
    Uint(u64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A text string.
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// The number, if it is one.
    pub fn uint(self) -> Result<u64, DecodeError> {
        match self {
            Self::Uint(n) => Ok(n),
            _ => Err(DecodeError("a field that holds a number holds something else")),
        }
    }

    /// The text, if it is some.
    pub fn text(self) -> Result<&'a str, DecodeError> {
        match self {
            Self::Text(s) => Ok(s),
            _ => Err(DecodeError("a field that holds text holds something else")),
        }
    }

    /// The bytes, if they are some.
    pub fn bytes(self) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(b) => Ok(b),
            _ => Err(DecodeError("a field that holds bytes holds something else")),
        }
    }

    /// The bytes, if there are `N` of them.
    pub fn array<const N: usize>(self) -> Result<[u8; N], DecodeError> {
        self.bytes()?.try_into().map_err(|_| DecodeError("a byte string has the wrong length"))
    }
}

/// Reads one map, entry by entry, checking canonical form on the way.
pub struct MapReader<'a> {
    rest: &'a [u8],
    left: u64,
    last: Option<u64>,
}

impl<'a> MapReader<'a> {
    /// Begins to read `bytes`, which hold one map and nothing else.
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes;
        let (major, left) = read_head(&mut rest)?;
        if major != MAP {
            return Err(DecodeError("not a CBOR map"));
        }
        Ok(Self { rest, left, last: None })
    }

    /// The next entry; `None` at the end, when nothing may be left over.
    #[allow(
        clippy::should_implement_trait,
        reason = "it reads like an iterator, and its errors end the reading"
    )]
    pub fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, DecodeError> {
        if self.left == 0 {
            return match self.rest {
                [] => Ok(None),
                _ => Err(DecodeError("bytes after the end of the map")),
            };
        }
        self.left -= 1;
        let (major, key) = read_head(&mut self.rest)?;
        if major != UINT {
            return Err(DecodeError("a map key is not an unsigned integer"));
        }
        if self.last.is_some_and(|last| last >= key) {
            return Err(DecodeError("map keys are not in ascending order"));
        }
        self.last = Some(key);
        let (major, n) = read_head(&mut self.rest)?;
        let value = match major {
            UINT => Value::Uint(n),
            BYTES => Value::Bytes(take(&mut self.rest, n)?),
            TEXT => Value::Text(
                std::str::from_utf8(take(&mut self.rest, n)?)
                    .map_err(|_| DecodeError("a text string is not UTF-8"))?,
            ),
            _ => return Err(DecodeError("a value is neither number, bytes nor text")),
        };
        Ok(Some((key, value)))
    }
}

fn take<'a>(rest: &mut &'a [u8], n: u64) -> Result<&'a [u8], DecodeError> {
    let n = usize::try_from(n).map_err(|_| DecodeError("a string is longer than the data"))?;
    let (a, b) = rest.split_at_checked(n).ok_or(DecodeError("a string is longer than the data"))?;
    *rest = b;
    Ok(a)
}

fn read_head(rest: &mut &[u8]) -> Result<(u8, u64), DecodeError> {
    let first = take(rest, 1)?[0];
    let (major, info) = (first >> 5, first & 0x1f);
    let (width, least) = match info {
        0..=23 => return Ok((major, u64::from(info))),
        24 => (1, 24),
        25 => (2, 0x100),
        26 => (4, 0x1_0000),
        27 => (8, 0x1_0000_0000),
        _ => return Err(DecodeError("indefinite length or a reserved head")),
    };
    let mut n = 0;
    for byte in take(rest, width)? {
        n = n << 8 | u64::from(*byte);
    }
    if n < least {
        return Err(DecodeError("a number is not in its shortest form"));
    }
    Ok((major, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_ciborium() {
        for n in [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let mut w = MapWriter::with_capacity(64);
            w.uint(1, n).text(2, "tå").bytes(30, &[7; 300]);
            let bytes = w.finish();
            let value = ciborium::Value::Map(vec![
                (1.into(), n.into()),
                (2.into(), "tå".into()),
                (30.into(), ciborium::Value::Bytes(vec![7; 300])),
            ]);
            let mut theirs = Vec::new();
            ciborium::into_writer(&value, &mut theirs).unwrap();
            assert_eq!(bytes, theirs);

            let mut r = MapReader::new(&bytes).unwrap();
            assert_eq!(r.next(), Ok(Some((1, Value::Uint(n)))));
            assert_eq!(r.next(), Ok(Some((2, Value::Text("tå")))));
            assert_eq!(r.next(), Ok(Some((30, Value::Bytes(&[7; 300])))));
            assert_eq!(r.next(), Ok(None));
        }
    }

    fn refuses(bytes: &[u8]) {
        let all = |bytes| {
            let mut r = MapReader::new(bytes)?;
            while r.next()?.is_some() {}
            Ok::<_, DecodeError>(())
        };
        assert!(all(bytes).is_err(), "accepted {bytes:02x?}");
    }

    #[test]
    fn refuses_what_is_not_canonical() {
        refuses(&[]);
        refuses(&[0x80]); // an array
        refuses(&[0xa1, 0x01]); // value missing
        refuses(&[0xa1, 0x01, 0x18, 0x17]); // 23 in two bytes
        refuses(&[0xa1, 0x18, 0x01, 0x00]); // key in two bytes
        refuses(&[0xa1, 0x01, 0x19, 0x00, 0xff]); // 255 in three bytes
        refuses(&[0xa1, 0x01, 0x1a, 0, 0, 0xff, 0xff]); // 65,535 in five bytes
        refuses(&[0xa1, 0x01, 0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]); // 2^32-1 in nine
        refuses(&[0xb8, 0x01, 0x01, 0x00]); // map length in two bytes
        refuses(&[0xbf, 0x01, 0x00, 0xff]); // indefinite map
        refuses(&[0xa1, 0x01, 0x7f, 0x61, 0x61, 0xff]); // indefinite text
        refuses(&[0xa2, 0x02, 0x00, 0x01, 0x00]); // keys out of order
        refuses(&[0xa2, 0x01, 0x00, 0x01, 0x00]); // duplicate key
        refuses(&[0xa1, 0x20, 0x00]); // negative key
        refuses(&[0xa1, 0x01, 0x20]); // negative value
        refuses(&[0xa1, 0x01, 0xf5]); // true
        refuses(&[0xa1, 0x01, 0xc0, 0x00]); // tag
        refuses(&[0xa1, 0x01, 0xf9, 0x3c, 0x00]); // float
        refuses(&[0xa1, 0x01, 0x61, 0xff]); // not UTF-8
        refuses(&[0xa1, 0x01, 0x42, 0x00]); // short bytes
        refuses(&[0xa1, 0x01, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]); // huge length
        refuses(&[0xa0, 0x00]); // trailing byte
    }
}
