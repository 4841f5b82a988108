//! Names of a gate's streams, and the escaping of the ids in them.

use std::borrow::Cow;
use std::fmt::Write as _;

use secure_log::limits::MAX_STREAM_ID;

/// Every key of every device and publisher, once: its event id is the key id.
pub const KEY_INDEX: &str = "registry-keys";

/// Longest escaped id: what `device/<id>/<epoch>` leaves.
const MAX_ESCAPED: usize = MAX_STREAM_ID - "device/".len() - 1 - 20;

/// An id as it stands in a stream name, the same in every name: `%`, `/`, `~` and control characters become `%` and
/// two hex digits for each of their bytes. What is then longer than 227 bytes becomes `~` and the hex BLAKE3 hash of
/// the id. Different ids have different names.
pub fn escape(id: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, '%' | '/' | '~') || c.is_control();
    let mut escaped = Cow::Borrowed(id);
    if id.contains(special) {
        let mut text = String::with_capacity(id.len() + 16);
        for c in id.chars() {
            if special(c) {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "%{byte:02X}");
                }
            } else {
                text.push(c);
            }
        }
        escaped = Cow::Owned(text);
    }
    if escaped.len() > MAX_ESCAPED {
        return Cow::Owned(format!("~{}", blake3::hash(id.as_bytes()).to_hex()));
    }
    escaped
}

/// What is registered of a device.
pub fn registry(device_id: &str) -> String {
    format!("registry/{}", escape(device_id))
}

/// The records of one epoch of a device.
pub fn device(device_id: &str, epoch: u64) -> String {
    format!("device/{}/{epoch}", escape(device_id))
}

/// The decisions of a gate.
pub fn operations(gate_id: &str) -> String {
    format!("operations/{}", escape(gate_id))
}

/// The checks of software updates that a gate made.
pub fn updates(gate_id: &str) -> String {
    format!("updates/{}", escape(gate_id))
}

/// What is registered of a publisher of software updates.
pub fn publisher(publisher_id: &str) -> String {
    format!("publishers/{}", escape(publisher_id))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use secure_log::header::check_stream_id;

    use super::*;

    fn all(id: &str, epoch: u64) -> [String; 5] {
        [registry(id), device(id, epoch), operations(id), updates(id), publisher(id)]
    }

    /// Ids made to collide: of the characters that mean something, and around the limits of length.
    fn id() -> impl Strategy<Value = String> {
        prop_oneof![
            "[%/~_a2F0-9.\u{1}\u{85}é]{1,12}",
            "\\PC{1,40}",
            (200usize..=255).prop_map(|n| "x".repeat(n)),
            (60usize..=85).prop_map(|n| "/".repeat(n)),
            "~[0-9a-f]{64}",
        ]
    }

    proptest! {
        #[test]
        fn are_names_and_differ(a in id(), b in id(), e in any::<u64>(), f in any::<u64>()) {
            for name in all(&a, e) {
                prop_assert!(check_stream_id("stream-id", &name).is_ok(), "{name:?}");
                prop_assert!(!name.starts_with('_'));
            }
            let same = all(&a, e) == all(&b, f);
            prop_assert_eq!(same, (&a, e) == (&b, f));
            if a != b {
                let ours: HashSet<String> = all(&a, e).into();
                prop_assert!(all(&b, f).iter().all(|name| !ours.contains(name)));
            }
        }
    }

    #[test]
    fn show_the_id() {
        assert_eq!(registry("lift-01"), "registry/lift-01");
        assert_eq!(device("a/1", 2), "device/a%2F1/2");
        assert_eq!(device("_log", 1), "device/_log/1");
        assert_eq!(registry("100%"), "registry/100%25");
        assert_eq!(registry("昇降機 1"), "registry/昇降機 1");
        assert_eq!(registry("a\u{85}\n"), "registry/a%C2%85%0A");
        assert_eq!(device(&"x".repeat(227), u64::MAX).len(), 255);
        assert_eq!(registry(&"x".repeat(228)).len(), "registry/~".len() + 64);
    }
}
