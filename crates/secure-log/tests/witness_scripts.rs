//! The witness by the test scripts of other witnesses.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod parties;

use parties::running::{Running, request};
use secure_log::model::Hash;
use secure_log::note::VerifierKey;
use secure_log::signer::PublicKey;
use secure_log::witness::WatchedLog;

const SIGSUM: &str = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562";

/// The script of FiloSottile/torchwood, cmd/litewitness/testdata/litewitness.txt at 341dc2f (ISC), and
/// two steps that FiloSottile/sunlight added to it (internal/witness/witness_test.go at ed0bc38). An
/// unknown log is 404 since tlog-witness 1.0, 403 in the older of the two.
#[test]
fn the_script_of_litewitness() {
    let key: [u8; 32] = [
        0xff, 0xdc, 0x2d, 0x4d, 0x98, 0xe4, 0x12, 0x4d, 0x3f, 0xea, 0xf7, 0x88, 0xc0, 0xc2, 0xf9, 0xab, 0xfd,
        0x79, 0x60, 0x83, 0xd1, 0xf0, 0x49, 0x54, 0x37, 0xf3, 0x02, 0xec, 0x79, 0xcf, 0x10, 0x0f,
    ];
    let key = VerifierKey::new(SIGSUM, PublicKey::from_ed25519_raw(&key)).unwrap();
    let mut witness = Running::new(vec![WatchedLog::new(SIGSUM, vec![key]).unwrap()]);
    let one = "1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let three = "3\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=\n";
    let five = "5\nQrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=\n";
    let sign_1 =
        "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=";
    let sign_3 =
        "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=";
    let bad_3 = sign_3.replace("6go=", "6gx=");
    let wrong_3 = sign_3.replace("6go=", "6gw=");
    let sign_5 =
        "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=";
    let h = |n: &str| format!("Kg{n}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    let (h1, h2, h3, h4) = (h("EA"), h("IA"), h("MA"), h("QA"));
    let body = |old: u64, proof: &str, origin: &str, tree: &str, signature: &str| {
        format!("old {old}\n{proof}\n{origin}\n{tree}\n— {origin} {signature}\n")
    };
    let proof_3 = format!("{h1}{h2}");
    let proof_1_5 = format!("{h1}+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=\n{h4}");
    let proof_3_5 = format!("{h2}{h3}wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE=\n{h4}");
    let other = SIGSUM.replace("e562", "e563");

    witness.expect(200, &body(0, "", SIGSUM, one, sign_1));
    // As it stands in the script the changed signature is base64 with loose bits.
    witness.expect(403, &body(1, &proof_3, SIGSUM, three, &bad_3));
    witness.expect(403, &body(1, &proof_3, SIGSUM, three, &wrong_3));
    witness.expect(404, &body(1, &proof_3, &other, three, sign_3));
    witness.expect(422, &body(1, "", SIGSUM, three, sign_3));
    let flipped = format!("{h1}KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABA=\n");
    witness.expect(422, &body(1, &flipped, SIGSUM, three, sign_3));
    witness.expect(200, &body(1, &proof_3, SIGSUM, three, sign_3));
    assert_eq!(witness.expect(409, &body(1, &proof_1_5, SIGSUM, five, sign_5)).body, "3\n");
    witness.expect(200, &body(3, &proof_3_5, SIGSUM, five, sign_5));
    assert_eq!(witness.expect(409, &body(0, "", SIGSUM, five, sign_5)).body, "5\n");
    witness.expect(400, &format!("old 5\n\n{SIGSUM}\n{five}"));
    let not_a_size = "five\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let signed =
        "UgIom4JTC2MerrFcJ5xDcWHzRPVB6zzGBIw4OFqcKDflqjH4q4xY5vMxUxyczvdIlEwFYf7ivQU4KoWan2bLmzLx0go=";
    witness.expect(400, &body(5, "", SIGSUM, not_a_size, signed));
    assert_eq!(witness.stored(SIGSUM).unwrap().size(), 5);
}

/// cmd/litewitness/testdata/sumdb.txt of the same: an origin with spaces, under a key of another name.
#[test]
fn a_log_whose_key_has_another_name() {
    let origin = "go.sum database tree";
    let key =
        VerifierKey::parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").unwrap();
    let mut witness = Running::new(vec![WatchedLog::new(origin, vec![key]).unwrap()]);
    witness.expect(
        200,
        "old 0\n\ngo.sum database tree\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n\
         — sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=\n",
    );
    assert_eq!(witness.stored(origin).unwrap().size(), 35_225_469);
}

/// transparency-dev/witness, witness/witness_test.go at 54dbcdd (Apache-2.0).
#[test]
fn the_logs_of_omniwitness() {
    let key = VerifierKey::parse("monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT").unwrap();
    let mut witness = Running::new(vec![WatchedLog::new("monkeys", vec![key]).unwrap()]);
    let five = "monkeys\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n— monkeys 202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY=\n";
    let eight = "monkeys\n8\nV8K9aklZ4EPB+RMOk1/8VsJUdFZR77GDtZUQq84vSbo=\n\n— monkeys 202ffoUEboiQYpHzICeaFmoy3RNviHTpAxYrq/eO4QQVQMvu9UebKBMX2MJC76NLthZaKsnKbCA8GxrjePZhvDCH7Ag=\n";
    let hex = |s: &str| -> Hash {
        let bytes: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect();
        bytes.try_into().unwrap()
    };
    let proof = [
        hex("b9e1d62618f7fee8034e4c5010f727ab24d8e4705cb296c374bf2025a87a10d2"),
        hex("aac66cd7a79ce4012d80762fe8eec3a77f22d1ca4145c3f4cee022e7efcd599d"),
        hex("89d0f753f66a290c483b39cd5e9eafb12021293395fad3d4a2ad053cfbcfdc9e"),
        hex("29e40bb79c966f4c6fe96aff6f30acfce5f3e8d84c02215175d6e018a5dee833"),
    ];
    witness.expect(422, &request(0, &proof, five));
    witness.expect(200, &request(0, &[], five));
    assert_eq!(witness.expect(409, &request(2, &[], eight)).body, "5\n");
    witness.expect(422, &request(5, &proof[..3], eight));
    witness.expect(422, &request(5, &[], eight));
    witness.expect(200, &request(5, &[], five));
    witness.expect(200, &request(5, &proof, eight));
    // A smaller checkpoint: its old size is too large for it.
    witness.expect(400, &request(8, &proof, five));
    // A proof of hashes that are not 32 bytes.
    witness.expect(400, &format!("old 8\nabc=\n\n{eight}"));
}
