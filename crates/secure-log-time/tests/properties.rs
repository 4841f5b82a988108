//! What parsers do with anything.
#![cfg(not(target_family = "wasm"))]

use proptest::prelude::*;
use secure_log_time::{
    Certificate, Gap, Gaps, Hash, Imprint, ObjectIdentifier, Options, Request, RevocationList, Stamped, Time,
    Times, Trust, accept, verify,
};
use std::time::Duration;

/// DER whose lengths are right and whose content is anything.
fn der() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop::sample::select(vec![
        0x01_u8, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x17, 0x18, 0x30, 0x31, 0x80, 0x81, 0xa0, 0xa1, 0xa3,
        0xa4,
    ]);
    let leaf = (tags.clone(), prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(tag, content)| tlv(tag, &content));
    leaf.prop_recursive(8, 64, 8, move |inner| {
        (tags.clone(), prop::collection::vec(inner, 0..8)).prop_map(|(tag, parts)| tlv(tag, &parts.concat()))
    })
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..128 => out.push(length as u8),
        128..256 => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend(content);
    out
}

fn feed(bytes: &[u8]) -> Result<(), TestCaseError> {
    let request = Request::new(Imprint::of(Hash::Sha256, b""), 1);
    prop_assert!(accept(&request, 200, None, bytes).is_err());
    prop_assert!(verify(bytes, Stamped::Message(b""), &Trust::default(), &Options::default()).is_err());
    prop_assert!(Certificate::from_der(bytes).is_err());
    if let Ok(request) = Request::from_der(bytes) {
        prop_assert_eq!(request.to_der(), bytes);
    }
    prop_assert!(RevocationList::from_der(bytes).is_err());
    let pem = [b"-----BEGIN CERTIFICATE-----\n", bytes, b"\n-----END CERTIFICATE-----"].concat();
    prop_assert!(Certificate::from_pem(pem).is_err());
    Ok(())
}

fn hash() -> impl Strategy<Value = Hash> {
    prop::sample::select(vec![Hash::Sha256, Hash::Sha384, Hash::Sha512])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        feed(&bytes)?;
    }

    #[test]
    fn any_der_is_refused(bytes in der()) {
        feed(&bytes)?;
    }

    #[test]
    fn any_pem_is_refused(body in "[A-Za-z0-9+/=\n-]{0,80}") {
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        prop_assert!(Certificate::from_pem(&pem).is_err());
    }

    #[test]
    fn requests_are_read_as_they_were_written(
        hash in hash(),
        message in prop::collection::vec(any::<u8>(), 0..100),
        nonce in any::<Option<u64>>(),
        arcs in prop::option::of((0..3_u32, 0..40_u32, any::<u32>())),
        cert_req in any::<bool>(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let policy = arcs.map(|(a, b, c)| ObjectIdentifier::new(&format!("{a}.{b}.{c}")).unwrap());
        let request = Request { imprint: Imprint::of(hash, &message), nonce, policy, cert_req };
        let mut der = request.to_der();
        prop_assert_eq!(Request::from_der(&der), Ok(request.clone()));
        let at = at.index(der.len());
        der[at] ^= flip;
        prop_assert_ne!(Request::from_der(&der), Ok(request));
    }

    #[test]
    fn gaps_add_up(claimed in any::<u32>(), received in any::<u32>(), trusted in any::<u32>(), accuracy in any::<Option<u16>>()) {
        let time = |millis: u32| Time::from_millis(u64::from(millis));
        let accuracy = accuracy.map(|millis| Duration::from_millis(u64::from(millis)));
        let times = Times { claimed: Some(time(claimed)), received: Some(time(received)), trusted: time(trusted), accuracy };
        let gaps = Gaps::of(&times, Duration::ZERO);
        let signed = |gap: Option<Gap>| match gap.unwrap() {
            Gap::Later(by) => by.as_millis() as i64,
            Gap::Earlier(by) => -(by.as_millis() as i64),
        };
        let both = signed(gaps.claimed_to_received) + signed(gaps.received_to_trusted);
        prop_assert_eq!(both, signed(gaps.claimed_to_trusted));
        let by = accuracy.map_or(0, |accuracy| accuracy.as_millis() as i64);
        let wrong = [
            received < claimed,
            i64::from(trusted) + by < i64::from(received),
            i64::from(trusted) + by < i64::from(claimed),
        ];
        prop_assert_eq!(gaps.violations.len(), wrong.iter().filter(|wrong| **wrong).count());
    }
}
