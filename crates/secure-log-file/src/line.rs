//! The byte form of a line: exactly one way to write each, and a scanner that takes nothing else.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secure_log::model::Hash;

/// Checksum of a line: the first 8 bytes of BLAKE3 over the sum of the line before and the content.
pub(crate) type Sum = [u8; 8];

/// Version of the format that this crate reads and writes.
pub(crate) const VERSION: u64 = 1;
/// What the first line chains from.
pub(crate) const NO_SUM: Sum = [0; 8];
/// Bytes from the end of the content to the end of the line, newline left out.
pub(crate) const TRAILER: usize = SUM_KEY.len() + 16 + 2;
/// Bytes before a line that hold the sum of the line before it: 16 digits, `"}` and the newline.
pub(crate) const SUM_BEFORE: usize = 16 + 2 + 1;
/// Longest line that is read whole. A commit that touches 10,000 streams with the longest names
/// stays below.
pub(crate) const MAX_LINE: usize = 32 << 20;

const SUM_KEY: &str = ",\"sum\":\"";

/// Where a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PayloadRef {
    pub chunk: u32,
    pub offset: u64,
    pub len: u64,
}

/// A line of an entry; `header` is base64.
#[derive(Debug, PartialEq)]
pub(crate) struct EntryLine<'a> {
    pub stream: Cow<'a, str>,
    pub seqno: u64,
    pub hash: Hash,
    pub header: &'a str,
    pub time_ms: u64,
    pub severity: u8,
    pub event_type: Cow<'a, str>,
    pub producer: Cow<'a, str>,
    pub id: Option<Cow<'a, str>>,
    pub payload: Option<PayloadRef>,
}

/// A line of an object; `value` is base64.
#[derive(Debug, PartialEq)]
pub(crate) struct ObjectLine<'a> {
    pub kind: &'a str,
    pub key: Cow<'a, str>,
    pub value: &'a str,
}

