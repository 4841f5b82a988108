//! From a key's label to the name of its file.

use secure_log::signer::KeyError;

/// Longest label in bytes.
const MAX_LABEL: usize = 255;
/// Longest file name that the usual file systems take.
const MAX_FILE_NAME: usize = 255;

/// Checks that `label` can name a key: 1 to 255 bytes.
pub(crate) fn check_label(label: &str) -> Result<(), KeyError> {
    match label.len() {
        0 => Err(KeyError::Invalid("the key's name is empty".into())),
        1..=MAX_LABEL => Ok(()),
        length => Err(KeyError::Invalid(format!("the key's name has {length} bytes; at most {MAX_LABEL}"))),
    }
}

/// Name of the file that holds the key `label`, in any directory of keys.
///
/// `[A-Za-z0-9._@-]` stand for themselves, every other byte is `%` and two capital hexadecimal
/// digits; `.pem` follows. So no label can leave the directory, and two labels never share a
/// file (unless the file system ignores case).
pub fn key_file_name(label: &str) -> Result<String, KeyError> {
    file_name(label, ".pem")
}

/// Name of the file that holds the key-encryption key `label`: as [`key_file_name`], with `.kek` in the place of `.pem`.
pub fn kek_file_name(label: &str) -> Result<String, KeyError> {
    file_name(label, ".kek")
}

/// The label of the key in a file of this name, which [`key_file_name`] or [`kek_file_name`] gave; `None` for other files.
pub fn key_label(file: &str) -> Option<String> {
    let (escaped, ending) = file.split_at_checked(file.len().checked_sub(4)?)?;
    let mut bytes = Vec::new();
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => u8::from_str_radix(std::str::from_utf8(&[rest.next()?, rest.next()?]).ok()?, 16).ok()?,
            other => other,
        });
    }
    let label = String::from_utf8(bytes).ok()?;
    let ours = matches!(ending, ".pem" | ".kek") && file_name(&label, ending).as_deref() == Ok(file);
    ours.then_some(label)
}

fn file_name(label: &str, ending: &str) -> Result<String, KeyError> {
    check_label(label)?;
    let mut name = String::with_capacity(label.len() + ending.len());
    for byte in label.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'@' | b'-' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name.push_str(ending);
    if name.len() > MAX_FILE_NAME {
        return Err(KeyError::Invalid(format!(
            "the key's name needs a file name of {} bytes; at most {MAX_FILE_NAME}",
            name.len()
        )));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        for (label, file) in [
            ("log", "log.pem"),
            ("eu-1.log_key@example", "eu-1.log_key@example.pem"),
            ("example.com/log", "example.com%2Flog.pem"),
            ("../x", "..%2Fx.pem"),
            ("..", "...pem"),
            (".", "..pem"),
            ("a\0b", "a%00b.pem"),
            ("a\\b", "a%5Cb.pem"),
            ("C:x", "C%3Ax.pem"),
            ("%2F", "%252F.pem"),
            ("ключ", "%D0%BA%D0%BB%D1%8E%D1%87.pem"),
            (" ", "%20.pem"),
        ] {
            assert_eq!(key_file_name(label).as_deref(), Ok(file), "{label:?}");
        }
    }

    #[test]
    fn labels_come_back_from_file_names() {
        for name in ["audit", "example.com/log", "ключ", "a b", "100%", "a.pem"] {
            for file in [key_file_name(name).unwrap(), kek_file_name(name).unwrap()] {
                assert_eq!(key_label(&file).as_deref(), Some(name), "{file}");
            }
        }
        assert_ne!(key_file_name("a.kek"), kek_file_name("a.pem"));
        for file in
            ["audit.key", "%new-00.pem", "%new-00.kek", "%2f.pem", "a/b.pem", ".pem", "kek", "", "ключ"]
        {
            assert_eq!(key_label(file), None, "{file}");
        }
    }

    #[test]
    fn lengths() {
        for label in ["", &"x".repeat(256), &"x".repeat(252), &"/".repeat(84), &"🔑".repeat(63)] {
            assert!(matches!(key_file_name(label), Err(KeyError::Invalid(_))), "{label:?}");
        }
        assert_eq!(key_file_name(&"x".repeat(251)).unwrap().len(), 255);
    }

    proptest! {
        #[test]
        fn a_name_is_one_plain_component_and_nobody_elses(a in ".{1,40}", b in ".{1,40}") {
            let file = key_file_name(&a);
            if let Ok(file) = &file {
                let parts: Vec<_> = Path::new(file).components().collect();
                prop_assert_eq!(&parts, &[Component::Normal(file.as_ref())]);
                prop_assert!(file.is_ascii() && !file.contains(['/', '\\', '\0']));
                prop_assert_eq!(a == b, key_file_name(&b).as_ref() == Ok(file));
            }
        }
    }
}
