//! Cutting a file into lines, or into JSON objects, as its bytes come in.

/// Longest line or object that is looked at: a payload of 8 MiB in base64 fits.
pub(super) const MAX_PIECE: usize = 16 << 20;

/// Lines of a text.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    line: u64,
    too_long: bool,
}

/// A line, or why it is none.
pub(super) type Line<'a> = Result<&'a str, String>;

impl Lines {
    /// Calls `take` with the number of each line that is complete, and the line without its newline.
    pub fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(u64, Line<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, more) = (&bytes[..end], &bytes[end + 1..]);
            bytes = more;
            self.line += 1;
            if self.rest.is_empty() && !self.too_long {
                take(self.line, text(line));
            } else {
                self.keep(line);
                let whole = std::mem::take(&mut self.rest);
                match std::mem::take(&mut self.too_long) {
                    true => take(self.line, Err(too_long())),
                    false => take(self.line, text(&whole)),
                }
            }
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.too_long |= self.rest.len() + bytes.len() > MAX_PIECE;
        match self.too_long {
            true => self.rest = Vec::new(),
            false => self.rest.extend_from_slice(bytes),
        }
    }

    /// The file ends: what is left is no whole line.
    pub fn end(&mut self, mut take: impl FnMut(u64, Line<'_>)) {
        if !self.rest.is_empty() || self.too_long {
            self.line += 1;
            take(self.line, Err("the file breaks off within this line".into()));
        }
    }
}

fn text(bytes: &[u8]) -> Line<'_> {
    match bytes.len() {
        0..=MAX_PIECE => std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".into()),
        _ => Err(too_long()),
    }
}

fn too_long() -> String {
    format!("is longer than {MAX_PIECE} bytes")
}

/// JSON objects, in an array or one after the other.
#[derive(Default)]
pub(super) struct Values {
    object: Vec<u8>,
    depth: u32,
    in_text: bool,
    escaped: bool,
    /// Line on which the object began, from 1, and the one that is read.
    began: u64,
    newlines: u64,
    array: Array,
    failed: Option<String>,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Array {
    #[default]
    None,
    Open,
    Closed,
}

impl Values {
    /// Line that is read.
    pub fn line(&self) -> u64 {
        self.newlines + 1
    }

    /// Calls `take` with the line and the bytes of each object that is complete.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(u64, &[u8])) {
        for byte in bytes {
            if self.failed.is_some() {
                return;
            }
            self.newlines += u64::from(*byte == b'\n');
            if self.depth == 0 {
                self.between(*byte);
                continue;
            }
            self.object.push(*byte);
            if self.object.len() > MAX_PIECE {
                self.failed = Some(too_long());
                return;
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' if !self.in_text => self.depth = self.depth.saturating_add(1),
                b'}' | b']' if !self.in_text => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        take(self.began, &self.object);
                        self.object.clear();
                    }
                }
                _ => {}
            }
        }
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b',' if self.array == Array::Open => {}
            b'{' if self.array != Array::Closed => {
                self.began = self.line();
                self.depth = 1;
                self.object.push(byte);
            }
            b'[' if self.array == Array::None => self.array = Array::Open,
            b']' if self.array == Array::Open => self.array = Array::Closed,
            _ if self.array == Array::Closed => self.failed = Some("there is more after the records".into()),
            _ => self.failed = Some("here should be a record: a JSON object".into()),
        }
    }

    /// The file ends: what is wrong with it.
    pub fn end(&mut self) -> Option<String> {
        if let Some(reason) = self.failed.take() {
            return Some(reason);
        }
        (self.depth > 0 || self.array == Array::Open)
            .then(|| "the file breaks off here: its end is missing".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<(u64, Result<String, String>)> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        let mut take = |line: u64, text: Line<'_>| all.push((line, text.map(str::to_owned)));
        for piece in pieces {
            lines.feed(piece, &mut take);
        }
        lines.end(&mut take);
        all
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = "one\n\nthree \u{2013} \u{e9}\n";
        let whole = lines(&[text.as_bytes()]);
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(lines(&bytes), whole);
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[2], (3, Ok("three \u{2013} \u{e9}".into())));
        assert!(lines(&[b"a\nb"])[1].1.as_ref().unwrap_err().contains("breaks off"));
        assert!(lines(&[b"\xff\n"])[0].1.as_ref().unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let mut cut = Lines::default();
        for _ in 0..20 {
            cut.feed(&vec![b'x'; 1 << 20], |_, _| panic!("no line is complete"));
        }
        assert!(cut.rest.capacity() <= MAX_PIECE * 2);
        let mut said = Vec::new();
        cut.feed(b"\nshort\n", |line, text| said.push((line, text.map(str::to_owned))));
        assert!(said[0].1.as_ref().unwrap_err().contains("longer"));
        assert_eq!(said[1], (2, Ok("short".into())));
    }

    fn values(text: &str, step: usize) -> (Vec<(u64, String)>, Option<String>) {
        let (mut values, mut all) = (Values::default(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            values.feed(piece, |line, value| all.push((line, String::from_utf8_lossy(value).into_owned())));
        }
        (all, values.end())
    }

    #[test]
    fn objects_of_arrays_of_lines_and_over_several_lines_are_found() {
        for step in [1, 3, 1000] {
            let (all, failed) = values(r#"[{"a": "}]\"{"}, {"b":[{}]}] "#, step);
            assert_eq!(all, [(1, r#"{"a": "}]\"{"}"#.into()), (1, r#"{"b":[{}]}"#.into())]);
            assert_eq!(failed, None);
            let (all, failed) = values("{\"a\":1}\n{\n\"b\":2}\n", step);
            assert_eq!(all, [(1, "{\"a\":1}".into()), (2, "{\n\"b\":2}".into())]);
            assert_eq!(failed, None);
        }
        for (text, says) in [
            ("[{}", "breaks off"),
            ("{\"a\":", "breaks off"),
            ("[] {}", "more after"),
            ("[1]", "should be a record"),
            ("[[{}]]", "should be a record"),
        ] {
            assert!(values(text, 1).1.unwrap_or_default().contains(says), "{text}");
        }
    }
}