/// The last line of a batch.
#[derive(Debug, PartialEq)]
pub(crate) struct CommitLine<'a> {
    pub number: u64,
    pub entries: u64,
    pub objects: u64,
    pub heads: Vec<(Cow<'a, str>, u64, Hash)>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Line<'a> {
    Entry(EntryLine<'a>),
    Object(ObjectLine<'a>),
    Commit(CommitLine<'a>),
}

/// Why something is not a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ends too early, and what is there could be the beginning of a line.
    Cut,
    /// It is not of the byte form.
    Form(&'static str),
}

const fn form<T>(what: &'static str) -> Result<T, Fault> {
    Err(Fault::Form(what))
}

// Writing.

/// Appends one line to `out`; `content` writes what stands before the checksum.
pub(crate) fn write_line(out: &mut Vec<u8>, prev: &Sum, content: impl FnOnce(&mut Vec<u8>)) -> Sum {
    let start = out.len();
    content(out);
    let sum = sum_of(prev, &out[start..]);
    out.extend_from_slice(SUM_KEY.as_bytes());
    hex(out, &sum);
    out.extend_from_slice(b"\"}\n");
    sum
}

/// The line every file begins with, newline included, and its checksum.
pub(crate) fn first_line(version: u64) -> (Vec<u8>, Sum) {
    let mut out = Vec::with_capacity(80);
    let sum = write_line(&mut out, &NO_SUM, |out| {
        out.extend_from_slice(b"{\"format\":\"secure-log-file\",\"version\":");
        number(out, version);
    });
    (out, sum)
}

/// Content of an entry's line; `header` is raw here.
#[expect(clippy::too_many_arguments, reason = "one argument per field of the line, in its order")]
pub(crate) fn entry_content(
    out: &mut Vec<u8>,
    stream: &str,
    seqno: u64,
    hash: &Hash,
    header: &[u8],
    time_ms: u64,
    severity: u8,
    event_type: &str,
    producer: &str,
    id: Option<&str>,
    payload: Option<PayloadRef>,
) {
    out.extend_from_slice(b"{\"stream\":");
    string(out, stream);
    out.extend_from_slice(b",\"seqno\":");
    number(out, seqno);
    out.extend_from_slice(b",\"hash\":\"");
    hex(out, hash);
    out.extend_from_slice(b"\",\"header\":\"");
    base64(out, header);
    out.extend_from_slice(b"\",\"time\":");
    number(out, time_ms);
    out.extend_from_slice(b",\"severity\":");
    number(out, u64::from(severity));
    out.extend_from_slice(b",\"type\":");
    string(out, event_type);
    out.extend_from_slice(b",\"producer\":");
    string(out, producer);
    out.extend_from_slice(b",\"id\":");
    match id {
        Some(id) => string(out, id),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"payload\":");
    match payload {
        Some(p) => {
            out.push(b'[');
            number(out, u64::from(p.chunk));
            out.push(b',');
            number(out, p.offset);
            out.push(b',');
            number(out, p.len);
            out.push(b']');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// Content of an object's line; `value` is raw here.
pub(crate) fn object_content(out: &mut Vec<u8>, kind: &str, key: &str, value: &[u8]) {
    out.extend_from_slice(b"{\"object\":");
    string(out, kind);
    out.extend_from_slice(b",\"key\":");
    string(out, key);
    out.extend_from_slice(b",\"value\":\"");
    base64(out, value);
    out.push(b'"');
}

/// Content of a commit line; `heads` in bytewise order of the stream ids.
pub(crate) fn commit_content<'a>(
    out: &mut Vec<u8>,
    number_: u64,
    entries: u64,
    objects: u64,
    heads: impl Iterator<Item = (&'a str, u64, &'a Hash)>,
) {
    out.extend_from_slice(b"{\"commit\":");
    number(out, number_);
    out.extend_from_slice(b",\"entries\":");
    number(out, entries);
    out.extend_from_slice(b",\"objects\":");
    number(out, objects);
    out.extend_from_slice(b",\"heads\":[");
    for (i, (stream, seqno, hash)) in heads.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'[');
        string(out, stream);
        out.push(b',');
        number(out, seqno);
        out.extend_from_slice(b",\"");
        hex(out, hash);
        out.extend_from_slice(b"\"]");
    }
    out.push(b']');
}

fn string(out: &mut Vec<u8>, s: &str) {
    out.push(b'"');
    let mut rest = s.as_bytes();
    while let Some(i) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        out.extend_from_slice(&rest[..i]);
        let b = rest[i];
        out.push(b'\\');
        match b {
            b'"' | b'\\' => out.push(b),
            0x08 => out.push(b'b'),
            0x09 => out.push(b't'),
            0x0a => out.push(b'n'),
            0x0c => out.push(b'f'),
            0x0d => out.push(b'r'),
            _ => {
                out.extend_from_slice(b"u00");
                hex(out, &[b]);
            }
        }
        rest = &rest[i + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut i = digits.len();
    loop {
        i -= 1;
        digits[i] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[i..]);
}

fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)]);
        out.push(DIGITS[usize::from(b & 15)]);
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The slice has exactly the encoded length, which is the only way for this to fail.
    let written = BASE64.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// The bytes behind a base64 field. `None` only for text that the scanner would not have passed.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

// Reading.

/// Checksum over `content`, chained from `prev`.
pub(crate) fn sum_of(prev: &Sum, content: &[u8]) -> Sum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(prev);
    hasher.update(content);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    sum
}

/// Content and checksum of a line (without its newline), if it ends as lines do.
pub(crate) fn split_sum(line: &[u8]) -> Option<(&[u8], Sum)> {
    let at = line.len().checked_sub(TRAILER)?;
    let (content, trailer) = line.split_at(at);
    let digits = trailer.strip_prefix(SUM_KEY.as_bytes())?.strip_suffix(b"\"}")?;
    Some((content, unhex::<8>(digits)?))
}

/// The checksum that stands at the end of the line before, given the [`SUM_BEFORE`] bytes there.
pub(crate) fn sum_before(bytes: &[u8]) -> Option<Sum> {
    unhex::<8>(bytes.strip_suffix(b"\"}\n")?)
}

/// The content of a line whose checksum may be damaged.
pub(crate) fn content_by_length(line: &[u8]) -> Option<&[u8]> {
    line.get(..line.len().checked_sub(TRAILER)?)
}

fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    const fn value(b: u8) -> u8 {
        match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => 0xff,
        }
    }
    const VALUES: [u8; 256] = {
        let mut t = [0; 256];
        let mut i = 0;
        while i < 256 {
            t[i] = value(i as u8);
            i += 1;
        }
        t
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    let mut bad = 0;
    for (o, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let (hi, lo) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        bad |= hi | lo;
        *o = (hi << 4) | (lo & 15);
    }
    (bad < 16).then_some(out)
}

