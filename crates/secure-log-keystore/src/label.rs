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
    check_label(label)?;
    let mut name = String::with_capacity(label.len() + 4);
    for byte in label.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'@' | b'-' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name.push_str(".pem");
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
