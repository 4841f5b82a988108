//! What every envelope must do, whoever holds the key-encryption keys.
//!
//! As [`RULES`](super::RULES) for signers: `envelope_conformance!` makes one test of each rule. The rules destroy keys, so
//! what opens a keystore gives it keys of its own each time.

use secure_log::envelope::{Envelope, EnvelopeError};

use super::{Keys, Outcome, require};

/// A rule: its name, and a check that says what was broken.
pub struct Rule {
    /// Name in snake case.
    pub name: &'static str,
    /// Checks the rule on a keystore that has just been opened. Of its keys two or more are for wrapping.
    pub check: fn(&mut dyn Envelope, &Keys) -> Result<(), String>,
}

/// Checks the rule `name` and panics where it is broken. The third part of `opened` lives as long as the keystore.
pub fn run<E: Envelope, A>(name: &str, opened: (E, Keys, A)) {
    let (mut keystore, keys, _alive) = opened;
    let Some(rule) = RULES.iter().find(|rule| rule.name == name) else { panic!("there is no rule {name}") };
    if let Err(reason) = (rule.check)(&mut keystore, &keys) {
        panic!("{name}: {reason}");
    }
}

macro_rules! rules {
    ($($name:ident,)*) => {
        /// Every rule.
        pub const RULES: &[Rule] = &[$(Rule { name: stringify!($name), check: $name }),*];

        /// One `#[test]` for each rule of [`conformance::envelope`](crate::conformance::envelope). `$open` is called without
        /// arguments and gives a keystore, its `Keys`, and what must live as long.
        #[macro_export]
        macro_rules! envelope_conformance {
            ($open:expr) => {$(
                #[test]
                fn $name() {
                    $crate::conformance::envelope::run(stringify!($name), ($open)());
                }
            )*};
        }
    };
}

rules! {
    what_was_wrapped_is_unwrapped,
    nonces_are_not_used_twice,
    another_key_does_not_unwrap,
    another_context_does_not_unwrap,
    changed_and_cut_bytes_do_not_unwrap,
    lengths_are_limited,
    a_missing_key_is_not_made_by_looking,
    unusable_names_are_refused,
    a_destroyed_key_is_gone_and_only_that,
}

const SECRET: &[u8; 32] = b"a data key: nobody's but the log";

fn wrap(keystore: &mut dyn Envelope, name: &str, key: &[u8], context: &[u8]) -> Result<Vec<u8>, String> {
    keystore.wrap(name, key, context).map_err(|e| format!("wrap {} bytes with {name:?}: {e}", key.len()))
}

fn opens(keystore: &mut dyn Envelope, name: &str, wrapped: &[u8], context: &[u8], key: &[u8]) -> Outcome {
    let unwrapped =
        keystore.unwrap(name, wrapped, context).map_err(|e| format!("unwrap with {name:?}: {e}"))?;
    require(*unwrapped == key, format!("{name:?} unwraps another key than it wrapped"))
}

fn wrong(keystore: &mut dyn Envelope, name: &str, wrapped: &[u8], context: &[u8], what: &str) -> Outcome {
    match keystore.unwrap(name, wrapped, context) {
        Err(EnvelopeError::WrongKey(text)) => quiet(&text),
        other => Err(format!("{what}: {:?}", other.map(|key| key.len()))),
    }
}

/// No error tells of a key.
fn quiet(text: &str) -> Outcome {
    let shown = |key: &[u8]| text.as_bytes().windows(6).any(|part| key.windows(6).any(|k| k == part));
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    require(!shown(SECRET) && !shown(hex.as_bytes()), format!("an error shows the key: {text}"))
}

fn names(keys: &Keys) -> Result<(&str, &str), String> {
    match &keys.present[..] {
        [first, second, ..] => Ok((first, second)),
        _ => Err("the suite wants two keys or more".into()),
    }
}

fn what_was_wrapped_is_unwrapped(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let longest: Vec<u8> = (0..1_024_u32).map(|i| (i ^ (i >> 3)) as u8).collect();
    let context = vec![7; 65_535];
    for name in &keys.present {
        for (key, context) in [(&SECRET[..], &b"stream/7"[..]), (&SECRET[..1], b""), (&longest, &context)] {
            let wrapped = wrap(keystore, name, key, context)?;
            require(
                wrapped.len() == 12 + key.len() + 16,
                format!("{} bytes wrapped are {}", key.len(), wrapped.len()),
            )?;
            opens(keystore, name, &wrapped, context, key)?;
            opens(keystore, name, &wrapped, context, key)?;
        }
    }
    Ok(())
}

fn nonces_are_not_used_twice(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let mut nonces = std::collections::HashSet::new();
    for _ in 0..50 {
        let wrapped = wrap(keystore, &keys.present[0], SECRET, b"context")?;
        require(nonces.insert(wrapped[..12].to_vec()), "a nonce came twice")?;
    }
    Ok(())
}