/// Scans the content of a line. The checksum is not looked at.
pub(crate) fn scan(content: &str) -> Result<Line<'_>, Fault> {
    let mut s = Scan { text: content, at: 0 };
    let line = s.line()?;
    if s.at == content.len() { Ok(line) } else { form("something follows the last field") }
}

/// Whether `tail` (no newline in it) is the beginning of a line and no more.
pub(crate) fn is_cut(tail: &[u8]) -> bool {
    let text = match std::str::from_utf8(tail) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => {
            std::str::from_utf8(&tail[..e.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let mut s = Scan { text, at: 0 };
    let scanned = s.line().and_then(|_| {
        s.lit(SUM_KEY)?;
        s.hex::<8>()?;
        s.lit("\"}")
    });
    scanned == Err(Fault::Cut)
}

/// Stream and number that a line claims, read from its beginning: a hint, nothing is checked.
pub(crate) fn claimed(line: &[u8]) -> Option<(String, u64)> {
    let valid = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&line[..e.valid_up_to()]).unwrap_or_default(),
    };
    let mut s = Scan { text: valid, at: 0 };
    s.lit("{\"stream\":").ok()?;
    let stream = s.string().ok()?.into_owned();
    s.lit(",\"seqno\":").ok()?;
    let seqno = s.number().ok()?;
    s.lit(",").ok()?;
    Some((stream, seqno))
}

/// The version that a first line names, if it is one and its checksum holds.
pub(crate) fn version_of(line: &[u8]) -> Option<u64> {
    let (content, sum) = split_sum(line)?;
    let version = content.strip_prefix(b"{\"format\":\"secure-log-file\",\"version\":")?;
    let version = std::str::from_utf8(version).ok()?.parse().ok()?;
    (sum_of(&NO_SUM, content) == sum).then_some(version)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn line(&mut self) -> Result<Line<'a>, Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        match rest {
            [b'{', b'"', b's', ..] => self.entry().map(Line::Entry),
            [b'{', b'"', b'o', ..] => self.object().map(Line::Object),
            [b'{', b'"', b'c', ..] => self.commit().map(Line::Commit),
            b"" | b"{" | b"{\"" => Err(Fault::Cut),
            _ => form("it is no line of this format"),
        }
    }

    fn entry(&mut self) -> Result<EntryLine<'a>, Fault> {
        self.lit("{\"stream\":")?;
        let stream = self.string()?;
        self.lit(",\"seqno\":")?;
        let seqno = self.number()?;
        self.lit(",\"hash\":\"")?;
        let hash = self.hex()?;
        self.lit("\",\"header\":\"")?;
        let header = self.base64()?;
        self.lit("\",\"time\":")?;
        let time_ms = self.number()?;
        self.lit(",\"severity\":")?;
        let severity = self.small()?;
        self.lit(",\"type\":")?;
        let event_type = self.string()?;
        self.lit(",\"producer\":")?;
        let producer = self.string()?;
        self.lit(",\"id\":")?;
        let id = if self.null()? { None } else { Some(self.string()?) };
        self.lit(",\"payload\":")?;
        let payload = if self.null()? {
            None
        } else {
            self.lit("[")?;
            let chunk = self.number()?;
            self.lit(",")?;
            let offset = self.number()?;
            self.lit(",")?;
            let len = self.number()?;
            self.lit("]")?;
            match u32::try_from(chunk) {
                Ok(chunk) if chunk > 0 && offset.checked_add(len).is_some() => {
                    Some(PayloadRef { chunk, offset, len })
                }
                _ => return form("the payload's place is not one"),
            }
        };
        if seqno == 0 {
            return form("entries are numbered from 1");
        }
        Ok(EntryLine { stream, seqno, hash, header, time_ms, severity, event_type, producer, id, payload })
    }

    fn object(&mut self) -> Result<ObjectLine<'a>, Fault> {
        self.lit("{\"object\":")?;
        let kind = self.one_of(&[
            "\"stream\"",
            "\"frozen\"",
            "\"segment\"",
            "\"checkpoint\"",
            "\"receipt\"",
            "\"state\"",
            "\"erased\"",
        ])?;
        self.lit(",\"key\":")?;
        let key = self.string()?;
        self.lit(",\"value\":\"")?;
        let value = self.base64()?;
        self.lit("\"")?;
        Ok(ObjectLine { kind, key, value })
    }

    fn commit(&mut self) -> Result<CommitLine<'a>, Fault> {
        self.lit("{\"commit\":")?;
        let number = self.number()?;
        self.lit(",\"entries\":")?;
        let entries = self.number()?;
        self.lit(",\"objects\":")?;
        let objects = self.number()?;
        self.lit(",\"heads\":[")?;
        let mut heads: Vec<(Cow<'a, str>, u64, Hash)> = Vec::new();
        if self.peek()? != b']' {
            loop {
                self.lit("[")?;
                let stream = self.string()?;
                self.lit(",")?;
                let seqno = self.number()?;
                self.lit(",\"")?;
                let hash = self.hex()?;
                self.lit("\"]")?;
                if heads.last().is_some_and(|(before, ..)| *before >= stream) {
                    return form("the heads are not in order");
                }
                heads.push((stream, seqno, hash));
                if self.peek()? != b',' {
                    break;
                }
                self.lit(",")?;
            }
        }
        self.lit("]")?;
        Ok(CommitLine { number, entries, objects, heads })
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn peek(&self) -> Result<u8, Fault> {
        self.rest().first().copied().ok_or(Fault::Cut)
    }

    fn lit(&mut self, lit: &str) -> Result<(), Fault> {
        let rest = self.rest();
        if rest.starts_with(lit.as_bytes()) {
            self.at += lit.len();
            Ok(())
        } else if lit.as_bytes().starts_with(rest) {
            Err(Fault::Cut)
        } else {
            form("it is no line of this format")
        }
    }

    fn null(&mut self) -> Result<bool, Fault> {
        if self.peek()? != b'n' {
            return Ok(false);
        }
        self.lit("null").map(|()| true)
    }

    fn one_of(&mut self, quoted: &[&'static str]) -> Result<&'static str, Fault> {
        let mut cut = false;
        for q in quoted {
            match self.lit(q) {
                Ok(()) => return Ok(&q[1..q.len() - 1]),
                Err(Fault::Cut) => cut = true,
                Err(Fault::Form(_)) => {}
            }
        }
        if cut { Err(Fault::Cut) } else { form("it is an object of no known kind") }
    }

    fn number(&mut self) -> Result<u64, Fault> {
        let rest = self.rest();
        let mut n: u64 = 0;
        let mut len = 0;
        for &b in rest {
            if !b.is_ascii_digit() {
                break;
            }
            n = match n.checked_mul(10).and_then(|n| n.checked_add(u64::from(b - b'0'))) {
                Some(n) => n,
                None => return form("a number is too large"),
            };
            len += 1;
        }
        if len > 1 && rest[0] == b'0' {
            return form("a number begins with 0");
        }
        if len == rest.len() {
            return Err(Fault::Cut);
        }
        if len == 0 {
            return form("a number is missing");
        }
        self.at += len;
        Ok(n)
    }

    fn small(&mut self) -> Result<u8, Fault> {
        u8::try_from(self.number()?).or(form("the severity is too large"))
    }

    fn hex<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let rest = self.rest();
        match rest.get(..2 * N) {
            Some(digits) => {
                let out = unhex(digits).ok_or(Fault::Form("a hash is not lower-case hexadecimal"))?;
                self.at += 2 * N;
                Ok(out)
            }
            None if rest.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => Err(Fault::Cut),
            None => form("a hash is not lower-case hexadecimal"),
        }
    }

    /// Standard alphabet, padded, no stray bits in the last digit (RFC 4648 §3.5).
    fn base64(&mut self) -> Result<&'a str, Fault> {
        const DIGIT: [u8; 256] = {
            let mut t = [0xff; 256];
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let mut i = 0;
            while i < 64 {
                t[alphabet[i] as usize] = i as u8;
                i += 1;
            }
            t
        };
        let rest = self.rest();
        let digits = rest.iter().position(|&b| DIGIT[usize::from(b)] == 0xff).unwrap_or(rest.len());
        let pad = rest[digits..].iter().take_while(|&&b| b == b'=').count();
        if digits + pad == rest.len() && pad <= 2 {
            return Err(Fault::Cut);
        }
        let stray = |mask: u8| digits > 0 && DIGIT[usize::from(rest[digits - 1])] & mask != 0;
        let fits = match pad {
            0 => digits % 4 == 0,
            1 => digits % 4 == 3 && !stray(0b11),
            2 => digits % 4 == 2 && !stray(0b1111),
            _ => false,
        };
        if !fits {
            return form("base64 is not in its one form");
        }
        let text = &self.text[self.at..self.at + digits + pad];
        self.at += digits + pad;
        Ok(text)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.lit("\"")?;
        let rest = self.rest();
        let plain = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').ok_or(Fault::Cut)?;
        let text = &self.text[self.at..self.at + plain];
        match rest[plain] {
            b'"' => {
                self.at += plain + 1;
                Ok(Cow::Borrowed(text))
            }
            b'\\' => {
                let mut out = String::from(text);
                self.at += plain;
                self.escaped(&mut out)?;
                Ok(Cow::Owned(out))
            }
            _ => form("a string holds a bare control character"),
        }
    }

    /// The rest of a string from its first backslash on, closing quote included.
    fn escaped(&mut self, out: &mut String) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            match rest.first().ok_or(Fault::Cut)? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    let c = match rest.get(1).ok_or(Fault::Cut)? {
                        b'"' => '"',
                        b'\\' => '\\',
                        b'b' => '\u{8}',
                        b't' => '\t',
                        b'n' => '\n',
                        b'f' => '\u{c}',
                        b'r' => '\r',
                        b'u' => {
                            self.lit("\\u00")?;
                            let [code] = self.hex::<1>()?;
                            if code >= 0x20 || matches!(code, 0x08 | 0x09 | 0x0a | 0x0c | 0x0d) {
                                return form("a string escapes what has a shorter form");
                            }
                            out.push(char::from(code));
                            continue;
                        }
                        _ => return form("a string holds an unknown escape"),
                    };
                    out.push(c);
                    self.at += 2;
                }
                0..0x20 => return form("a string holds a bare control character"),
                _ => {
                    let len =
                        rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(rest.len());
                    out.push_str(&self.text[self.at..self.at + len]);
                    self.at += len;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = [
        "app",
        "a \"quoted\" \\ name",
        "\u{0}\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}",
        "grüße/..",
        "🦀\u{2028}",
        "",
    ];

    fn lines() -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for (i, name) in NAMES.into_iter().enumerate() {
            let mut out = Vec::new();
            let payload = PayloadRef { chunk: 1, offset: i as u64, len: u64::MAX >> (i + 1) };
            let id = (i % 2 == 0).then_some(name);
            entry_content(
                &mut out,
                name,
                10_u64.pow(i as u32),
                &[i as u8 * 40; 32],
                &vec![0xfb; i],
                u64::MAX >> i,
                255 - i as u8,
                name,
                name,
                id,
                (i % 3 == 0).then_some(payload),
            );
            lines.push(out);
            let mut out = Vec::new();
            object_content(&mut out, "receipt", name, &vec![0xff; i]);
            lines.push(out);
            let mut out = Vec::new();
            commit_content(&mut out, i as u64, 0, 7, ["a", "b"][..i % 3].iter().map(|n| (*n, 9, &[3; 32])));
            lines.push(out);
        }
        lines
    }

    #[test]
    fn what_is_written_is_scanned_to_the_same_values() {
        for content in lines() {
            let text = std::str::from_utf8(&content).unwrap();
            let mut again = Vec::new();
            match scan(text).unwrap() {
                Line::Entry(e) => {
                    let header = unbase64(e.header).unwrap();
                    let id = e.id.as_deref();
                    entry_content(
                        &mut again,
                        &e.stream,
                        e.seqno,
                        &e.hash,
                        &header,
                        e.time_ms,
                        e.severity,
                        &e.event_type,
                        &e.producer,
                        id,
                        e.payload,
                    );
                }
                Line::Object(o) => object_content(&mut again, o.kind, &o.key, &unbase64(o.value).unwrap()),
                Line::Commit(c) => {
                    let heads = c.heads.iter().map(|(s, n, h)| (&**s, *n, h));
                    commit_content(&mut again, c.number, c.entries, c.objects, heads);
                }
            }
            assert_eq!(again, content);
        }
    }

    #[test]
    fn lines_are_json_as_serde_json_writes_strings() {
        for content in lines() {
            let mut line = Vec::new();
            write_line(&mut line, &NO_SUM, |out| out.extend_from_slice(&content));
            serde_json::from_slice::<serde_json::Value>(&line).unwrap();
        }
        for name in NAMES {
            let mut out = Vec::new();
            string(&mut out, name);
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(name).unwrap());
        }
    }

    #[test]
    fn every_beginning_of_a_line_is_cut_and_no_whole_line_is() {
        for content in lines() {
            let mut line = Vec::new();
            write_line(&mut line, &NO_SUM, |out| out.extend_from_slice(&content));
            line.pop();
            for n in 0..line.len() {
                assert!(is_cut(&line[..n]), "{:?}", String::from_utf8_lossy(&line[..n]));
            }
            assert!(!is_cut(&line));
            assert!(!is_cut(&[&line[..], b"x"].concat()));
            assert!(!is_cut(&[&line[..], b"\0"].concat()));
        }
    }

    #[test]
    fn other_ways_to_write_the_same_are_refused() {
        let text = |content: &[u8]| String::from_utf8(content.to_vec()).unwrap();
        let mut out = Vec::new();
        entry_content(&mut out, "a/b", 12, &[0xab; 32], b"hi", 5, 6, "t", "p", None, None);
        let good = text(&out);
        assert!(scan(&good).is_ok());
        for (from, to) in [
            ("a/b", "a\\/b"),
            ("a/b", "a\\u002fb"),
            ("a/b", "a\\u000a"),
            ("a/b", "a\tb"),
            (":12,", ":012,"),
            (":12,", ":12.0,"),
            (":12,", ": 12,"),
            (":12,", ":+12,"),
            (":12,", ":18446744073709551616,"),
            (":12,", ":0,"),
            ("abab", "ABAB"),
            ("aGk=", "aGl="),
            ("aGk=", "aGk"),
            ("aGk=", "aGk=="),
            ("aGk=", "aG=k"),
            (":6,", ":256,"),
            ("null", "\"\",\"x\":null"),
            ("{", " {"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(good, bad);
            assert!(matches!(scan(&bad), Err(Fault::Form(_))), "{bad}");
        }
        assert!(matches!(
            scan("{\"commit\":1,\"entries\":0,\"objects\":0,\"heads\":[]]"),
            Err(Fault::Form(_))
        ));
        let head = |name| format!("[\"{name}\",1,\"{}\"]", "0".repeat(64));
        let heads =
            |a, b| format!("{{\"commit\":1,\"entries\":0,\"objects\":0,\"heads\":[{},{}]", head(a), head(b));
        assert!(scan(&heads("a", "b")).is_ok());
        assert!(matches!(scan(&heads("b", "a")), Err(Fault::Form(_))));
        assert!(matches!(scan(&heads("a", "a")), Err(Fault::Form(_))));
    }
}
