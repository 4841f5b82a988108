//! Text that comes from outside and goes into entries and log lines.

use std::borrow::Cow;

/// At most `max` bytes of `text`, control characters replaced: nobody outside decides how much is written, or where
/// a line ends.
pub(crate) fn bounded(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        if out.len() + c.len_utf8() + '…'.len_utf8() > max {
            out.push('…');
            break;
        }
        out.push(c);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_cleans() {
        assert_eq!(bounded("lift-01", 255), "lift-01");
        assert_eq!(bounded("a\nb", 255), "a\u{fffd}b");
        assert_eq!(bounded("abcdef", 5), "ab…");
        let long = "é\u{7}".repeat(1000);
        assert!(bounded(&long, 255).len() <= 255);
    }
}