fn another_key_does_not_unwrap(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let (first, second) = names(keys)?;
    let wrapped = wrap(keystore, first, SECRET, b"context")?;
    wrap(keystore, second, SECRET, b"context")?;
    wrong(keystore, second, &wrapped, b"context", "another key")?;
    opens(keystore, first, &wrapped, b"context", SECRET)
}

fn another_context_does_not_unwrap(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let name = &keys.present[0];
    let wrapped = wrap(keystore, name, SECRET, b"context")?;
    for other in [&b""[..], b"contexT", b"context\0", b"contex"] {
        wrong(keystore, name, &wrapped, other, "another context")?;
    }
    opens(keystore, name, &wrapped, b"context", SECRET)
}

fn changed_and_cut_bytes_do_not_unwrap(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let name = &keys.present[0];
    let wrapped = wrap(keystore, name, SECRET, b"context")?;
    for at in 0..wrapped.len() {
        let mut changed = wrapped.clone();
        changed[at] ^= 1;
        wrong(keystore, name, &changed, b"context", &format!("byte {at} changed"))?;
    }
    for length in 0..wrapped.len() {
        wrong(keystore, name, &wrapped[..length], b"context", &format!("cut to {length}"))?;
    }
    wrong(keystore, name, &[&wrapped[..], &[0]].concat(), b"context", "a byte more")?;
    wrong(keystore, name, &vec![0; 12 + 1_024 + 16 + 1], b"context", "too long")?;
    opens(keystore, name, &wrapped, b"context", SECRET)
}

fn lengths_are_limited(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let name = &keys.present[0];
    let wrapped = wrap(keystore, name, SECRET, b"")?;
    let long = vec![0; 65_536];
    for (key, context) in [(&b""[..], &b""[..]), (&[1; 1_025], b""), (SECRET, &long)] {
        let refused = keystore.wrap(name, key, context);
        require(
            matches!(refused, Err(EnvelopeError::Invalid(_))),
            format!("{} bytes, a context of {}: {refused:?}", key.len(), context.len()),
        )?;
    }
    let refused = keystore.unwrap(name, &wrapped, &long);
    require(matches!(refused, Err(EnvelopeError::Invalid(_))), "unwrap with a long context")?;
    opens(keystore, name, &wrapped, b"", SECRET)
}

fn a_missing_key_is_not_made_by_looking(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let name = &keys.present[0];
    let wrapped = wrap(keystore, name, SECRET, b"")?;
    let Some(missing) = &keys.missing else { return Ok(()) };
    for _ in 0..2 {
        let looked = keystore.unwrap(missing, &wrapped, b"").map(|key| key.len());
        require(matches!(looked, Err(EnvelopeError::KeyNotFound(_))), format!("unwrap: {looked:?}"))?;
        let destroyed = keystore.destroy(missing);
        require(matches!(destroyed, Err(EnvelopeError::KeyNotFound(_))), format!("destroy: {destroyed:?}"))?;
    }
    opens(keystore, name, &wrapped, b"", SECRET)
}

fn unusable_names_are_refused(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let wrapped = wrap(keystore, &keys.present[0], SECRET, b"")?;
    for name in ["", &"x".repeat(256), &"🔑".repeat(64)] {
        let invalid = |outcome: Result<(), EnvelopeError>| {
            require(matches!(outcome, Err(EnvelopeError::Invalid(_))), format!("{name:?}: {outcome:?}"))
        };
        invalid(keystore.wrap(name, SECRET, b"").map(drop))?;
        invalid(keystore.unwrap(name, &wrapped, b"").map(drop))?;
        invalid(keystore.destroy(name))?;
    }
    opens(keystore, &keys.present[0], &wrapped, b"", SECRET)
}

fn a_destroyed_key_is_gone_and_only_that(keystore: &mut dyn Envelope, keys: &Keys) -> Outcome {
    let (first, second) = names(keys)?;
    let lost = wrap(keystore, first, SECRET, b"context")?;
    let kept = wrap(keystore, second, SECRET, b"context")?;
    keystore.destroy(first).map_err(|e| format!("destroy {first:?}: {e}"))?;
    for _ in 0..2 {
        let unwrapped = keystore.unwrap(first, &lost, b"context").map(|key| key.len());
        require(matches!(unwrapped, Err(EnvelopeError::KeyNotFound(_))), format!("unwrap: {unwrapped:?}"))?;
        let again = keystore.destroy(first);
        require(matches!(again, Err(EnvelopeError::KeyNotFound(_))), format!("destroyed twice: {again:?}"))?;
    }
    opens(keystore, second, &kept, b"context", SECRET)
}
